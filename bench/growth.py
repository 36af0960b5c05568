"""What a reminder costs when there are ten thousand open ones, and when there are ten million, with as many contacts.

At each size a day's due (a thirtieth, and never fewer than can be measured), spread over everybody, goes through the
true fleet, one day after the other. Before and after each, the queries of a tick and of a drain's lock are timed. It
grows as far as the disk allows, and says how far that was.

A day costs what the fleet uses, and what PostgreSQL then uses to vacuum and analyze what the fleet left: once a day,
since a thirtieth is more than the two percent that wake the autovacuum. One that comes by itself meanwhile is counted
too. What the making of a day leaves is vacuumed before the fleet begins, and counted nowhere.

The smallest size is the yardstick. It has a house of its own, in a process of its own, and its rounds alternate with
those of every other size: a machine whose hours differ by a fifth would tell more of the hour than of the size.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, TextIO

import psutil

from bench.dispatch import drain
from bench.results import Figure, against_goal, quantile
from bench.rig import Rig, cpu_seconds, end_on_signals, heard, leash, rig, screen, steps, worker
from bench.world import FIRST_DAY, copies, moment, move_in, round_day
from bench.yardsticks import Round
from domain.channel import Channel
from domain.lane import SHARDS, Lane
from storage import lanes, picture
from storage.rows import Conn

#: A ladder of a month: a thirtieth of what is open comes due each day.
DAYS = 30
MOST_DUE = 100_000

#: What the cost of a reminder may rise to, over that of the smallest size.
GOAL = 1.3
QUERY_GOAL_SECONDS = 0.010
LOOKS = 200

#: What is not due now comes due beyond all rounds, spread over a month by the minute.
ASLEEP = moment(FIRST_DAY) + timedelta(days=300)
_SPREAD: LiteralString = "t.due_at + make_interval(mins => (n * 7919 %% 43200)::int)"

#: As an autovacuum does it: in one process.
_VACUUM: LiteralString = "VACUUM (ANALYZE, PARALLEL 0) reminder"

#: Measured: bytes on disk for each customer with one open reminder and one contact, indexes and all, and as much again
#: for what is written while it grows.
BYTES_EACH = 4_500
SPARE_BYTES = 8 * 1024**3


@dataclass(frozen=True, slots=True)
class Scale:
    """Which sizes, how many days of each, and how many reminders a day has at least."""

    smallest: int = 10_000
    sizes: Sequence[int] = (100_000, 1_000_000, 3_000_000, 5_000_000, 10_000_000)
    rounds: int = 9
    fewest_due: int = 8_000

    def due(self, size: int) -> int:
        return min(size, max(self.fewest_due, min(size // DAYS, MOST_DUE)))


@dataclass(frozen=True, slots=True)
class Day:
    """One day's due: the round, the vacuum after it, and how long the queries of a tick and of a lock took (seconds).

    `vacuum_us` is CPU time for each reminder that was sent, as in the round.
    """

    round: Round
    vacuum_us: float
    tick: list[float]
    lock: list[float]

    @property
    def cpu_us(self) -> float:
        return self.round.cpu_us + self.vacuum_us


@dataclass(frozen=True, slots=True)
class Size:
    """What was measured at one size, and in the rounds of the smallest beside it."""

    open: int
    days: list[Day]
    beside: list[Day]
    database_bytes: int
    tables: dict[str, dict[str, int]]


def run(scale: Scale = Scale(), *, most: int | None = None) -> list[Figure]:
    sizes = scale.sizes if most is None else [size for size in scale.sizes if size <= most] or [most]
    measured: list[Size] = []
    with _smallest(scale) as small, rig("growth") as house:
        with steps("growth", 1) as step:
            step("the first customers, through the import")
            move_in(house, 100, history=1)
        with worker(house) as fleet:
            number = 0
            for size in sizes:
                if not _has_room(house, size, measured):
                    break
                _grow(house, size)
                found, number = _measure(house, fleet, scale, size, number, small)
                measured.append(found)
                _tell(found)
        smallest = _at_the_smallest(scale, measured, small)
    return [*_figures(smallest, measured), *_slow_queries([smallest, *measured])]


# -------------------------------------------------------------------------------------------------------- the smallest


@contextmanager
def _smallest(scale: Scale) -> Iterator[subprocess.Popen[str]]:
    """A process with a house of the smallest size: it lives through a day for each line, and answers with a line."""
    child = subprocess.Popen(
        [*leash(signal.SIGTERM), sys.executable, "-m", "bench.growth", str(scale.smallest), str(scale.fewest_due)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _heard(child)  # it is ready
        yield child
    finally:
        child.terminate()
        child.wait(60)


def _heard(child: subprocess.Popen[str]) -> dict[str, Any]:
    return heard(child, who="the house of the smallest size")


def _day_beside(child: subprocess.Popen[str]) -> Day:
    assert child.stdin is not None
    child.stdin.write("day\n")
    child.stdin.flush()
    said = _heard(child)
    return Day(Round(*said.pop("round")), **said)


def _at_the_smallest(scale: Scale, measured: list[Size], child: subprocess.Popen[str]) -> Size:
    days = [day for size in measured for day in size.beside]
    assert child.stdin is not None
    child.stdin.write("sizes\n")
    child.stdin.flush()
    tables = _heard(child)
    return Size(scale.smallest, days, days, sum(each["total"] for each in tables.values()), tables)


def main() -> None:
    """The process of the smallest size. The same day comes again and again, with the same past."""
    end_on_signals()
    size, fewest_due = map(int, sys.argv[1:])
    scale = Scale(smallest=size, fewest_due=fewest_due)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # logs go there
    with rig("growth-smallest") as house:
        move_in(house, 100, history=1)
        with worker(house) as fleet:
            _grow(house, size)
            _say(answers, {"ready": True})
            for line in sys.stdin:
                if line.strip() == "sizes":
                    _say(answers, _sizes(house.conn))
                    continue
                day = _live_through(house, fleet, scale, size, 0)
                _forget(house.conn, size)  # before the answer: the other house has the machine to itself then
                _say(answers, asdict(day) | {"round": [day.round.per_second, day.round.cpu_us]})


def _say(answers: TextIO, words: Any) -> None:
    answers.write(json.dumps(words) + "\n")
    answers.flush()


def _forget(conn: Conn, size: int) -> None:
    """The past is again what it was before the day: one contact with each, and no step that has ended."""
    conn.execute("TRUNCATE contact, contact_event")
    conn.execute("DELETE FROM reminder WHERE state <> 'planned'")
    _contacts(conn, 0, size, lambda _: None)
    conn.execute("VACUUM ANALYZE")
    conn.execute("CHECKPOINT")


# ---------------------------------------------------------------------------------------------------------------- days


def _has_room(house: Rig, size: int, measured: list[Size]) -> bool:
    here = measured[-1] if measured else None
    each = here.database_bytes / here.open if here and here.open >= 1_000_000 else BYTES_EACH
    more = size - (here.open if here else 0)
    free = shutil.disk_usage(house.settings.home).free
    if free - more * each > SPARE_BYTES:
        return True
    screen.print(
        f"growth: stopped before {size:,}: it needs {more * each / 1e9:,.0f} GB, and {free / 1e9:,.0f} are free"
    )
    return False


def _grow(house: Rig, size: int) -> None:
    conn = house.conn
    there = conn.execute("SELECT max(party_id) FROM party").fetchone()
    assert there is not None
    with steps(f"growth to {size:,}", size - there[0]) as step:
        conn.execute(
            """
            UPDATE reminder SET due_at = %s, planned_for = %s, expires_at = %s
            WHERE state = 'planned' AND party_id <= 100
            """,
            (ASLEEP, ASLEEP, ASLEEP + timedelta(days=3)),
        )
        copies(conn, size, due_at=_SPREAD, told=lambda last: step(f"{last:,} customers", done=last - there[0]))
        step("contacts", done=size - there[0])
        _contacts(conn, there[0], size, lambda last: step(f"{last:,} contacts", done=last - there[0]))
        step("statistics")
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")


def _contacts(conn: Conn, since: int, until: int, told: Callable[[int], None]) -> None:
    """One contact of the past for each of the new, a chunk at a time."""
    conn.execute("SET synchronous_commit = off")
    for start in range(since, until, 100_000):
        end = min(start + 100_000, until)
        conn.execute(
            """
            WITH made AS (
                INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, origin, actor, channel,
                                     purpose, rule, pack, account_ids, address_lookup)
                SELECT n, gen_random_uuid(), %s::timestamptz - make_interval(days => 10 + (n %% 20)::int), n, 'bench',
                       'imported', 'creditor', 'sms', 'reminder', 'imported', 'imported', ARRAY[n],
                       decode(md5('phone' || n), 'hex')
                FROM generate_series(%s::bigint, %s::bigint) n
                RETURNING party_id, contact_id, intended_at
            )
            INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at)
            SELECT party_id, contact_id, intended_at, 'delivered', 'bench', intended_at FROM made
            """,
            (moment(FIRST_DAY), start + 1, end),
        )
        told(end)
    conn.execute("RESET synchronous_commit")


def _measure(
    house: Rig, fleet: psutil.Process, scale: Scale, size: int, number: int, small: subprocess.Popen[str]
) -> tuple[Size, int]:
    """Days of this size and of the smallest in turns, and the number of the next day."""
    days, beside, rounds = [], [], scale.rounds
    with steps(f"growth at {size:,}", 2 * rounds + 3) as step:
        step("a round of each that is not counted")
        _day_beside(small)
        _live_through(house, fleet, scale, size, number)
        for turn in range(1, rounds + 1):
            step(f"round {turn} of {rounds}, the smallest")
            beside.append(_day_beside(small))
            step(f"round {turn} of {rounds}")
            days.append(_live_through(house, fleet, scale, size, number + turn))
        step("sizes")
        sizes = _sizes(house.conn)
    return Size(size, days, beside, sum(each["total"] for each in sizes.values()), sizes), number + rounds + 1


def _live_through(house: Rig, fleet: psutil.Process, scale: Scale, size: int, number: int) -> Day:
    """A day's due comes and goes."""
    conn, at = house.conn, moment(round_day(number))
    chosen = _come_due(conn, at, size, scale.due(size), number)
    conn.execute(_VACUUM)
    tick = _timed(conn, lambda: (lanes.stillness(conn), picture.due_lanes(conn)))
    lock = _timed_locks(conn, at, most=house.settings.batch_size)
    went = drain(house, fleet, at, chosen)
    tick += _timed(conn, lambda: (lanes.stillness(conn), picture.due_lanes(conn)))
    before = cpu_seconds(*house.servers)
    conn.execute(_VACUUM)
    return Day(went, 1e6 * (cpu_seconds(*house.servers) - before) / chosen, tick, lock)


def _come_due(conn: Conn, at: datetime, size: int, due: int, turn: int) -> int:
    """So many come due at that instant, spread over everybody, others each turn; how many they are."""
    step = max(1, size // due)
    lanes.ensure_partitions(conn, at)
    # All others sleep: what earlier rounds planned for tomorrow too.
    conn.execute(
        "UPDATE reminder SET due_at = due_at + interval '300 days' WHERE state = 'planned' AND due_at <= %s",
        (at + timedelta(days=3),),
    )
    chosen = conn.execute(
        """
        UPDATE reminder SET due_at = %s, planned_for = %s, expires_at = %s
        WHERE state = 'planned' AND party_id %% %s = %s
        """,
        (at, at, at + timedelta(days=2), step, turn % step),
    ).rowcount
    lanes.step_clock(conn, at)
    return chosen


def _timed(conn: Conn, query: Callable[[], Any]) -> list[float]:
    times = []
    for _ in range(LOOKS // 2):
        began = time.perf_counter()
        query()
        times.append(time.perf_counter() - began)
    return times


def _timed_locks(conn: Conn, at: datetime, *, most: int) -> list[float]:
    """The statement that a drain begins with, on one lane after the other, rolled back each time."""
    times = []
    for number in range(LOOKS):
        lane = Lane("bench", Channel.NULL, number % SHARDS)
        with conn.transaction(force_rollback=True):
            began = time.perf_counter()
            picture.lock_parties(conn, lane, now=at, limit=most)
            times.append(time.perf_counter() - began)
    return times


def _sizes(conn: Conn) -> dict[str, dict[str, int]]:
    """Bytes of each table, partitions together, and of its indexes."""
    rows = conn.execute(
        """
        SELECT coalesce(i.inhparent::regclass::text, c.oid::regclass::text), sum(pg_table_size(c.oid))::bigint,
               sum(pg_indexes_size(c.oid))::bigint
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relkind = 'r' AND n.nspname = 'public' GROUP BY 1 HAVING sum(pg_total_relation_size(c.oid)) > 1000000
        ORDER BY 2 DESC
        """
    ).fetchall()
    return {name: {"table": table, "indexes": indexes, "total": table + indexes} for name, table, indexes in rows}


# ------------------------------------------------------------------------------------------------------------- figures


def _cost(size: Size) -> float:
    return statistics.median(day.cpu_us for day in size.days)


def _ratio(size: Size) -> float:
    """The median of the rounds' own ratios, each to the round of the smallest just before it."""
    pairs = zip(size.days, size.beside, strict=True)
    return statistics.median(day.cpu_us / small.cpu_us for day, small in pairs)


def _query_times(size: Size, name: str) -> list[float]:
    return [each for day in size.days for each in getattr(day, name)]


def _row(size: Size) -> dict[str, Any]:
    return {
        "open": size.open, "per_second": round(statistics.median(day.round.per_second for day in size.days), 1),
        "cpu_us": round(_cost(size), 1), "ratio": round(_ratio(size), 3),
        "vacuum_us": round(statistics.median(day.vacuum_us for day in size.days), 1),
        "beside_us": [round(day.cpu_us, 1) for day in size.beside],
        "own_us": [round(day.cpu_us, 1) for day in size.days],
        "tick_ms": [round(1e3 * quantile(_query_times(size, "tick"), share), 3) for share in (0.5, 0.99)],
        "lock_ms": [round(1e3 * quantile(_query_times(size, "lock"), share), 3) for share in (0.5, 0.99)],
        "database_bytes": size.database_bytes, "tables": size.tables,
    }  # fmt: skip


def _tell(size: Size) -> None:
    row = _row(size)
    screen.print(
        f"{size.open:>12,} open: {row['per_second']:>8,.0f}/s, {row['cpu_us']:>6,.0f} us CPU each "
        f"({row['ratio']:.2f}x), {row['vacuum_us']:.0f} of it vacuum, "
        f"tick {row['tick_ms'][0]:.1f} ms (p99 {row['tick_ms'][1]:.1f}), "
        f"lock {row['lock_ms'][0]:.1f} ms (p99 {row['lock_ms'][1]:.1f}), {size.database_bytes / 1e9:.2f} GB"
    )


def _figures(smallest: Size, measured: list[Size]) -> list[Figure]:
    """The cost at each size over that at the smallest, round by round; the worst of them is the figure."""
    worst = max(measured, key=_ratio)
    return [
        Figure(
            "growth", _cost(worst), statistics.median(day.cpu_us for day in worst.beside),
            f"with {smallest.open:,} open, in turns; the worst was at {worst.open:,}", _ratio(worst), GOAL,
            f"CPU us, up to {measured[-1].open:,} open", len(worst.days), at_most=True,
            detail={"sizes": [_row(size) for size in (smallest, *measured)]},
        )
    ]  # fmt: skip


def _slow_queries(measured: list[Size]) -> list[Figure]:
    return [
        against_goal(
            f"growth_{name}", 1e3 * max(quantile(_query_times(size, name), 0.99) for size in measured),
            1e3 * QUERY_GOAL_SECONDS, said="the goal; the worst p99 of all sizes", unit="ms",
        )
        for name in ("tick", "lock")
    ]  # fmt: skip


if __name__ == "__main__":
    main()
