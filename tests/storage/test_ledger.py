"""Reading the ledger back after real sends, replies and calls; and the questions whose answer must be nothing."""

import os
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from channels.base import InboundMessage
from domain.channel import AddressChannel, Channel
from domain.contact import EventKind, new_contact_id
from domain.lane import Lane, shard_of
from storage import feedback, inbox, lanes, ledger
from storage.ledger import NoSuchAccount
from storage.sealing import Keyring
from tests.builders import HOUSE, TUESDAY_MORNING, MadeCustomer, a_customer, a_lender, a_reminder, an_account
from tests.rehearsal import Fleet, fleet, sandbox
from worker import dispatch
from worker.arrivals import sealed_message
from worker.calls import next_call
from worker.endings import Ending, end_call
from worker.feedback import fold_inbox
from worker.wiring import keyring

__all__ = ["fleet", "sandbox"]

KEYS = Keyring({"k1": os.urandom(32)}, os.urandom(32))
QUERIES = HOUSE / "docs" / "queries.md"


def drain(fleet: Fleet, customer: MadeCustomer) -> None:
    spine = fleet.spine()
    try:
        dispatch.drain(spine, Lane("lantern", Channel.SMS, shard_of(customer.party_id)))
    finally:
        spine.close()


def kinds(entries: list[ledger.Entry]) -> list[tuple[str, str]]:
    return [(entry.kind, entry.what) for entry in entries]


def test_a_timeline_tells_a_customers_days_in_order_with_reasons(fleet: Fleet) -> None:
    keys = keyring(fleet.settings)
    customer = a_customer(fleet.conn, keys)
    due = an_account(fleet.conn, customer, due_on=date(2026, 2, 20))
    a_reminder(fleet.conn, customer, due, due_at=TUESDAY_MORNING - timedelta(hours=5))
    lanes.step_clock(fleet.conn, TUESDAY_MORNING - timedelta(hours=5))  # 05:00 in Taipei
    drain(fleet, customer)
    lanes.step_clock(fleet.conn, TUESDAY_MORNING)
    drain(fleet, customer)
    lanes.step_clock(fleet.conn, TUESDAY_MORNING + timedelta(hours=1))
    message = InboundMessage("twilio", "SM1", Channel.SMS, customer.phone, "+886900000000", "who is this?")
    inbox.store(fleet.conn, [sealed_message(keys, message)])
    fold_inbox(fleet.conn, keys)

    account = ledger.find_account(fleet.conn, "A1-1", None)
    entries = ledger.timeline(fleet.conn, account)

    assert kinds(entries) == [
        ("decision", "hold"),
        ("contact", "replied"),
        ("event", "sent"),
        ("reminder", "sent"),
        ("event", "replied"),
        ("hold", "reply: wrote to us"),
        ("task", "reply for a person"),
        ("plan", "planned"),
    ]
    assert entries[0].rule == "baseline.hours.messages"
    assert entries[0].until == entries[1].at - timedelta(minutes=55)  # 09:05 in Taipei
    assert entries[1].until is not None
    told = repr(entries)
    assert customer.phone not in told
    assert "Ana" not in told


def test_the_report_counts_every_end_and_every_wait_by_channel_stage_and_rule(fleet: Fleet) -> None:
    keys = keyring(fleet.settings)
    sent, paid, silent = (a_customer(fleet.conn, keys, n, consents=[] if n == 3 else [Channel.SMS]) for n in (1, 2, 3))
    a_reminder(fleet.conn, sent, an_account(fleet.conn, sent))
    a_reminder(fleet.conn, paid, an_account(fleet.conn, paid, balance_minor=0, state="paid"))
    a_reminder(fleet.conn, silent, an_account(fleet.conn, silent))

    for customer in (sent, paid, silent):
        drain(fleet, customer)

    outcomes = {(row.channel, row.stage, row.verdict, row.rule): row.number for row in ledger.report(fleet.conn)}
    assert outcomes == {
        ("sms", "initial", "sent", None): 1,
        ("sms", "initial", "cancelled", "nothing_owed"): 1,
        ("sms", "initial", "suppressed", "consent.missing"): 1,
    }
    later = TUESDAY_MORNING + timedelta(seconds=1)
    assert ledger.report(fleet.conn, later, later + timedelta(days=1)) == []


def test_an_account_is_found_by_its_reference_or_the_remedy_is_named(connection: psycopg.Connection) -> None:
    from_ = a_keyed_customer(connection)
    an_account(connection, from_)
    other = a_keyed_customer(connection, 2, lender="northbank")
    connection.execute(
        """
        INSERT INTO account (party_id, customer_id, lender_id, external_ref, currency, balance_minor, due_on, state,
                             ladder, as_of, row_hash)
        VALUES (%s, %s, 'northbank', 'A1-1', 'TWD', 1, '2026-03-01', 'open', 'standard', now(), '')
        """,
        (other.party_id, other.customer_id),
    )

    assert ledger.find_account(connection, "A1-1", "lantern").party_id == from_.party_id
    with pytest.raises(NoSuchAccount, match="--lender lantern or northbank"):
        ledger.find_account(connection, "A1-1", None)
    with pytest.raises(NoSuchAccount, match="no account of lantern"):
        ledger.find_account(connection, "Z", "lantern")


def a_keyed_customer(conn: psycopg.Connection, number: int = 1, lender: str = "lantern") -> MadeCustomer:
    a_lender(conn, lender)
    return a_customer(conn, KEYS, number, lender=lender)


# --------------------------------------------------------------------------------------------- what may never be in it


def a_contact(
    conn: psycopg.Connection,
    customer: MadeCustomer,
    at: datetime,
    *,
    channel: Channel = Channel.SMS,
    kind: EventKind | None = EventKind.SENT,
    zones: tuple[str, ...] = ("Asia/Taipei",),
) -> UUID:
    contact_id = new_contact_id(at)
    conn.execute(
        """
        INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, address_lookup,
                             purpose, rule, pack, zones)
        VALUES (%s, %s, %s, %s, 'lantern', 'creditor', %s, %s, 'reminder', 'r', 'p', %s)
        """,
        (customer.party_id, contact_id, at, customer.customer_id, channel,
         KEYS.lookup(AddressChannel.PHONE, customer.phone), list(zones)),
    )  # fmt: skip
    if kind is not None:
        conn.execute(
            """
            INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at)
            VALUES (%s, %s, %s, %s, 'dispatch', %s)
            """,
            (customer.party_id, contact_id, at, kind, at),
        )
    return contact_id


def asked(conn: psycopg.Connection, question: str) -> int:
    return next(number for name, number in ledger.proofs(conn).items() if question in name)


def test_an_empty_ledger_has_nothing_in_it_that_may_not_be(connection: psycopg.Connection) -> None:
    assert set(ledger.proofs(connection).values()) == {0}


@pytest.mark.parametrize(
    ("second", "kind", "found"),
    [
        (TUESDAY_MORNING + timedelta(hours=3), EventKind.SENT, 1),
        (TUESDAY_MORNING + timedelta(hours=3), EventKind.UNCERTAIN, 1),
        (TUESDAY_MORNING + timedelta(hours=3), None, 1),  # intended, and nothing known yet
        (TUESDAY_MORNING + timedelta(hours=3), EventKind.RELEASED, 0),
        (TUESDAY_MORNING + timedelta(hours=3), EventKind.REJECTED, 0),
        (datetime(2026, 3, 3, 15, 59, tzinfo=UTC), EventKind.SENT, 1),  # one minute to midnight in Taipei
        (datetime(2026, 3, 3, 16, 0, tzinfo=UTC), EventKind.SENT, 0),
    ],
)
def test_two_contacts_on_one_local_day_are_found(
    connection: psycopg.Connection, second: datetime, kind: EventKind | None, found: int
) -> None:
    customer = a_keyed_customer(connection)
    a_contact(connection, customer, TUESDAY_MORNING)
    a_contact(connection, customer, second, kind=kind)

    assert asked(connection, "twice") == found


def test_a_contact_outside_the_baselines_hours_is_found_and_no_other(connection: psycopg.Connection) -> None:
    """Held against the pack itself: every quarter of an hour of a week, for messages and for calls."""
    customer = a_keyed_customer(connection)
    windows = the_baselines_hours()
    monday = datetime(2026, 3, 1, 16, 0, tzinfo=UTC)  # the 2nd begins in Taipei
    for channel, hours in windows.items():
        expected = 0
        for quarter in range(7 * 96):
            at = monday + timedelta(minutes=15 * quarter)
            a_contact(connection, customer, at, channel=channel,
                      kind=EventKind.DIALLED if channel is Channel.CALL else EventKind.SENT)  # fmt: skip
            local = at + timedelta(hours=8)
            since, until = hours.get(local.weekday(), ("24:00", "24:00"))
            expected += not since <= f"{local:%H:%M}" < until

        assert asked(connection, "outside the hours") == expected
        connection.execute("DELETE FROM contact_event")


def the_baselines_hours() -> dict[Channel, dict[int, tuple[str, str]]]:
    pack = tomllib.loads(Path(HOUSE / "config" / "policies" / "baseline.toml").read_text("utf-8"))
    days = {"mon-fri": range(5), "sat": (5,), "sun": (6,)}
    found = {}
    for rule, channel in (("baseline.hours.messages", Channel.SMS), ("baseline.hours.calls", Channel.CALL)):
        hours = next(each["hours"] for each in pack["rules"] if each["id"] == rule)
        found[channel] = {day: (span["from"], span["until"]) for span in hours for day in days[span["days"]]}
    return found


def test_a_contact_that_is_night_in_any_place_where_they_may_be_is_found(connection: psycopg.Connection) -> None:
    customer = a_keyed_customer(connection)

    a_contact(connection, customer, TUESDAY_MORNING, zones=("Asia/Taipei", "Europe/Berlin"))

    assert asked(connection, "outside the hours") == 1


def test_a_contact_after_a_stop_is_found(connection: psycopg.Connection) -> None:
    customer = a_keyed_customer(connection)
    lookup = KEYS.lookup(AddressChannel.PHONE, customer.phone)
    a_contact(connection, customer, TUESDAY_MORNING)
    feedback.withdraw_consent(
        connection, [feedback.Wish(lookup, [Channel.SMS], TUESDAY_MORNING + timedelta(hours=1), "t")]
    )
    assert asked(connection, "after its owner said stop") == 0

    a_contact(connection, customer, TUESDAY_MORNING + timedelta(hours=2))

    assert asked(connection, "after its owner said stop") == 1


def test_the_documentation_quotes_the_queries_as_they_are_asked() -> None:
    text = QUERIES.read_text("utf-8")

    assert [question for question in ledger.PROOFS if f"## {question}" not in text.lower()] == []
    assert [query for query in ledger.PROOFS.values() if query.strip() not in text] == []


def test_a_call_and_a_promise_are_in_the_timeline(fleet: Fleet) -> None:
    customer = a_customer(fleet.conn, keyring(fleet.settings))
    due = an_account(fleet.conn, customer, due_on=date(2026, 2, 20))
    fleet.conn.execute(
        """
        INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, message, stage, queued_at,
                               not_before)
        VALUES (%s, %s, 'lantern', %s, 'call', 'step talk', 'talk', 'middle', business_now(), business_now())
        """,
        (customer.party_id, customer.customer_id, [due]),
    )
    spine = fleet.spine()
    offer = next_call(spine, agent="ana")
    assert offer is not None
    end_call(spine.conn, offer.task.call_task_id, Ending("promise", date(2026, 3, 9), "100"), agent="ana")
    spine.close()

    entries = kinds(ledger.timeline(fleet.conn, ledger.find_account(fleet.conn, "A1-1", None)))

    assert ("contact", "conversation") in entries
    assert ("promise", "to pay on 2026-03-09: open") in entries
    assert ("task", "done: promise") in entries
    assert ledger.telling_accounts(fleet.conn, 3)[0].external_ref == "A1-1"
