"""A contact is an immutable intent; what became of it is a fold over its events with one rank table."""

import os
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NewType
from uuid import UUID, SafeUUID

ContactId = NewType("ContactId", UUID)


class EventKind(StrEnum):
    """What can happen to a contact after the intent was committed."""

    RELEASED = "released"  # its wave was refused or its worker died before the stamp: nothing left the house
    UNCERTAIN = "uncertain"  # stamped, and no answer: it may have been sent
    REJECTED = "rejected"  # the provider refused it before accepting it
    SENT = "sent"  # the provider accepted it
    UNDELIVERED = "undelivered"  # accepted, then reported as not delivered
    DELIVERED = "delivered"
    READ = "read"
    REPLIED = "replied"
    # calls
    DIALLED = "dialled"  # the agent clicked; no disposition yet
    NOT_IN_SERVICE = "not_in_service"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    VOICEMAIL = "voicemail"
    THIRD_PARTY = "third_party"
    CONVERSATION = "conversation"


#: The one rank table: the event with the highest rank is the state of the contact, whatever order events came in.
#: No two kinds share a rank. Proof of acceptance outranks a time-out and a refusal. The database carries the same
#: table (agreement-tested).
RANKS: dict[EventKind, int] = {
    EventKind.RELEASED: 10,
    EventKind.UNCERTAIN: 20,
    EventKind.REJECTED: 30,
    EventKind.SENT: 40,
    EventKind.UNDELIVERED: 50,
    EventKind.DELIVERED: 60,
    EventKind.READ: 70,
    EventKind.REPLIED: 80,
    EventKind.DIALLED: 41,
    EventKind.NOT_IN_SERVICE: 51,
    EventKind.NO_ANSWER: 52,
    EventKind.BUSY: 54,
    EventKind.VOICEMAIL: 61,
    EventKind.THIRD_PARTY: 71,
    EventKind.CONVERSATION: 81,
}


class Outcome(StrEnum):
    """A contact's state in the words that the counting rules use (`duly judge` reads the same words)."""

    INTENDED = "intended"
    UNCERTAIN = "uncertain"
    REJECTED = "rejected"
    SENT = "sent"
    DELIVERED = "delivered"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    VOICEMAIL = "voicemail"
    NOT_IN_SERVICE = "not_in_service"
    THIRD_PARTY = "third_party"
    CONVERSATION = "conversation"


#: What each event means to the rules. A released contact never happened; a call without disposition counts as a
#: conversation (the careful reading).
OUTCOME_OF: dict[EventKind, Outcome] = {
    EventKind.RELEASED: Outcome.REJECTED,
    EventKind.UNCERTAIN: Outcome.UNCERTAIN,
    EventKind.REJECTED: Outcome.REJECTED,
    EventKind.SENT: Outcome.SENT,
    EventKind.UNDELIVERED: Outcome.SENT,
    EventKind.DELIVERED: Outcome.DELIVERED,
    EventKind.READ: Outcome.DELIVERED,
    EventKind.REPLIED: Outcome.DELIVERED,
    EventKind.DIALLED: Outcome.CONVERSATION,
    EventKind.NOT_IN_SERVICE: Outcome.NOT_IN_SERVICE,
    EventKind.NO_ANSWER: Outcome.NO_ANSWER,
    EventKind.BUSY: Outcome.BUSY,
    EventKind.VOICEMAIL: Outcome.VOICEMAIL,
    EventKind.THIRD_PARTY: Outcome.THIRD_PARTY,
    EventKind.CONVERSATION: Outcome.CONVERSATION,
}


#: Kinds after which the rules count a contact differently from its bare intent. The others (uncertain, accepted,
#: delivered, read, dialled) change nothing for them: an intent counts as if it had reached the customer.
TELLING = frozenset(
    {
        EventKind.RELEASED, EventKind.REJECTED, EventKind.NOT_IN_SERVICE, EventKind.NO_ANSWER, EventKind.BUSY,
        EventKind.VOICEMAIL, EventKind.THIRD_PARTY, EventKind.CONVERSATION,
    }
)  # fmt: skip


def fold(events: Iterable[EventKind]) -> EventKind | None:
    """The state of a contact from its events in any order; None while nothing has happened."""
    return max(events, key=RANKS.__getitem__, default=None)


def new_contact_id(at: datetime) -> ContactId:
    """A UUIDv7 (RFC 9562, section 5.7) whose 48-bit millisecond time is `at`, so ids sort as contacts happened."""
    return new_contact_ids(at, 1)[0]


def new_contact_ids(at: datetime, number: int) -> list[ContactId]:
    """So many of them, for which the system is asked for chance only once."""
    chance, frame = os.urandom(_CHANCE_BYTES * number), _frame(at)
    return [
        _id(frame | int.from_bytes(chance[start : start + _CHANCE_BYTES]) & _NOISE)
        for start in range(0, len(chance), _CHANCE_BYTES)
    ]


def _id(number: int) -> ContactId:
    made = object.__new__(UUID)  # as UUID's own constructor does, less its checks of what it is given
    _set(made, "int", number)
    _set(made, "is_safe", _UNKNOWN)
    return ContactId(made)


_set = object.__setattr__
_UNKNOWN = SafeUUID.unknown

_CHANCE_BYTES = 10

#: The last 80 bits, without those of the version and the variant.
_NOISE = (1 << 80) - 1 & ~(0xF << 76) & ~(0b11 << 62)


@lru_cache(maxsize=64)  # a batch is of one instant
def _frame(at: datetime) -> int:
    """The time, the version and the variant, each in its place."""
    return int(at.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62
