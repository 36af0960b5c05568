"""Compliant reminders per second through the true fleet, beside the empty task of other queues with as many processes.

Ours: Celery, Valkey, PostgreSQL with fsync and synchronous_commit on; each reminder judged with ten history rows, its
personal fields opened, facts sealed, rendered, stamped, recorded, its next step planned; null channel. The empty tasks
wait in their queue before the clock starts, so that only running them is measured. Rounds are interleaved; CPU counts
whole process trees and the servers, on both sides.
"""

import statistics
import time
from datetime import datetime

import psutil

from bench import yardsticks
from bench.results import Figure, figure
from bench.rig import PROCESSES, Rig, cpu_seconds, rig, screen, steps, worker
from bench.world import come_due, move_in, round_day, sent_at
from bench.yardsticks import CELERY, QUEUES, Queue, Round
from storage import lanes
from storage.rows import Conn
from worker import tasks
from worker.ticking import look

REMINDERS = 32_000
ROUNDS = 9

#: The goal of docs: a whole reminder costs a twelfth of Celery's empty task, and less than anybody's.
GOALS = {"celery": 12.0}

#: How often we look whether all is done.
LOOK_SECONDS = 0.05

SELDOM_SECONDS = 1.0

#: A fleet that has done nothing for this long does nothing.
STUCK_SECONDS = 60.0


def run(*, rounds: int = ROUNDS, reminders: int = REMINDERS) -> list[Figure]:
    """Measure `rounds` interleaved rounds."""
    present = [queue for queue in QUEUES if queue.is_installed]
    for queue in set(QUEUES) - set(present):
        screen.print(f"{queue.name} is not installed and is left out: `make bench` installs it")
    ours: list[Round] = []
    theirs: dict[str, list[Round]] = {queue.name: [] for queue in present}
    with rig("dispatch") as house, steps("dispatch", (rounds + 1) * (len(present) + 1) + 1) as step:
        step(f"{reminders:,} customers through the import")
        move_in(house, reminders)
        with worker(house) as fleet:
            _ours(house, fleet, 0, reminders)  # not counted: releases compiled, plans prepared
            for number in range(1, rounds + 1):
                step(f"round {number} of {rounds}, ours")
                ours.append(_ours(house, fleet, number, reminders))
                for queue in present:
                    step(f"round {number} of {rounds}, {queue.name}")
                    theirs[queue.name].append(yardsticks.run(house, queue))
    return [_figure(queue, ours, theirs[queue.name]) for queue in present]


def _ours(house: Rig, fleet: psutil.Process, number: int, reminders: int) -> Round:
    at = come_due(house.conn, round_day(number))
    return drain(house, fleet, at, reminders)


def drain(house: Rig, fleet: psutil.Process, at: datetime, reminders: int) -> Round:
    """Tick as often as beat does until nothing is due; ends the benchmark when not all were sent."""
    conn = house.conn
    whole = _steps_planned(conn) + reminders
    before, began = cpu_seconds(fleet, *house.servers), time.perf_counter()
    moved, left, ticked, looked = began, -1, float("-inf"), began
    while True:
        # Whether nothing is left is dear to ask, and would weigh on us: before the last step is planned, seldom.
        if _steps_planned(conn) >= whole or time.perf_counter() - looked > SELDOM_SECONDS:
            looked = time.perf_counter()
            if not any(lanes.stillness(conn)[:2]):
                break
        if time.perf_counter() - ticked >= house.settings.tick_seconds:
            ticked = time.perf_counter()
            tasks.publish(look(conn))
        time.sleep(LOOK_SECONDS)
        if time.perf_counter() - moved > STUCK_SECONDS:
            now_left = _left(house, at)
            if now_left == left:
                raise SystemExit(f"bench: {left} reminders are due and nobody takes them; see {house.log_file}")
            moved, left = time.perf_counter(), now_left
    seconds = time.perf_counter() - began
    used = cpu_seconds(fleet, *house.servers) - before
    sent = sent_at(conn, at)
    if sent < reminders:
        raise SystemExit(f"bench: {sent} of {reminders} reminders were sent; the round measures nothing")
    return Round(sent / seconds, 1e6 * used / sent)


def _steps_planned(conn: Conn) -> int:
    """How many steps were ever planned: each that is done is followed by one."""
    row = conn.execute("SELECT last_value FROM reminder_reminder_id_seq").fetchone()
    assert row is not None
    return int(row[0])


def _left(house: Rig, at: datetime) -> int:
    row = house.conn.execute("SELECT count(*) FROM reminder WHERE state = 'planned' AND due_at <= %s", (at,)).fetchone()
    assert row is not None
    return int(row[0])


def _figure(queue: Queue, ours: list[Round], theirs: list[Round]) -> Figure:
    return figure(
        "dispatch" if queue is CELERY else f"dispatch_vs_{queue.name}",
        [each.per_second for each in ours],
        [each.per_second for each in theirs],
        yardstick_name=f"{queue.name}'s empty task, {PROCESSES} processes",
        unit="1/s",
        goal=GOALS.get(queue.name, 1.0),
        cpu_us=statistics.median(each.cpu_us for each in ours),
        yardstick_cpu_us=statistics.median(each.cpu_us for each in theirs),
        detail={"ours": [each.per_second for each in ours], "theirs": [each.per_second for each in theirs]},
    )
