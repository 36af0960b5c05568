from datetime import UTC, date, datetime, timedelta

import pytest

from domain.channel import AddressChannel, Channel
from domain.ladder import Done, Owed, first_step
from tests.intake_kit import LADDERS
from worker.planner import lane_channel, reminder_for, step_after

LADDER = LADDERS["standard"]
DUE = date(2026, 3, 10)
OWED = Owed(DUE, 5000_00, "TWD", "UTC")
PHONE, EMAIL, PUSH = AddressChannel.PHONE, AddressChannel.EMAIL, AddressChannel.PUSH


def at(day: int, hour: int = 9, minute: int = 0) -> datetime:
    return datetime(2026, 3, 10, hour, minute, tzinfo=UTC) + timedelta(days=day)


def step(name: str):
    return next(step for step in LADDER.steps if step.id == name)


@pytest.mark.parametrize(
    ("name", "reachable", "channel"),
    [
        ("first_notice", {PHONE, EMAIL}, Channel.SMS),
        ("first_notice", {EMAIL}, Channel.EMAIL),
        ("upcoming", {PUSH, EMAIL}, Channel.PUSH),
        ("first_notice", set(), Channel.SMS),
        ("talk", set(), Channel.CALL),
        ("specialist", {PHONE, EMAIL}, Channel.CALL),
    ],
)
def test_a_step_waits_in_the_lane_that_can_carry_it(
    name: str, reachable: set[AddressChannel], channel: Channel
) -> None:
    assert lane_channel(step(name), reachable) is channel


def test_a_reminder_is_due_when_it_was_planned_for_in_its_partys_shard() -> None:
    planned = first_step(LADDER, OWED, now=at(1))
    assert planned is not None

    row = reminder_for(planned, party_id=3_535, account_id=7, lender_id="lantern", ladder="standard", reachable={EMAIL})

    assert (row.step, row.stage, row.channel, row.shard) == ("first_notice", "initial", Channel.EMAIL, 3)
    assert row.due_at == at(1, 10, 30)
    assert row.expires_at == at(4, 10, 30)


def test_a_debt_goes_on_after_the_last_step_of_its_due_date() -> None:
    following = step_after(LADDER, OWED, Done("first_notice", at(1, 10)), now=at(3))

    assert following is not None
    assert (following.step.id, following.due_at) == ("gentle_follow_up", at(5, 14))


def test_what_was_said_about_an_earlier_due_date_is_over() -> None:
    letter_of_last_month = Done("formal_letter", at(-31 + 30, 14))

    following = step_after(LADDER, OWED, letter_of_last_month, now=at(-1, 15))

    assert following is not None
    assert following.step.id == "due_today"


def test_a_debt_that_comes_back_after_the_last_step_goes_to_a_person_again() -> None:
    following = step_after(LADDER, OWED, Done("specialist", at(61, 10)), now=at(90))

    assert following is not None
    assert following.step.id == "specialist"


def test_a_debt_without_a_past_or_with_one_on_a_lost_step_starts_at_what_is_true() -> None:
    assert step_after(LADDER, OWED, None, now=at(13)) == first_step(LADDER, OWED, now=at(13))
    assert step_after(LADDER, OWED, Done("gone", at(1)), now=at(13)) == first_step(LADDER, OWED, now=at(13))
