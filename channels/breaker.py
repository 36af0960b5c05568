"""When a provider is stopped and tried again: one small state machine, fed with what the whole fleet saw.

Pure. Its state is a row in the database (`storage/providers.py`), so that all workers stop and start together; why no
library does this is in docs/decisions/0008-breakers-in-the-database.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, TryLater


class State(StrEnum):
    """Only `closed` is business as usual."""

    CLOSED = "closed"
    OPEN = "open"  # too many failures: nothing goes until the cool-down is over
    HALF_OPEN = "half_open"  # one worker has a few messages out to try it
    MISCONFIGURED = "misconfigured"  # our credentials are refused: nothing goes until somebody mends them


#: What the breaker looks at: the answers of the last minute, if there are enough, and the share of failures that opens.
WINDOW = timedelta(minutes=1)
FEWEST_ANSWERS = 10
TOO_MANY = 0.5

#: How long it stays open; doubles with each try that fails. One of a few seconds is over soon after its end.
FIRST_COOL_DOWN = timedelta(seconds=5)
LONGEST_COOL_DOWN = timedelta(minutes=10)

#: Closed for this long, it has recovered: the next cool-down is a short one again.
RECOVERED = timedelta(minutes=10)

#: How many messages try a provider, and how long the worker that holds them may take before another may try.
PROBES = 5
PROBE_LASTS = timedelta(seconds=60)


class Health(StrEnum):
    """What one answer says about the provider (not about the message)."""

    GOOD = "good"
    FAILED = "failed"
    WRONG_CREDENTIALS = "wrong_credentials"
    NOTHING = "nothing"


#: Codes that refuse us, not one message, sender or template: from the tables beside this file, where their sources are.
#: Twilio: authentication failed, account not active, no such account, account suspended. SMTP: RFC 4954, section 6, and
#: logins refused with 550 or 554 before MAIL come as such replies too. FCM and Google's token endpoint; APNs' 403s.
CREDENTIAL_CODES = frozenset({
    "20003", "20005", "20404", "30002",
    "http 401", "http 402", "http 403", "http 407",
    "530", "534", "535", "538", "relay lacks starttls or login",
    "THIRD_PARTY_AUTH_ERROR", "UNAUTHENTICATED", "PERMISSION_DENIED",
    "BadCertificate", "BadCertificateEnvironment", "ExpiredProviderToken", "InvalidProviderToken",
    "MissingProviderToken", "Forbidden", "UnrelatedKeyIdInToken", "BadEnvironmentKeyIdInToken",
})  # fmt: skip
_TOKEN_REFUSED = "token refused"  # noqa: S105 - the beginning of a code, no secret

#: What refuses one lender's sender, one message or one mailbox: nothing is wrong with the provider.
MESSAGE_CODES = frozenset({
    "21212", "21267", "21603", "21606", "21608", "21654", "21659", "21660", "21661", "21703", "21704", "21705",
    "30034", "30863", "30943", "bad sender", "unsubscribe url", "INVALID_ARGUMENT", "window closed",
    "450",  # this mailbox, for now (RFC 5321, section 4.2.3): greylisting too
})  # fmt: skip


def health_of(refusal: ChannelError) -> Health:
    """What a refusal says about the provider: a rejected address is a good answer."""
    code = refusal.code.partition(" ")[0] if refusal.code[:1].isdigit() else refusal.code  # no enhanced status code
    if code in MESSAGE_CODES:
        return Health.NOTHING
    match refusal:
        case Misconfigured() if code in CREDENTIAL_CODES or code.startswith(_TOKEN_REFUSED):
            return Health.WRONG_CREDENTIALS
        case Misconfigured() | OutcomeUnknown() | TryLater():
            return Health.FAILED
        case _:
            return Health.GOOD


@dataclass(frozen=True, slots=True)
class Breaker:
    """A provider's state. `retry_at` is when it may be tried, None when that is for a person to decide.

    `openings` counts the cool-downs in a row. Times are business time.
    """

    state: State = State.CLOSED
    since: datetime | None = None
    retry_at: datetime | None = None
    openings: int = 0

    def may_be_tried(self, now: datetime) -> bool:
        """Whether its cool-down is over. One that began in the future is of a clock that was set back since."""
        if self.state not in (State.OPEN, State.HALF_OPEN) or self.retry_at is None:
            return False
        return self.retry_at <= now or (self.since is not None and self.since > now)


@dataclass(frozen=True, slots=True)
class Seen:
    """Answers counted. `wrong` is the code of a refusal of our credentials."""

    good: int = 0
    failed: int = 0
    wrong: str | None = None
    code: str | None = None

    @property
    def answers(self) -> int:
        return self.good + self.failed


@dataclass(frozen=True, slots=True)
class Turn:
    """A breaker's next state, and why."""

    breaker: Breaker
    reason: str


def turn(breaker: Breaker, *, fresh: Seen, recent: Seen, is_prober: bool, now: datetime) -> Turn | None:
    """The next state, or None for no change.

    `fresh` is what this worker saw just now, `recent` what the fleet saw within WINDOW since the state began.
    `is_prober` says that the messages out to try the provider were this worker's.
    """
    if fresh.wrong is not None:
        if breaker.state is State.MISCONFIGURED:
            return None
        return Turn(Breaker(State.MISCONFIGURED, now), f"refused our credentials ({fresh.wrong})")
    match breaker.state:
        case State.CLOSED if recent.answers >= FEWEST_ANSWERS and recent.failed >= TOO_MANY * recent.answers:
            had_recovered = breaker.since is None or now - breaker.since >= RECOVERED
            reason = f"{recent.failed} of {recent.answers} answers failed ({recent.code or fresh.code})"
            return Turn(_opened(0 if had_recovered else breaker.openings, now), reason)
        case State.HALF_OPEN if is_prober and fresh.failed:
            return Turn(_opened(breaker.openings, now), f"still fails ({fresh.code})")
        case State.HALF_OPEN if is_prober and fresh.good:
            return Turn(Breaker(State.CLOSED, now, None, breaker.openings), f"answers again ({fresh.good} tried)")
    return None


def _opened(openings: int, now: datetime) -> Breaker:
    cool_down: timedelta = min(FIRST_COOL_DOWN * 2**openings, LONGEST_COOL_DOWN)
    return Breaker(State.OPEN, now, now + cool_down, min(openings + 1, 16))


#: What a person can do about each state; shown beside it.
REMEDIES: Mapping[State, str] = {
    State.CLOSED: "",
    State.OPEN: "tried again by itself; its reminders wait, or another provider of the channel takes them",
    State.HALF_OPEN: "a few messages are out to try it",
    State.MISCONFIGURED: "correct its credentials and restart the workers, or `duly providers reset NAME` if they are "
    "right again; its reminders wait",
}
