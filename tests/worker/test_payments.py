from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_live_release
from tests.intake_kit import AS_OF, LADDERS, Desk, a_row
from worker.csv_file import ShapeError
from worker.payments import Payment, PaymentsReport, Recorded, import_payments, record_payments

NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)
DAY = timedelta(days=1)
HEAD = "lender,account,payment_ref,amount,currency,paid_at,kind,reverses\n"


@pytest.fixture
def desk(database_url: str, connection: psycopg.Connection[Any], tmp_path: Path) -> Desk:
    desk = Desk(database_url, connection, tmp_path)
    desk.do("UPDATE clock SET stepped_at = %s", NOW)
    desk.take(a_row())  # 5000.00, due on 8 March
    return desk


def a_payment(ref: str = "p1", amount: int = 5000_00, **said: Any) -> Payment:
    return Payment(
        **{
            "lender_id": "lantern",
            "account_ref": "A1",
            "payment_ref": ref,
            "amount_minor": amount,
            "currency": "TWD",
            "paid_at": NOW,
        }
        | said
    )


def a_reversal(ref: str, of: str, amount: int = 5000_00, **said: Any) -> Payment:
    return a_payment(ref, amount, kind="reversal", reverses=of, **said)


def pay(desk: Desk, *payments: Payment, now: datetime = NOW) -> Recorded:
    recorded = record_payments(desk.conn, payments, now=now, ladders=LADDERS)
    desk.conn.commit()
    return recorded


def take_file(desk: Desk, text: str, zone: str = "UTC") -> PaymentsReport:
    path = desk.folder / "payments.csv"
    path.write_text(text, encoding="utf-8")
    return import_payments(desk.url, path, ladders=LADDERS, rejects_path=desk.rejects_path, zone=zone)


def reminders(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.all("SELECT step, state, reason FROM reminder ORDER BY reminder_id")


def test_a_paid_debt_is_not_reminded_of_any_more(desk: Desk) -> None:
    recorded = pay(desk, a_payment())

    assert (recorded.new, recorded.accounts_paid, recorded.cancelled) == (1, 1, 1)
    assert desk.all("SELECT balance_minor, state FROM account") == [(0, "paid")]
    assert reminders(desk) == [("upcoming", "cancelled", "paid")]
    assert desk.one("SELECT stop_epoch FROM party") == 1


def test_a_partial_payment_lowers_the_balance_and_leaves_the_reminder(desk: Desk) -> None:
    recorded = pay(desk, a_payment(amount=1000_00))

    assert (recorded.accounts_paid, recorded.cancelled) == (0, 0)
    assert desk.all("SELECT balance_minor, state FROM account") == [(4000_00, "open")]
    assert reminders(desk) == [("upcoming", "planned", None)]
    assert desk.one("SELECT stop_epoch FROM party") == 1  # what is in a worker's hands says the old amount


def test_a_payment_reported_twice_counts_once(desk: Desk) -> None:
    pay(desk, a_payment(amount=1000_00), a_payment(amount=1000_00))
    before = desk.ledger()

    recorded = pay(desk, a_payment(amount=1000_00))

    assert (recorded.new, recorded.repeated) == (0, 1)
    assert desk.ledger() == before


def test_a_reference_used_for_something_else_is_refused(desk: Desk) -> None:
    pay(desk, a_payment(amount=1000_00))

    recorded = pay(desk, a_payment(amount=999_00))

    assert [refusal.column for refusal in recorded.refused] == ["payment_ref"]
    assert desk.one("SELECT balance_minor FROM account") == 4000_00


def test_a_reversal_opens_the_debt_again_and_plans_anew(desk: Desk) -> None:
    pay(desk, a_payment())

    recorded = pay(desk, a_reversal("r1", "p1"))

    assert (recorded.accounts_reopened, recorded.planned) == (1, 1)
    assert desk.all("SELECT balance_minor, state FROM account") == [(5000_00, "open")]
    assert reminders(desk)[-1] == ("upcoming", "planned", None)


def test_a_reversal_goes_on_after_what_was_said_already(desk: Desk) -> None:
    desk.do("UPDATE reminder SET state = 'sent', ended_at = %s", NOW)
    pay(desk, a_payment())

    pay(desk, a_reversal("r1", "p1"))

    assert reminders(desk)[-1] == ("due_today", "planned", None)


def test_without_ladders_at_hand_those_of_the_live_release_are_used(desk: Desk) -> None:
    a_live_release(desk.conn)
    pay(desk, a_payment())

    record_payments(desk.conn, [a_reversal("r1", "p1")], now=NOW)

    assert reminders(desk)[-1] == ("upcoming", "planned", None)


@pytest.mark.parametrize(
    ("payment", "column"),
    [
        (a_payment(account_ref="A9"), "account"),
        (a_payment(lender_id="beian"), "account"),
        (a_payment(currency="USD"), "currency"),
        (a_payment(amount=0), "amount"),
        (a_payment(amount=-5), "amount"),
        (a_payment(paid_at=NOW + 9 * DAY), "paid_at"),
        (a_reversal("r1", "nothing"), "reverses"),
        (a_reversal("r1", ""), "reverses"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(desk: Desk, payment: Payment, column: str) -> None:
    before = desk.ledger()

    recorded = pay(desk, payment)

    assert [refusal.column for refusal in recorded.refused] == [column]
    assert recorded.new == 0
    assert desk.ledger() == before


def test_no_more_is_taken_back_than_was_paid(desk: Desk) -> None:
    pay(desk, a_payment(amount=1000_00))

    recorded = pay(desk, a_reversal("r1", "p1", 600_00), a_reversal("r2", "p1", 600_00), a_reversal("r3", "p1", 400_00))

    assert [desk.one("SELECT balance_minor FROM account"), recorded.refused[0].place] == [5000_00, 1]


def test_a_payment_newer_than_a_files_as_of_wins_over_it(desk: Desk) -> None:
    pay(desk, a_payment())

    stale = desk.take(a_row(name="changed"), as_of=AS_OF + DAY)  # as of the end of 2 March; paid on the 4th
    assert desk.all("SELECT balance_minor, state FROM account") == [(0, "paid")]
    assert (stale.accounts_changed, stale.planned) == (0, 0)

    desk.take(a_row(), as_of=date(2026, 3, 5))  # a day later the lender still says so

    assert desk.all("SELECT balance_minor, state FROM account") == [(5000_00, "open")]


def test_a_payment_that_a_files_balance_has_in_it_is_only_written_down(desk: Desk) -> None:
    recorded = pay(desk, a_payment(paid_at=datetime(2026, 3, 1, 23, 59, tzinfo=UTC)))

    assert (recorded.new, recorded.covered, recorded.accounts_paid) == (1, 1, 0)
    assert desk.one("SELECT balance_minor FROM account") == 5000_00


def test_what_a_worker_holds_is_taken_out_of_its_hands_and_never_happened(desk: Desk) -> None:
    intended(desk, stamped=False)

    pay(desk, a_payment())

    assert reminders(desk) == [("upcoming", "cancelled", "paid")]
    assert desk.all("SELECT kind, code FROM contact_event") == [("released", "paid")]


def test_what_is_stamped_runs_its_course(desk: Desk) -> None:
    intended(desk, stamped=True)

    pay(desk, a_payment())

    assert reminders(desk) == [("upcoming", "planned", None)]
    assert desk.all("SELECT * FROM contact_event") == []


def intended(desk: Desk, *, stamped: bool) -> None:
    """Put the open reminder into a worker's hands."""
    desk.do(
        """
        WITH sent AS (
            INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, purpose,
                                 rule, pack)
            SELECT party_id, gen_random_uuid(), %s, customer_id, lender_id, 'creditor', 'email', 'reminder', 'r', 'p'
            FROM customer RETURNING contact_id
        ), held AS (
            INSERT INTO batch (batch_id, lane, worker, lease_until, wave, parties, reminders, contacts)
            SELECT gen_random_uuid(), 'lantern:email:0', 'w', 'infinity', ARRAY(SELECT contact_id FROM sent WHERE %s),
                   ARRAY[party_id], ARRAY[reminder_id], ARRAY(SELECT contact_id FROM sent)
            FROM reminder)
        SELECT
        """,
        NOW,
        stamped,
    )


def test_a_call_about_nothing_is_taken_off_the_list(desk: Desk) -> None:
    desk.take(a_row(account_ref="A1"), a_row(account_ref="A2"))
    desk.do(
        """INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, queued_at, not_before)
           SELECT c.party_id, c.customer_id, c.lender_id, v.ids, v.kind, '', now(), now() FROM customer c,
           (SELECT array_agg(account_id) FILTER (WHERE external_ref = 'A1'), 'call' FROM account
            UNION ALL SELECT array_agg(account_id), 'specialist' FROM account
            UNION ALL SELECT array_agg(account_id) FILTER (WHERE external_ref = 'A1'), 'reply' FROM account
           ) v(ids, kind)"""
    )

    pay(desk, a_payment())

    assert dict(desk.all("SELECT kind, state FROM call_task")) == {
        "call": "cancelled",
        "specialist": "queued",  # also about a debt that stands
        "reply": "queued",  # somebody wrote to us: a person reads it
    }


@pytest.mark.parametrize(
    ("payments", "state"),
    [
        ([a_payment(amount=1000_00)], "kept"),
        ([a_payment("p1", 400_00), a_payment("p2", 600_00)], "kept"),
        ([a_payment(amount=1000_00, paid_at=datetime(2026, 3, 5, 15, 59, tzinfo=UTC))], "kept"),
        ([a_payment(amount=1000_00, paid_at=datetime(2026, 3, 5, 16, 0, tzinfo=UTC))], "kept_late"),
        ([a_payment(amount=999_99)], "open"),
        ([a_payment(amount=1000_00, paid_at=NOW - 9 * DAY)], "open"),
        ([a_payment("p1", 1000_00), a_reversal("r1", "p1", 1000_00)], "open"),
    ],
)
def test_a_promise_is_kept_by_its_day_where_the_customer_lives(
    desk: Desk, payments: Sequence[Payment], state: str
) -> None:
    desk.do(
        """INSERT INTO promise (party_id, account_id, amount_minor, promised_for, made_at)
           SELECT party_id, account_id, 100000, '2026-03-05', %s FROM account""",
        NOW - DAY,
    )
    desk.do(
        """INSERT INTO hold (party_id, account_id, kind, reason, source, since)
           SELECT party_id, account_id, 'promise', '', 'test', now() FROM account"""
    )

    pay(desk, *payments, now=NOW + DAY)

    assert desk.one("SELECT state FROM promise") == state
    assert desk.one("SELECT released_at IS NOT NULL FROM hold") is (state != "open")


def test_a_file_of_payments_is_taken_once(desk: Desk) -> None:
    text = HEAD + (
        "lantern,A1,p1,5.00E+03,TWD,2026-03-04T08:00:00+08:00,payment,\n"
        "lantern,A1,r1,5000,TWD,2026-03-04 12:00,reversal,p1\n"
        'lantern,A1,p2,"1,000.00",TWD,2026-03-04,,\n'
    )

    first, again = take_file(desk, text), take_file(desk, text)

    assert (first.rows, first.new, first.rejected) == (3, 3, 0)
    assert (again.new, again.repeated, again.rejected) == (0, 3, 0)
    assert desk.one("SELECT balance_minor FROM account") == 4000_00
    assert desk.one("SELECT count(*) FROM intake WHERE kind = 'payments'") == 2


def test_times_without_an_offset_are_read_in_the_zone_that_is_given(desk: Desk) -> None:
    take_file(desk, HEAD + "lantern,A1,p1,1,TWD,2026-03-04T08:00,payment,\n", zone="Asia/Taipei")

    assert desk.one("SELECT paid_at FROM payment") == datetime(2026, 3, 4, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("lantern,A9,p1,10,TWD,2026-03-04,,", "account"),
        ("lantern,A1,p1,ten,TWD,2026-03-04,,", "amount"),
        ("lantern,A1,p1,-10,TWD,2026-03-04,,", "amount"),
        ("lantern,A1,p1,10,TWX,2026-03-04,,", "currency"),
        ("lantern,A1,p1,10,TWD,yesterday,,", "paid_at"),
        ("lantern,A1,p1,10,TWD,2026-03-04,refund,", "kind"),
        ("lantern,A1,p1,10,TWD,2026-03-04,reversal,p9", "reverses"),
        ("lantern,A1,,10,TWD,2026-03-04,,", "payment_ref"),
        ("lantern,A1", ""),
    ],
)
def test_a_bad_payment_is_put_aside_and_the_rest_is_taken(desk: Desk, row: str, column: str) -> None:
    report = take_file(desk, HEAD + row + "\nlantern,A1,good,1000,TWD,2026-03-04,payment,\n")

    assert (report.new, report.rejected) == (1, 1)
    assert [(reject["line"], reject["column"]) for reject in desk.rejects()] == [("2", column)]


def test_a_file_without_a_promised_column_changes_nothing(desk: Desk) -> None:
    before = desk.ledger()

    with pytest.raises(ShapeError, match="column 'amount', 'paid_at' missing, which a file of payments needs"):
        take_file(desk, "lender,account,payment_ref,currency\nlantern,A1,p1,TWD\n")

    assert desk.ledger() == before


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), st.integers(0, 5), st.integers(1, 6000), st.integers(-3, 3)),
        st.tuples(st.just("reverse"), st.integers(0, 5), st.integers(1, 6000), st.integers(-3, 3)),
        st.tuples(st.just("file"), st.integers(0, 3), st.integers(-100, 6000), st.integers(0, 3)),
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
def test_the_balance_is_the_newest_files_less_all_that_was_paid_since(desk: Desk, events: list[Any]) -> None:
    desk.do("TRUNCATE party, customer, address, consent, account, payment, reminder, contact_event, intake CASCADE")
    desk.take(a_row())
    as_of, said = AS_OF, 5000

    for serial, (what, number, amount, day) in enumerate(events):
        at = NOW + day * DAY
        match what:
            case "pay":
                pay(desk, a_payment(f"p{number}", amount * 100, paid_at=at), now=NOW + 5 * DAY)
            case "reverse":
                pay(desk, a_reversal(f"r{serial}", f"p{number}", amount * 100, paid_at=at), now=NOW + 5 * DAY)
            case _:
                desk.take(a_row(balance=str(amount)), as_of=AS_OF + day * DAY)
                if AS_OF + day * DAY >= as_of:
                    as_of, said = AS_OF + day * DAY, amount
        since = datetime.combine(as_of + DAY, datetime.min.time(), tzinfo=UTC)
        moved = desk.one(
            """SELECT coalesce(sum(CASE kind WHEN 'payment' THEN -amount_minor ELSE amount_minor END), 0)
               FROM payment WHERE paid_at >= %s""",
            since,
        )
        ((balance, state, steps),) = desk.all(
            "SELECT balance_minor, state, (SELECT count(*) FROM reminder WHERE state = 'planned') FROM account"
        )
        assert balance == said * 100 + moved
        assert (state, steps) == (("open", 1) if balance > 0 else ("paid", 0))
