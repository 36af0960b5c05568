"""What a wave's answers do to reminders, also when they come after a sweep."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from domain.channel import Channel
from domain.contact import EventKind
from domain.ladder import Stage
from domain.lane import Lane, shard_of
from domain.reminder import NewReminder, ReminderState
from storage import intents, waves
from tests.builders import TUESDAY_MORNING, a_customer, a_reminder, an_account
from tests.feedback_kit import KEYRING, a_contact, a_ledger


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with a_ledger(database_url) as opened:
        yield opened


@pytest.mark.parametrize(
    ("kind", "answer", "ends_as"),
    [
        (EventKind.SENT, ReminderState.SENT, ("sent", "no_answer_from_worker")),
        (EventKind.REJECTED, ReminderState.FAILED, ("failed", "timeout")),
        (EventKind.REJECTED, ReminderState.PLANNED, ("failed", "timeout")),
        (EventKind.RELEASED, ReminderState.PLANNED, ("failed", "timeout")),
        (EventKind.UNCERTAIN, ReminderState.UNCERTAIN, ("uncertain", "no_answer_from_worker")),
    ],
)
def test_an_answer_that_comes_after_the_sweep_still_ends_what_was_uncertain(
    conn: psycopg.Connection, kind: EventKind, answer: ReminderState, ends_as: tuple[str, str]
) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id = a_contact(conn, customer)
    reminder_id = a_reminder(conn, customer, an_account(conn, customer))
    conn.execute(
        """
        UPDATE reminder SET state = 'uncertain', contact_id = %s, stamped_at = clock_timestamp(),
                            ended_at = business_now(), reason = 'no_answer_from_worker'
        """,
        (contact_id,),
    )
    result = waves.Result(
        customer.party_id, contact_id, TUESDAY_MORNING, (reminder_id,), kind, answer, "smtp", None,
        None if answer is ReminderState.SENT else "timeout",
    )  # fmt: skip

    waves.go_back(conn, [result] if answer is ReminderState.PLANNED else [])
    waves.turn(conn, uuid4(), results=[result], following=(), wave=(), lease=timedelta(seconds=10))

    state, reason = conn.execute("SELECT state, reason FROM reminder").fetchone()
    assert state == ends_as[0]
    assert state == "sent" or reason == ends_as[1]


@pytest.mark.parametrize("there", ["nothing", "the event", "the next step", "both"])
def test_what_is_on_record_already_stays_and_the_rest_of_a_turn_is_done(conn: psycopg.Connection, there: str) -> None:
    sent, waiting = a_customer(conn, KEYRING), a_customer(conn, KEYRING, 2)
    contact_id, next_id, batch_id = a_contact(conn, sent), a_contact(conn, waiting), uuid4()
    accounts = an_account(conn, sent), an_account(conn, waiting, 2)
    ended, asked = a_reminder(conn, sent, accounts[0]), a_reminder(conn, waiting, accounts[1])
    lane, lease = Lane("lantern", Channel.SMS, 0), timedelta(seconds=30)
    intents.open_batch(conn, batch_id, lane, worker="w", lease=lease, size=2)
    for reminder_id, of in ((ended, contact_id), (asked, next_id)):
        conn.execute(
            """
            UPDATE reminder SET state = 'intended', contact_id = %s, batch_id = %s,
                                judged_epoch = (SELECT stop_epoch FROM party p WHERE p.party_id = reminder.party_id)
            WHERE reminder_id = %s
            """,
            (of, batch_id, reminder_id),
        )
    if there in ("the event", "both"):
        conn.execute(
            """
            INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, provider)
            VALUES (%s, %s, %s, 'sent', 'dispatch', %s, 'known')
            """,
            (sent.party_id, contact_id, TUESDAY_MORNING, TUESDAY_MORNING),
        )
    if there in ("the next step", "both"):  # the account's old reminder was called uncertain, and it has gone on
        conn.execute(
            "UPDATE reminder SET state = 'uncertain', ended_at = business_now() WHERE reminder_id = %s", (ended,)
        )
        a_reminder(conn, sent, accounts[0], step="second_notice")
    following = NewReminder(
        sent.party_id, accounts[0], "lantern", "standard", "third_notice", Stage.MIDDLE, Channel.SMS,
        shard_of(sent.party_id), TUESDAY_MORNING, TUESDAY_MORNING + timedelta(days=3),
    )  # fmt: skip
    result = waves.Result(
        sent.party_id, contact_id, TUESDAY_MORNING, (ended,), EventKind.SENT, ReminderState.SENT, "smtp", "1", None
    )

    stamped = waves.turn(
        conn, batch_id, results=[result], following=[following],
        wave=[waves.Asked(waiting.party_id, asked, next_id, None)], lease=lease,
    )  # fmt: skip

    assert stamped == {next_id}
    events = conn.execute("SELECT kind, provider FROM contact_event WHERE contact_id = %s", (contact_id,)).fetchall()
    assert events == [("sent", "known" if there in ("the event", "both") else "smtp")]
    steps = dict(conn.execute("SELECT step, state FROM reminder WHERE party_id = %s", (sent.party_id,)).fetchall())
    opened = "second_notice" if there in ("the next step", "both") else "third_notice"
    assert steps == {"first_notice": "sent", opened: "planned"}
    assert conn.execute("SELECT count(*) FROM reminder WHERE planned_for <> due_at").fetchone() == (0,)


def test_a_next_step_is_not_lost_without_a_word_when_numbers_begin_anew(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    contact_id, account_id = a_contact(conn, customer), an_account(conn, customer)
    first_id = a_reminder(conn, customer, account_id, step="hello")
    conn.execute("UPDATE reminder SET state = 'sent', ended_at = business_now()")
    reminder_id = a_reminder(conn, customer, account_id)
    conn.execute("UPDATE reminder SET state = 'intended', contact_id = %s WHERE state = 'planned'", (contact_id,))
    conn.execute("SELECT setval('reminder_reminder_id_seq', %s, false)", (first_id,))  # a restore that forgot them
    following = NewReminder(
        customer.party_id, account_id, "lantern", "standard", "second_notice", Stage.MIDDLE, Channel.SMS,
        shard_of(customer.party_id), TUESDAY_MORNING, TUESDAY_MORNING + timedelta(days=3),
    )  # fmt: skip
    result = waves.Result(
        customer.party_id, contact_id, TUESDAY_MORNING, (reminder_id,), EventKind.SENT, ReminderState.SENT, "smtp", "1",
        None,
    )  # fmt: skip

    with pytest.raises(psycopg.errors.UniqueViolation):  # each of the two tries takes a number that is taken
        waves.turn(conn, uuid4(), results=[result], following=[following], wave=(), lease=timedelta(seconds=10))

    assert conn.execute("SELECT state FROM reminder WHERE reminder_id = %s", (reminder_id,)).fetchone() == ("intended",)
