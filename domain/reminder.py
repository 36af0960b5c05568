"""A reminder: a planned step with its time. It ends in exactly one way."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from domain.channel import Channel


class ReminderState(StrEnum):
    PLANNED = "planned"
    SENT = "sent"
    HANDED = "handed"  # to a person
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


OPEN = frozenset({ReminderState.PLANNED})
ENDS = frozenset(ReminderState) - OPEN


class NewReminder(NamedTuple):
    """A planned step of one account, ready to be written down. Times are aware UTC."""

    party_id: int
    account_id: int
    lender_id: str
    ladder: str
    step: str
    stage: str
    channel: Channel
    shard: int
    due_at: datetime
    expires_at: datetime
