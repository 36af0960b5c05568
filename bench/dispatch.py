"""Compliant reminders per second through the true fleet, beside Celery's empty task with as many processes.

Ours: Celery, Valkey, PostgreSQL with fsync and synchronous_commit on; each reminder judged with ten history rows, its
personal fields opened, facts sealed, rendered, stamped, recorded, its next step planned; null channel. The empty tasks
wait in the broker before the clock starts, so that only running them is measured. Rounds are interleaved.
"""

import csv
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil

from bench.results import Figure, figure
from config import settings as configuration
from config.profiles import load_profile
from config.settings import Settings, child_environment
from console.house import bundle_of, enter, publish
from storage import lanes
from storage.rows import Conn
from worker import engines, tasks
from worker.intake import import_accounts
from worker.ticking import look
from worker.wiring import Spine, folders

PROCESSES = 2
REMINDERS = 8_000
EMPTY_TASKS = 6_000
HISTORY = 10
ROUNDS = 5

#: The goal of docs: a whole reminder costs a twelfth of an empty task.
GOAL = 12.0

#: A Tuesday; rounds are four days apart, which the weekly and monthly caps of the baseline allow.
FIRST_DAY = date(2026, 3, 3)
DAYS_APART = 4

#: 10:05 in Taipei: after the ladder's hour, inside the window of every weekday and Saturday.
HOUR = (2, 30)

QUEUES = "sms,email,push,call,null,feedback,maintenance"


@dataclass(frozen=True, slots=True)
class Round:
    per_second: float
    cpu_us: float


def run(home: Path, *, rounds: int = ROUNDS, reminders: int = REMINDERS) -> Figure:
    """Measure `rounds` interleaved rounds in a home of its own, made anew. Leaves nothing running."""
    settings = configuration.adopt(_settings(home))
    engines.stop(settings)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    ours: list[Round] = []
    theirs: list[Round] = []
    try:
        with enter(settings, role="bench") as spine, _workers(settings) as (fleet, empty):
            _fill(spine, home, reminders)
            _warm_up(spine, fleet, empty)
            for number in range(rounds):
                _due(spine.conn, _round_day(number))
                ours.append(_drain(spine.conn, reminders, fleet))
                theirs.append(_run_empty(settings, empty, EMPTY_TASKS))
    finally:
        engines.stop(settings)
    return figure(
        "dispatch",
        [each.per_second for each in ours],
        [each.per_second for each in theirs],
        yardstick_name=f"Celery's empty task, {PROCESSES} processes",
        unit="1/s",
        goal=GOAL,
        cpu_us=statistics.median(each.cpu_us for each in ours),
        yardstick_cpu_us=statistics.median(each.cpu_us for each in theirs),
    )


def _settings(home: Path) -> Settings:
    return Settings(
        home=home, worker_concurrency=PROCESSES, log_level="WARNING",
        sandbox_http_url="http://127.0.0.1:9", sandbox_smtp_url="smtp://127.0.0.1:9",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ the rows


def _fill(spine: Spine, home: Path, reminders: int) -> None:
    """Customers of the bench lender through the real import, and ten contacts of the past for each."""
    release = publish(spine.conn, bundle_of(spine.settings), by="bench")
    file = home / "bench.csv"
    _write_csv(file, reminders)
    profiles = folders(spine.settings)[0] / "profiles"
    import_accounts(
        spine.database_url,
        file,
        load_profile({path.name: path.read_text(encoding="utf-8") for path in profiles.glob("*.toml")}, "demo"),
        as_of=FIRST_DAY - timedelta(days=10),
        full=False,
        keyring=spine.keyring,
        lenders=release.lenders,
        ladders=release.ladders,
        rejects_path=home / "rejects.csv",
    )
    conn = spine.conn
    for month in (1, 2, 3):
        lanes.ensure_partitions(conn, datetime(2026, month, 1, tzinfo=UTC))
    for age in range(DAYS_APART, 32, DAYS_APART):
        _remember(conn, _moment(FIRST_DAY) - timedelta(days=age))
    conn.execute("VACUUM ANALYZE")


def _remember(conn: Conn, at: datetime) -> None:
    """One contact of the past with everybody."""
    conn.execute(
        """
        WITH made AS (
            INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, origin, actor, channel,
                                 purpose, rule, pack, account_ids, address_lookup)
            SELECT a.party_id, gen_random_uuid(), %s::timestamptz, a.customer_id, a.lender_id, 'imported', 'creditor',
                   'sms', 'reminder', 'imported', 'imported', ARRAY[a.account_id], d.lookup
            FROM account a JOIN address d ON d.party_id = a.party_id AND d.channel = 'phone'
            RETURNING party_id, contact_id, intended_at
        )
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at)
        SELECT party_id, contact_id, intended_at, 'delivered', 'bench', intended_at FROM made
        """,
        (at,),
    )


def _write_csv(file: Path, reminders: int) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(
            ("lender", "customer_ref", "name", "phone", "email", "push_token", "locale", "residence", "zone",
             "zone_confirmed_on", "account_ref", "product", "currency", "balance", "due_on", "consents", "consented_on")
        )  # fmt: skip
        for n in range(reminders):
            writer.writerow(
                ("bench", f"B{n}", "Ana Example", f"+8869{n:08d}", f"b{n}@bench.example", "", "en", "TW",
                 "Asia/Taipei", "2026-01-01", f"BA{n}", "card", "TWD", "1234.00", "2026-02-20", "sms null",
                 "2025-01-01")
            )  # fmt: skip


def _round_day(number: int) -> date:
    """Every fourth day, and the Monday after where that is a Sunday."""
    day = FIRST_DAY + timedelta(days=DAYS_APART * (number + 1))
    return day + timedelta(days=1) if day.weekday() == 6 else day


def _moment(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, *HOUR, tzinfo=UTC)


def _due(conn: Conn, day: date) -> None:
    """Everybody's next step comes due on that day, all at once; then the database is given a moment's rest."""
    moment = _moment(day)
    _fill_up_history(conn, moment)
    conn.execute(
        "UPDATE reminder SET due_at = %s, planned_for = %s, expires_at = %s WHERE state = 'planned'",
        (moment, moment, moment + timedelta(days=2)),
    )
    conn.execute("VACUUM ANALYZE")
    conn.execute("CHECKPOINT")
    lanes.step_clock(conn, moment)


def _fill_up_history(conn: Conn, moment: datetime) -> None:
    """Everybody has HISTORY contacts in the 32 days that the judge looks back: what the month's cap allows (the rounds
    before this one, mostly), and the rest a day before its month."""
    row = conn.execute(
        """
        SELECT count(*) FROM contact WHERE party_id = (SELECT min(party_id) FROM party) AND intended_at >= %s
        """,
        (moment - timedelta(days=32),),
    ).fetchone()
    assert row is not None
    for number in range(HISTORY - row[0]):
        _remember(conn, moment - timedelta(days=31, minutes=number + 1))


# ----------------------------------------------------------------------------------------------------------- the rounds


def _warm_up(spine: Spine, fleet: psutil.Process, empty: psutil.Process) -> None:
    """One round of each that is not counted: releases compiled, plans prepared, pools forked."""
    _due(spine.conn, FIRST_DAY)
    _drain(spine.conn, 1, fleet)
    _run_empty(spine.settings, empty, 500)


def _drain(conn: Conn, reminders: int, fleet: psutil.Process) -> Round:
    """Wake every lane and wait until nothing is due."""
    before, began = _cpu(conn, fleet), time.perf_counter()
    while any(lanes.stillness(conn)[:2]):
        tasks.publish(look(conn))
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    used = _cpu(conn, fleet) - before
    row = conn.execute(
        "SELECT count(*) FROM contact WHERE intended_at = business_now() AND channel = 'null'"
    ).fetchone()
    sent = row[0] if row else 0
    if sent < reminders:
        raise SystemExit(f"bench: {sent} of {reminders} reminders were sent; the round measures nothing")
    return Round(sent / seconds, 1e6 * used / sent)


def _run_empty(settings: Settings, empty: psutil.Process, count: int) -> Round:
    """Queue empty tasks while nobody listens, then listen and wait until all are done."""
    url = engines.ensure(settings).broker_url
    with engines.redis_client(url) as client:
        subprocess.run(
            [sys.executable, "-m", "bench.enqueue", str(count)], check=True, env=_empty_environment(settings)
        )
        for process in _family(empty):
            process.resume()
        before, began = _own_cpu(empty), time.perf_counter()
        while client.llen("empty:empty") or client.hlen("empty:unacked"):
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        used = _own_cpu(empty) - before
    for process in _family(empty):
        process.suspend()
    return Round(count / seconds, 1e6 * used / count)


# ------------------------------------------------------------------------------------------------------------ processes


@contextmanager
def _workers(settings: Settings) -> Iterator[tuple[psutil.Process, psutil.Process]]:
    """Our worker and the yardstick's, each with as many processes; the yardstick's sleeps until it is its turn."""
    engines.ensure(settings)
    celery = [sys.executable, "-m", "celery", "--quiet"]
    own = ["worker", "--loglevel", "WARNING", "--pool", "prefork", "--concurrency", str(PROCESSES)]
    started: list[subprocess.Popen[bytes]] = []
    with (settings.home / "workers.log").open("wb") as log_file:
        for command, environment in (
            ([*celery, "-A", "worker.app", *own, "-Q", QUEUES], child_environment(settings)),
            ([*celery, "-A", "bench.empty", *own, "-Q", "empty", "-n", "empty@%h"], _empty_environment(settings)),
        ):
            started.append(subprocess.Popen(command, env=environment, stdout=log_file, stderr=log_file))
        fleet, empty = (psutil.Process(process.pid) for process in started)
        try:
            _wait(lambda: len(fleet.children()) >= PROCESSES and len(empty.children()) >= PROCESSES)
            time.sleep(2)  # both have met their broker
            for process in _family(empty):
                process.suspend()
            yield fleet, empty
        finally:
            for process in (*_family(empty), *_family(fleet)):
                process.resume()
                process.kill()
            for each in started:
                each.wait(10)


def _empty_environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "EMPTY_BROKER": engines.ensure(settings).broker_url}


def _family(process: psutil.Process) -> Sequence[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _own_cpu(process: psutil.Process) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in _family(process))


def _cpu(conn: Conn, fleet: psutil.Process) -> float:
    """CPU seconds of our worker and of every session of the database."""
    pids = [row[0] for row in conn.execute("SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL")]
    return _own_cpu(fleet) + sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids if psutil.pid_exists(pid))


def _wait(until: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise SystemExit("bench: the workers did not start; see workers.log")
        time.sleep(0.05)
