"""Caps: at most so many of something in so many days, counted per number, account, person, lender or household."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from domain.case import Case, PastContact
from domain.channel import Channel
from domain.contact import Outcome
from domain.days import ONE_DAY, day_start, local_day
from domain.purpose import Purpose
from policy.counting import Counts, selector
from policy.table import Table
from policy.terms import Defaults, Terms, read_terms


class Subject(StrEnum):
    """Whose contacts are added up. Where an entry does not say, it counts."""

    NUMBER = "number"  # the same address
    ACCOUNT = "account"  # one message for several debts counts for each of them
    PERSON = "person"  # everybody who contacted the person, about whatever
    CREDITOR_GROUP = "creditor_group"  # one lender and all who act for it
    HOUSEHOLD = "household"  # the person and those who live there


class WindowKind(StrEnum):
    """Days are local calendar days; the day of a contact is day one."""

    LOCAL_DAY = "local_day"
    ROLLING_DAYS = "rolling_days"
    CALENDAR_WEEK = "calendar_week"  # Monday to Sunday
    CALENDAR_MONTH = "calendar_month"
    EVERY_NTH_DAY = "every_nth_day"  # the limit once more only n days later


_SETS_ITS_OWN_LENGTH = frozenset({WindowKind.LOCAL_DAY, WindowKind.CALENDAR_WEEK, WindowKind.CALENDAR_MONTH})


@dataclass(frozen=True)
class CapRule:
    terms: Terms
    counts: Counts
    counted_channels: frozenset[Channel]
    subject: Subject
    limit: int
    window: WindowKind
    length: int
    uncounted_purposes: frozenset[Purpose]
    table: bytes

    @property
    def reach(self) -> timedelta:
        """How far back a contact can matter, with a day to spare for time zones."""
        return timedelta(days=self.longest + 2)

    @property
    def longest(self) -> int:
        match self.window:
            case WindowKind.CALENDAR_WEEK:
                return 7
            case WindowKind.CALENDAR_MONTH:
                return 31
            case _:
                return self.length

    def first_counted_day(self, today: date) -> date:
        """The earliest local day whose contacts count today."""
        match self.window:
            case WindowKind.CALENDAR_WEEK:
                return today - today.weekday() * ONE_DAY
            case WindowKind.CALENDAR_MONTH:
                return today.replace(day=1)
            case _:
                return today - (self.length - 1) * ONE_DAY

    def forgets(self, on: date) -> date:
        """The first local day on which a contact of that day counts no longer."""
        match self.window:
            case WindowKind.CALENDAR_WEEK:
                return on + (7 - on.weekday()) * ONE_DAY
            case WindowKind.CALENDAR_MONTH:
                return (on.replace(day=1) + timedelta(days=32)).replace(day=1)
            case _:
                return on + self.length * ONE_DAY

    def free_from(self, times: Iterable[datetime], zones: Iterable[str]) -> datetime | None:
        """The instant from which these contacts leave a slot in every zone; None when they never fill the cap."""
        at = sorted(times, reverse=True)
        if len(at) < self.limit:
            return None
        deciding = at[self.limit - 1]  # when this one is forgotten, one slot is free
        return max(day_start(self.forgets(local_day(deciding, zone)), zone) for zone in zones)


def read_cap(table: Table, inherited: Defaults) -> CapRule:
    terms = read_terms(table, "cap", inherited)
    window = table.table("window")
    kind = window.word("kind", WindowKind)
    length = _read_length(window, kind)
    window.finish()
    counts = table.word("counts", Counts)
    counted_channels = table.words("counted_channels", Channel, tuple(terms.channels))
    rule = CapRule(
        terms=terms,
        counts=counts,
        counted_channels=counted_channels,
        subject=table.word("subject", Subject),
        limit=table.count("limit"),
        window=kind,
        length=length,
        uncounted_purposes=table.words("uncounted_purposes", Purpose, ()),
        table=selector(counts, counted_channels, without=table.words("uncounted_outcomes", Outcome, ())),
    )
    if not any(rule.table):
        raise table.error("counts", f"{counts} is never counted on these channels; correct counts or counted_channels")
    table.finish()
    return rule


def _read_length(window: Table, kind: WindowKind) -> int:
    if kind not in _SETS_ITS_OWN_LENGTH:
        return window.count("length")
    if window.has("length"):
        raise window.error("length", f"does not go with {kind}; remove it")
    return 1


def belongs(subject: Subject, case: Case) -> Callable[[PastContact], bool] | None:
    """The test whether an entry of the party's history counts for this subject; None when all do."""
    match subject:
        case Subject.PERSON:
            return None
        case Subject.NUMBER:
            address = case.attempt.address
            return None if address is None else lambda entry: entry.address in (address, None)
        case Subject.ACCOUNT:
            account = case.account.id
            return lambda entry: account in entry.accounts or not entry.accounts
        case Subject.CREDITOR_GROUP:
            lender = case.lender
            return None if lender is None else lambda entry: entry.lender in (lender, None)
        case Subject.HOUSEHOLD:
            household = case.household
            return None if household is None else lambda entry: entry.household in (household, None)


def loosens(child: CapRule, parent: CapRule) -> bool:
    """Whether both count the same thing and the child allows more of it."""
    same = (
        child.counts == parent.counts
        and child.subject == parent.subject
        and child.window == parent.window
        and child.length == parent.length
        and child.counted_channels == parent.counted_channels
    )
    return same and child.limit > parent.limit
