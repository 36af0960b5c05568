"""Dispositions: how a call ended, and what follows from it. A table for people to read and change by decision.

Codes and effects: research notes, section 8.1. An ending that nobody said counts as a conversation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from domain.contact import EventKind
from domain.hold import HoldKind


class Then(StrEnum):
    """What follows beside a hold."""

    TRY_AGAIN = "try_again"  # another task, after a decent wait
    RETIRE_NUMBER = "retire_number"  # this number, of this person
    NO_CALLS = "no_calls"  # a refused channel
    CALL_BACK = "call_back"  # a task at the time that they asked for
    TO_SPECIALIST = "to_specialist"
    GO_ON = "go_on"  # the reply is dealt with: what waited for that goes on
    PROMISE = "promise"  # a promise on record, and its hold until the day after


@dataclass(frozen=True, slots=True)
class Disposition:
    """`event` is what the contact becomes if somebody dialled. `hold_for` None: until a person ends the hold."""

    means: str
    event: EventKind
    hold: HoldKind | None = None
    hold_for: timedelta | None = None
    then: frozenset[Then] = frozenset()


#: A number that nobody answered is tried again no sooner (baseline: attempts at least four hours apart).
TRY_AGAIN_AFTER = timedelta(hours=4)

#: A promise's hold stands through this many days after its day, so that a payment of that day has arrived.
PROMISE_GRACE_DAYS = 1

_TALK = EventKind.CONVERSATION
_DAYS_3, _DAYS_14, _DAYS_60 = timedelta(days=3), timedelta(days=14), timedelta(days=60)
_SPECIALIST = frozenset({Then.TO_SPECIALIST})

DISPOSITIONS: Mapping[str, Disposition] = {
    # nobody we could speak to
    "no_answer": Disposition("rang out", EventKind.NO_ANSWER, then=frozenset({Then.TRY_AGAIN})),
    "busy": Disposition("line busy", EventKind.BUSY, then=frozenset({Then.TRY_AGAIN})),
    "machine_no_msg": Disposition("machine, no message", EventKind.NO_ANSWER, then=frozenset({Then.TRY_AGAIN})),
    "machine_left_limited": Disposition("machine, neutral message left", EventKind.VOICEMAIL),
    "not_in_service": Disposition(
        "number out of service", EventKind.NOT_IN_SERVICE, then=frozenset({Then.RETIRE_NUMBER})
    ),
    # somebody else
    "wrong_party": Disposition("not their number", EventKind.THIRD_PARTY, then=frozenset({Then.RETIRE_NUMBER})),
    "third_party_answered": Disposition("somebody else answered, nothing said", EventKind.THIRD_PARTY),
    "language_needed": Disposition("needs another language", EventKind.THIRD_PARTY, then=_SPECIALIST),
    "deceased": Disposition("the customer has died", EventKind.THIRD_PARTY, HoldKind.DECEASED),
    # the customer
    "handled": Disposition("dealt with; reminders may go on", _TALK, then=frozenset({Then.GO_ON})),
    "unverified": Disposition("could not be verified, ended politely", _TALK),
    "hangup": Disposition("hung up", _TALK),
    "promise": Disposition("promised to pay on a day", _TALK, then=frozenset({Then.PROMISE})),
    "plan": Disposition("a plan is being agreed", _TALK, HoldKind.ARRANGEMENT, _DAYS_14, _SPECIALIST),
    "paid_now": Disposition("paid during the call", _TALK, HoldKind.PAID_PENDING, _DAYS_3),
    "says_paid": Disposition("says it is paid", _TALK, HoldKind.PAID_PENDING, _DAYS_3),
    "callback": Disposition("asked to be called at a time", _TALK, then=frozenset({Then.CALL_BACK})),
    "refused": Disposition("does not want to talk", _TALK, HoldKind.REPLY, _DAYS_14),
    "dispute": Disposition("not theirs, or the amount is wrong", _TALK, HoldKind.DISPUTE, None, _SPECIALIST),
    "hardship": Disposition("cannot pay now", _TALK, HoldKind.HARDSHIP, _DAYS_14, _SPECIALIST),
    "vulnerable": Disposition("ill, or in a hard place", _TALK, HoldKind.VULNERABLE_REVIEW, None, _SPECIALIST),
    "self_harm_risk": Disposition("in danger: care first", _TALK, HoldKind.VULNERABLE_REVIEW, None, _SPECIALIST),
    "complaint": Disposition("complained", _TALK, HoldKind.COMPLAINT, None, _SPECIALIST),
    "opt_out_call": Disposition("wants no calls", _TALK, then=frozenset({Then.NO_CALLS})),
    "opt_out_all": Disposition("wants no contact at all", _TALK, HoldKind.OPT_OUT),
    "represented": Disposition("has a lawyer or an adviser", _TALK, HoldKind.REPRESENTED),
    "insolvency": Disposition("insolvent, or about to be", _TALK, HoldKind.INSOLVENCY, None, _SPECIALIST),
    "breathing_space": Disposition("in a breathing space", _TALK, HoldKind.BREATHING_SPACE_UK, _DAYS_60),
    # us
    "abandoned_by_us": Disposition("we broke off: an incident", _TALK, then=_SPECIALIST),
    # The dial is on record, so it counts as an attempt, and as no more than that.
    "not_attempted": Disposition("not called after all", EventKind.NO_ANSWER, then=frozenset({Then.TRY_AGAIN})),
}

#: How a call ends that nobody said the ending of. Not for people to choose.
NOT_RECORDED = "not_recorded"
