"""What a wave's answers do to reminders, also when they come after a sweep."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from threading import Thread
from uuid import UUID, uuid4

import psycopg
import pytest

from domain.channel import Channel
from domain.contact import EventKind
from domain.ladder import Stage
from domain.lane import Lane, shard_of
from domain.reminder import NewReminder, ReminderState
from storage import database, intents, payments, sweeps, waves, wire
from tests.builders import TUESDAY_MORNING, a_customer, a_reminder, an_account
from tests.chaos import wiretap
from tests.feedback_kit import KEYRING, a_contact, a_ledger

LANE, LEASE = Lane("lantern", Channel.SMS, 0), timedelta(seconds=30)


def an_intent(party_id: int, contact_id: UUID, *, window_ends: datetime | None = None) -> intents.Intent:
    return intents.Intent(
        party_id, contact_id, TUESDAY_MORNING, 1, "lantern", "creditor", "sms", None, None, "reminder", "m", "en",
        "initial", "r", "p", (), (), window_ends, 0, "", {}, b"", (),
    )  # fmt: skip


def in_hand(conn: psycopg.Connection, people: int) -> tuple[UUID, list[tuple[int, int, UUID]]]:
    """A batch that holds a reminder of each of so many: its id; party, account and contact of each."""
    batch_id, held = uuid4(), []
    intents.open_batch(conn, batch_id, LANE, worker="w", lease=LEASE, size=people)
    for number in range(1, people + 1):
        customer = a_customer(conn, KEYRING, number)
        account_id, contact_id = an_account(conn, customer, number), a_contact(conn, customer)
        a_reminder(conn, customer, account_id)
        conn.execute(
            "UPDATE reminder SET state = 'intended', contact_id = %s, batch_id = %s WHERE account_id = %s",
            (contact_id, batch_id, account_id),
        )
        held.append((customer.party_id, account_id, contact_id))
    return batch_id, held


def stamp(
    conn: psycopg.Connection, batch_id: UUID, held: list[tuple[int, int, UUID]], *, number: int = 0, again: bool = False
) -> set[UUID] | None:
    wave = [an_intent(party_id, contact_id) for party_id, _, contact_id in held]
    return waves.turn(conn, batch_id, results=(), following=(), wave=wave, number=number, lease=LEASE, again=again)


def states(conn: psycopg.Connection) -> list[tuple[str, bool]]:
    """Of all reminders: the state, and whether it is on record when they were stamped."""
    return conn.execute("SELECT state, stamped_at IS NOT NULL FROM reminder ORDER BY reminder_id").fetchall()


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
    waves.turn(conn, uuid4(), results=[result], following=(), wave=(), number=0, lease=timedelta(seconds=10))

    state, reason = conn.execute("SELECT state, reason FROM reminder").fetchone()
    assert state == ends_as[0]
    assert state == "sent" or reason == ends_as[1]


@pytest.mark.parametrize("there", ["nothing", "the event", "the next step", "both"])
def test_what_is_on_record_already_stays_and_the_rest_of_a_turn_is_done(conn: psycopg.Connection, there: str) -> None:
    sent, waiting = a_customer(conn, KEYRING), a_customer(conn, KEYRING, 2)
    contact_id, next_id, batch_id = a_contact(conn, sent), a_contact(conn, waiting), uuid4()
    accounts = an_account(conn, sent), an_account(conn, waiting, 2)
    ended, asked = a_reminder(conn, sent, accounts[0]), a_reminder(conn, waiting, accounts[1])
    intents.open_batch(conn, batch_id, LANE, worker="w", lease=LEASE, size=2)
    for reminder_id, of in ((ended, contact_id), (asked, next_id)):
        conn.execute(
            """
            UPDATE reminder SET state = 'intended', contact_id = %s, batch_id = %s WHERE reminder_id = %s
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
        wave=[an_intent(waiting.party_id, next_id)], number=0, lease=LEASE,
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
        waves.turn(
            conn, uuid4(), results=[result], following=[following], wave=(), number=0, lease=timedelta(seconds=10)
        )

    assert conn.execute("SELECT state FROM reminder WHERE reminder_id = %s", (reminder_id,)).fetchone() == ("intended",)


def test_a_wave_is_stamped_once_unless_the_worker_cannot_know_whether_it_was(conn: psycopg.Connection) -> None:
    batch_id, held = in_hand(conn, 2)
    contacts = {contact_id for *_, contact_id in held}

    assert stamp(conn, batch_id, held) == contacts
    assert stamp(conn, batch_id, held) is None
    assert stamp(conn, batch_id, held, again=True) == contacts
    assert stamp(conn, batch_id, held, number=2) is None, "a wave in between is missing"


def test_a_stamp_is_written_within_its_page_and_leaves_no_entry_in_an_index(conn: psycopg.Connection) -> None:
    """A batch is written some twenty times: with entries for each the table would grow from one vacuum to the next."""
    batch_id, held = in_hand(conn, 2)
    for number in range(40):
        assert stamp(conn, batch_id, held, number=number)

    conn.execute("SELECT pg_stat_force_next_flush()")
    written, within = conn.execute(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'batch'"
    ).fetchone()
    assert within == written == 40
    assert conn.execute("SELECT pg_relation_size('batch')").fetchone() == (8192,)


def test_a_sweep_doubts_the_wave_under_way_and_nothing_else(conn: psycopg.Connection) -> None:
    batch_id, held = in_hand(conn, 3)
    stamp(conn, batch_id, held[:1])
    answer = waves.Result(
        held[0][0], held[0][2], TUESDAY_MORNING, (1,), EventKind.SENT, ReminderState.SENT, "smtp", "1", None
    )
    waves.turn(
        conn, batch_id, results=[answer], following=(), wave=[an_intent(held[1][0], held[1][2])], number=1, lease=LEASE
    )
    conn.execute("UPDATE batch SET lease_until = clock_timestamp()")

    sweeps.sweep_batches(conn)

    assert states(conn) == [("sent", True), ("uncertain", True), ("planned", False)]


@pytest.mark.parametrize("gone", ["DELETE FROM batch", "UPDATE batch SET ended_at = now(), ended_how = 'finished'"])
def test_whatever_a_batch_held_that_is_over_or_unknown_may_have_left(conn: psycopg.Connection, gone: str) -> None:
    in_hand(conn, 2)
    conn.execute(gone)

    sweeps.reopen_orphans(conn)
    sweeps.sweep_batches(conn)

    assert states(conn) == [("uncertain", True), ("uncertain", True)]


def test_a_stamp_waits_for_whoever_takes_something_out_of_the_batch(
    conn: psycopg.Connection, database_url: str
) -> None:
    batch_id, held = in_hand(conn, 2)
    (paid, account_id, _), (_, _, other) = held
    stamped: list[set[UUID] | None] = []

    def ask() -> None:
        with database.connect(database_url, autocommit=True) as worker:
            stamped.append(stamp(worker, batch_id, held))

    with database.connect(database_url) as paying:
        paying.execute("UPDATE party SET stop_epoch = stop_epoch + 1 WHERE party_id = %s", (paid,))
        assert payments.cancel(paying, [(paid, account_id)], reason="paid", at=TUESDAY_MORNING) == 1
        asking = Thread(target=ask)
        asking.start()
        asking.join(0.3)
        assert asking.is_alive()
        paying.commit()
        asking.join(10)

    assert stamped == [{other}]
    assert [state for state, _ in states(conn)] == ["cancelled", "intended"]


def test_a_cancel_waits_for_a_stamp_under_way_and_then_leaves_it_alone(
    conn: psycopg.Connection, database_url: str
) -> None:
    batch_id, held = in_hand(conn, 2)
    cancelled: list[int] = []

    def cancel() -> None:
        with database.connect(database_url) as paying:
            both = [(party_id, account_id) for party_id, account_id, _ in held]
            cancelled.append(payments.cancel(paying, both, reason="paid", at=TUESDAY_MORNING))

    with database.connect(database_url) as worker:
        stamp(worker, batch_id, held[:1])
        cancelling = Thread(target=cancel)
        cancelling.start()
        cancelling.join(0.3)
        assert cancelling.is_alive()
        worker.commit()
        cancelling.join(10)

    assert cancelled == [1]
    assert [state for state, _ in states(conn)] == ["intended", "cancelled"]


def test_the_tap_on_the_wire_tells_what_a_turn_does() -> None:
    """Where the statement moves and the tap does not, faults would wait for their place for ever."""
    parameters = (*waves._told(()), *waves._ended((), uuid4()), *waves._following(()), *waves._asked(()))

    assert wiretap.TURN.search(waves._TURN.encode())
    assert wiretap.TURN.search(waves._TURN_AGAIN.encode())
    assert isinstance(parameters[wiretap.RECORDED], wire.Int8s)
    assert isinstance(parameters[wiretap.STAMPED], wire.Int8s)
    assert len(waves._told(())) > wiretap.RECORDED
    assert len(parameters) - len(waves._asked(())) <= wiretap.STAMPED
