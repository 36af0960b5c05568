"""Hours: the times of the local day at which a channel may be used at all, by kind of day."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise

from domain.channel import Channel
from domain.days import ONE_DAY, day_start, first_instant, last_instant
from policy.calendar import Calendars, HolidayCalendar
from policy.spans import Span
from policy.table import Table
from policy.terms import Defaults, Terms, read_terms

_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = 7  # index of the holiday's hours, after the seven weekdays
DAY_NAMES = (*_WEEK, "holiday")
_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_MIDNIGHT = 24 * 60

Minutes = tuple[int, int]  # since local midnight, half-open; the end may lie in the next day


@dataclass(frozen=True)
class WindowRule:
    """`by_day` has the hours of Monday to Sunday and of holidays; a holiday has its own hours and no others."""

    terms: Terms
    by_day: tuple[tuple[Minutes, ...], ...]
    margin: timedelta
    calendar: HolidayCalendar | Calendars

    def spans_on(self, on: date, zone: str) -> list[Span]:
        """The instants of that local day at which the rule lets through; the whole day while it is not in force."""
        if not self.terms.in_force(on):
            return [(day_start(on, zone), day_start(on + ONE_DAY, zone))]
        kind = HOLIDAY if self.calendar.is_holiday(on) else on.weekday()
        return [(_opening(on, since, zone), _closing(on, until, zone)) for since, until in self.by_day[kind]]


def read_window(table: Table, inherited: Defaults, calendar: HolidayCalendar) -> WindowRule:
    """Hours bind every channel that the rule does not exempt, and every purpose."""
    exempt = table.words("exempt", Channel, ()) if table.has("exempt") else frozenset()
    bound = tuple(channel for channel in Channel if channel not in exempt)
    terms = read_terms(table, "window", inherited, exceptions=(), channels=bound)
    overnight = table.flag("overnight")
    by_day: list[list[Minutes]] = [[] for _ in DAY_NAMES]
    rows = table.tables("hours")
    if not rows:
        raise table.error("hours", 'is missing or empty; write [{ days = "mon-fri", from = "08:00", until = "20:00" }]')
    for row in rows:
        span = _read_span(row, overnight)
        for day in _read_days(row):
            by_day[day].append(span)
        row.finish()
    margin = timedelta(minutes=table.integer("margin_minutes", 0))
    if margin < timedelta(0):
        raise table.error("margin_minutes", "is negative; a margin only tightens")
    table.finish()
    return WindowRule(terms, tuple(_ordered(table, day, spans) for day, spans in enumerate(by_day)), margin, calendar)


def widest(inner: WindowRule, outer: WindowRule) -> str | None:
    """The first hours of `inner` that lie outside `outer`, in words; None when it only tightens."""
    for day, spans in enumerate(inner.by_day):
        for since, until in spans:
            if not any(a <= since and until <= b for a, b in outer.by_day[day]):
                return f"{DAY_NAMES[day]} {clock(since)}-{clock(until)}"
    return None


def clock(minutes: int) -> str:
    hours, rest = divmod(minutes if minutes <= _MIDNIGHT else minutes - _MIDNIGHT, 60)
    return f"{hours:02}:{rest:02}"


def read_clock(table: Table, key: str) -> int:
    """Minutes since midnight; 24:00 is the end of the day."""
    text = table.text(key)
    match = _CLOCK.fullmatch(text)
    if match is None or int(match[1]) * 60 + int(match[2]) > _MIDNIGHT:
        raise table.error(key, f"{text!r} is not a time; write it as 08:00, at most 24:00")
    return int(match[1]) * 60 + int(match[2])


def _read_span(row: Table, overnight: bool) -> Minutes:
    since, until = read_clock(row, "from"), read_clock(row, "until")
    if until > since:
        return since, until
    if not overnight or until == since:
        raise row.error(
            "until",
            f"crossed hours: {clock(until)} is not after {clock(since)}; swap them, or set overnight = true",
        )
    return since, until + _MIDNIGHT


def _read_days(row: Table) -> frozenset[int]:
    """`mon-fri`, `sat sun holiday`, `all` (every weekday and holidays)."""
    found: set[int] = set()
    for word in row.text("days").split():
        first, dash, last = word.partition("-")
        if word == "all":
            found.update(range(len(DAY_NAMES)))
        elif word in DAY_NAMES:
            found.add(DAY_NAMES.index(word))
        elif dash and first in _WEEK and last in _WEEK and _WEEK.index(first) < _WEEK.index(last):
            found.update(range(_WEEK.index(first), _WEEK.index(last) + 1))
        else:
            raise row.error("days", f"{word!r} is unknown; use mon to sun, a range such as mon-fri, holiday, or all")
    return frozenset(found)


def _ordered(table: Table, day: int, spans: list[Minutes]) -> tuple[Minutes, ...]:
    ordered = tuple(sorted(spans))
    for (_, until), (since, _) in pairwise(ordered):
        if since < until:
            raise table.error("hours", f"{DAY_NAMES[day]} has hours that overlap; write them as one span")
    return ordered


def _opening(on: date, minutes: int, zone: str) -> datetime:
    """Late rather than early: after a repeated hour, after a gap."""
    if minutes == 0:
        return day_start(on, zone)
    return last_instant(*_wall(on, minutes), zone)


def _closing(on: date, minutes: int, zone: str) -> datetime:
    """Early rather than late: before a repeated hour, before a gap."""
    return first_instant(*_wall(on, minutes), zone)


def _wall(on: date, minutes: int) -> tuple[date, time]:
    days, rest = divmod(minutes, _MIDNIGHT)
    return on + days * ONE_DAY, time(rest // 60, rest % 60)
