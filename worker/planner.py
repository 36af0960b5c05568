"""What comes next for an account: the ladder's arithmetic joined to the lanes that exist."""

from collections.abc import Set
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from domain.channel import BY_A_PERSON, REACHED_BY, AddressChannel, Channel
from domain.ladder import Done, Ladder, Owed, PlannedStep, Step, first_step, next_step
from domain.lane import shard_of
from domain.reminder import NewReminder
from domain.value import made_of


def lane_channel(step: Step, reachable: Set[AddressChannel]) -> Channel:
    """The step's first choice that the customer has an address for.

    Without any, the first choice stands (the judge then says why nothing can be sent); a step without channels, or one
    that only a person can do, waits in the lane of calls.
    """
    for channel in step.channels:
        if channel in BY_A_PERSON or REACHED_BY[channel] in reachable:
            return channel
    return step.channels[0] if step.channels else Channel.CALL


def reminder_for(
    planned: PlannedStep, *, party_id: int, account_id: int, lender_id: str, ladder: str, reachable: Set[AddressChannel]
) -> NewReminder:
    """The row for a planned step: at most one of them is open for an account."""
    step = planned.step
    channel = lane_channel(step, reachable)
    return _reminder(
        (
            party_id, account_id, lender_id, ladder, step.id, step.stage, channel, shard_of(party_id), planned.due_at,
            planned.expires_at,
        )
    )  # fmt: skip


#: One is made for each message.
_reminder: Final = made_of(NewReminder)


def step_after(ladder: Ladder, owed: Owed, last: Done | None, *, now: datetime) -> PlannedStep | None:
    """Where a debt goes on that has no open step: after the last one that ended, or at the gentlest still true.

    A step counts as one of this due date only when it was planned no earlier than its own day after it: what was said
    about an earlier due date is over.
    """
    position = None if last is None else ladder.index(last.step_id)
    if last is None or position is None:
        return first_step(ladder, owed, now=now)
    planned_on = last.planned_for.astimezone(ZoneInfo(owed.zone)).date()
    if planned_on < owed.due_on + timedelta(days=ladder.steps[position].day):
        return first_step(ladder, owed, now=now)
    return next_step(ladder, owed, last, now=now) or first_step(ladder, owed, now=now)
