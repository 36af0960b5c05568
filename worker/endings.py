"""How a call ended: its disposition written down, and everything that follows from it, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from domain.channel import Channel
from domain.days import ONE_DAY, day_start, first_instant, local_day
from domain.disposition import DISPOSITIONS, NOT_RECORDED, PROMISE_GRACE_DAYS, TRY_AGAIN_AFTER, Disposition, Then
from domain.hold import HoldKind
from domain.money import BadMoney, parse_major
from storage import calls, feedback, lanes
from storage.calls import CallTask
from storage.feedback import NewHold
from storage.picture import Due
from storage.rows import Conn
from worker.calls import FROM_DESK, REQUESTED
from worker.cases import planning_zone

#: Nobody can promise, or ask to be called, for later than this.
LONGEST_AHEAD = timedelta(days=366)


class BadEnding(ValueError):
    """An ending that cannot be written down; the message says what is wrong and what to give."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended. `amount` is in major units, as people say it; `call_back_at` is the customer's local time."""

    disposition: str
    promised_for: date | None = None
    amount: str | None = None
    account: str | None = None
    method: str | None = None
    call_back_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What followed. `next_task` is the task that was queued, if any."""

    task: CallTask
    hold: HoldKind | None = None
    hold_until: datetime | None = None
    next_task: int | None = None


@dataclass(frozen=True, slots=True)
class _Promise:
    account_id: int
    amount_minor: int
    until: datetime


def end_call(conn: Conn, call_task_id: int, ending: Ending, *, agent: str) -> Ended:
    """Write down how a task ended, and what follows. Raises BadEnding with nothing changed.

    A call that was closed because nobody said its ending may still be given one.
    """
    disposition = DISPOSITIONS.get(ending.disposition)
    if disposition is None:
        raise BadEnding(f"no disposition {ending.disposition!r}: use one of {', '.join(sorted(DISPOSITIONS))}")
    given = calls.task(conn, call_task_id)
    if given is None:
        raise BadEnding(f"there is no task {call_task_id}: `duly calls list` shows them")
    with conn.transaction():
        calls.lock_party(conn, given.party_id)
        task = calls.lock_task(conn, given)
        if task is None or not _is_open(task):
            raise BadEnding(f"task {call_task_id} is not in anybody's hands: `duly calls next` claims one")
        return _apply(conn, task, disposition, ending, agent=agent)


def _is_open(task: CallTask) -> bool:
    return task.state == "claimed" or (task.state == "done" and task.disposition == NOT_RECORDED)


def _apply(conn: Conn, task: CallTask, disposition: Disposition, ending: Ending, *, agent: str) -> Ended:
    now = lanes.business_now(conn)
    debts = calls.debts_of(conn, task)
    zone = planning_zone(debts[0].zones) if debts else "UTC"
    promise = _promise(ending, debts, zone, now) if Then.PROMISE in disposition.then else None
    call_back_at = _call_back_at(ending, zone, now) if Then.CALL_BACK in disposition.then else None
    contact = calls.contact_of(conn, task) if task.contact_id is not None else None
    if contact is not None and task.contact_id is not None:
        intended_at, address_id = contact
        calls.add_event(
            conn, task.party_id, task.contact_id, intended_at, disposition.event, code=ending.disposition, by=agent
        )
        if Then.RETIRE_NUMBER in disposition.then and address_id is not None:
            calls.retire_number(conn, task.party_id, address_id, reason=ending.disposition)
    if Then.NO_CALLS in disposition.then:
        calls.refuse_channel(conn, task.party_id, task.customer_id, Channel.CALL)
    if disposition.then & {Then.RETIRE_NUMBER, Then.NO_CALLS}:
        feedback.bump(conn, [task.party_id])
    if Then.GO_ON in disposition.then:
        feedback.end_holds(conn, task.party_id, kinds=[HoldKind.REPLY], by=agent)
    hold = _hold(task, disposition, promise, now=now, agent=agent)
    if hold is not None:
        feedback.set_hold(conn, hold)
    if promise is not None and ending.promised_for is not None:
        calls.add_promise(
            conn, task, account_id=promise.account_id, amount_minor=promise.amount_minor,
            promised_for=ending.promised_for, method=ending.method,
        )  # fmt: skip
    calls.close(conn, task, disposition=ending.disposition)
    return Ended(
        task,
        hold.kind if hold else None,
        hold.ends_at if hold else None,
        _queue_next(conn, task, disposition, ending, call_back_at, now=now),
    )


def _hold(
    task: CallTask, disposition: Disposition, promise: _Promise | None, *, now: datetime, agent: str
) -> NewHold | None:
    source = f"call task {task.call_task_id}, {agent}"
    if promise is not None:
        return NewHold(
            task.party_id, HoldKind.PROMISE, disposition.means, source, now, promise.until, promise.account_id
        )
    if disposition.hold is None:
        return None
    until = now + disposition.hold_for if disposition.hold_for is not None else None
    return NewHold(task.party_id, disposition.hold, disposition.means, source, now, until)


def _queue_next(
    conn: Conn,
    task: CallTask,
    disposition: Disposition,
    ending: Ending,
    call_back_at: datetime | None,
    *,
    now: datetime,
) -> int | None:
    if call_back_at is not None:
        return calls.queue_again(conn, task, kind="call", reason=REQUESTED, not_before=call_back_at)
    reason = f"{FROM_DESK}{ending.disposition}"
    if Then.TO_SPECIALIST in disposition.then:
        return calls.queue_again(conn, task, kind="specialist", reason=reason, not_before=now)
    again_at = now + TRY_AGAIN_AFTER
    if Then.TRY_AGAIN in disposition.then and (task.expires_at is None or task.expires_at > again_at):
        return calls.queue_again(
            conn, task, kind=task.kind, reason=f"again after {ending.disposition}", not_before=again_at
        )
    return None


# -------------------------------------------------------------------------------------------------------- what was said


def _promise(ending: Ending, debts: Sequence[Due], zone: str, now: datetime) -> _Promise:
    """Raises BadEnding: a promise has a day that has not passed, an amount, and one account."""
    if ending.promised_for is None or ending.amount is None:
        raise BadEnding("a promise needs --promise-date and --amount")
    today = local_day(now, zone)
    if not today <= ending.promised_for <= today + LONGEST_AHEAD:
        raise BadEnding(f"--promise-date {ending.promised_for} is not between {today} and a year from then")
    row = _account(ending, debts)
    try:
        money = parse_major(ending.amount, row.currency)
    except BadMoney as bad:
        raise BadEnding(f"--amount: {bad}") from bad
    if money.amount_minor <= 0:
        raise BadEnding("--amount must be more than nothing")
    ends = day_start(ending.promised_for + (1 + PROMISE_GRACE_DAYS) * ONE_DAY, zone)
    return _Promise(row.account_id, money.amount_minor, ends)


def _account(ending: Ending, debts: Sequence[Due]) -> Due:
    if ending.account is not None:
        named = [row for row in debts if row.account_ref == ending.account]
        if not named:
            raise BadEnding("--account names no account of this task")
        return named[0]
    if len(debts) != 1:
        raise BadEnding(f"the task is about {len(debts)} accounts: say with --account which one was promised")
    return debts[0]


def _call_back_at(ending: Ending, zone: str, now: datetime) -> datetime:
    """Raises BadEnding: a call back has a time ahead, on the customer's clock."""
    if ending.call_back_at is None:
        raise BadEnding('a callback needs --at, in the customer\'s local time, as in --at "2026-03-04 10:30"')
    at = first_instant(ending.call_back_at.date(), ending.call_back_at.time(), zone)
    if not now < at < now + LONGEST_AHEAD:
        raise BadEnding(f"--at is not ahead of us within a year (the customer's clock is in {zone})")
    return at
