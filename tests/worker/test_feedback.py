"""Folding what came in: receipts in any order, replies, opt-outs for everyone who shares an address."""

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.base import InboundMessage, ProviderEvent
from domain.channel import AddressChannel, Channel
from domain.contact import RANKS, EventKind, new_contact_id
from domain.hold import HoldKind
from storage import database, feedback, inbox, lanes
from storage.inbox import Arrival
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_reminder, an_account
from tests.feedback_kit import KEYRING, a_contact, a_ledger, state_of, withdrawn
from worker.arrivals import sealed_event, sealed_message, sealed_unsubscribe
from worker.feedback import Folded, fold_inbox
from worker.unsubscribe import Unsubscribed

PROVIDER_KINDS = [EventKind.SENT, EventKind.UNDELIVERED, EventKind.DELIVERED, EventKind.READ]


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with a_ledger(database_url) as opened:
        yield opened


def a_receipt(customer: MadeCustomer, contact_id: UUID, kind: EventKind, key: str = "", **more: object) -> Arrival:
    event = ProviderEvent(contact_id, customer.party_id, kind, "twilio", "SM1", f"{contact_id}:{kind}{key}", **more)
    return sealed_event(KEYRING, event)


def a_message(customer: MadeCustomer, text: str) -> Arrival:
    message = InboundMessage("twilio", f"SM{uuid4().hex}", Channel.SMS, customer.phone, "+886900000000", text)
    return sealed_message(KEYRING, message)


def fold_in(conn: psycopg.Connection, *arrivals: Arrival) -> Folded:
    inbox.store(conn, arrivals)
    return fold_inbox(conn, KEYRING)


def epoch_of(conn: psycopg.Connection, customer: MadeCustomer) -> int:
    return conn.execute("SELECT stop_epoch FROM party WHERE party_id = %s", (customer.party_id,)).fetchone()[0]


def holds_of(conn: psycopg.Connection, customer: MadeCustomer) -> list[tuple[str, timedelta | None]]:
    return conn.execute(
        "SELECT kind, ends_at - since FROM hold WHERE party_id = %s AND released_at IS NULL ORDER BY 1",
        (customer.party_id,),
    ).fetchall()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PROVIDER_KINDS), min_size=1, max_size=8), st.integers(1, 4))
def test_receipts_in_any_order_and_any_grouping_fold_to_the_highest_rank(
    conn: psycopg.Connection, kinds: list[EventKind], size: int
) -> None:
    number = conn.execute("SELECT count(*) FROM customer").fetchone()[0]
    customer = a_customer(conn, KEYRING, number)
    contact_id = a_contact(conn, customer)

    inbox.store(conn, [a_receipt(customer, contact_id, kind, str(n)) for n, kind in enumerate(kinds)])
    while fold_inbox(conn, KEYRING, limit=size).taken:
        pass

    assert state_of(conn, contact_id) is max(kinds, key=RANKS.__getitem__)
    assert inbox.waiting(conn) == 0


def test_a_receipt_that_comes_twice_is_one_event(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id = a_contact(conn, customer)
    receipt = a_receipt(customer, contact_id, EventKind.DELIVERED)

    first, again = fold_in(conn, receipt, receipt), fold_in(conn, receipt)

    assert (first.taken, first.events, again.taken) == (1, 1, 0)


def test_a_receipt_finds_its_contact_by_the_time_in_its_id_in_any_month(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    times = [TUESDAY_MORNING + timedelta(days=31 * n, microseconds=999_499 * n) for n in range(-2, 5)]
    contacts = [a_contact(conn, customer, at=at) for at in times]

    folded = fold_in(conn, *(a_receipt(customer, contact_id, EventKind.SENT) for contact_id in contacts))

    assert folded.events == len(contacts)


def test_proof_of_acceptance_ends_an_uncertain_reminder_as_sent(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id = a_contact(conn, customer)
    reminder = a_reminder(conn, customer, an_account(conn, customer))
    conn.execute("UPDATE reminder SET state = 'uncertain', contact_id = %s", (contact_id,))

    folded = fold_in(conn, a_receipt(customer, contact_id, EventKind.UNDELIVERED))

    assert folded.proven == 1
    assert conn.execute("SELECT state FROM reminder WHERE reminder_id = %s", (reminder,)).fetchone() == ("sent",)


@pytest.mark.parametrize(("kind", "ends_as"), [(EventKind.DELIVERED, "sent"), (EventKind.REJECTED, "uncertain")])
def test_proof_that_came_before_the_worker_gave_up_is_found_by_the_sweep(
    conn: psycopg.Connection, kind: EventKind, ends_as: str
) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id = a_contact(conn, customer)
    a_reminder(conn, customer, an_account(conn, customer))
    fold_in(conn, a_receipt(customer, contact_id, kind))
    conn.execute("UPDATE reminder SET state = 'uncertain', ended_at = business_now(), contact_id = %s", (contact_id,))

    feedback.prove_uncertain(conn)

    assert conn.execute("SELECT state FROM reminder").fetchall() == [(ends_as,)]


def test_a_receipt_about_an_unknown_contact_gets_a_second_look_and_no_third(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    early = new_contact_id(TUESDAY_MORNING)

    folded = fold_in(conn, a_receipt(customer, early, EventKind.SENT), a_receipt(customer, uuid4(), EventKind.SENT))

    assert folded.early == 2
    assert inbox.waiting(conn) == 0  # nobody waits for it
    assert fold_inbox(conn, KEYRING).taken == 0
    conn.execute("UPDATE inbox SET received_at = received_at - interval '3 minutes'")
    assert inbox.waiting(conn) == 2
    assert fold_inbox(conn, KEYRING).unknown == 2
    assert fold_inbox(conn, KEYRING).taken == 0


def test_an_early_receipt_counts_once_its_contact_is_there(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    receipt_of = new_contact_id(TUESDAY_MORNING)
    fold_in(conn, a_receipt(customer, receipt_of, EventKind.DELIVERED))
    conn.execute(
        """
        INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, purpose, rule,
                             pack)
        VALUES (%s, %s, %s, %s, 'lantern', 'creditor', 'sms', 'reminder', 'r', 'p')
        """,
        (customer.party_id, receipt_of, TUESDAY_MORNING, customer.customer_id),
    )
    conn.execute("UPDATE inbox SET received_at = received_at - interval '3 minutes'")

    fold_inbox(conn, KEYRING)

    assert state_of(conn, receipt_of) is EventKind.DELIVERED


def test_a_stop_acts_for_everyone_who_shares_the_number_and_for_nobody_else(conn: psycopg.Connection) -> None:
    ana, ben, carl = (a_customer(conn, KEYRING, n, phone="+886911111111" if n < 3 else None) for n in (1, 2, 3))
    contact_id = a_contact(conn, ana)

    folded = fold_in(conn, a_message(ana, "STOP"))

    assert folded.opted_out == 1
    for sharer in (ana, ben):
        assert withdrawn(conn, sharer) >= {"sms", "call"}
        assert "email" not in withdrawn(conn, sharer)
        assert epoch_of(conn, sharer) > 0
    assert not withdrawn(conn, carl)
    assert epoch_of(conn, carl) == 0
    assert state_of(conn, contact_id) is EventKind.REPLIED


def test_a_provider_that_reports_an_opt_out_is_believed(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id = a_contact(conn, customer)

    fold_in(conn, a_receipt(customer, contact_id, EventKind.UNDELIVERED, code="21610", opted_out=True))

    assert "sms" in withdrawn(conn, customer)


def test_a_dead_address_is_retired_for_all_who_have_it(conn: psycopg.Connection) -> None:
    ana, ben = (a_customer(conn, KEYRING, n, phone="+886911111111") for n in (1, 2))
    contact_id = a_contact(conn, ana)

    fold_in(conn, a_receipt(ana, contact_id, EventKind.UNDELIVERED, code="30005", retire_address=True))

    rows = conn.execute("SELECT DISTINCT channel, retired_reason FROM address WHERE retired_at IS NOT NULL").fetchall()
    assert rows == [("phone", "twilio 30005")]
    assert epoch_of(conn, ana) == epoch_of(conn, ben) == 1


@pytest.mark.parametrize(
    ("text", "hold", "days", "tasks"),
    [
        ("paid", HoldKind.PAID_PENDING, 3, 0),
        ("I think my husband already paid it yesterday", HoldKind.PAID_PENDING, 3, 1),
        ("我失业了，可以分期吗", HoldKind.HARDSHIP, 14, 1),
        ("Who is this?", HoldKind.REPLY, 7, 1),
    ],
)
def test_a_reply_sets_its_hold_and_unless_it_is_plain_a_person_reads_it(
    conn: psycopg.Connection, text: str, hold: HoldKind, days: int, tasks: int
) -> None:
    customer = a_customer(conn, KEYRING)
    an_account(conn, customer)

    fold_in(conn, a_message(customer, text))

    assert holds_of(conn, customer) == [(hold.value, timedelta(days=days))]
    assert epoch_of(conn, customer) == 1
    queued = conn.execute("SELECT kind, inbox_id IS NOT NULL, cardinality(account_ids) FROM call_task").fetchall()
    assert queued == [("reply", True, 1)] * tasks


def test_many_replies_make_one_longer_hold_and_one_task_with_the_last_message(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    fold_in(conn, a_message(customer, "who is this"), a_message(customer, "hello?"))
    lanes.step_clock(conn, TUESDAY_MORNING + timedelta(days=1))

    fold_in(conn, a_message(customer, "anybody there?"))

    assert holds_of(conn, customer) == [("reply", timedelta(days=8))]
    last = conn.execute("SELECT max(inbox_id) FROM inbox").fetchone()
    assert conn.execute("SELECT inbox_id FROM call_task").fetchall() == [last]


def test_an_unsubscribe_click_ends_mail_and_nothing_else(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id = a_contact(conn, customer, address=AddressChannel.EMAIL)
    wish = Unsubscribed(customer.party_id, contact_id, KEYRING.lookup(AddressChannel.EMAIL, customer.email))

    fold_in(conn, sealed_unsubscribe(KEYRING, wish, at=TUESDAY_MORNING))

    assert withdrawn(conn, customer) == {"email"}


def test_a_stranger_changes_nothing(conn: psycopg.Connection) -> None:
    a_customer(conn, KEYRING, 1)
    stranger = MadeCustomer(0, 0, "", "+15550001111", "")

    assert fold_in(conn, a_message(stranger, "STOP")).unknown == 1
    assert conn.execute("SELECT count(*) FROM consent WHERE withdrawn_at IS NOT NULL").fetchone() == (0,)


def test_rows_that_cannot_be_read_are_marked_and_never_come_back(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id = a_contact(conn, customer)
    forged = [
        Arrival("twilio_status", "1", os.urandom(80)),
        Arrival("twilio_status", "2", b""),
        Arrival("twilio_status", "3", KEYRING.seal_inbox(b"{}")),
        Arrival("twilio_status", "4", KEYRING.seal_inbox(b"[1]")),
        Arrival("carrier_pigeon", "5", KEYRING.seal_inbox(b"{}")),
        Arrival("twilio_status", "6", Keyring({"k9": os.urandom(32)}, b"x" * 32).seal_inbox(b"{}")),
    ]

    folded = fold_in(conn, *forged, a_receipt(customer, contact_id, EventKind.SENT))

    assert (folded.unreadable, folded.events) == (len(forged), 1)
    assert fold_inbox(conn, KEYRING).taken == 0


def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id = a_contact(conn, customer)
    poison = a_receipt(customer, contact_id, EventKind.READ, code="a\0b")

    folded = fold_in(conn, poison, a_receipt(customer, contact_id, EventKind.SENT))

    assert (folded.taken, folded.events, folded.unreadable) == (2, 1, 1)
    assert state_of(conn, contact_id) is EventKind.SENT


def test_two_folders_at_once_fold_each_row_once(conn: psycopg.Connection, database_url: str) -> None:
    customers = [a_customer(conn, KEYRING, n) for n in range(30)]
    for customer in customers:
        a_contact(conn, customer)
    inbox.store(conn, [a_message(customer, text) for customer in customers for text in ("hello?", "STOP", "paid")])
    taken: list[int] = []

    def work() -> None:
        with database.connect(database_url, autocommit=True) as own:
            while count := fold_inbox(own, KEYRING, limit=7).taken:
                taken.append(count)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(taken) == 90
    assert conn.execute("SELECT count(*) FROM contact_event WHERE kind = 'replied'").fetchone() == (90,)
    assert all("sms" in withdrawn(conn, customer) for customer in customers)


def test_an_opt_in_outweighs_an_earlier_stop_and_brings_what_waited_back(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    fold_in(conn, a_message(customer, "STOP"))
    due = an_account(conn, customer)
    a_reminder(conn, customer, due)
    conn.execute("UPDATE reminder SET due_at = due_at + interval '2 days'")
    lanes.step_clock(conn, TUESDAY_MORNING + timedelta(hours=1))
    lookup = KEYRING.lookup(AddressChannel.PHONE, customer.phone)

    feedback.give_consent(conn, [feedback.Wish(lookup, [Channel.SMS], TUESDAY_MORNING + timedelta(hours=1), "agent")])

    assert "sms" not in withdrawn(conn, customer)
    assert conn.execute("SELECT due_at <= business_now() FROM reminder").fetchone() == (True,)


def test_ending_a_hold_brings_back_what_waited_but_not_what_the_ladder_wants_later(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    fold_in(conn, a_message(customer, "hello?"))
    waiting = a_reminder(conn, customer, an_account(conn, customer, 1))
    later = a_reminder(conn, customer, an_account(conn, customer, 2), due_at=TUESDAY_MORNING + timedelta(days=5))
    conn.execute("UPDATE reminder SET due_at = due_at + interval '6 days' WHERE reminder_id = %s", (waiting,))
    hold_id = conn.execute("SELECT hold_id FROM hold").fetchone()[0]

    assert feedback.end_hold(conn, customer.party_id, hold_id, by="agent")
    assert not feedback.end_hold(conn, customer.party_id, hold_id, by="agent")

    due = dict(conn.execute("SELECT reminder_id, due_at FROM reminder").fetchall())
    assert due == {waiting: TUESDAY_MORNING, later: TUESDAY_MORNING + timedelta(days=5)}
    assert epoch_of(conn, customer) == 2


# ---------------------------------------------------------------------------------------------------------------- START


def consents(conn: psycopg.Connection, customer: MadeCustomer) -> set[str]:
    rows = conn.execute(
        "SELECT channel FROM consent WHERE party_id = %s AND lookup = %s AND withdrawn_at IS NULL",
        (customer.party_id, KEYRING.lookup(AddressChannel.PHONE, customer.phone)),
    ).fetchall()
    return {row[0] for row in rows}


def a_minute_later(conn: psycopg.Connection) -> None:
    lanes.step_clock(conn, lanes.business_now(conn) + timedelta(minutes=1))


def replies_to_read(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("SELECT reason FROM call_task WHERE kind = 'reply'").fetchall()]


def test_start_lifts_their_own_stop_for_texts_and_not_for_calls(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    fold_in(conn, a_message(customer, "STOP"))
    a_minute_later(conn)
    before = epoch_of(conn, customer)

    fold_in(conn, a_message(customer, " start! "))

    assert "sms" in consents(conn, customer)
    assert "call" in withdrawn(conn, customer)
    assert epoch_of(conn, customer) > before
    assert replies_to_read(conn) == []


def test_a_stop_after_the_start_stands_again(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    for text in ("STOP", "START", "退订"):
        fold_in(conn, a_message(customer, text))
        a_minute_later(conn)

    assert "sms" in withdrawn(conn, customer)


def test_start_makes_no_consent_where_none_was_given_and_a_person_reads_it(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    conn.execute("DELETE FROM consent")
    fold_in(conn, a_message(customer, "STOP"))
    a_minute_later(conn)

    fold_in(conn, a_message(customer, "START"))

    assert consents(conn, customer) == set()
    assert replies_to_read(conn) == ["wants messages again"]


@pytest.mark.parametrize("source", ["agent", "court", "email_complaint abuse", "link in x"])
def test_start_lifts_no_stop_but_their_own(conn: psycopg.Connection, source: str) -> None:
    customer = a_customer(conn, KEYRING)
    fold_in(conn, a_message(customer, "STOP"))
    conn.execute("UPDATE consent SET source = %s WHERE withdrawn_at IS NOT NULL", (source,))
    a_minute_later(conn)

    fold_in(conn, a_message(customer, "START"))

    assert "sms" in withdrawn(conn, customer)
    assert replies_to_read(conn) == ["wants messages again"]


def test_start_from_a_number_that_several_people_have_is_for_a_person(conn: psycopg.Connection) -> None:
    first, second = a_customer(conn, KEYRING, 1), a_customer(conn, KEYRING, 2)
    conn.execute(
        "UPDATE address SET lookup = %s WHERE party_id = %s AND channel = 'phone'",
        (KEYRING.lookup(AddressChannel.PHONE, first.phone), second.party_id),
    )
    fold_in(conn, a_message(first, "STOP"))
    a_minute_later(conn)

    fold_in(conn, a_message(first, "START"))

    assert "sms" in withdrawn(conn, first)
    assert replies_to_read(conn) == ["wants messages again"]


def test_start_by_mail_is_for_a_person_since_anybody_can_write_a_from(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    for text in ("STOP", "START"):
        message = InboundMessage("email", f"<{text}@home.test>", Channel.EMAIL, customer.email, "b@lumen.test", text)
        fold_in(conn, sealed_message(KEYRING, message))
        a_minute_later(conn)

    assert "email" in withdrawn(conn, customer)
    assert replies_to_read(conn) == ["wants messages again"]
