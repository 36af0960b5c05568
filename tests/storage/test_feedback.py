"""Consent, holds and stop epochs: whatever the order and the grouping, the careful and the latest wish stands."""

import os
import random
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.channel import AddressChannel, Channel
from domain.hold import HoldKind
from storage import database, feedback, lanes
from storage.feedback import NewHold, Wish
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_lender

KEYRING = Keyring({"k1": os.urandom(32)}, os.urandom(32))
MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with database.connect(database_url, autocommit=True) as opened:
        a_lender(opened, "lantern")
        lanes.step_clock(opened, TUESDAY_MORNING)
        yield opened


def a_new_customer(conn: psycopg.Connection) -> MadeCustomer:
    return a_customer(conn, KEYRING, conn.execute("SELECT count(*) FROM customer").fetchone()[0], consents=())


def hours(count: int) -> datetime:
    return TUESDAY_MORNING + timedelta(hours=count)


def ends(conn: psycopg.Connection, customer: MadeCustomer) -> list[datetime | None]:
    rows = conn.execute("SELECT ends_at FROM hold WHERE party_id = %s", (customer.party_id,)).fetchall()
    return [row[0] for row in rows]


@MANY
@given(
    wishes=st.lists(
        st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=6, unique_by=lambda wish: wish[1]
    ),
    seed=st.integers(0, 1000),
)
def test_the_latest_wish_stands_in_whatever_order_wishes_come_in(
    conn: psycopg.Connection, wishes: list[tuple[bool, int]], seed: int
) -> None:
    customer = a_new_customer(conn)
    lookup = KEYRING.lookup(AddressChannel.PHONE, customer.phone)
    shuffled = random.Random(seed).sample(wishes, len(wishes))

    for is_given, at in shuffled:
        change = feedback.give_consent if is_given else feedback.withdraw_consent
        assert change(conn, [Wish(lookup, [Channel.SMS], hours(at), "test")]) == {customer.party_id}

    stands = conn.execute(
        "SELECT withdrawn_at IS NULL FROM consent WHERE party_id = %s AND channel = 'sms'", (customer.party_id,)
    ).fetchall()
    assert stands == [(max(wishes, key=lambda wish: wish[1])[0],)]


@MANY
@given(st.lists(st.one_of(st.none(), st.integers(1, 50)), min_size=1, max_size=6), st.integers(1, 6))
def test_a_hold_set_again_is_made_longer_and_never_shorter(
    conn: psycopg.Connection, lengths: list[int | None], size: int
) -> None:
    customer = a_new_customer(conn)
    holds = [
        NewHold(customer.party_id, HoldKind.REPLY, "wrote", "test", hours(0), hours(each) if each else None)
        for each in lengths
    ]

    for start in range(0, len(holds), size):
        feedback.set_holds(conn, holds[start : start + size])

    longest = None if None in lengths else hours(max(each for each in lengths if each))
    assert ends(conn, customer) == [longest]


def test_a_hold_that_has_ended_is_not_revived(conn: psycopg.Connection) -> None:
    customer = a_new_customer(conn)
    feedback.set_hold(conn, NewHold(customer.party_id, HoldKind.REPLY, "w", "t", hours(0), hours(1)))

    feedback.set_hold(conn, NewHold(customer.party_id, HoldKind.REPLY, "w", "t", hours(2), hours(3)))

    assert sorted(ends(conn, customer)) == [hours(1), hours(3)]


def test_holds_of_an_account_and_of_the_person_are_kept_apart(conn: psycopg.Connection) -> None:
    customer = a_new_customer(conn)
    for account_id in (None, 7, 7, None):
        feedback.set_hold(conn, NewHold(customer.party_id, HoldKind.DISPUTE, "w", "t", hours(0), hours(1), account_id))

    assert len(ends(conn, customer)) == 2
    assert feedback.end_holds(conn, customer.party_id, kinds=[HoldKind.DISPUTE], by="t", account_id=7) == 1
    assert feedback.end_holds(conn, customer.party_id, kinds=[HoldKind.DISPUTE], by="t", account_id=7) == 0


def test_those_who_lock_the_same_parties_in_any_order_never_wait_in_a_circle(
    conn: psycopg.Connection, database_url: str
) -> None:
    customers = [a_new_customer(conn) for _ in range(8)]
    failures: list[Exception] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            with database.connect(database_url, autocommit=True) as own:
                for _ in range(25):
                    some = chance.sample(customers, 5)
                    feedback.set_holds(
                        own, [NewHold(c.party_id, HoldKind.REPLY, "w", "t", hours(0), hours(1)) for c in some]
                    )
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert [len(ends(conn, customer)) for customer in customers] == [1] * 8
    assert conn.execute("SELECT sum(stop_epoch) FROM party").fetchone() == (4 * 25 * 5,)
