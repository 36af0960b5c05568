"""Nightly jobs that meet somebody who reads the ledger for long."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import sql
from structlog.testing import capture_logs

from config.settings import Settings
from storage import database, lanes
from storage.rows import Conn
from tests.builders import a_contact, a_customer, a_lender, an_account
from tests.worker.test_retention import KEYS
from worker import nightly
from worker.wiring import Spine

#: The first night on which a month is wanted that is not there yet.
NIGHT = datetime(2026, 4, 1, 0, 30, tzinfo=UTC)


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    with database.connect(database_url, autocommit=True) as opened:
        name = sql.Identifier(opened.info.dbname)
        opened.execute(sql.SQL("ALTER DATABASE {} SET statement_timeout = '20s'").format(name))  # what waits shall fail
        a_lender(opened, "lantern")
        lanes.step_clock(opened, NIGHT - timedelta(days=1))
        nightly.schedule(opened, now=NIGHT - timedelta(days=1))
        yield opened


def run_at(conn: Conn, database_url: str, home: Path, at: datetime) -> list[str]:
    """Run what is due at that time; what was said of it."""
    lanes.step_clock(conn, at)
    spine = Spine(Settings(home=home), database_url)
    try:
        with capture_logs() as said:
            nightly.run_due(spine)
    finally:
        spine.close()
    return [line["event"] for line in said]


def has_july(conn: Conn) -> bool:
    return conn.execute("SELECT to_regclass('contact_2026_07') IS NOT NULL").fetchone() == (True,)


def test_room_for_another_month_waits_for_a_backup_and_the_fleet_does_not(
    conn: Conn, database_url: str, tmp_path: Path
) -> None:
    conn.execute("SET statement_timeout = '20s'")
    account = an_account(conn, customer := a_customer(conn, KEYS))
    with database.connect(database_url) as backup:
        backup.execute("SELECT count(*) FROM contact")
        said = run_at(conn, database_url, tmp_path, NIGHT)

        a_contact(conn, customer, account, NIGHT)
        assert not has_july(conn)
    assert "partitions_put_off" in said
    later = NIGHT + nightly.PARTITIONS_AGAIN
    assert conn.execute("SELECT due_at FROM nightly_job WHERE name = 'partitions'").fetchone() == (later,)

    assert "partitions_put_off" not in run_at(conn, database_url, tmp_path, later)

    assert has_july(conn)
    next_night = NIGHT + timedelta(days=1)  # and not ten minutes later every time
    assert conn.execute("SELECT due_at FROM nightly_job WHERE name = 'partitions'").fetchone() == (next_night,)


def test_whoever_comes_while_room_is_wanted_waits_a_moment_only(conn: Conn, database_url: str) -> None:
    """The wait is for all who come later, so it is short, whatever the caller's own patience."""
    conn.execute("SET statement_timeout = '20s'")
    conn.execute("SET lock_timeout = '1min'")
    with database.connect(database_url) as backup:
        backup.execute("SELECT count(*) FROM contact")
        with pytest.raises(lanes.NoRoom, match="a backup perhaps"):
            lanes.ensure_partitions(conn, NIGHT)
    assert conn.execute("SHOW lock_timeout").fetchone() == ("1min",)

    assert lanes.ensure_partitions(conn, NIGHT) == 1
    assert conn.execute("SHOW lock_timeout").fetchone() == ("1min",)
