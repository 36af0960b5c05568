"""What APNs' answers mean for us, as data.

Source: developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns (read November
2026). Every refusal comes before acceptance; a server's failure leaves the outcome open, and APNs folds repeats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, Rejected, TryLater

#: APNs takes a new provider token of ours no sooner than this ("Establishing a token-based connection to APNs").
TOKEN_PAUSE = timedelta(minutes=20)

#: A device that was written to too often is left alone this long: our own choice, Apple names no time.
DEVICE_PAUSE = timedelta(minutes=15)


class Meaning(StrEnum):
    DEAD = "dead"  # the token will never work again
    REFUSED = "refused"  # this message, and the token may be good
    OURS = "ours"  # key, topic or payload
    LATER = "later"
    UNKNOWN = "unknown"


#: By the reason in the answer's body.
REASONS: Mapping[str, Meaning] = {
    "BadCollapseId": Meaning.OURS,
    "BadDeviceToken": Meaning.DEAD,
    "BadExpirationDate": Meaning.OURS,
    "BadMessageId": Meaning.OURS,
    "BadPriority": Meaning.OURS,
    "BadTopic": Meaning.OURS,
    # The token belongs to another app: retiring it would empty the books when it is we who name the wrong topic.
    "DeviceTokenNotForTopic": Meaning.REFUSED,
    "DuplicateHeaders": Meaning.OURS,
    "IdleTimeout": Meaning.UNKNOWN,
    "InvalidPushType": Meaning.OURS,
    "MissingDeviceToken": Meaning.DEAD,
    "MissingTopic": Meaning.OURS,
    "PayloadEmpty": Meaning.OURS,
    "TopicDisallowed": Meaning.OURS,
    "BadCertificate": Meaning.OURS,
    "BadCertificateEnvironment": Meaning.OURS,
    "ExpiredProviderToken": Meaning.OURS,  # made anew every half hour: our clock is wrong
    "Forbidden": Meaning.OURS,
    "InvalidProviderToken": Meaning.OURS,
    "MissingProviderToken": Meaning.OURS,
    "UnrelatedKeyIdInToken": Meaning.OURS,
    "BadEnvironmentKeyIdInToken": Meaning.OURS,
    "BadPath": Meaning.DEAD,  # the token is the path
    "MethodNotAllowed": Meaning.OURS,
    "ExpiredToken": Meaning.DEAD,
    "Unregistered": Meaning.DEAD,
    "PayloadTooLarge": Meaning.OURS,
    "TooManyProviderTokenUpdates": Meaning.LATER,
    "TooManyRequests": Meaning.LATER,  # to this one device
    "InternalServerError": Meaning.UNKNOWN,
    "ServiceUnavailable": Meaning.UNKNOWN,
    "Shutdown": Meaning.UNKNOWN,
}

#: By the status, for a reason that is not listed.
STATUSES: Mapping[str, Meaning] = {
    "400": Meaning.REFUSED,
    "403": Meaning.OURS,
    "404": Meaning.OURS,
    "405": Meaning.OURS,
    "410": Meaning.DEAD,
    "413": Meaning.OURS,
    "429": Meaning.LATER,
}


@dataclass(frozen=True, slots=True)
class ApnsAnswer:
    status: str
    reason: str | None


def refusal(answer: ApnsAnswer) -> ChannelError:
    """The error for an answer that is no acceptance."""
    word = answer.reason or f"http {answer.status}"
    meaning = REASONS.get(answer.reason or "") or STATUSES.get(answer.status, Meaning.UNKNOWN)
    match meaning:
        case Meaning.DEAD:
            return Rejected(word, True)
        case Meaning.REFUSED:
            return Rejected(word)
        case Meaning.OURS:
            return Misconfigured(word)
        case Meaning.LATER:
            return TryLater(word, TOKEN_PAUSE if answer.reason == "TooManyProviderTokenUpdates" else DEVICE_PAUSE)
        case Meaning.UNKNOWN:
            return OutcomeUnknown(word)
