"""Waits: after something has happened, nothing for so many local days (its own day is day one) or elapsed hours."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from domain.channel import Channel
from domain.days import ONE_DAY, day_start, local_day
from domain.purpose import Direction
from policy.cap import Subject
from policy.counting import Counts, selector
from policy.table import Table
from policy.terms import Defaults, Terms, read_terms

#: How far back a first event is looked for; one before that is forgotten and a later one counts as the first.
FIRST_WITHIN = timedelta(days=730)


class Begun(StrEnum):
    """Who began what is waited after."""

    BY_US = "by_us"
    BY_ANYBODY = "by_anybody"


class Anchor(StrEnum):
    """Which of several such events starts the wait."""

    LAST = "last"
    FIRST = "first"


@dataclass(frozen=True)
class WaitRule:
    """Either `days` or `hours` is set."""

    terms: Terms
    after: Counts
    after_channels: frozenset[Channel]
    begun: Begun
    anchor: Anchor
    subject: Subject
    days: int | None
    hours: int | None
    table: bytes

    @property
    def reach(self) -> timedelta:
        if self.anchor is Anchor.FIRST:
            return FIRST_WITHIN
        return timedelta(hours=self.hours) if self.hours is not None else timedelta(days=(self.days or 0) + 2)

    def first_counted_day(self, today: date) -> date:
        if self.anchor is Anchor.FIRST:  # an earlier one, however old, is the one that started the wait
            return today - FIRST_WITHIN
        return today - ((self.days or 1) - 1) * ONE_DAY

    def free_from(self, times: Iterable[datetime], zones: Iterable[str]) -> datetime | None:
        """The instant at which the wait is over in every zone; None when nothing started one."""
        at = list(times)
        if not at:
            return None
        start = min(at) if self.anchor is Anchor.FIRST else max(at)
        if self.hours is not None:
            return start + timedelta(hours=self.hours)
        days = (self.days or 0) * ONE_DAY
        return max(day_start(local_day(start, zone) + days, zone) for zone in zones)


def read_wait(table: Table, inherited: Defaults) -> WaitRule:
    terms = read_terms(table, "wait", inherited)
    after = table.word("after", Counts)
    channels = table.words("after_channels", Channel, tuple(Channel))
    begun = table.word("begun", Begun, Begun.BY_US)
    anchor = table.word("anchor", Anchor, Anchor.LAST)
    days, hours = table.optional_count("days"), table.optional_count("hours")
    if (days is None) == (hours is None):
        raise table.error("days", "give either days (local calendar days) or hours (elapsed)")
    ways = tuple(Direction) if begun is Begun.BY_ANYBODY else (Direction.OUT,)
    rule = WaitRule(
        terms=terms,
        after=after,
        after_channels=channels,
        begun=begun,
        anchor=anchor,
        subject=table.word("subject", Subject),
        days=days,
        hours=hours,
        table=selector(after, channels, directions=ways),
    )
    table.finish()
    return rule


def loosens(child: WaitRule, parent: WaitRule) -> bool:
    """Whether both wait after the same thing and the child waits less."""
    same = (child.after, child.after_channels, child.subject, child.begun, child.anchor) == (
        parent.after, parent.after_channels, parent.subject, parent.begun, parent.anchor,
    )  # fmt: skip
    if not same or (child.days is None) != (parent.days is None):
        return False
    return (child.days or child.hours or 0) < (parent.days or parent.hours or 0)
