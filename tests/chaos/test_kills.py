"""kill -9 of a worker in the middle of a wave and before its record; the sandbox's own count says who was contacted.

The moment is chosen from outside, with nothing of ours bent: a table lock holds the worker before its commit or before
its record, a stalling provider holds it in the middle of a wave.
"""

from collections import Counter

import psycopg

from domain.channel import Channel
from domain.lane import Lane, shard_of
from storage import database
from tests.builders import a_customer, a_reminder, an_account
from tests.rehearsal import Fleet, Sandbox, eventually, kill
from worker import dispatch
from worker.wiring import keyring

#: Rows in a lane: more than two waves of ten.
CUSTOMERS = 24


def a_full_lane(fleet: Fleet) -> Lane:
    """One lane with a due text message for each of its customers."""
    keys = keyring(fleet.settings)
    wanted = Lane("lantern", Channel.SMS, 3)
    made = 0
    number = 0
    while made < CUSTOMERS:
        number += 1
        party_id = fleet.conn.execute("INSERT INTO party DEFAULT VALUES RETURNING party_id").fetchone()[0]
        if shard_of(party_id) != wanted.shard:
            continue
        customer = a_customer(fleet.conn, keys, number, party_id=party_id)
        a_reminder(fleet.conn, customer, an_account(fleet.conn, customer))
        made += 1
    return wanted


def waiting_for(conn: psycopg.Connection, table: str) -> bool:
    """Whether some session of this database waits for a lock on the table."""
    return conn.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass)", (table,)
    ).fetchone()[0]


def recover(fleet: Fleet, lane: Lane) -> None:
    """Let the lease run out at once (test_storm waits for it), sweep, and let a healthy worker go on."""
    fleet.conn.execute("UPDATE batch SET lease_until = clock_timestamp() WHERE ended_at IS NULL")
    spine = fleet.spine()
    try:
        eventually(lambda: dispatch.sweep(spine).batches > 0 or not open_batches(fleet), why="the lease runs out")
        dispatch.drain(spine, lane)
    finally:
        spine.close()


def open_batches(fleet: Fleet) -> int:
    return fleet.conn.execute("SELECT count(*) FROM batch WHERE ended_at IS NULL").fetchone()[0]


def ended(fleet: Fleet) -> Counter:
    """How the reminders of the step ended; the next steps are planned for later days."""
    rows = fleet.conn.execute("SELECT state FROM reminder WHERE step = 'first_notice'").fetchall()
    return Counter(state for (state,) in rows)


def test_killed_in_the_middle_of_a_wave_only_that_wave_is_uncertain(fleet: Fleet, sandbox: Sandbox):
    lane = a_full_lane(fleet)
    sandbox.arm({"channel": "sms", "kind": "stall_after", "seconds": 8, "every": 2})
    worker = fleet.start(lane)
    eventually(lambda: sandbox.accepted() >= 10, why="the first wave arrives")
    kill(worker)
    sandbox.arm()

    recover(fleet, lane)

    assert ended(fleet) == {"uncertain": 10, "sent": CUSTOMERS - 10}
    assert sandbox.accepted() == CUSTOMERS, "the wave had arrived, and nobody was written to again"
    assert Counter(sandbox.recipients()).most_common(1)[0][1] == 1
    assert sandbox.counts()["repeated"] == {}


def test_killed_before_the_record_the_wave_is_uncertain_and_never_repeated(fleet: Fleet, sandbox: Sandbox):
    lane = a_full_lane(fleet)
    sandbox.arm({"channel": "sms", "kind": "stall_after", "seconds": 4})
    worker = fleet.start(lane)
    eventually(lambda: sandbox.accepted() >= 10, why="the first wave arrives")
    with database.connect(fleet.database_url) as blocker:
        blocker.execute("LOCK TABLE contact_event IN SHARE MODE")
        eventually(lambda: waiting_for(fleet.conn, "contact_event"), why="the worker wants to record its wave")
        kill(worker)
        eventually(lambda: not waiting_for(fleet.conn, "contact_event"), why="the database sees that nobody is there")
    sandbox.arm()
    assert sandbox.accepted() == 10

    recover(fleet, lane)

    assert ended(fleet) == {"uncertain": 10, "sent": CUSTOMERS - 10}
    assert Counter(sandbox.recipients()).most_common(1)[0][1] == 1


def test_an_uncertain_reminder_keeps_the_account_going(fleet: Fleet, sandbox: Sandbox):
    lane = a_full_lane(fleet)
    sandbox.arm({"channel": "sms", "kind": "drop_after", "every": 3})  # more, and the provider would be stopped
    spine = fleet.spine()
    eventually(
        lambda: dispatch.drain(spine, lane).reminders == 0, why="nothing is due: a slow machine needs two slices"
    )
    spine.close()

    lost = CUSTOMERS // 3
    assert ended(fleet) == {"uncertain": lost, "sent": CUSTOMERS - lost}
    assert fleet.reminders() == {**ended(fleet), "planned": CUSTOMERS}, "the next step is planned"
    assert Counter(sandbox.recipients()).most_common(1)[0][1] == 1
