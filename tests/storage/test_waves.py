"""What a wave's answers do to reminders, also when they come after a sweep."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from domain.contact import EventKind
from domain.reminder import ReminderState
from storage import waves
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
