"""A process's counts reach the database: in step, from a thread when it is idle, and after it was taken for dead."""

import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from storage import database, tallies
from worker.metrics import REFUSED, Tally, series_of
from worker.reporting import Reporter

SERIES = series_of(REFUSED, ("a test",))
PATIENCE_SECONDS = 30


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with database.connect(database_url, autocommit=True) as opened:
        yield opened


def a_reporter(database_url: str, tally: Tally) -> Reporter:
    return Reporter(database_url, name="worker@host:1", role="worker", release_hash=lambda: "ab", tally=tally)


def total(conn: psycopg.Connection) -> float:
    return tallies.totals(conn).get(SERIES, 0)


def test_what_is_counted_is_reported_once_however_often(conn: psycopg.Connection, database_url: str) -> None:
    tally = Tally()
    reporter = a_reporter(database_url, tally)

    for _ in range(3):
        tally.count(REFUSED, ("a test",), 2)
        reporter.report(conn)
        reporter.report(conn)

    assert total(conn) == 6
    assert tallies.recently(conn, silent_for=timedelta(minutes=1))[SERIES] == 6
    [process] = tallies.processes(conn)
    assert (process.name, process.release_hash, process.memory_bytes > 0) == ("worker@host:1", "ab", True)


def test_whoever_was_taken_for_dead_begins_a_new_life_and_nothing_is_counted_twice(
    conn: psycopg.Connection, database_url: str
) -> None:
    tally = Tally()
    reporter = a_reporter(database_url, tally)
    tally.count(REFUSED, ("a test",), 5)
    reporter.report(conn)
    conn.execute("UPDATE process SET seen_at = seen_at - interval '1 hour'")
    tallies.bury(conn, silent_for=timedelta(minutes=5))

    tally.count(REFUSED, ("a test",), 1)
    reporter.report(conn)
    reporter.report(conn)

    assert total(conn) == 6


def test_a_process_that_ends_leaves_its_counts_and_no_row(conn: psycopg.Connection, database_url: str) -> None:
    tally = Tally()
    reporter = a_reporter(database_url, tally)
    reporter.start()
    tally.count(REFUSED, ("a test",), 5)

    reporter.end()

    assert total(conn) == 5
    assert tallies.processes(conn) == []


def test_an_idle_process_is_reported_by_its_thread(conn: psycopg.Connection, database_url: str) -> None:
    tally = Tally()
    reporter = Reporter(
        database_url, name="worker@host:1", role="worker", tally=tally, every_seconds=0.05, idle_seconds=0.1
    )
    reporter.start()
    tally.count(REFUSED, ("a test",), 5)

    until = time.monotonic() + PATIENCE_SECONDS
    while total(conn) < 5 and time.monotonic() < until:
        time.sleep(0.05)

    assert total(conn) == 5
    reporter.end()


def test_a_database_that_is_away_costs_no_count(conn: psycopg.Connection, database_url: str) -> None:
    tally = Tally()
    reporter = Reporter(database_url, name="worker@host:1", role="worker", tally=tally, every_seconds=0)
    reporter.report(conn)
    tally.count(REFUSED, ("a test",), 5)

    def away() -> psycopg.Connection:
        raise database.DatabaseDown("away")

    reporter.between_tasks(away)
    reporter.between_tasks(lambda: conn)

    assert total(conn) == 5
