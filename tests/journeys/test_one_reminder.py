"""What becomes of due reminders, from the lock to the provider's own count, in one worker."""

import gc
import threading
from collections import Counter
from datetime import date, timedelta

import pytest

from domain.case import History
from domain.channel import AddressChannel, Channel
from domain.lane import Lane, shard_of
from storage import lanes
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_reminder, an_account
from tests.rehearsal import Fleet, Sandbox
from worker import dispatch
from worker.wiring import keyring


def lane_of(customer: MadeCustomer, channel: Channel = Channel.SMS) -> Lane:
    return Lane("lantern", channel, shard_of(customer.party_id))


def drain(fleet: Fleet, lane: Lane) -> None:
    spine = fleet.spine()
    try:
        dispatch.drain(spine, lane)
    finally:
        spine.close()


def states(fleet: Fleet, customer: MadeCustomer) -> list[tuple[str, str, str | None]]:
    return fleet.conn.execute(
        "SELECT step, state, reason FROM reminder WHERE party_id = %s ORDER BY reminder_id", (customer.party_id,)
    ).fetchall()


@pytest.fixture
def customer(fleet: Fleet) -> MadeCustomer:
    return a_customer(fleet.conn, keyring(fleet.settings))


def test_a_due_reminder_is_sent_once_and_the_next_step_is_planned(fleet: Fleet, sandbox: Sandbox, customer):
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer))

    drain(fleet, lane_of(customer))
    drain(fleet, lane_of(customer))

    assert sandbox.recipients() == [customer.phone]
    assert states(fleet, customer) == [("first_notice", "sent", None), ("gentle_follow_up", "planned", None)]


def test_nobody_stays_in_memory_when_their_batch_is_over(fleet: Fleet, sandbox: Sandbox, customer):
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer))
    before = in_memory(History)

    drain(fleet, lane_of(customer))

    assert sandbox.accepted() == 1
    assert in_memory(History) == before, "a ring of values that nobody looks for"


def in_memory(kind: type) -> int:
    gc.collect()
    return sum(type(each) is kind for each in gc.get_objects())


def test_two_debts_due_together_make_one_message_in_the_gentler_words(fleet: Fleet, sandbox: Sandbox, customer):
    young = an_account(fleet.conn, customer, 1, due_on=date(2026, 3, 2))
    old = an_account(fleet.conn, customer, 2, due_on=date(2026, 2, 19))
    a_reminder(fleet.conn, customer, old, step="options", channel=Channel.SMS)
    a_reminder(fleet.conn, customer, young)

    drain(fleet, lane_of(customer))

    assert sandbox.accepted() == 1
    contact = fleet.conn.execute("SELECT message, account_ids FROM contact").fetchone()
    assert contact == ("first_notice", [young, old])
    assert [state for _, state, _ in states(fleet, customer)][:2] == ["sent", "sent"]


def test_the_second_message_of_a_day_waits_for_the_next(fleet: Fleet, sandbox: Sandbox, customer):
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer, 1))
    drain(fleet, lane_of(customer))
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer, 2))

    drain(fleet, lane_of(customer))

    assert sandbox.accepted() == 1
    due_at = fleet.conn.execute(
        "SELECT due_at FROM reminder WHERE step = 'first_notice' AND state = 'planned'"
    ).fetchone()
    assert due_at[0] > TUESDAY_MORNING + timedelta(hours=12)


def test_nobody_is_written_to_at_night(fleet: Fleet, sandbox: Sandbox, customer):
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer))
    lanes.step_clock(fleet.conn, TUESDAY_MORNING.replace(hour=15))  # 23:00 in Taipei

    drain(fleet, lane_of(customer))

    assert sandbox.accepted() == 0
    assert fleet.conn.execute("SELECT verdict FROM decision").fetchall() == [("hold",)]


def test_a_paid_account_is_left_in_peace(fleet: Fleet, sandbox: Sandbox, customer):
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer, balance_minor=0, state="paid"))

    drain(fleet, lane_of(customer))

    assert sandbox.accepted() == 0
    assert states(fleet, customer) == [("first_notice", "cancelled", "nothing_owed")]


def test_without_consent_nothing_is_sent(fleet: Fleet, sandbox: Sandbox):
    customer = a_customer(fleet.conn, keyring(fleet.settings), consents=())
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer))

    drain(fleet, lane_of(customer))

    assert sandbox.accepted() == 0
    assert states(fleet, customer)[0][1] == "suppressed"


def test_somebody_whose_clock_nobody_knows_is_not_written_to(fleet: Fleet, sandbox: Sandbox):
    nowhere = a_customer(fleet.conn, keyring(fleet.settings), zones=(), reached_by=[AddressChannel.EMAIL])
    a_reminder(fleet.conn, nowhere, an_account(fleet.conn, nowhere), channel=Channel.EMAIL)

    drain(fleet, lane_of(nowhere, Channel.EMAIL))

    assert sandbox.accepted() == 0
    assert "zone" in fleet.conn.execute("SELECT rule FROM decision").fetchone()[0]


def test_a_number_that_the_provider_refuses_is_retired_and_mail_goes_instead(fleet: Fleet, sandbox: Sandbox, customer):
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer))
    sandbox.arm({"channel": "sms", "kind": "refuse", "code": "21211"})

    drain(fleet, lane_of(customer))
    drain(fleet, lane_of(customer))

    assert sandbox.counts()["accepted"] == {"email": 1}
    retired = fleet.conn.execute("SELECT channel, retired_reason FROM address WHERE retired_at IS NOT NULL").fetchall()
    assert retired == [("phone", "21211")]
    assert states(fleet, customer)[0][1] == "sent"


def test_a_provider_that_is_busy_is_asked_again_later_through_the_judge(fleet: Fleet, sandbox: Sandbox, customer):
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer))
    sandbox.arm({"channel": "sms", "kind": "refuse", "code": "20429", "times": 1})

    drain(fleet, lane_of(customer))

    assert sandbox.accepted() == 0
    attempt, due_at = fleet.conn.execute("SELECT attempt, due_at FROM reminder WHERE state = 'planned'").fetchone()
    assert attempt == 2
    assert due_at > TUESDAY_MORNING
    lanes.step_clock(fleet.conn, due_at)
    drain(fleet, lane_of(customer))
    assert sandbox.recipients() == [customer.phone]


@pytest.mark.parametrize("change", ["stop_epoch", "pause_all", "pause_lender"])
def test_what_changes_between_intent_and_wave_stops_the_wave(fleet: Fleet, sandbox: Sandbox, customer, change: str):
    """The first wave stalls at the provider; what happens meanwhile must keep the second from leaving."""
    worker = a_first_wave_that_stalls(fleet, sandbox, customer)

    if change == "stop_epoch":
        with fleet.conn.transaction():
            fleet.conn.execute("UPDATE party SET stop_epoch = stop_epoch + 1")
            # Judged again, nothing of it leaves: what we look at is what the bump alone keeps back.
            fleet.conn.execute("UPDATE customer SET refused_channels = '{sms,email,push}'")
    else:
        lanes.pause(fleet.conn, "*" if change == "pause_all" else "lantern", reason="test", by="tests")
    worker.join()

    assert sandbox.accepted() == 10
    states = Counter(row[0] for row in fleet.conn.execute("SELECT state FROM reminder WHERE step = 'first_notice'"))
    assert states["sent"] == 10
    assert states["planned"] + states["suppressed"] == 2, "given back, and perhaps judged again by now"
    released = fleet.conn.execute("SELECT count(*) FROM contact_event WHERE kind = 'released'").fetchone()[0]
    assert released == 2


def test_a_lease_that_is_over_stops_the_wave_and_what_was_sent_is_recorded(fleet: Fleet, sandbox: Sandbox, customer):
    """No sweep has come by yet: the time alone ends it, by the database's clock."""
    worker = a_first_wave_that_stalls(fleet, sandbox, customer)

    fleet.conn.execute("UPDATE batch SET lease_until = clock_timestamp() WHERE ended_at IS NULL")
    worker.join()

    assert sandbox.accepted() == 10
    states = Counter(row[0] for row in fleet.conn.execute("SELECT state FROM reminder WHERE step = 'first_notice'"))
    assert states == {"sent": 10, "planned": 2}
    unstamped = fleet.conn.execute("SELECT count(*) FROM intended WHERE NOT is_stamped").fetchone()
    assert unstamped == (2,), "what was not stamped is for the sweep"
    assert fleet.conn.execute("SELECT count(*) FROM batch WHERE ended_at IS NULL").fetchone() == (1,)


def a_first_wave_that_stalls(fleet: Fleet, sandbox: Sandbox, customer) -> threading.Thread:
    """Twelve are due, ten are at the provider, which is slow to answer; two wait for their wave."""
    others = [a_customer(fleet.conn, keyring(fleet.settings), n, party_id=None) for n in range(2, 200)]
    same = [customer, *(other for other in others if shard_of(other.party_id) == shard_of(customer.party_id))][:12]
    for each in same:
        a_reminder(fleet.conn, each, an_account(fleet.conn, each))
    assert len(same) == 12
    sandbox.arm({"channel": "sms", "kind": "stall_after", "seconds": 2})
    worker = threading.Thread(target=drain, args=(fleet, lane_of(customer)))
    worker.start()
    while sandbox.accepted() < 10:
        pass
    return worker


def test_two_workers_racing_for_one_party_send_once(fleet: Fleet, sandbox: Sandbox, customer):
    account = an_account(fleet.conn, customer, 1)
    a_reminder(fleet.conn, customer, account)
    mail = a_customer(fleet.conn, keyring(fleet.settings), 2, party_id=customer.party_id)
    a_reminder(fleet.conn, mail, an_account(fleet.conn, mail, 2), channel=Channel.EMAIL)
    start = threading.Barrier(2)

    def race(channel: Channel) -> None:
        start.wait()
        drain(fleet, lane_of(customer, channel))

    workers = [threading.Thread(target=race, args=(channel,)) for channel in (Channel.SMS, Channel.EMAIL)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sandbox.accepted() == 1, "one contact a day for a party, whoever of it and by whichever channel"


def test_a_call_is_queued_for_a_person_and_nothing_is_sent(fleet: Fleet, sandbox: Sandbox, customer):
    account = an_account(fleet.conn, customer, due_on=date(2026, 2, 13), balance_minor=900_000)
    a_reminder(fleet.conn, customer, account, step="talk", stage="middle", channel=Channel.CALL)

    drain(fleet, lane_of(customer, Channel.CALL))

    assert sandbox.accepted() == 0
    assert fleet.conn.execute("SELECT kind, state, account_ids FROM call_task").fetchall() == [
        ("call", "queued", [account])
    ]
    assert states(fleet, customer)[0][1] == "handed"


def test_somebody_without_an_address_is_not_forgotten_silently(fleet: Fleet, sandbox: Sandbox):
    unreachable = a_customer(fleet.conn, keyring(fleet.settings), reached_by=(AddressChannel.POST,) * 0)
    a_reminder(fleet.conn, unreachable, an_account(fleet.conn, unreachable))

    drain(fleet, lane_of(unreachable))

    assert states(fleet, unreachable)[0] == ("first_notice", "suppressed", "duly.no_address")
