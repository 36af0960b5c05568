"""What a wave's answers do to reminders, also when they come after a sweep."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from threading import Thread
from uuid import UUID, uuid4

import psycopg
import pytest

from domain.channel import Channel
from domain.contact import EventKind
from domain.ladder import Stage
from domain.lane import Lane, shard_of
from domain.reminder import NewReminder, ReminderState
from storage import (
    backtest,
    batches,
    database,
    intents,
    lanes,
    ledger,
    payments,
    picture,
    suspects,
    sweeps,
    waves,
    wire,
)
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_reminder, an_account
from tests.chaos import wiretap
from tests.feedback_kit import KEYRING, a_contact, a_ledger
from tests.plans import generic_plan

LANE, LEASE = Lane("lantern", Channel.SMS, 0), timedelta(seconds=30)
LATER = TUESDAY_MORNING + timedelta(hours=1)


def an_intent(customer: MadeCustomer, account_id: int, reminder_id: int) -> intents.Intent:
    return intents.Intent(
        customer.party_id, uuid4(), TUESDAY_MORNING, customer.customer_id, "lantern", "creditor", "sms", None, None,
        "reminder", "m", "en", "initial", "r", "p", (), (), None, 0, "", {"attempt": 1}, b"",
        (account_id,), (reminder_id,), ("first_notice",), ("initial",),
    )  # fmt: skip


def in_hand(conn: psycopg.Connection, people: int) -> tuple[UUID, list[intents.Intent]]:
    """A batch that holds a reminder of each of so many: its id, and their contacts."""
    batch_id, held = uuid4(), []
    for number in range(1, people + 1):
        customer = a_customer(conn, KEYRING, number)
        account_id = an_account(conn, customer, number)
        held.append(an_intent(customer, account_id, a_reminder(conn, customer, account_id)))
    batches.open_batch(conn, batches.Sheet(batch_id, held, [() for _ in held]), LANE, worker="w", lease=LEASE)
    return batch_id, held


def stamp(
    conn: psycopg.Connection,
    batch_id: UUID,
    wave: Sequence[intents.Intent],
    *,
    number: int = 0,
    again: bool = False,
    results: Sequence[waves.Result] = (),
) -> set[UUID] | None:
    asked = asked_of(batch_id, wave)
    record = waves.record_of(batch_id, results, ())
    stamped = waves.Passage(batch_id, lease=LEASE).turn(conn, record=record, asked=asked, number=number, again=again)
    return None if stamped is None else set(stamped)


def asked_of(batch_id: UUID, wave: Sequence[intents.Intent]) -> batches.Asked:
    return batches.Sheet(batch_id, wave, [() for _ in wave]).asked(0, len(wave))


def record(conn: psycopg.Connection, *results: waves.Result, following: Sequence[NewReminder] = ()) -> None:
    """Record answers to what is in nobody's hands any more."""
    batch_id = uuid4()
    told = waves.record_of(batch_id, results, following)
    waves.Passage(batch_id, lease=LEASE).turn(conn, record=told, asked=asked_of(batch_id, ()), number=0)


def a_result(intent: intents.Intent, kind: EventKind = EventKind.SENT, state: ReminderState = ReminderState.SENT):
    return waves.Result(
        intent.party_id, intent.contact_id, intent.intended_at, intent.reminder_ids, kind, state, "smtp", "1",
        None if state is ReminderState.SENT else "timeout",
    )  # fmt: skip


def states(conn: psycopg.Connection) -> list[tuple[str, bool]]:
    """Of all reminders: the state, and whether it is on record when they were stamped."""
    return conn.execute("SELECT state, stamped_at IS NOT NULL FROM reminder ORDER BY reminder_id").fetchall()


def events(conn: psycopg.Connection) -> list[tuple[int, str, str]]:
    """What is on record about contacts: party, what, under which key."""
    return conn.execute("SELECT party_id, kind, dedupe_key FROM contact_event ORDER BY 1, 2, 3").fetchall()


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
    record(conn, result)

    state, reason = conn.execute("SELECT state, reason FROM reminder").fetchone()
    assert state == ends_as[0]
    assert state == "sent" or reason == ends_as[1]


@pytest.mark.parametrize("there", ["nothing", "the event", "the next step", "both"])
def test_what_is_on_record_already_stays_and_the_rest_of_a_turn_is_done(conn: psycopg.Connection, there: str) -> None:
    batch_id, (sent, waiting) = in_hand(conn, 2)
    customer = MadeCustomer(sent.party_id, sent.customer_id, "", "", "")
    account_id, contact_id = sent.account_ids[0], sent.contact_id
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
            "UPDATE reminder SET state = 'uncertain', ended_at = business_now(), contact_id = %s WHERE party_id = %s",
            (contact_id, sent.party_id),
        )
        a_reminder(conn, customer, account_id, step="second_notice")
    following = NewReminder(
        sent.party_id, account_id, "lantern", "standard", "third_notice", Stage.MIDDLE, Channel.SMS,
        shard_of(sent.party_id), TUESDAY_MORNING, TUESDAY_MORNING + timedelta(days=3),
    )  # fmt: skip

    told = waves.record_of(batch_id, [a_result(sent)], [following])
    stamped = waves.Passage(batch_id, lease=LEASE).turn(
        conn, record=told, asked=asked_of(batch_id, [waiting]), number=0
    )

    assert stamped == [waiting.contact_id]
    events = conn.execute("SELECT kind, provider FROM contact_event WHERE contact_id = %s", (contact_id,)).fetchall()
    assert events == [("sent", "known" if there in ("the event", "both") else "smtp")]
    steps = dict(conn.execute("SELECT step, state FROM reminder WHERE party_id = %s", (sent.party_id,)).fetchall())
    opened = "second_notice" if there in ("the next step", "both") else "third_notice"
    assert steps == {"first_notice": "sent", opened: "planned"}
    assert conn.execute("SELECT count(*) FROM reminder WHERE planned_for <> due_at").fetchone() == (0,)


def test_a_next_step_is_not_lost_without_a_word_when_numbers_begin_anew(conn: psycopg.Connection) -> None:
    customer = a_customer(conn, KEYRING)
    account_id = an_account(conn, customer)
    first_id = a_reminder(conn, customer, account_id, step="hello")
    conn.execute("UPDATE reminder SET state = 'sent', ended_at = business_now()")
    reminder_id = a_reminder(conn, customer, account_id)
    conn.execute("SELECT setval('reminder_reminder_id_seq', %s, false)", (first_id,))  # a restore that forgot them
    following = NewReminder(
        customer.party_id, account_id, "lantern", "standard", "second_notice", Stage.MIDDLE, Channel.SMS,
        shard_of(customer.party_id), TUESDAY_MORNING, TUESDAY_MORNING + timedelta(days=3),
    )  # fmt: skip
    result = a_result(an_intent(customer, account_id, reminder_id))

    with pytest.raises(psycopg.errors.UniqueViolation):  # each of the two tries takes a number that is taken
        record(conn, result, following=[following])

    assert conn.execute("SELECT state FROM reminder WHERE reminder_id = %s", (reminder_id,)).fetchone() == ("planned",)


def test_a_wave_is_stamped_once_unless_the_worker_cannot_know_whether_it_was(conn: psycopg.Connection) -> None:
    batch_id, held = in_hand(conn, 2)
    contacts = {intent.contact_id for intent in held}

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
    stamp(conn, batch_id, held[1:2], number=1, results=[a_result(held[0])])
    lose(conn)

    assert [len(each) if isinstance(each, list) else each for each in sweeps.sweep_batches(conn)] == [1, 1, 1]

    assert states(conn) == [("sent", True), ("uncertain", True), ("planned", False)]
    assert contacts_of_ended(conn) == [held[0].contact_id, held[1].contact_id]
    assert events(conn) == [
        (held[0].party_id, "sent", "dispatch"),
        (held[1].party_id, "uncertain", "sweep"),
        (held[2].party_id, "released", "sweep"),
    ]
    assert sweeps.sweep_batches(conn) == (0, [], 0)
    assert conn.execute("SELECT parties, reminders, contacts FROM batch").fetchall() == [([], [], [])]


def test_a_batch_that_ended_a_while_ago_is_forgotten_and_its_worker_has_no_lease(conn: psycopg.Connection) -> None:
    batch_id, held = in_hand(conn, 2)
    stamp(conn, batch_id, held[:1])
    lose(conn)
    sweeps.sweep_batches(conn)

    assert lanes.forget_batches(conn) == 0, "it has only just ended"
    conn.execute("UPDATE batch SET ended_at = ended_at - interval '11 minutes'")
    assert lanes.forget_batches(conn) == 1

    assert stamp(conn, batch_id, held[1:], number=1, results=[a_result(held[0])]) is None
    assert states(conn) == [("sent", True), ("planned", False)], "what is known now wins, and the stamp is remembered"


def test_the_last_batch_that_finished_stays_as_proof_that_others_are_served(conn: psycopg.Connection) -> None:
    for _ in range(3):
        batches.open_batch(conn, batches.Sheet(uuid4(), [], []), LANE, worker="w", lease=LEASE)
    conn.execute(
        """
        UPDATE batch b SET ended_how = 'finished', ended_at = clock_timestamp() - make_interval(mins => 10 + n::int)
        FROM (SELECT batch_id, row_number() OVER () AS n FROM batch) aged WHERE b.batch_id = aged.batch_id
        """
    )

    assert lanes.forget_batches(conn) == 2

    assert conn.execute("SELECT ended_at > clock_timestamp() - interval '12 minutes' FROM batch").fetchall() == [
        (True,)
    ]


def test_an_answer_about_another_contact_ends_nothing_that_is_uncertain(conn: psycopg.Connection) -> None:
    _, (intent,) = in_hand(conn, 1)
    conn.execute("UPDATE reminder SET state = 'uncertain', ended_at = business_now(), contact_id = gen_random_uuid()")

    record(conn, a_result(intent))

    assert [state for state, _ in states(conn)] == ["uncertain"]


def test_what_was_refused_before_its_worker_died_is_neither_doubted_nor_given_back_again(
    conn: psycopg.Connection,
) -> None:
    """Its answer came when the lease was over: it is on record, and the batch's row still names it."""
    batch_id, held = in_hand(conn, 1)
    stamp(conn, batch_id, held)
    lose(conn)
    refusal = a_result(held[0], EventKind.REJECTED, ReminderState.PLANNED)
    assert stamp(conn, batch_id, (), number=1, results=[refusal]) is None
    waves.go_back(conn, [refusal])

    assert sweeps.sweep_batches(conn) == (1, [], 0)

    assert events(conn) == [(held[0].party_id, "rejected", "dispatch")]
    assert conn.execute("SELECT state, attempt, reason FROM reminder").fetchall() == [("planned", 2, "timeout")]


def test_what_is_given_back_is_released_once_whoever_gives_it_back(conn: psycopg.Connection) -> None:
    batch_id, held = in_hand(conn, 3)
    stamp(conn, batch_id, held[:1])

    assert waves.release_unstamped(conn, batch_id, held[:2], code="changed") == 1, "what is stamped stays"
    lose(conn)
    sweeps.sweep_batches(conn)
    assert waves.release_unstamped(conn, batch_id, held[1:], code="changed") == 0, "the sweep was here"

    assert events(conn) == [
        (held[0].party_id, "uncertain", "sweep"),
        (held[1].party_id, "released", "released"),
        (held[2].party_id, "released", "sweep"),
    ]


def test_what_is_in_hand_is_nobody_elses_until_its_batch_is_over(conn: psycopg.Connection) -> None:
    batch_id, held = in_hand(conn, 2)
    customer = MadeCustomer(held[0].party_id, held[0].customer_id, "", "", "")
    other = a_reminder(conn, customer, an_account(conn, customer, 9))

    assert seen_by_another(conn) == [other]

    stamp(conn, batch_id, held)
    refusal = a_result(held[1], EventKind.REJECTED, ReminderState.PLANNED)
    stamp(conn, batch_id, (), number=1, results=[a_result(held[0]), refusal])
    waves.go_back(conn, [refusal])
    assert seen_by_another(conn) == [other], "what was refused waits for the end of the batch"

    batches.close_batch(conn, batch_id)
    assert seen_by_another(conn) == [held[1].reminder_ids[0], other]
    assert conn.execute("SELECT parties, reminders, contacts FROM batch").fetchall() == [([], [], [])]


def test_those_in_hand_do_not_stand_in_the_way_of_those_behind_them(conn: psycopg.Connection) -> None:
    in_hand(conn, 3)
    free = a_customer(conn, KEYRING, 4)
    a_reminder(conn, free, an_account(conn, free, 4), due_at=TUESDAY_MORNING + timedelta(minutes=1))

    assert list(picture.lock_parties(conn, LANE, now=LATER, limit=2)) == [free.party_id]


def test_a_lane_whose_last_reminders_are_in_hand_is_not_woken(conn: psycopg.Connection) -> None:
    _, held = in_hand(conn, 2)
    conn.execute("UPDATE batch SET lane = 'lantern:sms:15'")  # whose worker took from the lanes beside its own
    assert picture.due_lanes(conn) == []

    customer = MadeCustomer(held[0].party_id, held[0].customer_id, "", "", "")
    a_reminder(conn, customer, an_account(conn, customer, 9))
    assert picture.due_lanes(conn) == [LANE]


@pytest.mark.parametrize("analysed", ["never", "when all were open", "when hardly any was"])
def test_what_is_in_hand_is_one_set_for_a_statement(conn: psycopg.Connection, analysed: str) -> None:
    """Asked row by row it would be a thousand times a thousand."""
    conn.execute(
        """
        INSERT INTO batch (batch_id, lane, worker, lease_until, parties, reminders, contacts)
        SELECT gen_random_uuid(), 'lantern:sms:0', 'w', now(), array_agg(n), array_agg(n),
               array_agg(gen_random_uuid())
        FROM generate_series(1, 20), generate_series(1, 1000) AS n GROUP BY generate_series
        """
    )
    if analysed == "when all were open":
        conn.execute("ANALYZE batch")
    conn.execute(
        "UPDATE batch SET ended_at = now(), parties = '{}', reminders = '{}', contacts = '{}' WHERE random() < 0.9"
    )
    conn.execute(
        """
        INSERT INTO batch (batch_id, lane, worker, lease_until, ended_at)
        SELECT gen_random_uuid(), 'lantern:sms:0', 'w', now(), now() FROM generate_series(1, 30000)
        """
    )
    if analysed == "when hardly any was":
        conn.execute("ANALYZE batch")

    asked = [
        (picture._LOCK, ([0, 1], "lantern", "sms", LATER, "lantern:", 1000, 1000)),
        (picture._DUE, (*4 * [[1, 2]], "lantern", LATER, "lantern:")),
        (picture._DUE_LANES, (32,)),
    ]
    for plan_cache_mode in ("force_custom_plan", "force_generic_plan"):
        conn.execute(f"SET plan_cache_mode = {plan_cache_mode}")
        for statement, parameters in asked:
            plan = "\n".join(row[0] for row in conn.execute(f"EXPLAIN {statement}", parameters))
            assert "hashed SubPlan" in plan, plan
    volatility = conn.execute("SELECT provolatile FROM pg_proc WHERE proname = 'reminders_in_hand'").fetchone()
    assert volatility == ("s",), "with a snapshot of its own it would miss a batch that has just ended"


def test_what_a_worker_takes_in_hand_is_not_written_before_it_ends(conn: psycopg.Connection) -> None:
    """Each writing of a reminder costs three entries of indexes: once when it is planned, once when it ends."""
    batch_id, held = in_hand(conn, 5)
    stamp(conn, batch_id, held)
    assert updates_of(conn, "reminder") == 0

    stamp(conn, batch_id, (), number=1, results=[a_result(intent) for intent in held])
    assert updates_of(conn, "reminder") == 5


def test_a_batch_whose_wave_is_under_way_cannot_be_closed(conn: psycopg.Connection) -> None:
    batch_id, held = in_hand(conn, 1)
    stamp(conn, batch_id, held)

    batches.close_batch(conn, batch_id)

    assert conn.execute("SELECT ended_at, cardinality(reminders) FROM batch").fetchall() == [(None, 1)]


def test_nobody_ends_as_poisonous_what_a_worker_has_in_hand(conn: psycopg.Connection) -> None:
    _, (intent, free) = in_hand(conn, 2)
    conn.execute("UPDATE batch SET reminders = reminders[1:1], parties = parties[1:1], contacts = contacts[1:1]")
    conn.execute(
        """
        INSERT INTO batch (batch_id, lane, worker, lease_until, ended_at, ended_how)
        VALUES (gen_random_uuid(), 'x', 'w', now(), now() + interval '1 hour', 'finished')
        """
    )
    guilty = [intent.party_id, free.party_id]
    conn.execute("INSERT INTO suspect SELECT unnest(%s::bigint[]), 100, 100, 'a test'", (guilty,))

    assert suspects.end_poisonous(conn) == [(free.party_id, free.reminder_ids[0])]


def test_a_payment_takes_back_what_was_refused_without_a_second_word_about_it(conn: psycopg.Connection) -> None:
    batch_id, (refused, waiting) = in_hand(conn, 2)
    stamp(conn, batch_id, [refused])
    refusal = a_result(refused, EventKind.REJECTED, ReminderState.PLANNED)
    stamp(conn, batch_id, (), number=1, results=[refusal])
    waves.go_back(conn, [refusal])

    both = [(intent.party_id, intent.account_ids[0]) for intent in (refused, waiting)]
    assert payments.cancel(conn, both, reason="paid", at=LATER) == 2

    assert events(conn) == [(refused.party_id, "rejected", "dispatch"), (waiting.party_id, "released", "released")]
    assert [state for state, _ in states(conn)] == ["cancelled", "cancelled"]
    assert conn.execute("SELECT stirs FROM batch").fetchone() == (1,)


@pytest.mark.parametrize("meanwhile", ["nothing", "a sweep"])
def test_who_pays_while_their_message_is_under_way_has_no_next_step(conn: psycopg.Connection, meanwhile: str) -> None:
    """Also where the payment finds the batch over and has nothing to take out of it."""
    batch_id, held = in_hand(conn, 2)
    stamp(conn, batch_id, held)
    if meanwhile == "a sweep":
        lose(conn)
        sweeps.sweep_batches(conn)
    paid, owing = ((intent.party_id, intent.account_ids[0]) for intent in held)
    pay(conn, *paid)

    following = [
        NewReminder(
            party_id, account_id, "lantern", "standard", "second_notice", Stage.MIDDLE, Channel.SMS, shard_of(party_id),
            TUESDAY_MORNING, TUESDAY_MORNING + timedelta(days=3),
        )
        for party_id, account_id in (paid, owing)
    ]  # fmt: skip
    told = waves.record_of(batch_id, [a_result(intent) for intent in held], following)
    waves.Passage(batch_id, lease=LEASE).turn(conn, record=told, asked=asked_of(batch_id, ()), number=1)

    steps = conn.execute("SELECT party_id, step, state FROM reminder ORDER BY reminder_id").fetchall()
    assert steps == [
        (paid[0], "first_notice", "sent"),
        (owing[0], "first_notice", "sent"),
        (owing[0], "second_notice", "planned"),
    ]


@pytest.mark.parametrize("tables_are", ["never analysed", "analysed"])
def test_next_steps_are_not_each_compared_with_each_end(conn: psycopg.Connection, tables_are: str) -> None:
    """Fifty of each: that would be 2,500 comparisons a wave, and was, with the condition at another place."""
    conn.prepare_threshold = 0
    batch_id, held = in_hand(conn, 50)
    if tables_are == "analysed":
        conn.execute("ANALYZE")
    stamp(conn, batch_id, held)

    planned = generic_plan(conn, "waves =").partition("CTE planned")[2].partition("CTE stamped")[0]
    assert "Hash Cond: ((u_1.party_id = e.party_id) AND (u_1.account_id = e.account_id))" in planned, planned


def test_a_back_test_knows_what_is_in_hand(conn: psycopg.Connection) -> None:
    _, (intent,) = in_hand(conn, 1)
    day = timedelta(days=1)
    (read,) = backtest.chunks(conn, [intent.party_id], TUESDAY_MORNING - day, TUESDAY_MORNING + day, lookback=day)

    assert [asked.state for asked in read.asked] == ["intended"]


def test_the_account_shows_what_is_in_hand(conn: psycopg.Connection) -> None:
    in_hand(conn, 1)
    account = ledger.find_account(conn, f"A{1}-1", lender_id="lantern")

    assert [entry.what for entry in ledger.timeline(conn, account) if entry.kind == "plan"] == ["intended"]


def pay(conn: psycopg.Connection, party_id: int, account_id: int) -> None:
    """Settle an account as `worker/payments.py` does, so far as the ledger is concerned."""
    with conn.transaction():
        payments.lock_parties(conn, [party_id])
        row = conn.execute(
            "SELECT lender_id, balance_minor FROM account WHERE account_id = %s", (account_id,)
        ).fetchone()
        payment = payments.NewPayment(party_id, account_id, row[0], "P1", "payment", None, row[1], LATER)
        assert payments.write_payments(conn, [payment])[0].is_paid
        payments.cancel(conn, [(party_id, account_id)], reason="paid", at=LATER)


def lose(conn: psycopg.Connection) -> None:
    conn.execute("UPDATE batch SET lease_until = clock_timestamp()")


def contacts_of_ended(conn: psycopg.Connection) -> list[UUID]:
    rows = conn.execute("SELECT contact_id FROM reminder WHERE ended_at IS NOT NULL ORDER BY reminder_id").fetchall()
    return [row[0] for row in rows]


def seen_by_another(conn: psycopg.Connection) -> list[int]:
    """The reminders that another worker would decide about."""
    with conn.transaction():
        opening = picture.open_drain(conn, "lantern")
        parties = picture.lock_parties(conn, LANE, now=LATER, limit=100)
        seen = picture.read_picture(
            conn, list(parties), lender_id="lantern", now=LATER, lookback=lambda *_: timedelta(days=1)
        )
        assert opening.now
    return sorted(due.reminder_id for due in seen.due)


def updates_of(conn: psycopg.Connection, table: str) -> int:
    conn.execute("SELECT pg_stat_force_next_flush()")
    return conn.execute("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = %s", (table,)).fetchone()[0]


def test_a_stamp_waits_for_whoever_takes_something_out_of_the_batch(
    conn: psycopg.Connection, database_url: str
) -> None:
    batch_id, held = in_hand(conn, 2)
    paid, account_id, other = held[0].party_id, held[0].account_ids[0], held[1].contact_id
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
    assert [state for state, _ in states(conn)] == ["cancelled", "planned"]


def test_a_cancel_waits_for_a_stamp_under_way_and_then_leaves_it_alone(
    conn: psycopg.Connection, database_url: str
) -> None:
    batch_id, held = in_hand(conn, 2)
    cancelled: list[int] = []

    def cancel() -> None:
        with database.connect(database_url) as paying:
            both = [(intent.party_id, intent.account_ids[0]) for intent in held]
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
    assert [state for state, _ in states(conn)] == ["planned", "cancelled"]


def test_the_tap_on_the_wire_tells_what_a_turn_does() -> None:
    """Where the statement moves and the tap does not, faults would wait for their place for ever."""
    told, ended, following = waves.record_of(uuid4(), (), ())
    parameters = *told, *ended, *following, *asked_of(uuid4(), ()).parameters

    assert wiretap.TURN.search(waves._TURN.encode())
    assert wiretap.TURN.search(waves._TURN_AGAIN.encode())
    assert isinstance(parameters[wiretap.RECORDED], wire.Int8s)
    assert isinstance(parameters[wiretap.STAMPED], wire.Int8s)
    assert len(told) > wiretap.RECORDED
    assert len((*told, *ended, *following)) <= wiretap.STAMPED
