"""What Twilio's error codes mean for us, as data with sources; a code that is not here falls to its class.

Twilio refines its codes and advises against logic that hangs on single ones (changelog, 10 July 2024), so every default
is the careful one: a refusal without more knowledge retires nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, Rejected, TryLater


class Refusal(StrEnum):
    REJECTED = "rejected"
    LATER = "later"
    OURS = "ours"  # our configuration, sender or account


@dataclass(frozen=True, slots=True)
class Meaning:
    """`refusal` matters when the API refuses; the flags also when a callback reports the code later."""

    refusal: Refusal
    retire_address: bool = False
    opted_out: bool = False


_DEAD = Meaning(Refusal.REJECTED, retire_address=True)
_OPTED_OUT = Meaning(Refusal.REJECTED, opted_out=True)
_REFUSED = Meaning(Refusal.REJECTED)
_LATER = Meaning(Refusal.LATER)
_OURS = Meaning(Refusal.OURS)

#: Each code's page is https://www.twilio.com/docs/api/errors/<code>. Magic-number codes: the page on test credentials.
#: 30003-30008: the error dictionary as quoted by support pages. Read November 2026; docs/channels.md says what is
#: unverified.
TWILIO_ERRORS: Mapping[int, Meaning] = {
    # the API refuses the request
    20003: _OURS,  # authentication failed
    20005: _OURS,  # account not active
    20404: _OURS,  # no such resource: the account in the URL
    20429: _LATER,  # too many requests: never processed, safe to repeat
    21211: _DEAD,  # invalid To number
    21219: _OURS,  # trial account, number not verified
    21212: _OURS,  # invalid From number
    21217: _DEAD,  # To number does not look valid
    21265: _DEAD,  # To is a short code
    21266: _DEAD,  # To and From are the same
    21267: _OURS,  # alphanumeric sender on a trial account
    21408: _REFUSED,  # no permission for this country: a matter of geo settings, the number may be good
    21601: _OURS,  # From cannot send texts
    21602: _REFUSED,  # no body
    21603: _OURS,  # From is required
    21604: _DEAD,  # To is required
    21606: _OURS,  # From is not ours or not SMS-capable
    21608: _OURS,  # trial account, number not verified
    21609: _OURS,  # StatusCallback is no URL: DULY_PUBLIC_URL
    21610: _OPTED_OUT,  # the recipient has unsubscribed from this sender
    21611: _LATER,  # this From number's queue is full
    21612: _REFUSED,  # no route between To and From
    21614: _DEAD,  # To is not a mobile number
    21616: _OURS,  # From matches several numbers
    21617: _REFUSED,  # body over 1,600 characters
    21619: _REFUSED,  # no text at all
    21635: _DEAD,  # To is a landline
    21654: _OURS,  # content template not found
    21659: _OURS,  # From is not a number of Twilio
    21660: _OURS,  # From belongs to another account
    21661: _OURS,  # From is not SMS-capable
    21703: _OURS,  # messaging service has no senders
    21704: _OURS,  # likewise
    21705: _OURS,  # messaging service is invalid
    21730: _LATER,  # maintenance
    63017: _LATER,  # account's rate
    63038: _LATER,  # account's daily limit
    90007: _REFUSED,  # ValidityPeriod out of range
    # accepted, then reported in a callback (or, for some, at once)
    30001: _LATER,  # queue overflow
    30002: _OURS,  # account suspended
    30003: _REFUSED,  # handset unreachable: off, out of range; may come back
    30004: _OPTED_OUT,  # blocked by the recipient or the carrier: read as a no
    30005: _DEAD,  # unknown handset
    30006: _DEAD,  # landline or unreachable carrier
    30007: _REFUSED,  # filtered: usually the text, not the number
    30008: _REFUSED,  # unknown error
    30009: _REFUSED,  # a segment is missing
    30010: _REFUSED,  # dearer than the highest price that we allow
    30011: _REFUSED,  # no MMS there
    30012: _LATER,  # the validity period was too short for the carrier: another window may be longer
    30017: _LATER,  # carrier congested
    30022: _LATER,  # 10DLC rate exceeded
    30023: _LATER,  # 10DLC daily cap
    30032: _OURS,  # toll-free number is not verified
    30034: _OURS,  # 10DLC number is not registered
    30035: _OURS,  # number is not set up well
    30036: _REFUSED,  # validity period ran out before it left
    30047: _REFUSED,  # rescheduling failed; neither queued nor sent
    30410: _REFUSED,  # carrier timed out
    30450: _REFUSED,  # held back as suspected traffic fraud
    30453: _REFUSED,  # likewise
    30610: _LATER,  # quiet hours at the provider
    30863: _OURS,  # toll-free verification: debt collection is not allowed there
    30943: _OURS,  # 10DLC campaign: likewise
    63014: _OPTED_OUT,  # blocked by an action of the user
}


def meaning(code: int | None) -> Meaning | None:
    """What a code means; None for one that is not listed."""
    return TWILIO_ERRORS.get(code) if code is not None else None


def refusal(status: int, code: int | None, after: timedelta | None) -> ChannelError:
    """The error for an HTTP answer that is no acceptance. Only 4xx is known to come before acceptance."""
    word = str(code) if code is not None else f"http {status}"
    if not 400 <= status < 500:
        return OutcomeUnknown(word) if status >= 500 else Misconfigured(word)
    known = meaning(code) or _by_status(status)
    match known.refusal:
        case Refusal.LATER:
            return TryLater(word, after)
        case Refusal.OURS:
            return Misconfigured(word)
        case Refusal.REJECTED:
            return Rejected(word, known.retire_address, known.opted_out)


def _by_status(status: int) -> Meaning:
    if status in (408, 425, 429):
        return _LATER
    return _OURS if status in (401, 402, 403, 404, 405, 407, 410) else _REFUSED
