"""What the provider can be asked about is asked about; what it knows is proven, what it does not know stays open."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from channels.base import ProviderEvent
from domain.channel import Channel
from domain.contact import EventKind
from domain.lane import Lane, shard_of
from storage import inbox
from storage import uncertain as ledger
from tests.builders import MadeCustomer, a_customer, a_reminder, an_account
from tests.rehearsal import Fleet, Sandbox, eventually, fleet, sandbox
from worker import dispatch, uncertain
from worker.arrivals import sealed_event
from worker.feedback import fold_inbox
from worker.uncertain import LookedUp
from worker.wiring import Spine, keyring

__all__ = ["fleet", "sandbox"]

AT_ONCE = (timedelta(), timedelta(), timedelta())
SMS = {"channel": "sms"}


@pytest.fixture
def spine(fleet: Fleet) -> Iterator[Spine]:
    spine = fleet.spine()
    yield spine
    spine.close()


@pytest.fixture
def customer(fleet: Fleet) -> MadeCustomer:
    return a_customer(fleet.conn, keyring(fleet.settings), 11)


def send(spine: Spine, fleet: Fleet, customer: MadeCustomer, *, channel: Channel = Channel.SMS, number: int = 1) -> str:
    """A reminder leaves; its state."""
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer, number), channel=channel)
    dispatch.drain(spine, Lane("lantern", channel, shard_of(customer.party_id)))
    return state(fleet, customer)


def state(fleet: Fleet, customer: MadeCustomer) -> str:
    query = "SELECT state FROM reminder WHERE party_id = %s AND step = 'first_notice' ORDER BY reminder_id DESC"
    return fleet.conn.execute(query, (customer.party_id,)).fetchone()[0]


def test_a_message_that_the_provider_knows_was_sent(fleet: Fleet, sandbox: Sandbox, spine: Spine):
    faults = ("drop_after", "error_after", "garbage_after")
    customers = [a_customer(fleet.conn, keyring(fleet.settings), number) for number in range(1, 4)]
    for customer, fault in zip(customers, faults, strict=True):
        sandbox.arm(SMS | {"kind": fault})
        assert send(spine, fleet, customer) == "uncertain"

    assert uncertain.look_up(spine, waits=AT_ONCE) == LookedUp(asked=3, found=3)

    assert {state(fleet, customer) for customer in customers} == {"sent"}
    events = fleet.conn.execute("SELECT kind, provider, provider_ref LIKE 'SM%' FROM contact_event ORDER BY kind")
    assert events.fetchall() == [("sent", "twilio", True)] * 3 + [("uncertain", "twilio", None)] * 3
    assert ledger.open_contacts(fleet.conn, limit=9) == []
    assert uncertain.look_up(spine, waits=AT_ONCE) == LookedUp()
    assert sandbox.accepted() == 3


def test_not_finding_it_proves_nothing_and_is_shown_to_people(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, customer: MadeCustomer
):
    sandbox.arm(SMS | {"kind": "drop_before"})
    assert send(spine, fleet, customer) == "uncertain"
    sandbox.arm()

    assert [uncertain.look_up(spine, waits=AT_ONCE).asked for _ in range(4)] == [1, 1, 1, 0]

    assert state(fleet, customer) == "uncertain"
    (shown,) = ledger.open_contacts(fleet.conn, limit=9)
    assert (shown.lender_id, shown.account_ref, shown.channel, shown.provider) == ("lantern", "A11-1", "sms", "twilio")
    assert (shown.asked, shown.ask_at, shown.last_answer) == (3, None, "not found, which proves nothing")
    assert customer.phone not in repr(shown)
    assert sandbox.accepted() == 0, "and it is never sent again"


def test_what_the_provider_reports_while_the_wave_is_under_way_is_proof_at_its_end(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, customer: MadeCustomer
):
    slow = next(each for each in crowd(fleet) if shard_of(each.party_id) == shard_of(customer.party_id))
    sandbox.arm(
        SMS | {"kind": "drop_after", "address": customer.phone},
        SMS | {"kind": "stall_after", "address": slow.phone, "seconds": 2},
    )
    a_reminder(fleet.conn, slow, an_account(fleet.conn, slow))
    worker = threading.Thread(target=send, args=(spine, fleet, customer))
    worker.start()
    eventually(lambda: sandbox.accepted() == 2, why="both are at the provider")
    row = fleet.conn.execute("SELECT contact_id FROM contact WHERE party_id = %s", (customer.party_id,)).fetchone()
    event = ProviderEvent(row[0], customer.party_id, EventKind.DELIVERED, "twilio", "SM1", "first")
    inbox.store(fleet.conn, [sealed_event(keyring(fleet.settings), event)])
    fold_inbox(fleet.conn, keyring(fleet.settings))
    assert state(fleet, customer) == "planned", "its answer is still awaited"
    worker.join()

    assert state(fleet, customer) == "sent"
    kinds = fleet.conn.execute("SELECT kind FROM contact_event WHERE party_id = %s ORDER BY 1", (customer.party_id,))
    assert kinds.fetchall() == [("delivered",), ("uncertain",)]


def crowd(fleet: Fleet) -> Iterator[MadeCustomer]:
    return (a_customer(fleet.conn, keyring(fleet.settings), number, party_id=None) for number in range(20, 400))


@pytest.fixture
def namesake(fleet: Fleet, customer: MadeCustomer) -> MadeCustomer:
    """Somebody with the same number, and a debt whose message reads the same."""
    return a_customer(fleet.conn, keyring(fleet.settings), 211, phone=customer.phone)


def test_the_message_of_another_who_shares_the_number_proves_nothing(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, customer: MadeCustomer, namesake: MadeCustomer
):
    assert send(spine, fleet, namesake) == "sent"
    sandbox.arm(SMS | {"kind": "drop_before"})
    assert send(spine, fleet, customer) == "uncertain"
    sandbox.arm()

    assert uncertain.look_up(spine, waits=AT_ONCE) == LookedUp(asked=1, found=0)

    assert state(fleet, customer) == "uncertain"
    assert ledger.open_contacts(fleet.conn, limit=9)[0].last_answer == "found, but it may be another contact's"


def test_two_lost_attempts_at_one_number_cannot_be_told_apart(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, customer: MadeCustomer, namesake: MadeCustomer
):
    sandbox.arm(SMS | {"kind": "drop_after", "times": 1}, SMS | {"kind": "drop_before"})
    assert [send(spine, fleet, each) for each in (customer, namesake)] == ["uncertain", "uncertain"]
    sandbox.arm()

    assert uncertain.look_up(spine, waits=AT_ONCE) == LookedUp(asked=2, found=0)

    open_ones = ledger.open_contacts(fleet.conn, limit=9)
    assert [each.last_answer for each in open_ones] == ["found, but it may be another contact's"] * 2


def test_nobody_is_asked_at_once_nor_about_a_customer_who_is_erased(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, customer: MadeCustomer
):
    sandbox.arm(SMS | {"kind": "drop_after"})
    send(spine, fleet, customer)

    assert uncertain.look_up(spine) == LookedUp(), "a callback is usually first"
    fleet.conn.execute("UPDATE customer_key SET wrapped_key = NULL, destroyed_at = now()")
    assert uncertain.look_up(spine, waits=AT_ONCE) == LookedUp()

    assert state(fleet, customer) == "uncertain"


def test_a_channel_without_look_ups_leaves_it_to_people(fleet: Fleet, sandbox: Sandbox, spine: Spine, customer):
    sandbox.arm({"channel": "email", "kind": "drop_after"})
    fleet.conn.execute("UPDATE address SET retired_at = now() WHERE channel = 'phone'")
    assert send(spine, fleet, customer, channel=Channel.EMAIL) == "uncertain"

    assert uncertain.look_up(spine, waits=AT_ONCE) == LookedUp()

    assert [(each.channel, each.asked) for each in ledger.open_contacts(fleet.conn, limit=9)] == [("email", 0)]
