"""A provider is stopped on evidence, tried again after a while, and stopped for good only by our own credentials."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, Rejected, TryLater
from channels.breaker import (
    FEWEST_ANSWERS,
    FIRST_COOL_DOWN,
    LONGEST_COOL_DOWN,
    Breaker,
    Health,
    Seen,
    State,
    health_of,
    turn,
)

NOW = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)
NOTHING = Seen()


@given(st.integers(0, 200), st.integers(0, 200))
def test_it_opens_when_half_of_enough_answers_failed_and_never_before(good: int, failed: int) -> None:
    after = turn(Breaker(), fresh=NOTHING, recent=Seen(good, failed, code="connect"), is_prober=False, now=NOW)

    assert (after is not None) == (good + failed >= FEWEST_ANSWERS and failed >= good)


def test_each_failed_try_doubles_the_cool_down_up_to_a_limit() -> None:
    now, waits = NOW, []
    breaker = Breaker()
    for _ in range(8):
        after = turn(breaker, fresh=Seen(failed=5, code="connect"), recent=Seen(0, 50), is_prober=True, now=now)
        assert after is not None
        assert after.breaker.state is State.OPEN
        assert after.breaker.retry_at is not None
        waits.append(after.breaker.retry_at - now)
        now = after.breaker.retry_at
        assert after.breaker.may_be_tried(now)
        assert not after.breaker.may_be_tried(now - timedelta(seconds=1))
        breaker = Breaker(State.HALF_OPEN, after.breaker.since, now, after.breaker.openings)

    assert waits[:3] == [FIRST_COOL_DOWN, 2 * FIRST_COOL_DOWN, 4 * FIRST_COOL_DOWN]
    assert waits[-1] == LONGEST_COOL_DOWN


def test_only_the_worker_that_tries_it_can_close_it() -> None:
    trying = Breaker(State.HALF_OPEN, NOW, NOW, 3)
    good = Seen(good=5)

    for others in (good, Seen(failed=5)):
        assert turn(trying, fresh=others, recent=others, is_prober=False, now=NOW) is None
    after = turn(trying, fresh=good, recent=good, is_prober=True, now=NOW)
    assert after is not None
    assert after.breaker.state is State.CLOSED


def test_late_answers_move_no_open_breaker() -> None:
    still = Breaker(State.OPEN, NOW, NOW + FIRST_COOL_DOWN, 1)

    for late in (Seen(good=50), Seen(failed=50)):
        assert turn(still, fresh=late, recent=late, is_prober=False, now=NOW) is None


@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN, State.HALF_OPEN])
def test_refused_credentials_stop_it_from_any_state_until_somebody_mends_them(state: State) -> None:
    refused = Seen(good=100, wrong="20003")

    after = turn(Breaker(state, NOW), fresh=refused, recent=refused, is_prober=False, now=NOW)

    assert after is not None
    assert after.breaker == Breaker(State.MISCONFIGURED, NOW, None, 0)
    assert not after.breaker.may_be_tried(NOW + timedelta(days=365))
    assert turn(after.breaker, fresh=refused, recent=refused, is_prober=False, now=NOW) is None, "said once"


@pytest.mark.parametrize(
    ("refusal", "health"),
    [
        (Misconfigured("20003"), Health.WRONG_CREDENTIALS),
        (Misconfigured("535 5.7.8"), Health.WRONG_CREDENTIALS),
        (Misconfigured("token refused: http 400"), Health.WRONG_CREDENTIALS),
        (Misconfigured("tls certificate"), Health.FAILED),
        (Misconfigured("21606"), Health.NOTHING),  # one lender's sender
        (TryLater("connect"), Health.FAILED),
        (TryLater("window closed"), Health.NOTHING),
        (TryLater("450 4.2.0"), Health.NOTHING),
        (TryLater("421 4.3.2"), Health.FAILED),
        (OutcomeUnknown("timeout"), Health.FAILED),
        (Rejected("21610", False, True), Health.GOOD),
        (Rejected("550 5.1.1", True), Health.GOOD),
    ],
)
def test_what_a_refusal_says_about_the_provider(refusal: ChannelError, health: Health) -> None:
    assert health_of(refusal) is health
