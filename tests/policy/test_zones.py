"""Zones of numbers: what the library knows, and what the table of split area codes adds."""

import pytest

from domain.days import is_zone
from policy.zones import SPLIT, country_of_number, zones_of_number


@pytest.mark.parametrize(
    ("number", "zones"),
    [
        ("+886912345678", ("Asia/Taipei",)),
        ("+18504335555", ("America/Chicago", "America/New_York")),
        ("+12705550100", ("America/Chicago", "America/New_York")),
        ("+12195550100", ("America/Chicago", "America/New_York")),
        ("+62812345678", ("Asia/Jakarta", "Asia/Jayapura", "Asia/Makassar")),
        ("+869912345678", ("Asia/Shanghai", "Asia/Urumqi")),
        ("+8613800000000", ("Asia/Shanghai",)),
    ],
)
def test_a_number_names_every_zone_it_may_be_in(number: str, zones: tuple[str, ...]) -> None:
    assert zones_of_number(number) == zones


def test_an_australian_mobile_and_a_toll_free_number_are_nowhere_in_particular() -> None:
    assert len(zones_of_number("+61412345678")) == 8
    assert len(zones_of_number("+18005550100")) > 40


@pytest.mark.parametrize("text", ["", "not a number", "0912345678", "+999", "+"])
def test_what_is_no_number_has_no_zone_and_no_country(text: str) -> None:
    assert zones_of_number(text) == ()
    assert country_of_number(text) is None


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+886912345678", "TW"),
        ("+12125550100", "US"),
        ("+14165550100", "CA"),
        ("+447400123456", "GB"),
        ("+80012345678", None),
    ],
)
def test_a_number_tells_its_country(number: str, country: str | None) -> None:
    assert country_of_number(number) == country


def test_every_zone_of_the_table_exists() -> None:
    assert all(is_zone(zone) for zones in SPLIT.values() for zone in zones)
