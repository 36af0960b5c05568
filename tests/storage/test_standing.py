"""How the fleet stands is told truly, and at a cost that does not grow with the ledger."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from storage import database, lanes, schema, standing
from storage.rows import Conn
from tests.builders import TUESDAY_MORNING, a_lender

#: Tables that hold more than anybody should read through for a question.
LARGE = {"reminder", "contact", "contact_event", "account", "customer", "call_task", "inbox", "decision"}


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    with database.connect(database_url, autocommit=True) as opened:
        lanes.step_clock(opened, TUESDAY_MORNING)
        for lender in ("lantern", "northbank"):
            a_lender(opened, lender)
        yield opened


def reminders(conn: Conn, number: int, *, state: str = "planned", due: str = "business_now()", lender: str = "lantern"):
    conn.execute(
        f"""
        INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for, due_at,
                              expires_at, state, ended_at)
        SELECT n, n + (SELECT count(*) FROM reminder), %s, 'standard', 's', 'initial', 'sms', n %% 16, business_now(),
               {due}, business_now(), %s, CASE WHEN %s <> 'planned' THEN business_now() END
        FROM generate_series(1, %s) AS n
        """,
        (lender, state, state, number),
    )


def test_lags_and_what_is_due_are_told_by_lender_and_channel(conn: Conn) -> None:
    reminders(conn, 40, due="business_now() - interval '7 minutes' + n * interval '1 second'")
    reminders(conn, 5, due="business_now() + interval '1 hour'")
    reminders(conn, 3, due="business_now() + interval '1 hour'", lender="northbank")

    told = {lane.lender_id: lane for lane in standing.standing(conn).lanes}

    assert (told["lantern"].lag, told["lantern"].due) == (timedelta(minutes=6, seconds=59), 40)
    assert (told["northbank"].lag, told["northbank"].due) == (timedelta(), 0)


def test_what_is_uncertain_overdue_or_waits_is_told(conn: Conn) -> None:
    reminders(conn, 2, state="uncertain")
    conn.execute("UPDATE reminder SET ended_at = business_now() - interval '3 days' WHERE party_id = 1")
    conn.execute(
        """
        INSERT INTO batch (batch_id, lane, worker, begun_at, lease_until)
        VALUES (gen_random_uuid(), 'x', 'w', clock_timestamp() - interval '1 hour',
                clock_timestamp() - interval '1 minute')
        """
    )
    conn.execute(
        """
        INSERT INTO inbox (source, dedupe_key, body_sealed, received_at)
        VALUES ('x', '1', '', clock_timestamp() - interval '2 minutes')
        """
    )
    lanes.pause(conn, "lantern", reason="a test", by="test")

    told = standing.standing(conn)

    assert (told.uncertain, told.uncertain_today) == (2, 1)
    assert (told.open_batches, told.overdue_leases, told.inbox_waiting) == (1, 1, 1)
    assert told.oldest_lease >= timedelta(hours=1)
    assert told.overdue_for >= timedelta(minutes=1)
    assert told.inbox_waits >= timedelta(minutes=2)
    assert told.paused == [("lantern", "a test")]
    assert told.stepped_at == told.business_now


def test_counts_stop_where_nobody_needs_them_and_the_rest_is_an_estimate(conn: Conn) -> None:
    reminders(conn, 25_000)
    conn.execute("ANALYZE reminder")

    told = standing.standing(conn)

    assert [lane.due for lane in told.lanes] == [standing.MOST_COUNTED]
    assert told.planned == 25_000


def test_no_large_table_is_read_through(conn: Conn) -> None:
    """Neither what is planned nor what has ended makes a question dear: every look at a large table is by an index."""
    reminders(conn, 20_000)
    reminders(conn, 20_000, state="sent")
    reminders(conn, 20_000, due="business_now() + interval '9 days'", lender="northbank")
    conn.execute(
        """
        INSERT INTO inbox (source, dedupe_key, body_sealed, folded_at)
        SELECT 'x', n::text, '', now() FROM generate_series(1, 20000) AS n
        """
    )
    conn.execute(
        """
        INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, queued_at, not_before,
                               state)
        SELECT n, n, 'lantern', '{}', 'call', 'x', now(), now(), 'done' FROM generate_series(1, 20000) AS n
        """
    )
    conn.execute("ANALYZE")

    for query in standing.QUERIES:
        [(plan,)] = conn.execute(f"EXPLAIN (FORMAT JSON) {query}", {"most": standing.MOST_COUNTED}).fetchall()
        scans = list(scans_of(plan[0]["Plan"] if isinstance(plan, list) else json.loads(plan)[0]["Plan"]))

        assert scans
        assert [table for node, table in scans if node == "Seq Scan" and table in LARGE] == []


def scans_of(node: dict) -> Iterator[tuple[str, str]]:
    if "Relation Name" in node:
        yield node["Node Type"], node["Relation Name"]
    for child in node.get("Plans", []):
        yield from scans_of(child)


def test_the_database_tells_of_itself(conn: Conn) -> None:
    told = standing.database(conn)

    assert told.schema == schema.newest_version()
    assert 0 < told.connections <= told.max_connections
    assert (told.is_standby, told.replicas, told.replay_lag) == (False, 0, None)
    assert (told.fsync, told.synchronous_commit)[1] in ("on", "off")
    assert told.size_bytes > 0
