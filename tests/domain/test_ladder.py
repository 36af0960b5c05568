from bisect import bisect
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.channel import Channel
from domain.ladder import (
    Done,
    Ladder,
    Owed,
    PlannedStep,
    Stage,
    Step,
    days_past_due,
    first_step,
    local_instant,
    next_step,
)

DUE = date(2026, 3, 10)
ZONES = ("Asia/Taipei", "America/New_York", "Europe/London", "Pacific/Auckland", "America/Santiago", "UTC")


def a_step(
    id: str, day: int, true_until: int, *, stage: Stage = Stage.INITIAL, at: time = time(10), **bounds: int
) -> Step:
    return Step(
        id=id,
        day=day,
        at=at,
        stage=stage,
        message=id,
        channels=(Channel.SMS,),
        true_until_day=true_until,
        expires_after=timedelta(days=2),
        min_minor={"TWD": bounds["least"]} if "least" in bounds else {},
        max_minor={"TWD": bounds["below"]} if "below" in bounds else {},
    )


LADDER = Ladder(
    "standard",
    (
        a_step("upcoming", -3, -1, stage=Stage.PRE_DUE),
        a_step("due_today", 0, 0, stage=Stage.PRE_DUE),
        a_step("first_notice", 1, 4),
        a_step("options", 12, 30, at=time(14)),
        a_step("talk", 18, 45, stage=Stage.MIDDLE, least=3000_00),
        a_step("letter", 30, 60, stage=Stage.MIDDLE),
        a_step("specialist", 61, 3650, stage=Stage.FINAL),
    ),
    human_after_day=60,
)


@given(
    balance=st.integers(1, 10_000_00),
    other=st.integers(1, 10_000_00),
    step=st.sampled_from([step.id for step in LADDER.steps]),
    days=st.integers(-10, 70),
)
def test_between_two_bounds_all_debts_walk_alike(balance: int, other: int, step: str, days: int) -> None:
    assume(bisect(LADDER.bounds("TWD"), balance) == bisect(LADDER.bounds("TWD"), other))
    now = datetime(2026, 3, 10, 4, tzinfo=UTC) + timedelta(days=days)

    assert next_step(LADDER, owed(balance), Done(step, now), now=now) == next_step(
        LADDER, owed(other), Done(step, now), now=now
    )
    assert LADDER.bounds("EUR") == ()


def owed(balance: int = 5000_00, zone: str = "Asia/Taipei") -> Owed:
    return Owed(DUE, balance, "TWD", zone)


def on_day(day: int, hour: int = 0, zone: str = "Asia/Taipei") -> datetime:
    return datetime.combine(DUE + timedelta(days=day), time(hour), tzinfo=ZoneInfo(zone)).astimezone(UTC)


def local_day(planned: PlannedStep, zone: str = "Asia/Taipei") -> int:
    return (planned.due_at.astimezone(ZoneInfo(zone)).date() - DUE).days


@pytest.mark.parametrize(
    ("enters_on", "step", "planned_on"),
    [
        (-20, "upcoming", -3),
        (-3, "upcoming", -3),
        (-1, "upcoming", -1),
        (0, "due_today", 0),
        (1, "first_notice", 1),
        (4, "first_notice", 4),
        (5, "options", 12),
        (20, "options", 20),
        (31, "talk", 31),
        (46, "letter", 46),
        (60, "letter", 60),
        (61, "specialist", 61),
        (400, "specialist", 400),
    ],
)
def test_a_debt_starts_at_the_gentlest_step_that_is_still_true(enters_on: int, step: str, planned_on: int) -> None:
    planned = first_step(LADDER, owed(), now=on_day(enters_on))

    assert planned is not None
    assert (planned.step.id, local_day(planned)) == (step, planned_on)


@pytest.mark.parametrize("balance", [0, -1, -500_00])
def test_nothing_owed_is_never_due(balance: int) -> None:
    assert first_step(LADDER, owed(balance), now=on_day(5)) is None
    assert next_step(LADDER, owed(balance), Done("upcoming", on_day(-3)), now=on_day(5)) is None


def test_a_debt_that_enters_after_the_hour_waits_for_tomorrow_or_for_a_step_that_is_true_then() -> None:
    still = first_step(LADDER, owed(), now=on_day(1, hour=11))
    over = first_step(LADDER, owed(), now=on_day(0, hour=11))

    assert still is not None
    assert (still.step.id, local_day(still)) == ("first_notice", 2)
    assert over is not None
    assert over.step.id == "first_notice"


def test_a_step_for_large_sums_is_passed_over_for_small_ones() -> None:
    large = next_step(LADDER, owed(3000_00), Done("options", on_day(12, 14)), now=on_day(12, 15))
    small = next_step(LADDER, owed(2999_99), Done("options", on_day(12, 14)), now=on_day(12, 15))

    assert large is not None
    assert large.step.id == "talk"
    assert small is not None
    assert small.step.id == "letter"


def test_a_late_entrant_walks_on_at_the_ladders_own_pace() -> None:
    entered = first_step(LADDER, owed(), now=on_day(25))
    assert entered is not None
    assert (entered.step.id, local_day(entered)) == ("options", 25)

    following = next_step(LADDER, owed(), Done("options", entered.due_at), now=entered.due_at)

    assert following is not None
    assert (following.step.id, local_day(following)) == ("talk", 25 + 6)


def test_a_step_that_the_ladder_lost_starts_from_what_is_true_now() -> None:
    planned = next_step(LADDER, owed(), Done("renamed", on_day(1)), now=on_day(13))

    assert planned is not None
    assert planned.step.id == "options"


def test_the_ladder_ends() -> None:
    assert next_step(LADDER, owed(), Done("specialist", on_day(61)), now=on_day(62)) is None


@given(
    enters=st.integers(-30, 200),
    hour=st.integers(0, 23),
    balance=st.integers(1, 10_000_00),
    zone=st.sampled_from(ZONES),
    delays=st.lists(st.integers(0, 9), min_size=8, max_size=8),
)
def test_every_walk_is_forward_true_and_unhurried(
    enters: int, hour: int, balance: int, zone: str, delays: list[int]
) -> None:
    now = on_day(enters, hour, zone)
    debt = owed(balance, zone)
    planned = first_step(LADDER, debt, now=now)
    walked: list[PlannedStep] = []

    while planned is not None:
        assert planned.due_at >= now
        assert planned.expires_at - planned.due_at == planned.step.expires_after
        assert planned.step.suits(balance, "TWD")
        assert planned.due_at.astimezone(ZoneInfo(zone)).time() == planned.step.at
        assert local_day(planned, zone) >= planned.step.day
        if local_day(planned, zone) <= 60:
            assert local_day(planned, zone) <= planned.step.true_until_day
        if walked:
            gap = local_day(planned, zone) - local_day(walked[-1], zone)
            assert gap >= planned.step.day - walked[-1].step.day > 0
        walked.append(planned)
        now = planned.due_at + timedelta(days=delays[len(walked) - 1])
        planned = next_step(LADDER, debt, Done(walked[-1].step.id, walked[-1].due_at), now=now)

    assert len({one.step.id for one in walked}) == len(walked)
    assert walked[-1].step.id == "specialist"


def test_days_past_due_turn_over_at_the_customers_midnight() -> None:
    midnight_in_taipei = datetime(2026, 3, 10, 16, 0, tzinfo=UTC)

    assert days_past_due(DUE, midnight_in_taipei - timedelta(seconds=1), "Asia/Taipei") == 0
    assert days_past_due(DUE, midnight_in_taipei, "Asia/Taipei") == 1
    assert days_past_due(DUE, midnight_in_taipei, "America/New_York") == 0


@pytest.mark.parametrize(
    ("on", "at", "zone", "utc"),
    [
        (date(2026, 3, 8), time(2, 30), "America/New_York", datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),  # skipped
        (date(2026, 11, 1), time(1, 30), "America/New_York", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),  # twice
        (date(2026, 3, 10), time(10), "Asia/Taipei", datetime(2026, 3, 10, 2, 0, tzinfo=UTC)),
    ],
)
def test_a_wall_clock_time_is_the_first_of_two_and_after_a_gap(on: date, at: time, zone: str, utc: datetime) -> None:
    assert local_instant(on, at, zone) == utc


@given(
    amount=st.integers(-(10**6), 10**6),
    least=st.integers(-(10**6), 10**6),
    below=st.integers(-(10**6), 10**6),
)
def test_bounds_are_inclusive_below_and_exclusive_above(amount: int, least: int, below: int) -> None:
    assume(least < below)
    step = a_step("x", 1, 2, least=least, below=below)

    assert step.suits(amount, "TWD") == (least <= amount < below)
    assert step.suits(amount, "EUR")
