"""How long the ledger is kept, and the nightly job that forgets what is older: whole months, and never by surprise.

Everything is kept unless the operator says for how many days. What a rule of any pack in the live release needs for
longer is refused in a sentence and nothing is dropped; what open work needs holds its months back and is told.
"""

import math
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog

from config.lenders import load_lenders
from policy.keeping import Asked, Bounds, bounds
from policy.packs import PackBook
from storage import lanes, releases, retention
from storage.lanes import Claim
from storage.retention import Mark, Need
from storage.rows import Conn
from worker.wiring import Spine

log = structlog.get_logger()

JOB: Final = "retention"

SETTING: Final = "DULY_KEEP_LEDGER_DAYS"

#: Three months, whatever the packs say: what a person is shown of the past, and the months that are made behind the
#: present one (storage/lanes.py: `ensure_partitions`), or they would be made and dropped every night.
SHORTEST_DAYS: Final = 93

#: A night that comes so long after the one before says more about the clock than about time: nothing goes in it.
LONGEST_GAP: Final = timedelta(days=31)

#: A run hands its worker back after this long and comes again; a task is interrupted after a minute.
SLICE_SECONDS: Final = 20.0

#: Blocks of the table of reminders that are looked through in one transaction: 4 MB.
BLOCKS: Final = 512


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long the ledger is kept. `days` None: everything. `refused` says why nothing is dropped although it should.

    `wanted` is the first day that the setting keeps, `before` the one that open work leaves of it; each begins a month.
    `exceeded` are the maxima that what is kept is older than.
    """

    days: int | None
    first: date | None
    bounds: Bounds
    exceeded: tuple[Asked, ...] = ()
    refused: str | None = None
    wanted: date | None = None
    before: date | None = None
    held_by: Need | None = None

    def is_late(self, at: datetime) -> bool:
        """Whether a month is still there that was to go by that time."""
        if self.days is None or self.refused is not None or self.first is None:
            return False
        return self.first < _month_of(at - timedelta(days=self.days))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What one run forgot: partitions by name, and rows. `left` is what somebody else held; `is_done`: all of it."""

    months: tuple[str, ...]
    rows: int
    left: str | None
    is_done: bool


# ------------------------------------------------------------------------------------------------------------ how long


def keeping(conn: Conn, days: int | None, *, now: datetime) -> Keeping:
    """How long the ledger is kept, by the setting, the live release and the work that is open. Changes nothing."""
    first = retention.first_month(conn)
    try:
        asked = _bounds(conn)
    except (ValueError, LookupError) as error:  # every loader's error is one of them, and names file, key and remedy
        return Keeping(days, first, Bounds(None, ()), refused=_unknown(str(error)) if days is not None else None)
    age = 0 if first is None else (now.date() - first).days
    exceeded = tuple(most for most in asked.most if min(age, math.inf if days is None else days) > most.days)
    if days is None:
        return Keeping(days, first, asked, exceeded)
    refused = _too_short(days, asked.least)
    if refused is not None:
        return Keeping(days, first, asked, exceeded, refused)
    wanted = _month_of(now - timedelta(days=days))
    need = retention.needs(conn)
    if need is None or _month_of(need.since) >= wanted:
        return Keeping(days, first, asked, exceeded, None, wanted, wanted)
    return Keeping(days, first, asked, exceeded, None, wanted, _month_of(need.since), need)


def _bounds(conn: Conn) -> Bounds:
    live = releases.live_hash(conn)
    if live is None:
        raise LookupError("no release is live: publish one (docs/releases.md)")
    bundle = releases.fetch(conn, live)
    return bounds(PackBook.from_files(bundle.under("policies")), load_lenders(bundle.under("lenders")).values())


def _unknown(why: str) -> str:
    return f"nothing is dropped while nobody can tell how long the packs ask for: {why}"


def _too_short(days: int, least: Asked | None) -> str | None:
    """Why so few days are refused, and what to do; None when they are enough."""
    if least is not None and days < least.days and least.days > SHORTEST_DAYS:
        who = f"{least.rule} of {least.pack} {least.what}"
        return f"{SETTING} is {days}, and {who}: set {least.days} or more, or take it out to keep everything"
    if days < SHORTEST_DAYS:
        return f"{SETTING} is {days}: set {SHORTEST_DAYS} or more, or take it out to keep everything"
    return None


def _month_of(at: datetime) -> date:
    return at.astimezone(UTC).date().replace(day=1)


# ------------------------------------------------------------------------------------------------------------- the job


def run(spine: Spine, night: Claim) -> int:
    """Forget what is older than it is kept; how many partitions and rows went. What is left over comes again.

    A clock that has leapt years ahead would have every month forgotten: the first night after a leap forgets nothing,
    so that somebody can see it in time. Every step is a transaction of its own, so that no lock is held for long: do
    not call it inside one.
    """
    if spine.settings.keep_ledger_days is None:
        return 0
    if night.now - night.was_due > LONGEST_GAP:
        log.error(
            "retention_waits", days=(night.now - night.was_due).days,
            why="so long has no night come: is the clock right? The next night drops what is old by it",
        )  # fmt: skip
        return 0
    kept = keeping(spine.conn, spine.settings.keep_ledger_days, now=night.now)
    if kept.refused is not None or kept.before is None:
        log.error("retention_refused", why=kept.refused)
        return 0
    if kept.held_by is not None:
        log.warning("retention_held_back", by=kept.held_by.what, since=str(kept.held_by.since.date()))
    forgotten = forget(spine.conn, kept.before, within_seconds=SLICE_SECONDS)
    if forgotten.left is not None:
        log.warning("retention_left", table=forgotten.left, why="somebody else holds it: again the next night")
    elif not forgotten.is_done:
        lanes.put_off_job(spine.conn, JOB, by=timedelta())  # not finished: at once
    if forgotten.months or forgotten.rows:
        log.info("forgotten", before=str(kept.before), months=list(forgotten.months), rows=forgotten.rows)
    return len(forgotten.months) + forgotten.rows


def forget(conn: Conn, before: date, *, within_seconds: float = math.inf) -> Forgotten:
    """Forget the ledger before the first day of a month, as far as the time allows. Safe to repeat, also after a crash.

    The first lock that is not to be had ends the dropping, since whoever waits for one holds up the fleet.
    """
    until = time.monotonic() + within_seconds
    stands = retention.mark(conn)
    if stands is None and not retention.months_before(conn, before):
        return Forgotten((), 0, None, is_done=True)
    marked = _moved_on(conn, stands, before)
    if marked is None:
        return Forgotten((), 0, "contact", is_done=False)
    dropped, left = _drop_months(conn, before, until)
    rows = 0
    while left is None and time.monotonic() < until and (gone := retention.forget_unforeseen(conn, before)):
        rows += gone
    gone, block = _forget_reminders(conn, before, marked.block, until)
    if left is None and block is None:
        rows += retention.forget_look_ups(conn)
    if block != marked.block and not retention.set_mark(conn, Mark(marked.before, block)):
        left = left or "contact"
    is_done = left is None and block is None and time.monotonic() < until
    return Forgotten(dropped, rows + gone, left, is_done)


def _moved_on(conn: Conn, stands: Mark | None, before: date) -> Mark | None:
    """How far the ledger is forgotten, written down before anything goes; None where that cannot be written."""
    if stands is not None and stands.before >= before:
        return stands
    fresh = Mark(before, block=0)
    return fresh if retention.set_mark(conn, fresh) else None


def _drop_months(conn: Conn, before: date, until: float) -> tuple[tuple[str, ...], str | None]:
    dropped: list[str] = []
    for month in retention.months_before(conn, before):
        if time.monotonic() >= until:
            break
        if not retention.drop(conn, month):
            return tuple(dropped), month.name
        dropped.append(month.name)
    return tuple(dropped), None


def _forget_reminders(conn: Conn, before: date, block: int | None, until: float) -> tuple[int, int | None]:
    """Go through the reminders from a block on; how many went, and the block to go on from (None: all were seen)."""
    if block is None:
        return 0, None
    rows, end = 0, retention.reminder_blocks(conn)
    while block < end and time.monotonic() < until:
        rows += retention.forget_reminders(conn, before, block=block, beyond=block + BLOCKS)
        block += BLOCKS
    return rows, None if block >= end else block
