"""One, two and four processes over the same rows: the rate, what waits for locks, and how busy the database is."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.dispatch import drain
from bench.results import Figure, figure
from bench.rig import Rig, cpu_seconds, rig, steps, worker
from bench.world import come_due, move_in, round_day
from bench.yardsticks import Round
from storage import database

REMINDERS = 16_000
ROUNDS = 5
SIZES = (1, 2, 4)

#: How often the sessions are looked at.
LOOK_SECONDS = 0.02

#: A session that waits for its worker to say something.
IDLE = "idle"


@dataclass(slots=True)
class Sessions:
    """What the workers' sessions were doing, look by look: at work, or waiting for what."""

    looks: int = 0
    waits: Counter[str] = field(default_factory=Counter)


def run(*, rounds: int = ROUNDS, reminders: int = REMINDERS, sizes: Sequence[int] = SIZES) -> list[Figure]:
    """Measure fleets of these sizes; the first is what the others are told beside."""
    measured: dict[int, list[Round]] = {size: [] for size in sizes}
    sessions = {size: Sessions() for size in sizes}
    busy: dict[int, list[float]] = {size: [] for size in sizes}
    with rig("fleet") as house, steps("fleet", 1 + len(sizes) * rounds) as step:
        step(f"{reminders:,} customers through the import")
        move_in(house, reminders)
        number = 0
        for nth in range(rounds):
            for size in sizes:
                step(f"round {nth + 1} of {rounds}, {size} processes")
                with worker(house, processes=size) as fleet:
                    drain(house, fleet, come_due(house.conn, round_day(number)), reminders)
                    at = come_due(house.conn, round_day(number + 1))
                    number += 2
                    before, began = cpu_seconds(*house.servers), time.perf_counter()
                    with _watched(house, sessions[size]):
                        measured[size].append(drain(house, fleet, at, reminders))
                    seconds = time.perf_counter() - began
                    busy[size].append((cpu_seconds(*house.servers) - before) / seconds)
    return [_figure(size, measured, sessions[size], busy[size]) for size in sizes]


def _figure(size: int, measured: dict[int, list[Round]], sessions: Sessions, busy: list[float]) -> Figure:
    own, one = measured[size], next(iter(measured.values()))
    at_work = sessions.waits.total() - sessions.waits[IDLE] or 1
    waits = {kind: count / at_work for kind, count in sessions.waits.most_common() if kind != IDLE}
    detail = {
        "lock_wait_share": waits.get("Lock", 0.0),
        "waits": waits,  # of the looks at sessions that had a statement to run
        "sessions_at_work": at_work / max(1, sessions.looks),
        "database_cpus": statistics.median(busy),
    }
    return figure(
        f"fleet_{size}",
        [each.per_second for each in own],
        [each.per_second for each in one],
        yardstick_name="one process",
        unit="1/s",
        cpu_us=statistics.median(each.cpu_us for each in own),
        yardstick_cpu_us=statistics.median(each.cpu_us for each in one),
        detail=detail,
    )


@contextmanager
def _watched(house: Rig, sessions: Sessions) -> Iterator[None]:
    """Look at the workers' sessions while the block runs, from a connection and a thread of our own."""
    stop = threading.Event()

    def watch() -> None:
        with database.connect(house.spine.database_url, autocommit=True, application_name="bench watch") as conn:
            own = {conn.info.backend_pid, house.conn.info.backend_pid}
            while not stop.wait(LOOK_SECONDS):
                rows = conn.execute(
                    """
                    SELECT pid, state, wait_event_type FROM pg_stat_activity
                    WHERE datname = current_database() AND backend_type = 'client backend'
                    """
                ).fetchall()
                sessions.looks += 1
                sessions.waits.update(_doing(state, wait) for pid, state, wait in rows if pid not in own)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _doing(state: str | None, wait: str | None) -> str:
    if state != "active":
        return IDLE
    return wait or "CPU"
