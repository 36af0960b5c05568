"""The choice of a provider follows from the contact and the weights, and weights move by evidence and come back."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from channels.choosing import COOL_DOWN, FEWEST_ANSWERS, LEAST, QUIET, STEP, Weighed, choose, reweigh

NOW = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)
ids = st.uuids()
weights = st.integers(min_value=1, max_value=1000)


@given(ids, st.lists(weights, min_size=1, max_size=5))
def test_the_same_contact_and_weights_always_give_the_same_provider(contact: UUID, given_weights: list[int]) -> None:
    named = [(f"p{number}", weight) for number, weight in enumerate(given_weights)]

    assert choose(contact, named) == choose(contact, list(named))
    assert choose(contact, named) in dict(named)


@given(ids, weights, weights, weights)
def test_a_provider_that_gains_weight_loses_no_contact(contact: UUID, one: int, other: int, more: int) -> None:
    before = choose(contact, [("one", one), ("other", other)])
    after = choose(contact, [("one", one), ("other", other + more)])

    assert (before, after) != ("other", "one")


@given(ids, weights)
def test_a_provider_without_weight_gets_nothing(contact: UUID, weight: int) -> None:
    assert choose(contact, [("gone", 0), ("there", weight)]) == "there"
    assert choose(contact, [("gone", 0)]) is None
    assert choose(contact, []) is None


def test_shares_follow_the_weights() -> None:
    spread = [UUID(int=number * 0x9E3779B97F4A7C15 % 2**62) for number in range(1, 5001)]
    chosen = [choose(contact, [("most", 70), ("rest", 30)]) for contact in spread]

    assert 0.68 < chosen.count("most") / len(chosen) < 0.72


def seen(name: str, *, weight: int = 50, answers: int = 100, failed: int = 0, ago: timedelta = QUIET) -> Weighed:
    return Weighed(name, weight, 50, NOW - ago, answers, 0, failed)


def test_a_failing_provider_loses_a_step_with_its_reason() -> None:
    (move,) = reweigh([seen("bad", failed=20), seen("good")], NOW)

    assert (move.name, move.weight) == ("bad", 50 - STEP)
    assert move.reason == "20 of 100 answers failed and 0 were slow"


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 200), st.timedeltas(timedelta(), timedelta(hours=1)))
def test_no_weight_moves_twice_within_its_cool_down_nor_to_nothing(
    failed: int, slow: int, weight: int, ago: timedelta
) -> None:
    watched = Weighed("watched", weight, 50, NOW - ago, 200, slow, failed)

    moves = {move.name: move.weight for move in reweigh([watched, seen("other")], NOW)}

    if "watched" in moves:
        assert ago >= COOL_DOWN
        assert abs(moves["watched"] - weight) <= STEP
        assert moves["watched"] >= min(LEAST, weight)


def test_nothing_moves_while_all_do_badly_or_nobody_can_say() -> None:
    assert reweigh([seen("one", failed=60), seen("other", failed=50)], NOW) == []
    assert reweigh([seen("one", answers=FEWEST_ANSWERS - 1, failed=19), seen("other")], NOW) == []
    assert reweigh([seen("alone", failed=100)], NOW) == []


def test_a_quiet_quarter_of_an_hour_brings_a_weight_a_step_back() -> None:
    (move,) = reweigh([seen("tried", weight=45), seen("other")], NOW)

    assert (move.weight, move.reason) == (50, "quiet for 15 minutes: back towards 50")
    assert reweigh([seen("tried", weight=45, ago=QUIET - timedelta(seconds=1)), seen("other")], NOW) == []
