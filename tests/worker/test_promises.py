"""A promise's day passes: it was kept, in part, or broken, and the ladder goes on where it stood."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from domain.channel import Channel
from domain.hold import HoldKind
from domain.lane import Lane, shard_of
from storage import feedback, lanes
from storage.feedback import NewHold
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_reminder, an_account
from tests.rehearsal import Fleet, Sandbox, fleet, sandbox
from worker import dispatch, nightly
from worker.wiring import Spine, keyring

__all__ = ["fleet", "sandbox"]

DAY = date(2026, 3, 6)  # a Friday; in Taipei its grace ends when Sunday begins
SETTLED = datetime(2026, 3, 7, 16, 0, tzinfo=UTC)
OWED = 123_400


@pytest.fixture
def spine(fleet: Fleet) -> Iterator[Spine]:
    spine = fleet.spine()
    nightly.schedule(fleet.conn, now=TUESDAY_MORNING)
    yield spine
    spine.close()


def a_promise(fleet: Fleet, number: int = 1) -> tuple[MadeCustomer, int]:
    """A debt, half of which was promised for Friday; a follow-up is planned for the day after it was."""
    customer = a_customer(fleet.conn, keyring(fleet.settings), number)
    account = an_account(fleet.conn, customer, due_on=date(2026, 2, 27), balance_minor=OWED)
    fleet.conn.execute(
        """
        INSERT INTO promise (party_id, account_id, amount_minor, promised_for, made_at, owed_minor)
        VALUES (%s, %s, 50000, %s, %s, %s)
        """,
        (customer.party_id, account, DAY, TUESDAY_MORNING, OWED),
    )
    hold = NewHold(customer.party_id, HoldKind.PROMISE, "promised", "a test", TUESDAY_MORNING, SETTLED, account)
    feedback.set_hold(fleet.conn, hold)
    due_at = datetime(2026, 3, 4, 6, tzinfo=UTC)
    a_reminder(fleet.conn, customer, account, step="gentle_follow_up", due_at=due_at, expires_after=timedelta(days=9))
    return customer, account


def paid(conn: psycopg.Connection, customer: MadeCustomer, account: int, amount: int) -> None:
    conn.execute(
        """
        INSERT INTO payment (party_id, account_id, lender_id, external_ref, kind, amount_minor, paid_at)
        VALUES (%s, %s, 'lantern', %s, 'payment', %s, %s)
        """,
        (customer.party_id, account, f"P{account}", amount, TUESDAY_MORNING + timedelta(days=2)),
    )


def taken_back(conn: psycopg.Connection, customer: MadeCustomer, account: int, amount: int) -> None:
    paid(conn, customer, account, 50_000)
    conn.execute(
        """
        INSERT INTO payment (party_id, account_id, lender_id, external_ref, kind, reverses, amount_minor, paid_at)
        VALUES (%s, %s, 'lantern', %s, 'reversal', %s, %s, %s)
        """,
        (customer.party_id, account, f"R{account}", f"P{account}", amount, TUESDAY_MORNING + timedelta(days=3)),
    )


def fell(conn: psycopg.Connection, customer: MadeCustomer, account: int, amount: int) -> None:
    """A balance file tells of a payment that nobody else told us of."""
    conn.execute("UPDATE account SET balance_minor = balance_minor - %s WHERE account_id = %s", (amount, account))


#: What happened after a promise of 500.00 to a debt of 1,234.00, and what the promise came to.
WHAT_HAPPENED = (
    (paid, 50_000, "kept"), (paid, 49_999, "partly_kept"), (fell, 50_000, "kept"), (fell, 1, "partly_kept"),
    (fell, 0, "broken"), (fell, -5_000, "broken"), (taken_back, 50_000, "broken"), (taken_back, 1, "partly_kept"),
)  # fmt: skip


def test_what_was_paid_by_the_day_and_its_grace_settles_a_promise(fleet: Fleet, spine: Spine):
    for number, (how, amount, _) in enumerate(WHAT_HAPPENED):
        how(fleet.conn, *a_promise(fleet, number), amount)
    lanes.step_clock(fleet.conn, SETTLED - timedelta(seconds=1))
    nightly.run_due(spine)
    assert fleet.conn.execute("SELECT DISTINCT state FROM promise").fetchall() == [("open",)]

    lanes.step_clock(fleet.conn, SETTLED + timedelta(days=1))
    nightly.run_due(spine)

    settled = fleet.conn.execute("SELECT state, settled_at FROM promise ORDER BY promise_id").fetchall()
    assert settled == [(state, SETTLED + timedelta(days=1)) for _, _, state in WHAT_HAPPENED]
    assert fleet.conn.execute("SELECT count(*) FROM hold WHERE released_at IS NULL").fetchone() == (0,)


def test_after_a_broken_promise_the_ladder_goes_on_where_it_stood(fleet: Fleet, sandbox: Sandbox, spine: Spine):
    customer, _ = a_promise(fleet)
    lane = Lane("lantern", Channel.SMS, shard_of(customer.party_id))
    lanes.step_clock(fleet.conn, datetime(2026, 3, 4, 6, tzinfo=UTC))
    dispatch.drain(spine, lane)
    assert sandbox.accepted() == 0, "while a promise stands nobody is reminded of it"

    while sandbox.accepted() == 0 and (now := lanes.next_moment(fleet.conn)) is not None:
        lanes.step_clock(fleet.conn, now)
        nightly.run_due(spine)
        for channel in (Channel.EMAIL, Channel.SMS):
            dispatch.drain(spine, Lane("lantern", channel, lane.shard))

    assert lanes.business_now(fleet.conn).astimezone(UTC).date() == date(2026, 3, 9), "the Monday after"
    assert fleet.conn.execute("SELECT step, state FROM reminder ORDER BY reminder_id").fetchall() == [
        ("gentle_follow_up", "sent"),
        ("options", "planned"),
    ]
    assert fleet.conn.execute("SELECT state FROM promise").fetchall() == [("broken",)]
