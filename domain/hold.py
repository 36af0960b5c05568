"""A hold: a timed stop with a reason. It acts on a person, or on one account when it names one."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.channel import Channel


class HoldKind(StrEnum):
    """Stop reasons worth a name (research notes, section 4.1)."""

    OPT_OUT = "opt_out"
    CEASE_ALL = "cease_all"
    DISPUTE = "dispute"
    COMPLAINT = "complaint"
    BREATHING_SPACE_UK = "breathing_space_uk"
    ADVISER = "adviser"
    REPRESENTED = "represented"
    CAPACITY = "capacity"
    VULNERABLE_REVIEW = "vulnerable_review"
    HARDSHIP = "hardship"
    BEREAVEMENT = "bereavement"
    DECEASED = "deceased"
    DISASTER_AREA = "disaster_area"
    WRONG_PARTY = "wrong_party"
    PROMISE = "promise"
    PAID_PENDING = "paid_pending"
    INSOLVENCY = "insolvency"
    REPLY = "reply"  # somebody wrote to us: a person reads it first
    ARRANGEMENT = "arrangement"


@dataclass(frozen=True, slots=True)
class Hold:
    """`account` is None for the whole person; `until` is None when only a person may end it. Times are aware UTC.

    `channel` narrows a hold to one channel (an opt-out by SMS); None stops all of them.
    """

    kind: HoldKind
    account: str | None
    since: datetime
    until: datetime | None
    channel: Channel | None = None
