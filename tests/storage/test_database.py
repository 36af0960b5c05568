import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from psycopg.conninfo import conninfo_to_dict

from config.settings import Settings
from domain.lane import shard_of
from storage import database, lanes, schema, sweeps
from storage.database import DatabaseDown
from storage.schema import NewerSchema, SchemaMissing
from tests.builders import HOUSE
from tests.conftest import named, roomy_memory
from tests.rehearsal import eventually
from worker import engines as embedded
from worker.engines import Engines

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A home of the test's own, whose server it may stop."""
    outside = Path(tempfile.mkdtemp(prefix="duly-database-", dir=roomy_memory()))
    own = Settings(home=outside / "home")
    yield own
    embedded.stop(own)
    shutil.rmtree(outside)


def test_sessions_run_in_utc_and_say_who_they_are(database_url: str) -> None:
    with database.connect(database_url, application_name="duly test") as connection:
        shown = connection.execute("SELECT current_setting('timezone'), current_setting('application_name')").fetchone()

    assert shown == ("UTC", "duly test")


def test_options_in_the_address_are_kept(database_url: str) -> None:
    with database.connect(f"{database_url}&options=-c%20work_mem%3D5MB") as connection:
        shown = connection.execute("SELECT current_setting('work_mem'), current_setting('timezone')").fetchone()

    assert shown == ("5MB", "UTC")


def test_a_database_that_is_away_for_a_moment_is_waited_for(settings: Settings) -> None:
    url = embedded.ensure(settings).database_url
    embedded.stop(settings)
    back = threading.Timer(1.0, embedded.ensure, [settings])
    back.start()
    started = time.monotonic()

    try:
        with database.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        back.join()

    assert time.monotonic() - started > 0.9


def test_a_database_that_several_make_at_once_is_made_once(database_url: str) -> None:
    for attempt in range(3):
        wanted = named(database_url, f"{conninfo_to_dict(database_url)['dbname']}_made_{attempt}")
        with ThreadPoolExecutor(6) as threads:
            made = [threads.submit(database.create_database, wanted) for _ in range(6)]

        assert [each.exception() for each in made] == [None] * 6
        assert database.answers(wanted)
        database.drop_database(wanted)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "postgresql://duly:sesame@127.0.0.1:1/ledger",
            "127.0.0.1:1, database ledger within 0.3 s: Connection refused",
        ),
        ("postgresql://duly:sesame@no-such-host.invalid/ledger", "no-such-host.invalid:5432, database ledger"),
        ("postgresql://duly:sesame@127.0.0.1/ledger?sslmode=odd", "invalid sslmode value"),
        ("postgresql://duly:sesame@/ledger?host=/nowhere", "at /nowhere, database ledger within 0.3 s: No such file"),
    ],
)
def test_a_database_that_stays_away_is_named_without_its_password(url: str, why: str) -> None:
    with pytest.raises(DatabaseDown) as refusal:
        database.connect(url, patience_seconds=0.3)

    assert why in str(refusal.value)
    assert "DULY_DATABASE_URL" in str(refusal.value)
    assert "sesame" not in str(refusal.value)
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize("url", ["sesame", "postgresql://h/d?sesame=1"])
def test_an_address_that_cannot_be_read_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(DatabaseDown, match="cannot be read") as refusal:
        database.connect(url)

    assert "sesame" not in str(refusal.value)


def test_an_answer_that_waiting_cannot_change_comes_at_once(engines: Engines) -> None:
    started = time.monotonic()

    with pytest.raises(DatabaseDown, match='database "nowhere" does not exist'):
        database.connect(named(engines.database_url, "nowhere"))

    assert time.monotonic() - started < 2


def test_migrating_makes_the_schema_and_again_changes_nothing(empty_database_url: str) -> None:
    assert schema.schema_version(empty_database_url) is None
    with pytest.raises(SchemaMissing, match="run `duly migrate`"):
        schema.require_schema(empty_database_url)

    applied = schema.migrate(empty_database_url)

    assert applied[-1] == schema.newest_version()
    assert schema.migrate(empty_database_url) == []
    schema.require_schema(empty_database_url)


def test_processes_that_migrate_at_once_do_it_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(schema.migrate, [empty_database_url] * 4))

    assert sorted(map(len, applied))[:3] == [0, 0, 0]
    assert max(map(len, applied)) > 0


def test_a_newer_schema_is_refused_and_left_alone(database_url: str, connection: Connection) -> None:
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()

    for refused in (schema.migrate, schema.schema_version, schema.require_schema):
        with pytest.raises(NewerSchema, match="schema 9999, which this version of duly does not know"):
            refused(database_url)

    assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_migration_that_fails_leaves_nothing_behind(empty_database_url: str) -> None:
    with database.connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE contact_event ()")  # in the way of the first revision

    with pytest.raises(psycopg.errors.DuplicateTable):
        schema.migrate(empty_database_url)

    assert schema.schema_version(empty_database_url) is None
    with database.connect(empty_database_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == [("contact_event",)]


def test_what_is_still_to_go_moves_to_the_shard_of_its_neighbours(empty_database_url: str) -> None:
    parties = [1, 1023, 1024, 16_383, 16_384, 5_000_000]
    with schema._alembic(empty_database_url) as (config, migrating):
        command.upgrade(config, "0009")
        migrating.commit()
    with database.connect(empty_database_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.cursor().executemany(
            """
            INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for,
                                  due_at, expires_at, state, ended_at)
            VALUES (%s, 1, 'lantern', 'standard', 's', 'initial', 'sms', %s, now(), now(), now(), %s,
                    CASE WHEN %s = 'sent' THEN now() END)
            """,
            [(party, party % 16, state, state) for party in parties for state in ("planned", "sent")],
        )

    schema.migrate(empty_database_url)

    with database.connect(empty_database_url) as connection:
        found = dict(connection.execute("SELECT party_id, shard FROM reminder WHERE state = 'planned'").fetchall())
        assert found == {party: shard_of(party) for party in parties}
        old = dict(connection.execute("SELECT party_id, shard FROM reminder WHERE state = 'sent'").fetchall())
        assert old == {party: party % 16 for party in parties}


def test_links_of_contacts_to_debts_come_over_into_the_contacts(empty_database_url: str) -> None:
    with schema._alembic(empty_database_url) as (config, migrating):
        command.upgrade(config, "0008")
        migrating.commit()
    ours, alike, others = (uuid4() for _ in range(3))
    with database.connect(empty_database_url) as connection:
        connection.cursor().executemany(
            """
            INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, purpose,
                                 rule, pack, stage, account_ids)
            VALUES (1, %s, '2026-03-03 02:30Z', 1, 'lantern', 'creditor', 'sms', 'reminder', 'r', 'p', %s, %s)
            """,
            [(ours, "early", [7, 5]), (alike, "early", [7]), (others, None, [7])],
        )
        connection.cursor().executemany(
            "INSERT INTO contact_account VALUES (1, %s, %s, '2026-03-03 02:30Z', %s, %s, %s)",
            [
                (ours, 5, 50, "options", "middle"), (ours, 7, 70, "first_notice", "early"),
                (alike, 7, 71, "second_notice", "early"), (others, 7, None, None, None),
            ],
        )  # fmt: skip
        before = connection.execute("SELECT * FROM contact_account ORDER BY 2, 3").fetchall()

    schema.migrate(empty_database_url)

    with database.connect(empty_database_url) as connection:
        assert connection.execute("SELECT * FROM contact_account ORDER BY 2, 3").fetchall() == before
        stored = connection.execute("SELECT contact_id, reminder_ids, steps, stages FROM contact").fetchall()
    assert sorted(stored) == sorted(
        [
            (ours, [70, 50], ["first_notice", "options"], ["early", "middle"]),
            (alike, [71], ["second_notice"], None),
            (others, None, None, None),
        ]
    )


def test_what_was_stamped_when_the_workers_stopped_is_in_doubt_after_the_migration(empty_database_url: str) -> None:
    with schema._alembic(empty_database_url) as (config, migrating):
        command.upgrade(config, "0011")
        migrating.commit()
    batch_id, stamped, waiting, orphan = uuid4(), uuid4(), uuid4(), uuid4()
    with database.connect(empty_database_url) as connection:
        connection.execute(
            "INSERT INTO batch (batch_id, lane, worker, lease_until) VALUES (%s, 'lantern:sms:0', 'w', now())",
            (batch_id,),
        )
        connection.cursor().executemany(
            """
            INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for,
                                  due_at, expires_at, state, contact_id, batch_id, judged_epoch, stamped_at)
            VALUES (%s, 1, 'lantern', 'standard', 'first_notice', 'initial', 'sms', 0, now(), now(), now(), 'intended',
                    %s, %s, 0, %s)
            """,
            [(1, stamped, batch_id, datetime.now(UTC)), (2, waiting, batch_id, None), (3, orphan, uuid4(), None)],
        )

    schema.migrate(empty_database_url)

    with database.connect(empty_database_url) as connection:
        held = connection.execute(
            "SELECT party_id, contact_id, is_stamped, lane FROM intended JOIN batch USING (batch_id) ORDER BY 1"
        ).fetchall()
        sweeps.sweep_batches(connection)
        found = connection.execute(
            "SELECT state, contact_id, stamped_at IS NOT NULL FROM reminder ORDER BY party_id"
        ).fetchall()
    lane = "lantern:sms:0"
    assert held == [(1, stamped, True, lane), (2, waiting, False, lane), (3, orphan, True, lane)]
    assert found == [("uncertain", stamped, True), ("planned", None, False), ("uncertain", orphan, True)]


def test_a_job_that_nobody_runs_any_more_is_not_late_for_ever(empty_database_url: str) -> None:
    with schema._alembic(empty_database_url) as (config, migrating):
        command.upgrade(config, "0013")
        migrating.commit()
    with database.connect(empty_database_url) as connection:
        lanes.schedule_nightly(connection, "batches", first=datetime(2020, 1, 1, tzinfo=UTC))
        assert lanes.due_jobs(connection) == ["batches"]

    schema.migrate(empty_database_url)

    with database.connect(empty_database_url) as connection:
        assert lanes.due_jobs(connection) == []


def test_creating_and_dropping_databases_may_be_repeated(engines: Engines) -> None:
    url = named(engines.database_url, 'odd "name" %s')
    url = url.replace(" ", "%20").replace('"', "%22").replace("%s", "%25s")

    database.create_database(url)
    database.create_database(url)
    assert database.answers(url)

    database.drop_database(url)
    database.drop_database(url)
    assert not database.answers(url)


@pytest.mark.skipif(sys.platform != "linux", reason="only there can a server see that its client has died")
def test_who_is_killed_while_waiting_for_a_lock_does_not_keep_its_own(database_url: str) -> None:
    waits = (
        "import sys; from storage import database; conn = database.connect(sys.argv[1]);"
        "conn.execute('SELECT pg_advisory_lock(1)'); conn.execute('SELECT pg_advisory_lock(2)')"
    )
    with database.connect(database_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(2)")
        with subprocess.Popen([sys.executable, "-c", waits, database_url], cwd=HOUSE) as process:
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            eventually(lambda: conn.execute(waiting).fetchone() == (1,), why="it waits for the second")
            process.kill()

        eventually(lambda: conn.execute("SELECT pg_try_advisory_lock(1)").fetchone()[0], why="the first is free again")


def test_no_worker_loads_what_only_a_migration_needs():
    """It is a quarter of a worker's start, which is when a fleet that died has to come back."""
    script = "import sys, worker.tasks; print({'alembic', 'sqlalchemy'} & set(sys.modules))"

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=HOUSE)

    assert said.stdout == "set()\n"
