"""An hour with more due than can be sent: does anything grow that should not?

Business time jumps to another day whenever the backlog runs low, so that everybody's next step is due at once, and a
year of days passes in an hour. Beat, workers and the nightly jobs run as they do in earnest. Meanwhile memory, locks,
the time of a tick, dead rows and the sizes of what is hot are looked at. The ledger itself grows by design; what is
older than the months that history is read for is dropped as retention does it, while everything works.
"""

import time
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import psutil
from rich.table import Table

from bench.results import Figure, slope
from bench.rig import Rig, beat, pss_bytes, rig, screen, steps, wait_for, worker
from bench.world import FIRST_DAY, copies, is_open, moment, move_in, remember_alike, tidy
from storage import lanes, picture
from storage.rows import Conn
from worker.retention import forget

CUSTOMERS = 300_000
MINUTES = 60.0

#: A shorter run has fewer customers, so that each still gets several steps.
CUSTOMERS_A_MINUTE = 30_000
SAMPLE_SECONDS = 5.0
LOOK_SECONDS = 0.5

#: Below this the next day begins: more is due than is sent, at any time.
LOW = 40_000

#: The first part, in which caches fill and the first vacuum comes.
WARM_UP = 0.25

HISTORY = 3

#: Months of the ledger that stay.
MONTHS = 2

#: What should be flat: how much it may rise over the rest of the run, as a share of what it was on the average. What
#: stays below the floor is flat whatever its share.
FLAT: Mapping[str, tuple[float, float]] = {
    "largest process MB": (0.05, 0),
    "tick ms": (0.25, 10),
    "locks waited for": (0.25, 2),
    "open batches": (0.25, 10),
    "dead reminders %": (0.25, 20),
    "party MB": (0.25, 16),
    "wake_up MB": (0.25, 1),
    "batch MB": (0.5, 8),
    "clock MB": (0.25, 1),
}

#: Tables of a size that does not depend on how much was ever sent; and the same for the indexes of what is open.
_HOT = ("party", "wake_up", "batch", "clock")
_OPEN_INDEX = (0.25, 16.0)


def run(*, minutes: float = MINUTES, customers: int | None = None) -> list[Figure]:
    customers = customers or int(min(CUSTOMERS, CUSTOMERS_A_MINUTE * max(1.0, minutes)))
    samples: list[dict[str, float]] = []
    with rig("soak") as house, steps("soak", 60 * minutes) as step:
        move_in(house, 1_000, history=HISTORY)
        copies(house.conn, customers, told=lambda last: step(f"{last:,} customers", done=0))
        remember_alike(house.conn, after_party=1_000)
        tidy(house.conn)
        with worker(house, ageless=True) as fleet, beat(house):
            day, before = FIRST_DAY, _planned(house.conn)
            _step_to(house.conn, day)
            wait_for(lambda: _planned(house.conn) > before, what="the first reminder", log_file=house.log_file)
            began = time.monotonic()
            while (passed := time.monotonic() - began) < 60 * minutes:
                if _backlog(house.conn) < min(LOW, customers // 5):
                    day = _next_day(day)
                    _step_to(house.conn, day)
                if not samples or passed - samples[-1]["seconds"] >= SAMPLE_SECONDS:
                    samples.append(_sample(house, fleet, passed))
                    planned, due = samples[-1]["planned"] - samples[0]["planned"], samples[-1]["backlog"]
                    step(f"{day}, {planned:,.0f} steps done, {due:,.0f} due", done=passed)
                time.sleep(LOOK_SECONDS)
    return _figures(samples, minutes)


# ---------------------------------------------------------------------------------------------------------- the clock


def _next_day(day: date) -> date:
    """Three days on where that day is open, else fewer: the step of the day after expires then. Caps allow both."""
    ahead = [day + timedelta(days=days) for days in (3, 2, 1)]
    return next(filter(is_open, ahead), ahead[0])


def _step_to(conn: Conn, day: date) -> None:
    at = moment(day)
    lanes.ensure_partitions(conn, at)
    forget(conn, (at.date() - timedelta(days=31 * MONTHS)).replace(day=1))
    lanes.step_clock(conn, at)


# ------------------------------------------------------------------------------------------------------------- samples


def _backlog(conn: Conn) -> int:
    row = conn.execute(
        """
        SELECT count(*)
        FROM (SELECT 1 FROM reminder WHERE state = 'planned' AND due_at <= (SELECT business_now()) LIMIT %s) few
        """,
        (LOW,),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _planned(conn: Conn) -> int:
    """How many steps were ever planned: one for each that was done, and the first."""
    row = conn.execute("SELECT last_value FROM pg_sequences WHERE sequencename = 'reminder_reminder_id_seq'").fetchone()
    assert row is not None
    return int(row[0])


def _sample(house: Rig, fleet: psutil.Process, passed: float) -> dict[str, float]:
    conn = house.conn
    row = conn.execute(
        """
        SELECT (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'),
               (SELECT count(*) FROM batch WHERE ended_at IS NULL),
               (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'reminder'),
               (SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'reminder'),
               (SELECT count(*) FROM reminder WHERE state = 'planned' AND due_at <= (SELECT business_now())),
               (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database())
        """
    ).fetchone()
    assert row is not None
    locks, batches, dead, live, backlog, deadlocks = map(float, row)
    found = {
        "seconds": passed,
        "planned": float(_planned(conn)),
        "backlog": backlog,
        "largest process MB": max(pss_bytes(each) for each in (fleet, *fleet.children())) / 1e6,
        "tick ms": 1e3 * _tick(conn),
        "locks waited for": locks,
        "deadlocks": deadlocks,
        "open batches": batches,
        "dead reminders %": 100 * dead / max(1.0, live + dead),
    }
    return found | _sizes(conn)


def _sizes(conn: Conn) -> dict[str, float]:
    """Megabytes of what is hot: small tables, and the indexes of open reminders only."""
    rows = conn.execute(
        """
        SELECT relname, (pg_relation_size(oid) + coalesce(pg_relation_size(nullif(reltoastrelid, 0)), 0)) / 1e6::float
        FROM pg_class WHERE oid = ANY (
            SELECT to_regclass(name) FROM unnest(%s::text[]) AS name
            UNION ALL SELECT indexrelid FROM pg_index
            WHERE indrelid = 'reminder'::regclass AND pg_get_expr(indpred, indrelid) ~ 'planned')
        ORDER BY relname
        """,
        (list(_HOT),),
    ).fetchall()
    return {f"{name} MB": size for name, size in rows}


def _tick(conn: Conn) -> float:
    """What a tick asks, without claiming anything: seconds, the best of three, so that a busy machine is not blamed."""
    return min(_timed(lambda: (lanes.stillness(conn), picture.due_lanes(conn))) for _ in range(3))


def _timed(query: Callable[[], object]) -> float:
    began = time.perf_counter()
    query()
    return time.perf_counter() - began


# ------------------------------------------------------------------------------------------------------------- figures


def _figures(samples: list[dict[str, float]], minutes: float) -> list[Figure]:
    rows = _fits([each for each in samples if each["seconds"] >= WARM_UP * 60 * minutes])
    _show(rows)
    steady = sum(bool(row["flat"]) for row in rows.values())
    first, last = samples[0], samples[-1]
    rate = (last["planned"] - first["planned"]) / max(1.0, last["seconds"] - first["seconds"])
    detail = {"fits": rows, "samples": _thinned(samples), "per_second": rate, "minutes": minutes}
    return [
        Figure(
            "soak", float(steady), float(len(rows)), f"what should stay flat over {minutes:g} minutes",
            steady / len(rows), 1.0, "flat", 1, detail=detail,
        )
    ]  # fmt: skip


def _fits(samples: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """A straight line through each: its mean, what it rises by over the run, and whether that is flat."""
    seconds = [each["seconds"] for each in samples]
    span = seconds[-1] - seconds[0]
    fits = {}
    open_indexes = {name: _OPEN_INDEX for name in samples[0] if name.startswith("reminder_")}
    for name, (share, floor) in {**FLAT, **open_indexes}.items():
        values = [each[name] for each in samples]
        mean, rise = sum(values) / len(values), slope(seconds, values) * span
        is_flat = rise <= share * mean or max(values) <= floor
        fits[name] = {"mean": mean, "rise": rise, "most": max(values), "flat": is_flat, "allowed": share * mean}
    return fits


def _show(rows: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table("", "mean", "most", "rises by", "allowed", "flat", box=None, pad_edge=False)
    for name, row in rows.items():
        table.add_row(
            name, f"{row['mean']:.2f}", f"{row['most']:.2f}", f"{row['rise']:+.2f}", f"{row['allowed']:.2f}",
            "yes" if row["flat"] else "NO",
        )  # fmt: skip
    screen.print(table)


def _thinned(samples: list[dict[str, float]], most: int = 200) -> list[dict[str, float]]:
    step = max(1, len(samples) // most)
    return [{name: round(value, 3) for name, value in each.items()} for each in samples[::step]]
