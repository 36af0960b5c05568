"""Money and dates come out exactly as babel writes them, and nobody is sent a language they did not ask for."""

from datetime import date
from pathlib import Path

import pytest
from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency
from hypothesis import given
from hypothesis import strategies as st

from domain.money import EXPONENTS, MAX_MINOR
from messages import locales
from messages.fault import CopyError

SHIPPED = (Path(__file__).parents[2] / "templates" / "_shared" / "locales.toml").read_text(encoding="utf-8")
KNOWN = locales.read(SHIPPED)

amounts = st.integers(1, MAX_MINOR) | st.integers(1, 10**6)
currencies = st.sampled_from(sorted(EXPONENTS))


@pytest.mark.parametrize("tag", ["en", "zh-Hans", "zh-Hant", "de", "fr", "pl", "de-CH"])
@given(minor=amounts, currency=currencies)
def test_the_general_money_pattern_writes_what_babel_writes(tag: str, minor: int, currency: str) -> None:
    at = Locale.parse(tag, sep="-")
    pattern = "¤¤ #,##0.00"

    ours = locales.money_formatter(pattern, currency, at, own=False)(minor)

    assert ours == format_currency(locales.major(minor, currency), currency, format=pattern, locale=at)


@pytest.mark.parametrize(
    ("tag", "currency", "pattern"),
    [
        ("en", "GBP", "¤#,##0.00"),
        ("zh-Hans", "CNY", "#,##0.00元"),
        ("zh-Hant", "TWD", "新臺幣#,##0.##元"),
        ("en", "JPY", "¤#,##0"),
        ("de", "EUR", "#,##0.00 ¤"),
        ("en", "KWD", "¤¤ #,##0.0##"),
    ],
)
@given(minor=amounts)
def test_a_currencys_own_pattern_writes_what_babel_writes(tag: str, currency: str, pattern: str, minor: int) -> None:
    at = Locale.parse(tag, sep="-")

    ours = locales.money_formatter(pattern, currency, at, own=True)(minor)

    major = locales.major(minor, currency)
    assert ours == format_currency(major, currency, format=pattern, locale=at, currency_digits=False)


@given(minor=amounts, currency=currencies, tag=st.sampled_from(sorted(KNOWN.words)))
def test_no_amount_is_ever_rounded(minor: int, currency: str, tag: str) -> None:
    written = KNOWN.words[tag].amount(minor, currency)

    number = "".join(c for c in written if c.isdigit() or c == ".")
    whole, _, rest = number.partition(".")
    assert int(whole) * 10 ** EXPONENTS[currency] + int(rest.ljust(EXPONENTS[currency], "0") or 0) == minor


@given(day=st.dates(date(1990, 1, 1), date(2100, 1, 1)), today=st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_a_date_is_written_as_babel_writes_it_with_its_year_unless_it_is_this_one(day: date, today: date) -> None:
    for words in KNOWN.words.values():
        pattern = words.day_pattern if day.year == today.year else words.day_pattern_with_year

        assert words.day(day, year_of=today) == format_date(day, pattern, locale=words.babel)
        assert words.day(day, year_of=None) == format_date(day, words.day_pattern_with_year, locale=words.babel)


@pytest.mark.parametrize(
    ("wanted", "chain"),
    [
        ("en", ("en",)),
        ("en-GB", ("en-GB", "en")),
        ("en_us", ("en-US", "en")),
        ("zh-HK", ("zh-HK", "zh-Hant")),
        ("zh_TW", ("zh-TW", "zh-Hant")),
        ("zh-hant-hk", ("zh-Hant-HK", "zh-Hant")),
        ("zh", ("zh", "zh-Hans")),
        ("zh-Hans-CN", ("zh-Hans-CN", "zh-Hans")),
        ("zh-Hant", ("zh-Hant",)),
        ("zh-XX", ("zh-XX",)),
        ("es", ("es",)),
        ("", ("",)),
    ],
)
def test_a_locale_falls_back_only_as_declared(wanted: str, chain: tuple[str, ...]) -> None:
    assert KNOWN.chain(wanted) == chain


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"zh-HK" = ["zh-Hant"]', '"zh-HK" = ["en"]', "another language"),
        ('"zh-HK" = ["zh-Hant"]', '"zh-HK" = ["zh-Tant"]', "unknown locale"),
        ("[locales.en]\n", "[locales.tlh]\n", "babel"),
        ('money = "¤¤ #,##0.00"           #', 'money = "0.##E0"  #', "not plain"),
        ('GBP = "¤#,##0.00"', 'GBP = "¤#,##0"', "would round GBP"),
        ('date = "d MMMM"', 'date = "%%"', "no date pattern"),
        ('other = "account"', "", "lacks 'other'"),
        ("[fall_back]", "[fall_back", "not TOML"),
    ],
)
def test_a_broken_table_of_locales_says_what_is_wrong(old: str, new: str, says: str) -> None:
    assert old in SHIPPED
    with pytest.raises(CopyError, match=says):
        locales.read(SHIPPED.replace(old, new, 1))
