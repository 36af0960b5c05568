"""Local days as instants: bounds, wall-clock times that a clock skips or repeats, business days. All results are UTC.

Calendar arithmetic happens on dates, comparisons on instants: two aware datetimes of one zone compare by their wall
clock (PEP 495), which is an hour wrong in the night the clocks go back.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)


class UnknownZone(ValueError):
    """A zone name that the time-zone database does not have."""


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """The IANA zone of that name; raises UnknownZone, also for paths and empty names."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as unknown:
        raise UnknownZone(f"unknown time zone {name!r}: use an IANA name such as Asia/Taipei") from unknown


def is_zone(name: str) -> bool:
    try:
        zone_named(name)
    except UnknownZone:
        return False
    return True


@lru_cache(maxsize=4096)
def day_start(on: date, zone: str) -> datetime:
    """The first instant of a local day; where the clock skips midnight, the first that exists.

    A date that a zone never had (Apia, 2011-12-30) starts when the next day does: it has no length.
    """
    return first_instant(on, time.min, zone)


@lru_cache(maxsize=4096)
def local_day(at: datetime, zone: str) -> date:
    """The local day that an instant belongs to: the last day that has started.

    It differs from the wall clock's date only where clocks are put back across midnight: a day never starts twice.
    """
    on = at.astimezone(zone_named(zone)).date()
    if day_start(on + ONE_DAY, zone) <= at:
        return on + ONE_DAY
    return on


def first_instant(on: date, at: time, zone: str) -> datetime:
    """The first instant at which the local clock shows this time or, in a gap, a later one."""
    return _instant(on, at, zone, fold=0)


def last_instant(on: date, at: time, zone: str) -> datetime:
    """The last instant at which the local clock shows this time; in a gap the same as `first_instant`."""
    return _instant(on, at, zone, fold=1)


def _instant(on: date, at: time, zone: str, *, fold: int) -> datetime:
    tz = zone_named(zone)
    wall = datetime.combine(on, at)
    instant = wall.replace(tzinfo=tz, fold=fold).astimezone(UTC)
    if instant.astimezone(tz).replace(tzinfo=None) == wall:
        return instant
    return _end_of_gap(wall, tz)


def _end_of_gap(wall: datetime, tz: ZoneInfo) -> datetime:
    """The instant at which the clock jumps over `wall`, to the second, found between the two readings of `wall`."""
    before = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)  # read with the later offset: still before the jump
    after = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)  # read with the earlier offset: after the jump
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        if middle.astimezone(tz).replace(tzinfo=None) >= wall:
            after = middle
        else:
            before = middle
    return after


def next_business_day(on: date, is_holiday: Callable[[date], bool]) -> date:
    """The first day after `on` that is neither a weekend nor a holiday."""
    following = on + ONE_DAY
    while following.weekday() >= 5 or is_holiday(following):
        following += ONE_DAY
    return following
