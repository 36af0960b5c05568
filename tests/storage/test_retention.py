"""Months of the ledger that go, the reminders that go with them, and everything that stays."""

import os
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from storage import database, lanes, retention
from storage.retention import Mark
from storage.rows import Conn
from storage.sealing import Keyring
from tests.builders import MadeCustomer, a_contact, a_customer, a_lender, a_reminder, an_account
from worker.retention import Forgotten, forget

KEYS = Keyring({"k1": os.urandom(32)}, os.urandom(32))

#: The first day that is kept.
KEPT = date(2024, 3, 1)
MIDNIGHT = datetime(2024, 3, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
NOW = datetime(2026, 3, 3, 2, tzinfo=UTC)


@pytest.fixture
def conn(database_url: str):
    """A ledger with the months from December 2023 to April 2024."""
    with database.connect(database_url, autocommit=True) as opened:
        opened.execute("SET statement_timeout = '60s'")  # what waits for ever shall fail
        a_lender(opened, "lantern")
        lanes.step_clock(opened, NOW)
        lanes.ensure_partitions(opened, datetime(2024, 2, 10, tzinfo=UTC), back=2, ahead=2)
        yield opened


@pytest.fixture
def customer(conn: Conn) -> MadeCustomer:
    return a_customer(conn, KEYS)


def months(conn: Conn, table: str = "contact") -> list[str]:
    rows = conn.execute(
        r"SELECT right(relname, 7) FROM pg_class WHERE relkind = 'r' AND relname ~ ('^' || %s || '_\d{4}_\d{2}$')"
        " ORDER BY 1",
        (table,),
    )
    return [row[0] for row in rows]


def number(conn: Conn, table: str) -> int:
    row = conn.execute(psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(table))).fetchone()
    assert row is not None
    return row[0]


def ended(conn: Conn, customer: MadeCustomer, account: int, at: datetime, state: str = "sent") -> int:
    reminder = a_reminder(conn, customer, account, due_at=at)
    conn.execute("UPDATE reminder SET state = %s, ended_at = %s WHERE reminder_id = %s", (state, at, reminder))
    return reminder


def reminders(conn: Conn) -> list[int]:
    return [row[0] for row in conn.execute("SELECT reminder_id FROM reminder ORDER BY 1")]


def test_the_months_before_the_day_go_and_the_others_stay_to_the_instant(conn: Conn, customer: MadeCustomer) -> None:
    account = an_account(conn, customer)
    a_contact(conn, customer, account, MIDNIGHT - INSTANT)
    kept = a_contact(conn, customer, account, MIDNIGHT)

    done = forget(conn, KEPT)

    assert done.is_done
    assert conn.execute("SELECT contact_id FROM contact").fetchall() == [(kept,)]
    assert conn.execute("SELECT contact_id FROM contact_event").fetchall() == [(kept,)]
    for table in retention.BY_MONTH:
        assert months(conn, table) == ["2024_03", "2024_04"], table
    assert [name for name in done.months if name.startswith("contact_2")] == [
        "contact_2023_12", "contact_2024_01", "contact_2024_02",
    ]  # fmt: skip


def test_a_contact_goes_before_its_events_and_the_ledger_says_so_before_anything_goes(conn: Conn) -> None:
    names = [month.name for month in retention.months_before(conn, date(2024, 1, 1))]

    assert names[0] == "contact_2023_12"
    assert retention.mark(conn) is None
    forget(conn, KEPT)
    assert retention.mark(conn) == Mark(KEPT)


def test_a_second_run_finds_nothing_and_a_day_further_back_brings_nothing_back(
    conn: Conn, customer: MadeCustomer
) -> None:
    a_contact(conn, customer, an_account(conn, customer), MIDNIGHT)
    forget(conn, KEPT)

    for day in (KEPT, date(2024, 1, 1)):
        assert forget(conn, day) == Forgotten((), 0, None, is_done=True)

    assert retention.mark(conn) == Mark(KEPT)
    assert number(conn, "contact") == 1


def test_a_ledger_that_is_younger_is_left_alone(conn: Conn) -> None:
    assert forget(conn, date(2023, 12, 1)) == Forgotten((), 0, None, is_done=True)

    assert retention.mark(conn) is None


def test_a_table_that_is_gone_is_no_error(conn: Conn) -> None:
    conn.execute("DROP TABLE decision")

    assert forget(conn, KEPT).is_done

    assert months(conn) == months(conn, "contact_event") == ["2024_03", "2024_04"]


def test_what_no_month_had_room_for_goes_by_the_row_and_its_table_stays(conn: Conn, customer: MadeCustomer) -> None:
    account = an_account(conn, customer)
    for year in range(2001, 2006):
        a_contact(conn, customer, account, MIDNIGHT.replace(year=year))
    a_contact(conn, customer, account, MIDNIGHT.replace(year=2030))

    assert [retention.forget_unforeseen(conn, KEPT, limit=2) for _ in range(2)] == [2, 2]
    done = forget(conn, KEPT)

    assert (done.rows, done.is_done) == (6, True)
    assert (number(conn, "contact_other"), number(conn, "contact_event_other")) == (1, 1)


def test_what_somebody_holds_is_left_and_goes_when_they_are_done(
    conn: Conn, database_url: str, customer: MadeCustomer
) -> None:
    with database.connect(database_url) as reader:
        reader.execute("SELECT * FROM contact_2024_01")

        held = forget(conn, KEPT)

        assert (held.left, held.is_done) == ("contact_2024_01", False)
        assert [name for name in held.months if name.startswith("contact_2")] == ["contact_2023_12"]
        assert months(conn) == ["2024_01", "2024_02", "2024_03", "2024_04"]
        assert months(conn, "contact_event")[0] == "2024_01", "a contact keeps its events"
        a_contact(conn, customer, an_account(conn, customer), MIDNIGHT)
    assert forget(conn, KEPT).is_done
    assert months(conn) == ["2024_03", "2024_04"]


def test_nothing_goes_while_it_cannot_be_written_down_that_it_went(conn: Conn, database_url: str) -> None:
    with database.connect(database_url) as other:
        other.execute("LOCK TABLE ONLY contact IN SHARE UPDATE EXCLUSIVE MODE")

        held = forget(conn, KEPT)

    assert held == Forgotten((), 0, "contact", is_done=False)
    assert len(months(conn)) == 5


def test_ended_reminders_go_but_for_the_last_step_that_an_account_took(conn: Conn, customer: MadeCustomer) -> None:
    before, after = MIDNIGHT - INSTANT, MIDNIGHT
    quiet, busy, waiting, slept = (an_account(conn, customer, n) for n in range(1, 5))
    gone = [ended(conn, customer, quiet, before, "suppressed")]
    stays = [ended(conn, customer, quiet, before, "uncertain")]
    gone += [ended(conn, customer, quiet, before, state) for state in ("cancelled", "expired")]
    gone += [ended(conn, customer, busy, before, state) for state in ("sent", "handed", "failed", "uncertain")]
    stays += [ended(conn, customer, busy, after), ended(conn, customer, busy, after, "expired")]
    gone += [ended(conn, customer, waiting, before)]
    stays += [ended(conn, customer, waiting, before), a_reminder(conn, customer, waiting, due_at=before)]
    gone += [ended(conn, customer, slept, before, "expired")]
    stays += [a_reminder(conn, customer, slept, due_at=before)]

    done = forget(conn, KEPT)

    assert reminders(conn) == sorted(stays)
    assert done.rows == len(gone)


def test_a_run_that_is_out_of_time_is_gone_on_with_where_it_stopped(conn: Conn, customer: MadeCustomer) -> None:
    account = an_account(conn, customer)
    for _ in range(200):
        ended(conn, customer, account, MIDNIGHT - INSTANT, "cancelled")
    blocks = retention.reminder_blocks(conn)
    assert blocks > 2
    retention.set_mark(conn, Mark(KEPT, block=blocks - 1))

    assert not forget(conn, KEPT, within_seconds=0).is_done
    assert retention.mark(conn) == Mark(KEPT, block=blocks - 1)
    done = forget(conn, KEPT)

    assert done.is_done
    assert 0 < done.rows < 200, "the blocks before were done already"
    assert retention.mark(conn) == Mark(KEPT)


def test_notes_of_look_ups_go_with_their_contacts(conn: Conn, customer: MadeCustomer) -> None:
    account = an_account(conn, customer)
    told = a_contact(conn, customer, account, MIDNIGHT - INSTANT, kind="uncertain")
    asked = a_contact(conn, customer, account, MIDNIGHT, kind="uncertain")
    for contact in (told, asked):
        conn.execute("INSERT INTO look_up (party_id, contact_id) VALUES (%s, %s)", (customer.party_id, contact))

    forget(conn, KEPT)

    assert conn.execute("SELECT contact_id FROM look_up").fetchall() == [(asked,)]


def test_open_work_needs_its_months(conn: Conn, customer: MadeCustomer) -> None:
    account = an_account(conn, customer)
    assert retention.needs(conn) is None
    at = MIDNIGHT + timedelta(days=9)

    def needed() -> tuple[str, datetime]:
        found = retention.needs(conn)
        assert found is not None
        return found.what, found.since

    contact = a_contact(conn, customer, account, at, kind="uncertain")
    conn.execute("INSERT INTO look_up VALUES (%s, %s, 1, %s)", (customer.party_id, contact, NOW))
    assert needed() == ("an uncertain contact whose provider is asked", at)

    reminder = a_reminder(conn, customer, account)
    in_hand = a_contact(conn, customer, account, at - timedelta(days=1), kind="sent")
    conn.execute(
        """
        INSERT INTO batch (batch_id, lane, worker, lease_until, parties, reminders, contacts)
        VALUES (gen_random_uuid(), 'lantern:sms:0', 'w', 'infinity', %s, %s, %s)
        """,
        ([customer.party_id], [reminder], [in_hand]),
    )
    assert needed() == ("a contact in the hands of a worker", at - timedelta(days=1))

    conn.execute(
        "INSERT INTO promise (party_id, account_id, amount_minor, promised_for, made_at) VALUES (%s, %s, 1, %s, %s)",
        (customer.party_id, account, NOW.date(), at - timedelta(days=2)),
    )
    assert needed() == ("a promise that is open", at - timedelta(days=2))

    conn.execute(
        """
        INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, queued_at, not_before)
        VALUES (%s, %s, 'lantern', %s, 'reply', 'wrote to us', %s, %s)
        """,
        (customer.party_id, customer.customer_id, [account], at - timedelta(days=3), NOW),
    )
    assert needed() == ("a call task that is open", at - timedelta(days=3))

    conn.execute("UPDATE call_task SET state = 'done'; UPDATE promise SET state = 'kept'")
    assert needed()[0] == "a contact in the hands of a worker"
