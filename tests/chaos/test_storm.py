"""The short form of the storm: a true fleet with a proxy on every wire, harmed at the worst moments, and judged.

`make chaos` goes through every fault, `make chaos MINUTES=30` through random ones; docs/chaos.md tells of both.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.__main__ import drawn
from tests.chaos.arena import Arena
from tests.chaos.judge import Judge
from tests.chaos.matrix import FAULTS
from tests.chaos.rounds import Fault, Outcome, Trial, play
from tests.conftest import roomy_memory

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(600)]

#: Light, so that a slow and busy machine keeps up with it.
LOAD_PER_SECOND = 20


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    home = Path(tempfile.mkdtemp(prefix="duly-chaos-", dir=roomy_memory()))
    with Arena(home, seed=4, load_per_second=LOAD_PER_SECOND).running() as made:
        yield made
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def judge(arena: Arena) -> Iterator[Judge]:
    made = Judge(arena.outbox)
    yield made
    made.close()


def the(name: str, place: str) -> Fault:
    [found] = [fault for fault in FAULTS if (fault.name, fault.place) == (name, place)]
    return found


def live_through(arena: Arena, judge: Judge, *faults: Fault) -> Outcome:
    outcome = play(arena, judge, faults, Random(4))
    assert outcome.finding.violations == []
    assert outcome.finding.twice == outcome.finding.lost == 0
    assert outcome.finding.arrived > 0
    return outcome


def test_workers_killed_on_the_way_contact_nobody_twice_and_lose_nothing(arena: Arena, judge: Judge):
    live_through(
        arena,
        judge,
        the("kill -9 of a pool child", "before the intents"),
        the("kill -9 of a pool child", "after the intents' commit"),
        the("kill -9 of a pool child", "between stamp and first byte"),
        the("kill -9 of a whole worker", "SMS accepted, not answered"),
        the("kill -9 of a pool child", "before the record"),
        the("kill -9 of beat", "any moment"),
    )


def test_a_stop_between_intent_and_wave_is_obeyed(arena: Arena, judge: Judge):
    live_through(arena, judge, the("STOP", "between intent and wave"))


def test_engines_that_die_and_commits_of_unknown_end_harm_nobody(arena: Arena, judge: Judge):
    live_through(
        arena,
        judge,
        the("kill -9 of PostgreSQL", "the record's commit sent"),
        the("kill -9 of the broker", "its data wiped"),
        the("broker messages", "doubled"),
        the("connection cut, commit unknown", "the stamp's commit sent"),
        the("link reset", "worker - SMS provider"),
    )


def test_a_storm_is_drawn_from_its_seed_and_nothing_else():
    storm = [drawn(FAULTS, 17, number) for number in range(1, 60)]

    assert storm == [drawn(FAULTS, 17, number) for number in range(1, 60)]
    assert storm != [drawn(FAULTS, 18, number) for number in range(1, 60)]
    assert all(len(faults) == 1 for faults in storm if any(fault.is_alone for fault in faults))


def test_recovery_counts_from_the_moment_at_which_the_harm_was_done(arena: Arena, judge: Judge):
    alone, in_company = Trial(arena, judge, Random(1)), Trial(arena, judge, Random(1), has_company=True)
    assert alone.ended(looked_at=time.time()) == pytest.approx(time.time(), abs=60)

    for trial in (alone, in_company):
        trial.harm_is_done()
    later = time.time() + 3600

    assert alone.ended(looked_at=later) < later - 3000
    assert in_company.ended(looked_at=later) == later


def test_every_fault_has_a_name_of_its_own():
    assert len({str(fault) for fault in FAULTS}) == len(FAULTS)
