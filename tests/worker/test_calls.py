"""The call desk: judged at the dial moment, one task per agent, and what follows from each ending."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from config.settings import Settings
from domain.bundle import Bundle
from domain.contact import EventKind, fold
from domain.disposition import DISPOSITIONS, Then
from domain.hold import HoldKind
from storage import calls, database, feedback, lanes
from storage.feedback import NewHold
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_live_release, an_account, the_bundle
from worker.calls import InHand, NotNow, NotYours, Offer, dial, expire_calls, next_call
from worker.endings import BadEnding, Ending, end_call
from worker.releases import Release, compile_release
from worker.wiring import Spine


@cache
def compiled() -> tuple[Bundle, Release]:
    bundle = the_bundle()
    return bundle, compile_release(bundle)


class Desk(Spine):
    """A spine that compiles the package's own release once for all tests."""

    def release(self, release_hash: str) -> Release:
        assert release_hash == compiled()[1].hash
        return compiled()[1]


@pytest.fixture
def spine(database_url: str, tmp_path: Path) -> Iterator[Spine]:
    made = Desk(Settings(home=tmp_path), database_url)
    a_live_release(made.conn, compiled()[0])
    lanes.step_clock(made.conn, TUESDAY_MORNING)
    yield made
    made.close()


def a_task(
    spine: Spine,
    customer: MadeCustomer,
    accounts: list[int],
    *,
    kind: str = "call",
    reason: str = "step talk",
    not_before: datetime = TUESDAY_MORNING,
    expires_at: datetime | None = TUESDAY_MORNING + timedelta(days=5),
) -> int:
    return spine.conn.execute(
        """
        INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, message, stage, queued_at,
                               not_before, expires_at)
        VALUES (%s, %s, 'lantern', %s, %s, %s, 'talk', 'middle', %s, %s, %s) RETURNING call_task_id
        """,
        (customer.party_id, customer.customer_id, accounts, kind, reason, not_before, not_before, expires_at),
    ).fetchone()[0]


def a_dialled_call(spine: Spine, number: int = 1, accounts: int = 1) -> tuple[MadeCustomer, int]:
    customer = a_customer(spine.conn, spine.keyring, number)
    debts = [an_account(spine.conn, customer, n, due_on=date(2026, 2, 20)) for n in range(accounts)]
    task_id = a_task(spine, customer, debts)
    assert isinstance(next_call(spine, agent="ana"), Offer)
    return customer, task_id


def stored(spine: Spine, task_id: int) -> calls.CallTask:
    found = calls.task(spine.conn, task_id)
    assert found is not None
    return found


def outcome(spine: Spine, task_id: int) -> EventKind | None:
    rows = spine.conn.execute(
        "SELECT kind FROM contact_event WHERE contact_id = %s", (stored(spine, task_id).contact_id,)
    ).fetchall()
    return fold(EventKind(row[0]) for row in rows)


def holds(spine: Spine, customer: MadeCustomer) -> list[tuple[str, datetime | None]]:
    return spine.conn.execute(
        "SELECT kind, ends_at FROM hold WHERE party_id = %s AND released_at IS NULL ORDER BY 1", (customer.party_id,)
    ).fetchall()


def epoch(spine: Spine, customer: MadeCustomer) -> int:
    return spine.conn.execute("SELECT stop_epoch FROM party WHERE party_id = %s", (customer.party_id,)).fetchone()[0]


def test_the_next_call_shows_number_script_and_reason_and_writes_the_intent(spine: Spine) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    account = an_account(spine.conn, customer, due_on=date(2026, 2, 20))
    task_id = a_task(spine, customer, [account])

    offer = next_call(spine, agent="ana")

    assert offer is not None
    assert offer.phone == customer.phone
    assert "1,234" in (offer.script or "")
    assert offer.because is not None
    assert offer.window_ends == datetime(2026, 3, 3, 10, 55, tzinfo=UTC)  # 18:55 in Taipei
    assert customer.phone not in repr(offer)
    contact = spine.conn.execute(
        "SELECT channel, purpose, account_ids, release_hash IS NOT NULL FROM contact"
    ).fetchall()
    assert contact == [("call", "reminder", [account], True)]
    assert outcome(spine, task_id) is EventKind.DIALLED


def test_an_agent_ends_a_dialled_call_before_the_next_and_nobody_else_gets_it(spine: Spine) -> None:
    a_dialled_call(spine)

    with pytest.raises(InHand, match="no ending"):
        next_call(spine, agent="ana")
    spine.conn.execute("UPDATE call_task SET lease_until = clock_timestamp() - interval '1 hour'")
    assert next_call(spine, agent="ben") is None


def test_a_claim_that_ran_out_before_the_dial_is_taken_over(spine: Spine) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    task_id = a_task(spine, customer, [an_account(spine.conn, customer)])
    calls.claim(spine.conn, agent="ana", lease=timedelta(minutes=10))
    assert next_call(spine, agent="ben") is None

    spine.conn.execute("UPDATE call_task SET lease_until = clock_timestamp() - interval '1 second'")
    offer = next_call(spine, agent="ben")

    assert offer is not None
    assert stored(spine, task_id).claimed_by == "ben"


def test_outside_the_hours_the_task_waits_until_they_open_and_the_answer_is_on_record(spine: Spine) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    task_id = a_task(spine, customer, [an_account(spine.conn, customer)])
    lanes.step_clock(spine.conn, TUESDAY_MORNING + timedelta(hours=13))  # 23:00 in Taipei

    assert next_call(spine, agent="ana") is None

    task = stored(spine, task_id)
    assert (task.state, task.not_before) == ("queued", datetime(2026, 3, 4, 1, 35, tzinfo=UTC))  # 09:35 in Taipei
    assert spine.conn.execute("SELECT verdict, channel, until FROM decision").fetchall() == [
        ("hold", "call", task.not_before)
    ]
    assert spine.conn.execute("SELECT count(*) FROM contact").fetchone() == (0,)


def test_a_call_that_may_not_be_made_now_lets_the_next_one_through(spine: Spine) -> None:
    held, free = (a_customer(spine.conn, spine.keyring, n) for n in (1, 2))
    for customer in (held, free):
        a_task(spine, customer, [an_account(spine.conn, customer)])
    feedback.set_hold(spine.conn, NewHold(held.party_id, HoldKind.DISPUTE, "not theirs", "test", TUESDAY_MORNING, None))

    offer = next_call(spine, agent="ana")

    assert offer is not None
    assert offer.phone == free.phone


@pytest.mark.parametrize("why", ["paid", "refused", "no_number", "erased"])
def test_a_call_that_may_never_be_made_is_cancelled_with_its_reason(spine: Spine, why: str) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    task_id = a_task(spine, customer, [an_account(spine.conn, customer)])
    change, rule = {
        "paid": ("UPDATE account SET state = 'paid', balance_minor = 0", "duly.nothing_owed"),
        "refused": ("UPDATE customer SET refused_channels = '{call}'", "customer.refused_channel"),
        "no_number": ("UPDATE address SET retired_at = now()", "duly.no_address"),
        "erased": ("UPDATE customer_key SET wrapped_key = NULL", "duly.customer_erased"),
    }[why]
    spine.conn.execute(change)

    assert next_call(spine, agent="ana") is None
    assert (stored(spine, task_id).state, stored(spine, task_id).reason) == ("cancelled", rule)


def test_a_paused_lender_is_not_called(spine: Spine) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    task_id = a_task(spine, customer, [an_account(spine.conn, customer)])
    lanes.pause(spine.conn, "lantern", reason="test", by="test")

    assert next_call(spine, agent="ana") is None
    assert (stored(spine, task_id).state, stored(spine, task_id).not_before) == ("queued", TUESDAY_MORNING)
    lanes.resume(spine.conn, "lantern")
    assert next_call(spine, agent="ana") is not None


def test_what_customers_asked_for_comes_first_then_what_they_wrote(spine: Spine) -> None:
    made = [a_customer(spine.conn, spine.keyring, n) for n in range(3)]
    ordinary, reply, asked = (
        a_task(spine, each, [an_account(spine.conn, each)], kind=kind, reason=reason)
        for each, kind, reason in zip(
            made, ("call", "reply", "call"), ("step talk", "wrote to us", "requested_callback"), strict=True
        )
    )

    order = [next_call(spine, agent=agent).task.call_task_id for agent in ("ana", "ben", "carl")]

    assert order == [asked, reply, ordinary]


def test_what_is_to_be_read_is_not_dialled_until_the_agent_says_so(spine: Spine) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    task_id = a_task(spine, customer, [an_account(spine.conn, customer)], kind="specialist", expires_at=None)

    offer = next_call(spine, agent="ana")
    assert offer is not None
    assert offer.phone is None
    assert spine.conn.execute("SELECT count(*) FROM contact").fetchone() == (0,)
    with pytest.raises(NotYours):
        dial(spine, task_id, agent="ben")

    answer = dial(spine, task_id, agent="ana")

    assert isinstance(answer, Offer)
    assert answer.phone == customer.phone


def test_an_answer_to_a_reply_passes_the_hold_that_waits_for_it_but_not_the_night(spine: Spine) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    task_id = a_task(spine, customer, [an_account(spine.conn, customer)], kind="reply", reason="wrote to us")
    feedback.set_hold(
        spine.conn,
        NewHold(customer.party_id, HoldKind.REPLY, "wrote", "t", TUESDAY_MORNING, TUESDAY_MORNING + timedelta(days=7)),
    )
    next_call(spine, agent="ana")
    lanes.step_clock(spine.conn, TUESDAY_MORNING + timedelta(hours=13))
    assert isinstance(dial(spine, task_id, agent="ana"), NotNow)
    lanes.step_clock(spine.conn, TUESDAY_MORNING + timedelta(days=1))

    assert isinstance(dial(spine, task_id, agent="ana"), Offer)


def test_every_disposition_ends_its_task_sets_its_hold_and_outranks_the_dial(spine: Spine) -> None:
    for number, (code, disposition) in enumerate(DISPOSITIONS.items()):
        customer, task_id = a_dialled_call(spine, number)
        before = epoch(spine, customer)
        ending = Ending(code, date(2026, 3, 10), "500", call_back_at=datetime(2026, 3, 5, 10, 30))

        ended = end_call(spine.conn, task_id, ending, agent="ana")

        assert (stored(spine, task_id).state, stored(spine, task_id).disposition) == ("done", code)
        assert outcome(spine, task_id) is disposition.event, code
        kinds = {kind for kind, _ in holds(spine, customer)}
        assert kinds == ({disposition.hold} if disposition.hold else {"promise"} if code == "promise" else set()), code
        if kinds or disposition.then & {Then.RETIRE_NUMBER, Then.NO_CALLS}:
            assert epoch(spine, customer) > before, code
        follows = disposition.then & {Then.TRY_AGAIN, Then.CALL_BACK, Then.TO_SPECIALIST}
        assert (ended.next_task is not None) == bool(follows), code
        spine.conn.execute("UPDATE call_task SET state = 'done'")


def test_a_promise_is_on_record_and_its_hold_stands_through_the_day_after(spine: Spine) -> None:
    customer, task_id = a_dialled_call(spine)

    end_call(spine.conn, task_id, Ending("promise", date(2026, 3, 10), "1,000.50", method="transfer"), agent="ana")

    promise = spine.conn.execute("SELECT amount_minor, promised_for, method, state FROM promise").fetchall()
    assert promise == [(100_050, date(2026, 3, 10), "transfer", "open")]
    assert holds(spine, customer) == [
        ("promise", datetime(2026, 3, 11, 16, 0, tzinfo=UTC))
    ]  # the 12th begins in Taipei


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (Ending("nonsense"), "use one of"),
        (Ending("promise"), "--promise-date and --amount"),
        (Ending("promise", date(2026, 3, 2), "5"), "--promise-date"),
        (Ending("promise", date(2028, 3, 2), "5"), "--promise-date"),
        (Ending("promise", date(2026, 3, 10), "lots"), "--amount"),
        (Ending("promise", date(2026, 3, 10), "-5"), "--amount"),
        (Ending("promise", date(2026, 3, 10), "5", account="A9"), "--account"),
        (Ending("callback"), "--at"),
        (Ending("callback", call_back_at=datetime(2026, 3, 3, 9, 0)), "--at"),
    ],
)
def test_an_ending_that_does_not_hold_together_changes_nothing(spine: Spine, ending: Ending, says: str) -> None:
    customer, task_id = a_dialled_call(spine)

    with pytest.raises(BadEnding, match=says):
        end_call(spine.conn, task_id, ending, agent="ana")

    assert stored(spine, task_id).state == "claimed"
    assert outcome(spine, task_id) is EventKind.DIALLED
    assert holds(spine, customer) == []


def test_a_promise_for_one_of_several_debts_must_name_it(spine: Spine) -> None:
    _, task_id = a_dialled_call(spine, accounts=2)

    with pytest.raises(BadEnding, match="2 accounts"):
        end_call(spine.conn, task_id, Ending("promise", date(2026, 3, 10), "5"), agent="ana")
    end_call(spine.conn, task_id, Ending("promise", date(2026, 3, 10), "5", account="A1-1"), agent="ana")

    assert spine.conn.execute("SELECT count(*) FROM promise").fetchone() == (1,)


def test_a_number_that_is_not_theirs_is_never_called_again(spine: Spine) -> None:
    customer, task_id = a_dialled_call(spine)

    end_call(spine.conn, task_id, Ending("wrong_party"), agent="ana")

    a_task(spine, customer, stored(spine, task_id).account_ids)
    lanes.step_clock(spine.conn, TUESDAY_MORNING + timedelta(days=1))
    assert next_call(spine, agent="ana") is None


def test_a_call_back_comes_at_the_hour_they_asked_for_despite_the_week_of_peace_after_a_talk(spine: Spine) -> None:
    _, task_id = a_dialled_call(spine)
    ended = end_call(spine.conn, task_id, Ending("callback", call_back_at=datetime(2026, 3, 4, 10, 30)), agent="ana")
    assert next_call(spine, agent="ana") is None

    lanes.step_clock(spine.conn, datetime(2026, 3, 4, 2, 30, tzinfo=UTC))
    offer = next_call(spine, agent="ana")

    assert offer is not None
    assert offer.task.call_task_id == ended.next_task


def test_nobody_is_called_twice_at_once_however_many_agents_ask(
    spine: Spine, database_url: str, tmp_path: Path
) -> None:
    customers = [a_customer(spine.conn, spine.keyring, n) for n in range(6)]
    for customer in customers:
        for n in (1, 2):
            a_task(spine, customer, [an_account(spine.conn, customer, n)])
    offers: list[Offer] = []

    def work(agent: str) -> None:
        own = Desk(Settings(home=tmp_path), database_url)
        try:
            while (offer := next_call(own, agent=agent)) is not None:
                offers.append(offer)
                end_call(own.conn, offer.task.call_task_id, Ending("hangup"), agent=agent)
        finally:
            own.close()

    threads = [threading.Thread(target=work, args=(f"agent{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(offer.phone for offer in offers) == sorted(customer.phone for customer in customers)


def test_calls_without_an_ending_are_closed_as_a_conversation_and_may_still_be_given_one(spine: Spine) -> None:
    customer, task_id = a_dialled_call(spine)
    spine.conn.execute("UPDATE call_task SET lease_until = clock_timestamp() - interval '1 second'")
    lanes.step_clock(spine.conn, TUESDAY_MORNING + timedelta(hours=13))

    assert expire_calls(spine.conn) == 1

    assert (stored(spine, task_id).state, stored(spine, task_id).disposition) == ("done", "not_recorded")
    end_call(spine.conn, task_id, Ending("dispute"), agent="ana")
    assert [kind for kind, _ in holds(spine, customer)] == ["dispute"]
    with pytest.raises(BadEnding, match="not in anybody"):
        end_call(spine.conn, task_id, Ending("dispute"), agent="ana")


def test_tasks_past_their_time_expire_and_claims_nobody_used_go_back(spine: Spine) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    past, claimed = (a_task(spine, customer, [an_account(spine.conn, customer, n)]) for n in (1, 2))
    spine.conn.execute(
        """
        UPDATE call_task SET state = 'claimed', claimed_by = 'ana', lease_until = clock_timestamp() - interval '1 s',
                             expires_at = NULL
        WHERE call_task_id = %s
        """,
        (claimed,),
    )
    lanes.step_clock(spine.conn, TUESDAY_MORNING + timedelta(days=6))

    assert expire_calls(spine.conn) == 1
    assert (stored(spine, past).state, stored(spine, claimed).state) == ("expired", "queued")


def test_a_hold_that_ends_brings_its_calls_back_at_once(spine: Spine) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    a_task(spine, customer, [an_account(spine.conn, customer)])
    feedback.set_hold(
        spine.conn, NewHold(customer.party_id, HoldKind.DISPUTE, "not theirs", "test", TUESDAY_MORNING, None)
    )
    assert next_call(spine, agent="ana") is None

    feedback.end_holds(spine.conn, customer.party_id, kinds=[HoldKind.DISPUTE], by="ana")

    assert next_call(spine, agent="ana") is not None


def test_a_dial_waits_for_whoever_has_the_party_and_sees_what_they_wrote(spine: Spine, database_url: str) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    a_task(spine, customer, [an_account(spine.conn, customer)])
    offers: list[Offer | None] = []

    thread = threading.Thread(target=lambda: offers.append(next_call(spine, agent="ana")))
    with database.connect(database_url) as other, other.transaction():
        feedback.set_hold(
            other, NewHold(customer.party_id, HoldKind.DISPUTE, "not theirs", "test", TUESDAY_MORNING, None)
        )
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(10)

    assert offers == [None]


def test_a_task_that_was_taken_over_while_its_dial_waited_is_not_dialled_twice(spine: Spine, database_url: str) -> None:
    customer = a_customer(spine.conn, spine.keyring)
    task_id = a_task(spine, customer, [an_account(spine.conn, customer)], kind="specialist")
    next_call(spine, agent="ana")
    said: list[str] = []

    def work() -> None:
        try:
            dial(spine, task_id, agent="ana")
        except NotYours as why:
            said.append(str(why))

    thread = threading.Thread(target=work)
    with database.connect(database_url) as other, other.transaction():
        calls.lock_party(other, customer.party_id)
        thread.start()
        thread.join(0.3)
        other.execute("UPDATE call_task SET claimed_by = 'ben'")
    thread.join(10)

    assert said == [f"task {task_id} was taken by somebody else"]
    assert spine.conn.execute("SELECT count(*) FROM contact").fetchone() == (0,)
