"""Holds: timed stops on a person or on one account, and which answers may still pass them."""

from collections.abc import Iterator
from datetime import datetime

from domain.case import Case
from domain.hold import Hold, HoldKind
from domain.purpose import Purpose
from domain.verdict import Because

_LAW_ONLY = frozenset({Purpose.STATUTORY_NOTICE})
_ANSWERS = frozenset({Purpose.STATUTORY_NOTICE, Purpose.REPLY, Purpose.REQUESTED_CALLBACK, Purpose.OPTOUT_CONFIRMATION})

#: What may pass each hold. Nothing reaches the dead or a stranger; a notice that a law asks for passes where the
#: customer still is the right person; an answer passes the holds that mean "we owe you an answer".
PASSES: dict[HoldKind, frozenset[Purpose]] = {
    HoldKind.OPT_OUT: _ANSWERS,
    HoldKind.CEASE_ALL: _LAW_ONLY | {Purpose.OPTOUT_CONFIRMATION},
    HoldKind.DISPUTE: _ANSWERS,
    HoldKind.COMPLAINT: _ANSWERS,
    HoldKind.BREATHING_SPACE_UK: _LAW_ONLY,
    HoldKind.ADVISER: _ANSWERS,
    HoldKind.REPRESENTED: _LAW_ONLY,
    HoldKind.CAPACITY: _LAW_ONLY,
    HoldKind.VULNERABLE_REVIEW: _LAW_ONLY,
    HoldKind.HARDSHIP: _ANSWERS,
    HoldKind.BEREAVEMENT: _LAW_ONLY,
    HoldKind.DECEASED: frozenset(),
    HoldKind.DISASTER_AREA: _LAW_ONLY,
    HoldKind.WRONG_PARTY: frozenset(),
    HoldKind.PROMISE: _ANSWERS,
    HoldKind.PAID_PENDING: _ANSWERS,
    HoldKind.INSOLVENCY: _LAW_ONLY,
    HoldKind.REPLY: _ANSWERS,
    HoldKind.ARRANGEMENT: _ANSWERS,
}

#: The rule each kind of hold speaks as.
BECAUSE: dict[HoldKind, Because] = {
    kind: Because(f"hold.{kind}", "duly@1", f"a hold of kind {kind} is on record", "own", "hard") for kind in HoldKind
}


def standing_holds(case: Case, at: datetime) -> Iterator[Hold]:
    """The holds that bar this attempt at that instant."""
    for hold in case.holds:
        if hold.since > at or (hold.until is not None and hold.until <= at):
            continue
        if hold.account is not None and hold.account != case.account.id:
            continue
        if hold.channel is not None and hold.channel is not case.attempt.channel:
            continue
        if case.attempt.purpose not in PASSES[hold.kind]:
            yield hold
