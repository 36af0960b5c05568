"""Beat ticks whatever its clock does."""

import time
from datetime import datetime, timedelta

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler

from worker import engines
from worker.schedule import ENOUGH_WAIT, EXPIRES_SECONDS, Metronome, beat_schedule

EVERY = 0.02


class Clockwork(Celery):
    """An application on a machine whose clock somebody sets."""

    set_by = timedelta()

    def now(self) -> datetime:
        return super().now() + self.set_by


def ticks_after_the_clock_was_set(kind: type[Scheduler], by: timedelta) -> int:
    """How many ticks went out in half a second after the time of day jumped."""
    app = Clockwork("tests", set_as_current=False)
    app.conf.update(beat_schedule={"tick": {"task": "duly.tick", "schedule": EVERY}}, result_expires=None)

    class Counting(kind):
        sent = 0

        def waiting(self) -> int:
            return 0

        def setup_schedule(self) -> None:
            super().setup_schedule()
            self.merge_inplace(app.conf.beat_schedule)

        def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:
            self.sent += 1

        @property
        def producer(self) -> None:
            return None

    beat = Counting(app, max_interval=EVERY)
    _run(beat, seconds=5, until=3)
    assert beat.sent >= 3, "it ticks at all"
    app.set_by = by
    beat.sent = 0
    _run(beat, seconds=0.5, until=3)
    return beat.sent


def _run(beat: Scheduler, *, seconds: float, until: int) -> None:
    ends = time.monotonic() + seconds
    while beat.sent < until and time.monotonic() < ends:
        time.sleep(max(0.0, min(beat.tick(), EVERY)))


@pytest.mark.parametrize("hours", [-1, -24, 2])
def test_beat_ticks_on_when_its_clock_is_set(hours: int) -> None:
    assert ticks_after_the_clock_was_set(Metronome, timedelta(hours=hours)) >= 3


def test_celerys_own_scheduler_would_fall_silent() -> None:
    """If it no longer does, ours is not needed any more."""
    assert ticks_after_the_clock_was_set(Scheduler, timedelta(hours=-1)) == 0


def test_after_a_sleep_one_tick_is_enough() -> None:
    app = Clockwork("tests", set_as_current=False)
    app.conf.update(beat_schedule={"tick": {"task": "duly.tick", "schedule": EVERY}})
    sent = []

    class Counting(Metronome):
        producer = None

        def waiting(self) -> int:
            return 0

        def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:
            sent.append(entry.name)

    beat = Counting(app)
    beat.tick()
    time.sleep(10 * EVERY)

    assert 0 < beat.tick() <= EVERY
    assert sent == ["tick", "tick"]


def test_ticks_that_nobody_takes_do_not_pile_up_before_a_sweep(broker_url: str) -> None:
    app = Celery("tests", set_as_current=False, broker=broker_url)
    entries = {"tick": ("duly.tick", EVERY), "sweep": ("duly.sweep", 3600)}
    app.conf.update(
        task_default_queue="maintenance",
        beat_schedule={name: {"task": task, "schedule": seconds} for name, (task, seconds) in entries.items()},
    )
    beat = Metronome(app)
    with engines.redis_client(broker_url) as client, beat.connection:
        _tick(beat, times=5 * ENOUGH_WAIT)
        assert client.llen("maintenance") == ENOUGH_WAIT

        client.delete("maintenance")
        _tick(beat, times=1)
        assert client.llen("maintenance") > 0, "it ticks again once they are taken"


def _tick(beat: Metronome, *, times: int) -> None:
    for _ in range(times):
        beat.tick()
        time.sleep(2 * EVERY)


def test_nothing_that_beat_sends_outlives_an_outage_or_dies_of_a_little_skew() -> None:
    assert {entry["options"]["expires"] for entry in beat_schedule(0.25).values()} == {EXPIRES_SECONDS}
    assert 30 <= EXPIRES_SECONDS <= 300
