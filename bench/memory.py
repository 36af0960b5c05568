"""What a worker's memory does over a million reminders, with recycling off: proportional set size of each process."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import psutil

from bench.results import Figure, against_goal, slope
from bench.rig import Rig, Step, pss_bytes, rig, steps, worker
from bench.world import come_due, copies, move_in, remember_alike, round_day, tidy
from storage import lanes
from worker import tasks
from worker.ticking import look

CUSTOMERS = 50_000
MILLION = 1_000_000
SHORT = 100_000

LIMIT_MB = 200.0
SLOPE_MB = 5.0

#: The first part of a run in which caches fill: it says how large a worker is, not how it grows.
WARM_UP = 0.2

SAMPLE_SECONDS = 1.0

HISTORY = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """Reminders sent so far by the whole fleet, and megabytes of each process: the parent first."""

    sent: int
    megabytes: tuple[float, ...]


def run() -> list[Figure]:
    return measure(MILLION, CUSTOMERS, name="memory")


def run_short() -> list[Figure]:
    return measure(SHORT, 10_000, name="memory_100k")


def measure(reminders: int, customers: int, *, name: str) -> list[Figure]:
    samples: list[Sample] = []
    with rig("memory") as house, steps("memory", reminders) as step:
        move_in(house, 1_000, history=HISTORY)
        copies(house.conn, customers)
        remember_alike(house.conn, after_party=1_000)
        tidy(house.conn)
        with worker(house, ageless=True) as fleet:
            number = sent = 0
            while sent < reminders:
                at = come_due(house.conn, round_day(number), history=HISTORY)
                _drain(house, fleet, at, sent, samples, step)
                number, sent = number + 1, sent + customers
    return _figures(samples, reminders, name)


def _drain(house: Rig, fleet: psutil.Process, at: datetime, before: int, samples: list[Sample], step: Step) -> None:
    """Drain a round, looking at the processes meanwhile."""
    due = "SELECT count(*) FROM reminder WHERE state = 'sent' AND ended_at >= %s"
    sampled = 0.0
    while any(lanes.stillness(house.conn)[:2]):
        tasks.publish(look(house.conn))
        time.sleep(0.05)
        if time.monotonic() - sampled > SAMPLE_SECONDS:
            sampled = time.monotonic()
            row = house.conn.execute(due, (at,)).fetchone()
            assert row is not None
            sent = before + int(row[0])
            samples.append(Sample(sent, tuple(pss_bytes(each) / 1e6 for each in (fleet, *fleet.children()))))
            step(f"{sent:,} sent, {max(samples[-1].megabytes):.0f} MB", done=sent)


def _figures(samples: Sequence[Sample], reminders: int, name: str) -> list[Figure]:
    warm = [each for each in samples if each.sent >= WARM_UP * reminders] or list(samples)
    width = min(len(each.megabytes) for each in samples)
    slopes = [slope([each.sent / MILLION for each in warm], [each.megabytes[n] for each in warm]) for n in range(width)]
    most = max(max(each.megabytes) for each in samples)
    detail = {
        "samples": [[each.sent, *(round(mb, 2) for mb in each.megabytes)] for each in samples],
        "slopes_mb_a_million": slopes,
    }
    said = "the goal; proportional set size, recycling off"
    largest = against_goal(name, most, LIMIT_MB, said=said, unit="MB, the largest process", detail=detail)
    rise = against_goal(f"{name}_slope", max(slopes), SLOPE_MB, said=said, unit="MB a million reminders")
    # A short run is all warm-up: its slope is shown and not judged.
    return [largest, rise if reminders >= MILLION else replace(rise, goal=None)]
