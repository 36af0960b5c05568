"""The stepped clock's driver: business time moves to the next due moment as soon as nothing is left at this one.

Leases, time-outs and signatures stay on real time; only what the ledger calls time is moved. The true fleet therefore
lives a month in a minute, exactly and repeatably.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from console.world import World
from storage import lanes
from storage.rows import Conn
from worker import tasks
from worker.ticking import look

log = structlog.get_logger()

#: How often the driver looks whether the present moment is done.
LOOK_SECONDS = 0.004

#: How often it wakes the fleet again, in case a wake-up was lost.
NUDGE_SECONDS = 0.25

#: A moment that lasts longer may be waiting for a part that died.
MEND_SECONDS = 2.0

#: A moment that takes longer than this is reported, and waited for.
SLOW_SECONDS = 60.0


class ClockRefused(ValueError):
    """The clock may not be stepped so: real providers, a wrong span, or a clock that is already past it."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """How a run went: moments visited, real seconds taken."""

    moments: int
    seconds: float


def step_through(
    conn: Conn,
    world: World,
    *,
    start: datetime,
    until: datetime,
    progress: Callable[[datetime], None],
    mend: Callable[[], None],
) -> Stepped:
    """Live from `start` to `until`, moment by moment. Raises ClockRefused when the clock would run backwards."""
    present = lanes.stepped_clock(conn)
    if present is not None and present > start:
        raise ClockRefused(
            f"this database already lives at {present:%Y-%m-%d %H:%M} UTC: start there or later, or take another "
            "DULY_HOME"
        )
    if until <= start:
        raise ClockRefused("the run would end before it begins: --until must be after --from")
    began, moments, now = time.monotonic(), 0, start
    while True:
        lanes.step_clock(conn, now)
        moments += 1
        _settle(conn, world, mend)
        while world.act(conn, now):
            _settle(conn, world, mend)
        progress(now)
        coming = [moment for moment in (lanes.next_moment(conn), world.next_moment(now)) if moment is not None]
        if not coming or min(coming) >= until:
            break
        now = max(min(coming), now)
    lanes.step_clock(conn, until)
    _settle(conn, world, mend)
    return Stepped(moments, time.monotonic() - began)


def _settle(conn: Conn, world: World, mend: Callable[[], None]) -> None:
    """Wait until nothing is left to do: no batch, no due reminder, no inbox event, no job, no pending callback.

    The ledger is asked twice around the sandbox, since an answer that was on its way may have made new work.
    """
    nudged, mended = 0.0, time.monotonic()
    warned = time.monotonic() + SLOW_SECONDS
    while True:
        if not any(lanes.stillness(conn)) and world.is_quiet() and not any(lanes.stillness(conn)):
            return
        now = time.monotonic()
        if now - nudged > NUDGE_SECONDS:
            tasks.publish(look(conn))
            nudged = now
        if now - mended > MEND_SECONDS:
            mend()
            mended = now
        if now > warned:
            log.warning("moment_takes_long", **lanes.stillness(conn)._asdict())
            warned = now + SLOW_SECONDS
        time.sleep(LOOK_SECONDS)
