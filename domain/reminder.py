"""A reminder: a planned step with its time. It ends in exactly one way."""

from enum import StrEnum


class ReminderState(StrEnum):
    PLANNED = "planned"
    INTENDED = "intended"  # committed to a contact, in a worker's hands
    SENT = "sent"
    HANDED = "handed"  # to a person
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


OPEN = frozenset({ReminderState.PLANNED, ReminderState.INTENDED})
ENDS = frozenset(ReminderState) - OPEN
