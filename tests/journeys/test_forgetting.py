"""Years of a ledger, and the night on which the first of them goes: everything works on as if it had never been."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from domain.channel import Channel
from domain.lane import Lane, shard_of
from storage import lanes, ledger, payments
from storage.feedback import find_contacts
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_contact, a_customer, a_reminder, an_account
from tests.rehearsal import Fleet, Sandbox
from worker import backtest, dispatch, nightly
from worker.auditing import audit_ledger
from worker.wiring import Spine, keyring

#: What the packs that come with duly ask for, and the first day that is kept on the night of March 4th, 2026.
DAYS = 1827
KEPT = date(2021, 3, 1)

#: Noon on weekdays in Taipei, on both sides of that day.
LONG_AGO = datetime(2020, 11, 24, 4, tzinfo=UTC)
GONE = datetime(2021, 2, 24, 4, tzinfo=UTC)
STAYS = datetime(2021, 3, 3, 4, tzinfo=UTC)


@pytest.fixture
def spine(fleet: Fleet) -> Iterator[Spine]:
    spine = Spine(fleet.settings.model_copy(update={"keep_ledger_days": DAYS}), fleet.database_url, role="tests")
    yield spine
    spine.close()


def reminded(fleet: Fleet, customer: MadeCustomer, account: int, at: datetime, step: str) -> UUID:
    """A step of long ago: decided about, sent, and ended."""
    reminder = a_reminder(fleet.conn, customer, account, step=step, due_at=at)
    live = fleet.conn.execute("SELECT release_hash FROM release WHERE state = 'live'").fetchone()
    contact = a_contact(fleet.conn, customer, account, at, release=live[0])
    fleet.conn.execute(
        "UPDATE reminder SET state = 'sent', ended_at = %s, contact_id = %s WHERE reminder_id = %s",
        (at, contact, reminder),
    )
    fleet.conn.execute(
        """
        INSERT INTO decision (party_id, at, reminder_id, account_id, lender_id, channel, step, stage, verdict, rule,
                              pack)
        VALUES (%s, %s, %s, %s, 'lantern', 'sms', %s, 'initial', 'hold', 'tests', 'tests')
        """,
        (customer.party_id, at - timedelta(hours=1), reminder, account, step),
    )
    return contact


def everything_but_the_months(fleet: Fleet) -> dict[str, int]:
    tables = ("party", "customer", "customer_key", "address", "consent", "account", "payment", "hold", "release")
    return {table: fleet.conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def test_the_months_that_are_kept_no_longer_go_and_nothing_else_notices(
    fleet: Fleet, sandbox: Sandbox, spine: Spine
) -> None:
    lanes.ensure_partitions(fleet.conn, datetime(2021, 3, 10, tzinfo=UTC), back=4, ahead=1)
    customer = a_customer(fleet.conn, keyring(fleet.settings))
    account = an_account(fleet.conn, customer)
    quiet = an_account(fleet.conn, customer, 2, due_on=GONE.date() - timedelta(days=20), balance_minor=0, state="paid")
    fleet.conn.execute("UPDATE consent SET given_at = '2019-01-01Z'")
    gone = [reminded(fleet, customer, account, LONG_AGO, "first_notice"),
            reminded(fleet, customer, quiet, GONE, "options")]  # fmt: skip
    stays = reminded(fleet, customer, account, STAYS, "gentle_follow_up")
    due = a_reminder(fleet.conn, customer, account)
    nightly.schedule(fleet.conn, now=TUESDAY_MORNING)
    before = everything_but_the_months(fleet)
    lane = Lane("lantern", Channel.SMS, shard_of(customer.party_id))
    dispatch.drain(spine, lane)  # its connection has plans for every month

    lanes.step_clock(fleet.conn, datetime(2026, 3, 4, 0, 30, tzinfo=UTC))
    assert nightly.run_due(spine) >= 1

    kept = [row[0] for row in fleet.conn.execute("SELECT contact_id FROM contact ORDER BY intended_at")]
    assert kept[0] == stays
    assert len(kept) == 2
    assert fleet.conn.execute("SELECT min(at), count(*) FROM decision").fetchone()[0] > STAYS - timedelta(days=1)
    # Of reminders: the step before the one that stays is gone; the last step of the quiet account is kept.
    steps = fleet.conn.execute(
        "SELECT account_id, step FROM reminder WHERE reminder_id <= %s ORDER BY reminder_id", (due,)
    ).fetchall()
    assert steps == [(quiet, "options"), (account, "gentle_follow_up"), (account, "first_notice")]
    assert everything_but_the_months(fleet) == before

    # The debt that was paid comes back, and goes on where it stood.
    fleet.conn.execute("UPDATE account SET state = 'open', balance_minor = 5000 WHERE account_id = %s", (quiet,))
    [again] = payments.to_plan(fleet.conn, [(customer.party_id, quiet)])
    assert (again.last_step, again.last_planned_for) == ("options", GONE)

    # The next step is sent; a late receipt finds nothing and breaks nothing.
    [(due_at, channel)] = fleet.conn.execute("SELECT due_at, channel FROM reminder WHERE state = 'planned'").fetchall()
    lanes.step_clock(fleet.conn, due_at)
    dispatch.drain(spine, Lane("lantern", Channel(channel), lane.shard))
    assert sandbox.accepted() == 2
    assert find_contacts(fleet.conn, [(customer.party_id, gone[0])]) == {}

    # Whoever asks about the past is told what is left of it.
    found = audit_ledger(fleet.conn)
    assert (found.contacts, found.violations) == (3, 0)
    assert "retention.forgotten" in {each.rule for each in found.not_audited}
    assert set(ledger.proofs(fleet.conn).values()) == {0}
    entries = ledger.timeline(fleet.conn, ledger.find_account(fleet.conn, "A1-1", "lantern"))
    assert entries[0].at == STAYS - timedelta(hours=1)
    assert ledger.contact(fleet.conn, gone[0]) is None
    release = spine.release(fleet.conn.execute("SELECT release_hash FROM release WHERE state = 'live'").fetchone()[0])
    tested = backtest.run(fleet.conn, release, replace(release), since=LONG_AGO, until=due_at + timedelta(days=1))
    assert (tested.recorded, tested.live.number) == (2, tested.proposed.number)

    # The next night there is nothing left to do.
    names = fleet.conn.execute("SELECT relname FROM pg_class ORDER BY 1").fetchall()
    lanes.step_clock(fleet.conn, due_at + timedelta(days=1))
    nightly.run_due(spine)
    assert fleet.conn.execute("SELECT relname FROM pg_class ORDER BY 1").fetchall() == names
