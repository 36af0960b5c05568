"""The stepped clock's driver: business time moves to the next due moment as soon as nothing is left at this one.

Leases, time-outs and signatures stay on real time; only what the ledger calls time is moved. The true fleet therefore
lives a month in a minute, exactly and repeatably.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from console.world import World
from storage import lanes
from worker import tasks
from worker.ticking import look
from worker.wiring import Spine

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
    spine: Spine,
    world: World,
    *,
    start: datetime,
    until: datetime,
    progress: Callable[[datetime], None],
    mend: Callable[[], None],
) -> Stepped:
    """Live from `start` to `until`, moment by moment. Raises ClockRefused when the clock would run backwards."""
    do = partial(spine.persist, meanwhile=mend)
    present = do(lanes.stepped_clock)
    if present is not None and present > start:
        raise ClockRefused(
            f"this database already lives at {present:%Y-%m-%d %H:%M} UTC: start there or later, or take another "
            "DULY_HOME"
        )
    if until <= start:
        raise ClockRefused("the run would end before it begins: --until must be after --from")
    began, moments, now = time.monotonic(), 0, start
    while True:
        do(partial(lanes.step_clock, to=now))
        moments += 1
        _settle(spine, world, mend)
        while do(partial(world.act, now=now)):
            _settle(spine, world, mend)
        progress(now)
        coming = [moment for moment in (do(lanes.next_moment), world.next_moment()) if moment is not None]
        if not coming or min(coming) >= until:
            break
        now = max(min(coming), now)
    do(partial(lanes.step_clock, to=until))
    _settle(spine, world, mend)
    return Stepped(moments, time.monotonic() - began)


def _settle(spine: Spine, world: World, mend: Callable[[], None]) -> None:
    """Wait until nothing is left to do: no batch, no due reminder, no inbox event, no job, no pending callback.

    The ledger is asked twice around the sandbox, since an answer that was on its way may have made new work.
    """
    do = partial(spine.persist, meanwhile=mend)
    nudged, mended = 0.0, time.monotonic()
    warned = time.monotonic() + SLOW_SECONDS
    while True:
        still = do(lanes.stillness)
        if not any(still) and world.is_quiet() and not any(do(lanes.stillness)):
            return
        now = time.monotonic()
        if now - nudged > NUDGE_SECONDS:
            tasks.publish(do(look))
            nudged = now
        if now - mended > MEND_SECONDS:
            mend()
            mended = now
        if now > warned:
            log.warning("moment_takes_long", **still._asdict())
            warned = now + SLOW_SECONDS
        time.sleep(LOOK_SECONDS)
