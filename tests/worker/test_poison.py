"""One party that nobody survives, among many: the others are served, and it comes to an end."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.channel import Channel
from domain.lane import Lane
from storage import lanes, suspects
from storage.suspects import Suspect
from tests.builders import MadeCustomer, a_customer, a_reminder, an_account
from tests.rehearsal import Fleet, Sandbox, fleet, sandbox
from worker import dispatch, sweeping
from worker.poison import COMPANY, company
from worker.wiring import Spine, keyring

__all__ = ["fleet", "sandbox"]

LANE = Lane("lantern", Channel.SMS, 3)
OTHERS = 11


@pytest.fixture
def spine(fleet: Fleet) -> Iterator[Spine]:
    spine = fleet.spine()
    yield spine
    spine.close()


@pytest.fixture
def poison(fleet: Fleet) -> MadeCustomer:
    """The first of a dozen customers of one lane, all of them due."""
    keys = keyring(fleet.settings)
    made = [a_customer(fleet.conn, keys, n, party_id=_party(fleet, 16 * n + 3)) for n in range(OTHERS + 1)]
    for each in made:
        a_reminder(fleet.conn, each, an_account(fleet.conn, each))
    return made[0]


def _party(fleet: Fleet, number: int) -> int:
    fleet.conn.execute("INSERT INTO party (party_id) VALUES (%s)", (number,))
    return number


def first_notices(fleet: Fleet, poison: MadeCustomer) -> tuple[str, str | None, set[str]]:
    """The state and reason of the poisonous one, and the states of all others."""
    rows = fleet.conn.execute(
        "SELECT party_id, state, reason FROM reminder WHERE step = 'first_notice' ORDER BY party_id"
    ).fetchall()
    ((state, reason),) = [row[1:] for row in rows if row[0] == poison.party_id]
    return state, reason, {row[1] for row in rows if row[0] != poison.party_id}


BAD_HOURS = """UPDATE customer SET blocked_hours = '[{"days": ["soon"]}]' WHERE party_id >= %s AND party_id <= %s"""


def test_somebody_who_cannot_be_decided_about_keeps_nobody_waiting(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, poison: MadeCustomer
):
    fleet.conn.execute(BAD_HOURS, (poison.party_id, poison.party_id))

    dispatch.drain(spine, LANE)

    assert first_notices(fleet, poison) == ("planned", "duly.stumbled", {"sent"})
    assert sandbox.accepted() == OTHERS
    for _ in range(2):
        lanes.step_clock(fleet.conn, lanes.business_now(fleet.conn) + timedelta(minutes=5))
        dispatch.drain(spine, LANE)
    assert sweeping.sweep_all(spine)["poisonous"] == 1
    assert first_notices(fleet, poison)[:2] == ("failed", "poisonous")
    assert fleet.conn.execute(
        "SELECT step FROM reminder WHERE party_id = %s AND state = 'planned'", (poison.party_id,)
    ).fetchall() == [("gentle_follow_up",)]


def test_nobody_is_ended_for_a_fault_that_strikes_everybody(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, poison: MadeCustomer
):
    fleet.conn.execute(BAD_HOURS, (0, 1_000_000))

    for _ in range(4):
        dispatch.drain(spine, LANE)
        sweeping.sweep_all(spine)
        lanes.step_clock(fleet.conn, lanes.business_now(fleet.conn) + timedelta(minutes=5))

    assert first_notices(fleet, poison) == ("planned", "duly.stumbled", {"planned"})


def test_somebody_who_cannot_even_be_read_is_found_out_among_the_others(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, poison: MadeCustomer
):
    fleet.conn.execute("UPDATE reminder SET planned_for = 'infinity' WHERE party_id = %s", (poison.party_id,))

    for _ in range(30):
        dispatch.drain(spine, LANE)
        fleet.conn.execute("UPDATE suspect SET last_at = last_at - interval '1 hour'")
        sweeping.sweep_all(spine)

    assert first_notices(fleet, poison) == ("failed", "poisonous", {"sent"})
    assert sandbox.accepted() == OTHERS
    assert fleet.conn.execute("SELECT party_id, losses FROM suspect").fetchall() == [(poison.party_id, 0)]
    (told,) = suspects.stuck(fleet.conn, limit=9)
    assert (told.account_ref, told.step, told.state) == ("A0-1", "first_notice", "ended")
    assert told.why.startswith("DataError in ")


def test_whom_a_dead_process_had_in_hand_is_suspect_at_once_and_free_again_after_one_that_lives(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, poison: MadeCustomer
):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    died = fleet.spine()
    died.watch.take_up(LANE, {poison.party_id: 0, poison.party_id + 16: 0})
    fleet.conn.execute("UPDATE in_hand SET pid = %s", (process.pid,))
    died.close()

    assert sweeping.sweep_all(spine)["process died"] == 2
    assert fleet.conn.execute("SELECT losses, losses_alone FROM suspect").fetchall() == [(1, 0), (1, 0)]

    dispatch.drain(spine, LANE)

    assert first_notices(fleet, poison) == ("sent", None, {"sent"})
    assert fleet.conn.execute("SELECT count(*) FROM suspect").fetchone() == (0,)


def test_a_process_elsewhere_is_given_up_when_its_lease_is_over_but_not_for_the_databases_own_restart(
    fleet: Fleet, spine: Spine
):
    cut_off, elsewhere = fleet.spine(), fleet.spine()
    cut_off.watch.take_up(LANE, {1: 0})
    fleet.conn.execute("UPDATE in_hand SET of_server = of_server - interval '1 day', lease_until = 'epoch'")
    elsewhere.watch.take_up(LANE, {2: 0})
    fleet.conn.execute("UPDATE in_hand SET place = 'another host'")
    assert sweeping.sweep_all(spine) == {}

    fleet.conn.execute("UPDATE in_hand SET lease_until = clock_timestamp()")

    assert sweeping.sweep_all(spine) == {"process died": 1}
    assert fleet.conn.execute("SELECT party_id FROM suspect").fetchall() == [(2,)]
    assert fleet.conn.execute("SELECT count(*) FROM in_hand").fetchone() == (0,)
    cut_off.close()
    elsewhere.close()


LONG_AGO = timedelta(days=1)
SUSPECTS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 6)), unique_by=lambda pair: pair[0])


@given(st.sets(st.integers(1, 40), min_size=1), SUSPECTS, st.booleans())
def test_suspects_meet_only_their_like_and_ever_fewer(parties: set[int], losses: list[tuple[int, int]], first: bool):
    found = [Suspect(party, lost, LONG_AGO) for party, lost in losses if party in parties]
    lost = dict(losses)

    chosen = company(sorted(parties), found, suspects_first=first)

    assert chosen
    assert set(chosen) <= parties
    levels = {lost.get(party, 0) for party in chosen}
    assert len(levels) == 1
    assert levels == {0} or len(chosen) <= COMPANY[min(max(levels), len(COMPANY)) - 1]


def test_who_was_lost_often_and_just_now_waits_and_keeps_nobody_else():
    just_now = Suspect(1, 3, timedelta())

    assert company([1], [just_now], suspects_first=True) == []
    assert company([1, 2], [just_now], suspects_first=True) == [2]
