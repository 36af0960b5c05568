"""`duly up`: the fleet on the real clock until it is told to stop, or on the stepped clock until a day is over."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from config.settings import Settings
from console.fleet import Running, fleet
from console.house import enter, live_release
from console.output import print_json
from console.stepping import ClockRefused, Stepped, step_through
from console.world import World
from storage import lanes
from worker import engines

#: How often a fleet on the real clock is looked after.
MEND_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Span:
    """A rehearsal: from the start of one day to the end of another (UTC)."""

    start: datetime
    last_day: datetime
    seed: int = 1
    people: bool = True

    @property
    def until(self) -> datetime:
        return self.last_day + timedelta(days=1)


def serve(settings: Settings) -> None:
    """Run on the real clock until SIGINT or SIGTERM. Raises ClockRefused for a database that lives on a stepped one."""
    with enter(settings) as spine:
        stepped = lanes.stepped_clock(spine.conn)
        if stepped is not None:
            raise ClockRefused(
                f"this database lives on a stepped clock ({stepped:%Y-%m-%d %H:%M} UTC): go on with --from and "
                "--until, or take another DULY_HOME"
            )
        live_release(spine)
    engines.require_broker(settings)
    with suppress(KeyboardInterrupt), _interruptible(), fleet(settings) as running:
        _say_where(running)
        while True:
            running.mend()
            time.sleep(MEND_SECONDS)


def rehearse(settings: Settings, span: Span, *, as_json: bool = False) -> Stepped:
    """Run on the stepped clock from `span.start` to `span.until`. Raises ClockRefused with real providers."""
    if settings.is_live:
        raise ClockRefused("the stepped clock is for rehearsals: it is refused while DULY_PROVIDERS is live")
    if span.until <= span.start:
        raise ClockRefused("the run would end before it begins: --until must not be before --from")
    engines.require_broker(settings)
    console = Console(stderr=True)
    with enter(settings) as spine:
        live_release(spine)
        lanes.ensure_partitions(spine.conn, span.start)
        lanes.ensure_partitions(spine.conn, span.until)
        with _interruptible(), fleet(settings, seed=span.seed, lifelike=span.people) as running:
            world = World(running.sandbox_http, seed=span.seed, people=span.people)
            with _bar(console, span) as progress:
                done = step_through(
                    spine, world, start=span.start, until=span.until, progress=progress, mend=running.mend
                )
    if as_json:
        print_json({"schema": 1, "moments": done.moments, "seconds": round(done.seconds, 3)})
    else:
        console.print(f"Lived {(span.until - span.start).days} days, {done.moments} moments, in {done.seconds:.1f} s.")
    return done


@contextmanager
def _bar(console: Console, span: Span) -> Iterator[Callable[[datetime], None]]:
    """A progress bar over business time; the value is what moves it."""
    total = (span.until - span.start).total_seconds()
    columns = TextColumn("{task.fields[day]}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, day="")
        yield lambda now: bar.update(task, completed=(now - span.start).total_seconds(), day=f"{now:%a %Y-%m-%d %H:%M}")


def _say_where(running: Running) -> None:
    console = Console(stderr=True)
    console.print(f"The console answers at {running.console_url}; logs are in {running.logs}. Ctrl-C stops the fleet.")
    if running.sandbox_http:
        console.print(f"Nothing leaves this machine: see the sandbox at {running.sandbox_http}/sandbox/")


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that a supervisor's stop is an orderly one."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
