"""Public holidays of a jurisdiction, as far as a person has reviewed them; every later day counts as a holiday.

The `holidays` library calculates far years by rule, without the days that governments move or add by decree.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import holidays

from policy.table import Table

#: A pack with this calendar takes the holidays of every pack that applies beside it.
OF_ALL_PACKS = "*"


@dataclass(frozen=True, slots=True)
class HolidayCalendar:
    """`region` is an ISO country or subdivision (CN, BR-SP); None knows no holidays of its own."""

    region: str | None
    reviewed_until: date
    extra: frozenset[date] = frozenset()

    def is_holiday(self, on: date) -> bool:
        """Whether the day is a holiday, or cannot be known not to be one."""
        if on > self.reviewed_until or on in self.extra:
            return True
        return self.region is not None and on in _days_of(self.region, on.year)


@dataclass(frozen=True, slots=True)
class Calendars:
    """Several calendars at once: a day is a holiday when it is one in any of them."""

    calendars: tuple[HolidayCalendar, ...]

    def is_holiday(self, on: date) -> bool:
        return any(calendar.is_holiday(on) for calendar in self.calendars)


def read_calendar(table: Table) -> tuple[HolidayCalendar, bool]:
    """The calendar of a pack, and whether it also takes those of the packs beside it."""
    region = table.optional_text("holidays")
    reviewed = table.day("holidays_reviewed_until")
    extra = frozenset(table.days("extra_holidays"))
    if region in (None, OF_ALL_PACKS):
        return HolidayCalendar(None, reviewed, extra), region == OF_ALL_PACKS
    assert_known(table, str(region), reviewed)
    return HolidayCalendar(region, reviewed, extra), False


def assert_known(table: Table, region: str, reviewed: date) -> None:
    """Raise PackError unless the library has this region and all years to the reviewed day."""
    country, _, part = region.partition("-")
    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise table.error("holidays", f"the holidays library has no country {country!r}; use an ISO code such as CN")
    if part and part not in known[country]:
        raise table.error("holidays", f"the holidays library has no part {part!r} of {country}; use the country alone")
    if reviewed.year > _end_year(region):
        raise table.error("holidays_reviewed_until", f"the holidays library ends in {_end_year(region)}")


def _end_year(region: str) -> int:
    country, _, part = region.partition("-")
    return int(holidays.country_holidays(country, subdiv=part or None).end_year)


@lru_cache(maxsize=4096)
def _days_of(region: str, year: int) -> frozenset[date]:
    """All public holidays of a year; every day of a year that the library does not cover."""
    country, _, part = region.partition("-")
    found = holidays.country_holidays(country, subdiv=part or None, years=year)
    if not found.start_year <= year <= found.end_year:
        return frozenset(_all_days(year))
    return frozenset(found)


def _all_days(year: int) -> Iterable[date]:
    first = date(year, 1, 1).toordinal()
    return (date.fromordinal(first + n) for n in range(date(year, 12, 31).toordinal() - first + 1))
