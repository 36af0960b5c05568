"""Accounts that owe something and have no open step get one: new ones, those with a new due date, those reopened."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from domain.channel import AddressChannel
from domain.ladder import Done, Ladder, Owed
from domain.reminder import NewReminder
from storage import intents, payments
from storage.rows import Conn
from worker.cases import planning_zone
from worker.planner import reminder_for, step_after


def plan_entries(
    conn: Conn, accounts: Sequence[tuple[int, int]], ladders: Mapping[str, Ladder], *, now: datetime
) -> int:
    """Plan a step for each account (party, account) that owes and has none open; how many were new.

    Planning starts at `now`. An account whose ladder is not among `ladders` gets no step until its release has it.
    """
    planned = [
        _entry(row, ladders[row.ladder], now) for row in payments.to_plan(conn, accounts) if row.ladder in ladders
    ]
    return intents.plan(conn, [reminder for reminder in planned if reminder is not None])


def _entry(row: payments.ToPlan, ladder: Ladder, now: datetime) -> NewReminder | None:
    owed = Owed(row.due_on, row.balance_minor, row.currency, planning_zone(row.zones))
    last = None
    if row.last_step is not None and row.last_planned_for is not None and row.last_ladder == row.ladder:
        last = Done(row.last_step, row.last_planned_for)
    step = step_after(ladder, owed, last, now=now)
    if step is None:
        return None
    return reminder_for(
        step,
        party_id=row.party_id,
        account_id=row.account_id,
        lender_id=row.lender_id,
        ladder=row.ladder,
        reachable={AddressChannel(name) for name in row.reachable},
    )
