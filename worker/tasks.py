"""The Celery tasks: a few lines each around the plain functions of the spine."""

import gc
import os
import time
from collections.abc import Iterable

import structlog
from celery.signals import task_postrun, worker_init, worker_process_init, worker_process_shutdown
from kombu.exceptions import OperationalError

from config import settings as configuration
from domain.lane import BadLane, Lane
from worker import dispatch, engines, feedback, logs, mailbox, nightly, sweeping, turns, uncertain
from worker.app import CHANNEL_QUEUES, FEEDBACK, MAINTENANCE, app
from worker.metrics import REFUSED, SWEEPS, TALLY, TICKS
from worker.releases import Release
from worker.reporting import Reporter
from worker.ticking import Wakes, look
from worker.tracing import SPANS, cause_of
from worker.wiring import Spine, compiled_before_the_fork

log = structlog.get_logger()

#: A wake-up that waits longer than this in the broker is dropped: the next tick makes a fresh one. Long enough for the
#: clocks of two machines to differ: who publishes writes the time, who takes it reads it.
WAKE_UP_EXPIRES_SECONDS = 60

#: The live release, compiled before the fork: half a second of work that no pool child has to do again.
_ready: dict[str, Release] = {}

_spines: dict[int, Spine] = {}
_reporters: dict[int, Reporter] = {}


def spine() -> Spine:
    """This process's spine, made after the fork."""
    mine = _spines.get(os.getpid())
    if mine is None:
        settings = configuration.load()
        mine = _spines[os.getpid()] = Spine(settings, engines.ensure(settings).database_url, ready=_ready)
        _reporters[os.getpid()] = _reporting(mine)
    return mine


def _reporting(mine: Spine) -> Reporter:
    reporter = Reporter(mine.database_url, name=mine.name, role="worker", release_hash=lambda: mine.release_hash)
    reporter.start()
    SPANS.begin(mine.settings)
    return reporter


@app.task(name="duly.tick")
def tick() -> None:
    began = time.perf_counter()
    span = SPANS.tick()
    wakes = look(spine().conn, cause=cause_of(span))
    TALLY.observe(TICKS, (), time.perf_counter() - began)
    if span is not None and wakes.lanes:
        span.set_attribute("duly.lanes", len(wakes.lanes))
        span.end()
    publish(wakes)


@app.task(name="duly.drain")
def drain(lane: object) -> None:
    try:
        named = Lane.parse(lane)
    except BadLane:
        log.warning("refused_message", why="not a lane name")
        TALLY.count(REFUSED, ("not a lane name",))
        return
    turn = turns.take(spine().conn, named, spine().settings)
    if turn is not None:
        dispatch.drain(spine(), turn.lane, slice_seconds=turn.seconds, most=turn.most)


@app.task(name="duly.fold")
def fold() -> None:
    feedback.fold_all(spine())


@app.task(name="duly.sweep")
def sweep() -> None:
    sweeping.sweep_all(spine())


@app.task(name="duly.mailbox")
def look_into_mailbox() -> None:
    mailbox.watch(spine())


@app.task(name="duly.look_up")
def look_up() -> None:
    found = uncertain.look_up(spine()).found
    if found:
        TALLY.count(SWEEPS, ("uncertain, found at the provider",), found)


@app.task(name="duly.nightly")
def night() -> None:
    nightly.run_due(spine())


def publish(wakes: Wakes) -> None:
    """Send the wake-ups: lane names, and bare calls for the rest. Whatever is lost here, the next tick makes again."""
    try:
        _wake_lanes(wakes.lanes)
        if wakes.inbox:
            fold.apply_async(queue=FEEDBACK, expires=WAKE_UP_EXPIRES_SECONDS)
        if wakes.jobs:
            night.apply_async(queue=MAINTENANCE, expires=WAKE_UP_EXPIRES_SECONDS)
    except OperationalError as error:  # the broker is away: nothing is lost, only later
        log.warning("broker_away", error=type(error).__name__)


def _wake_lanes(lanes: Iterable[Lane]) -> None:
    for lane in lanes:
        if lane.channel in CHANNEL_QUEUES:
            drain.apply_async(args=[str(lane)], queue=lane.channel.value, expires=WAKE_UP_EXPIRES_SECONDS)
        else:
            log.error("no_queue_for_channel", lane=str(lane))


@worker_init.connect
def _make_ready(**_: object) -> None:
    _ready.update(compiled_before_the_fork(engines.ensure(configuration.load()).database_url))


@worker_process_init.connect
def _begin(**_: object) -> None:
    # A batch makes tens of thousands of short-lived tuples and no cycles: looking for cycles cost a quarter of its CPU.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    settings = configuration.load()
    logs.configure(level=settings.log_level, log_format=settings.log_format)


@task_postrun.connect
def _report(*, state: str | None = None, **_: object) -> None:
    # After a task that failed the database may be away, and another task need not wait for it too.
    mine, reporter = _spines.get(os.getpid()), _reporters.get(os.getpid())
    if mine is not None and reporter is not None and state == "SUCCESS":
        reporter.between_tasks(lambda: mine.conn)


@worker_process_shutdown.connect
def _end(**_: object) -> None:
    mine, reporter = _spines.pop(os.getpid(), None), _reporters.pop(os.getpid(), None)
    if mine is not None and reporter is not None:
        reporter.end()
        SPANS.end()
        mine.close()
