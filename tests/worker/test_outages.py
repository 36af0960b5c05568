"""After an outage nobody skips a level, nobody is flooded, and nobody is forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain.channel import Channel
from domain.ladder import (
    STAGES,
    Done,
    Owed,
    PlannedStep,
    Stage,
    days_past_due,
    first_step,
    next_step,
    step_after_expiry,
)
from domain.lane import Lane, shard_of
from storage import lanes
from tests.builders import a_customer, a_reminder, an_account
from tests.intake_kit import LADDERS
from tests.rehearsal import Fleet, Sandbox, fleet, sandbox
from worker import dispatch
from worker.wiring import keyring

__all__ = ["fleet", "sandbox"]

LADDER = LADDERS["standard"]
DUE = date(2026, 3, 10)
ZONES = ("Asia/Taipei", "America/New_York", "UTC")
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LAST_DAY = 200


@dataclass(frozen=True)
class Said:
    """A step that left, or was handed over."""

    planned: PlannedStep
    at: datetime
    dpd: int


def live(owed: Owed, begins: int, outages: Sequence[tuple[int, int]]) -> list[Said]:
    """An account's way along the ladder, judged the moment it is due, or as soon as the engine is there again."""

    def up_again(at: datetime) -> datetime:
        for since, days in sorted(outages):
            if NOON + timedelta(days=since) <= at < NOON + timedelta(days=since + days):
                at = NOON + timedelta(days=since + days)
        return at

    said: list[Said] = []
    planned = first_step(LADDER, owed, now=NOON + timedelta(days=begins))
    while planned is not None and planned.due_at < NOON + timedelta(days=LAST_DAY):
        now = up_again(planned.due_at)
        done = Done(planned.step.id, planned.due_at)
        if now < planned.expires_at:
            said.append(Said(planned, now, days_past_due(owed.due_on, now, owed.zone)))
            planned = next_step(LADDER, owed, done, now=now)
        else:
            has_spoken = any(each.planned.step.stage is planned.step.stage for each in said)
            planned = step_after_expiry(LADDER, owed, done, has_spoken=has_spoken, now=now)
    return said


OUTAGES = st.lists(st.tuples(st.integers(-5, 120), st.integers(1, 40)), max_size=6)


@given(
    st.builds(Owed, st.just(DUE), st.sampled_from([200_00, 5000_00]), st.just("TWD"), st.sampled_from(ZONES)),
    st.integers(-5, 40),
    OUTAGES,
)
def test_outages_make_nobody_skip_a_level_and_flood_or_forget_nobody(
    owed: Owed, begins: int, outages: list[tuple[int, int]]
) -> None:
    said = live(owed, begins, outages)

    assert said[-1].planned.step.stage is Stage.FINAL, "in the end a person decides"
    for number, each in enumerate(said):
        assert each.dpd <= each.planned.step.true_until_day + 3, "its words held when it was planned"
        before = {earlier.planned.step.stage for earlier in said[:number]}
        for stage in STAGES[: STAGES.index(each.planned.step.stage)]:
            steps = [s for s in LADDER.steps if s.stage is stage and s.suits(owed.balance_minor, owed.currency)]
            planned_on = days_past_due(owed.due_on, each.planned.due_at, owed.zone)
            assert stage in before or planned_on > max(s.true_until_day for s in steps), f"{stage} was skipped"
    for one, other in pairwise(said):
        assert other.at - one.at >= timedelta(hours=20), "one a day at most"
        assert STAGES.index(one.planned.step.stage) <= STAGES.index(other.planned.step.stage)


def test_without_an_outage_expiry_never_comes_and_the_ladder_is_walked_as_before() -> None:
    owed = Owed(DUE, 5000_00, "TWD", "UTC")

    assert [each.planned.step.id for each in live(owed, -5, [])] == [step.id for step in LADDER.steps]


def test_a_stage_that_was_slept_through_begins_anew_and_the_next_one_waits(fleet: Fleet, sandbox: Sandbox):
    customer = a_customer(fleet.conn, keyring(fleet.settings))
    account = an_account(fleet.conn, customer, due_on=date(2026, 3, 2), balance_minor=900_000)
    a_reminder(fleet.conn, customer, account, step="options", due_at=datetime(2026, 3, 14, 2, 30, tzinfo=UTC))
    spine = fleet.spine()

    def live_until(moment: datetime) -> list[tuple[str, str]]:
        """Drain at each due moment from now to then."""
        while (now := lanes.next_moment(fleet.conn)) is not None and now <= moment:
            lanes.step_clock(fleet.conn, now)
            for channel in (Channel.SMS, Channel.EMAIL, Channel.CALL):
                dispatch.drain(spine, Lane("lantern", channel, shard_of(customer.party_id)))
        return fleet.conn.execute("SELECT step, state FROM reminder ORDER BY reminder_id").fetchall()

    lanes.step_clock(fleet.conn, datetime(2026, 3, 24, 3, tzinfo=UTC))  # down since the 14th
    dispatch.drain(spine, Lane("lantern", Channel.SMS, shard_of(customer.party_id)))
    slept = live_until(datetime(2026, 3, 25, 12, tzinfo=UTC))
    later = live_until(datetime(2026, 4, 1, 12, tzinfo=UTC))
    spine.close()

    assert slept == [("options", "expired"), ("options", "sent"), ("talk", "planned")]
    assert sandbox.accepted() == 1
    assert later[2] == ("talk", "handed"), "six days after the words that it follows, as the ladder has it"
