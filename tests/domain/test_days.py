"""Local days where clocks misbehave."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.days import (
    UnknownZone,
    day_start,
    first_instant,
    is_zone,
    last_instant,
    local_day,
    next_business_day,
    zone_named,
)

ZONES = ("America/Santiago", "Africa/Cairo", "America/Havana", "Atlantic/Azores", "Australia/Lord_Howe", "Asia/Taipei")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "on", "starts"),
    [
        ("Asia/Taipei", date(2026, 3, 2), "2026-03-01T16:00:00"),
        ("America/Santiago", date(2026, 9, 6), "2026-09-06T04:00:00"),  # midnight is skipped: the day starts at 01:00
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-23T22:00:00"),
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00:00"),  # midnight comes twice: the first one
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00"),  # the day that never was
        ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T10:00:00"),
    ],
)
def test_a_day_starts_at_its_first_existing_instant(zone: str, on: date, starts: str) -> None:
    assert day_start(on, zone) == utc(starts)


@settings(max_examples=300)
@given(st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)), st.sampled_from(ZONES))
def test_every_instant_lies_in_the_day_it_is_said_to(naive: datetime, zone: str) -> None:
    at = naive.replace(tzinfo=UTC)

    on = local_day(at, zone)

    assert day_start(on, zone) <= at < day_start(on + timedelta(days=1), zone)


def test_a_time_in_a_gap_is_the_moment_the_clock_jumps() -> None:
    on, zone = date(2026, 3, 8), "America/New_York"

    assert first_instant(on, time(2, 30), zone) == last_instant(on, time(2, 30), zone) == utc("2026-03-08T07:00:00")


def test_a_repeated_time_has_a_first_and_a_last_instant() -> None:
    on, zone = date(2026, 11, 1), "America/New_York"

    assert first_instant(on, time(1, 30), zone) == utc("2026-11-01T05:30:00")
    assert last_instant(on, time(1, 30), zone) == utc("2026-11-01T06:30:00")


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "Asia"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    assert not is_zone(name)
    with pytest.raises(UnknownZone, match="use an IANA name"):
        zone_named(name)


def test_the_next_business_day_skips_weekends_and_holidays() -> None:
    friday, holiday = date(2026, 3, 6), date(2026, 3, 9)

    assert next_business_day(friday, lambda on: on == holiday) == date(2026, 3, 10)
    assert zone_named("Asia/Taipei") == ZoneInfo("Asia/Taipei")
