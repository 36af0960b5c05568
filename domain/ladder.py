"""A ladder: the ordered steps of a treatment, and the arithmetic that finds the next one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from domain.channel import Channel


class Stage(StrEnum):
    """Declared from gentle to grave; STAGES keeps the order."""

    PRE_DUE = "pre_due"
    INITIAL = "initial"
    MIDDLE = "middle"
    FINAL = "final"


STAGES: tuple[Stage, ...] = tuple(Stage)


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `day` counts from the due date (negative before it); `at` is the customer's local time.

    `true_until_day` is the last day past due on which its words still hold; `expires_after` is how long a planned step
    may wait unsent. `min_minor` and `max_minor` bound the balance by currency (inclusive, exclusive). A step whose
    `channels` is empty goes straight to a person.
    """

    id: str
    day: int
    at: time
    stage: Stage
    message: str
    channels: tuple[Channel, ...]
    true_until_day: int
    expires_after: timedelta
    min_minor: Mapping[str, int]
    max_minor: Mapping[str, int]

    def suits(self, amount_minor: int, currency: str) -> bool:
        """Whether the balance is within the step's bounds; a currency without a bound is not bounded."""
        lowest = self.min_minor.get(currency, amount_minor)
        beyond = self.max_minor.get(currency, amount_minor + 1)
        return lowest <= amount_minor < beyond


@dataclass(frozen=True, slots=True)
class Ladder:
    """`human_after_day`: a debt that enters later than this many days past due goes straight to a person."""

    id: str
    steps: tuple[Step, ...]
    human_after_day: int
    _positions: dict[str, int] = field(init=False, repr=False, compare=False)
    _bounds: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limits: dict[str, set[int]] = {}
        for step in self.steps:
            for currency, limit in (*step.min_minor.items(), *step.max_minor.items()):
                limits.setdefault(currency, set()).add(limit)
        bounds = {currency: tuple(sorted(its)) for currency, its in limits.items()}
        object.__setattr__(self, "_positions", {step.id: position for position, step in enumerate(self.steps)})
        object.__setattr__(self, "_bounds", bounds)

    def bounds(self, currency: str) -> tuple[int, ...]:
        """The balances at which another choice of steps begins, ascending: between two of them all debts walk alike."""
        return self._bounds.get(currency, ())

    def index(self, step_id: str) -> int | None:
        return self._positions.get(step_id)


class Owed(NamedTuple):
    """What the planner must know of an account. `zone` is where the customer's clock is read for planning."""

    due_on: date
    balance_minor: int
    currency: str
    zone: str


class Done(NamedTuple):
    """The step that has just ended and the local day it was meant for."""

    step_id: str
    planned_for: datetime


class PlannedStep(NamedTuple):
    step: Step
    due_at: datetime
    expires_at: datetime


@lru_cache(maxsize=4096)
def days_past_due(due_on: date, now: datetime, zone: str) -> int:
    """Whole local days since the due date; negative before it."""
    return (local_date(now, zone) - due_on).days


def first_step(ladder: Ladder, owed: Owed, *, now: datetime) -> PlannedStep | None:
    """The gentlest step that is still true for a debt that enters now; None when nothing is owed or nothing is left.

    A debt beyond `human_after_day` gets the ladder's last step, which hands it to a person.
    """
    if owed.balance_minor <= 0:
        return None
    dpd = days_past_due(owed.due_on, now, owed.zone)
    steps = ladder.steps
    if dpd > ladder.human_after_day:
        on = max(owed.due_on + timedelta(days=steps[-1].day), local_date(now, owed.zone))
        return _planned(steps[-1], on, owed, now)
    return _first_that_fits(steps, owed, earliest=None, now=now)


def next_step(ladder: Ladder, owed: Owed, done: Done, *, now: datetime) -> PlannedStep | None:
    """The step after the one that ended, no nearer to it than the ladder spaces them; None at the end of the ladder.

    A late entrant therefore walks the whole ladder at its own pace and nobody jumps a level after an outage.
    """
    if owed.balance_minor <= 0:
        return None
    position = ladder.index(done.step_id)
    if position is None:  # the ladder was edited: start from the gentlest step that is still true
        return first_step(ladder, owed, now=now)
    gone = ladder.steps[position]
    planned_on = local_date(done.planned_for, owed.zone)
    return _first_that_fits(ladder.steps[position + 1 :], owed, earliest=planned_on - timedelta(days=gone.day), now=now)


def step_after_expiry(
    ladder: Ladder, owed: Owed, expired: Done, *, has_spoken: bool, now: datetime
) -> PlannedStep | None:
    """The step after one that expired unsent; a stage that has not spoken at all begins anew before the next may speak.

    `has_spoken` says whether any step of its stage ended otherwise. So nobody skips a level after an outage, unless
    none of the level's words are true any more.
    """
    following = next_step(ladder, owed, expired, now=now)
    position = ladder.index(expired.step_id)
    if has_spoken or position is None or owed.balance_minor <= 0:
        return following
    stage = ladder.steps[position].stage
    if following is not None and following.step.stage is stage:
        return following
    return _first_that_fits([step for step in ladder.steps if step.stage is stage], owed, earliest=None, now=now) or (
        following
    )


def _first_that_fits(steps: Sequence[Step], owed: Owed, *, earliest: date | None, now: datetime) -> PlannedStep | None:
    """`earliest` is the due date as the last step's timing implies it: later than the true one for a late entrant."""
    today = local_date(now, owed.zone)
    start = owed.due_on if earliest is None else max(owed.due_on, earliest)
    for step in steps:
        if not step.suits(owed.balance_minor, owed.currency):
            continue
        planned = _planned(step, max(start + timedelta(days=step.day), today), owed, now)
        if (local_date(planned.due_at, owed.zone) - owed.due_on).days <= step.true_until_day:
            return planned
    return None


def _planned(step: Step, on: date, owed: Owed, now: datetime) -> PlannedStep:
    """At the step's local time on that day, or as soon as that time comes round again."""
    due_at = local_instant(on, step.at, owed.zone)
    if due_at < now:
        due_at = local_instant(on + timedelta(days=1), step.at, owed.zone)
    return PlannedStep(step, due_at, due_at + step.expires_after)


@lru_cache(maxsize=4096)
def local_date(at: datetime, zone: str) -> date:
    """What the calendar there says at that instant."""
    return at.astimezone(ZoneInfo(zone)).date()


@lru_cache(maxsize=4096)  # a book's debts share few days, times and zones
def local_instant(on: date, at: time, zone: str) -> datetime:
    """The UTC instant of a wall-clock time; the first of two, or after the gap if the clock skips it.

    fold=0 reads a skipped time with the old offset, which lands after the gap by its length (PEP 495).
    """
    return datetime.combine(on, at, tzinfo=ZoneInfo(zone)).astimezone(UTC)
