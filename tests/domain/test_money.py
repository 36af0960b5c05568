"""Money as files write it, exactly or not at all."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import EXPONENTS, MAX_MINOR, BadMoney, Money, parse_major


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(-MAX_MINOR, MAX_MINOR), st.sampled_from(["f", "E", ","]))
def test_every_amount_is_read_back_however_it_is_written(currency: str, minor: int, style: str):
    major = Money(minor, currency).major
    text = f"{major:,f}" if style == "," else f"{major:{style}}"

    assert parse_major(text, currency) == Money(minor, currency)


@given(st.text())
def test_any_text_is_an_exact_amount_or_none(text: str):
    try:
        money = parse_major(text, "TWD")
    except BadMoney:
        return
    assert money.major == Decimal(text.strip().replace(",", ""))


@pytest.mark.parametrize("text", ["1.234", "nan", "inf", "1e400", "", "12 coins", "0x10"])
def test_what_cannot_be_carried_exactly_is_refused_without_repeating_it(text: str):
    with pytest.raises(BadMoney, match=r"^(not an amount( that fits)?|finer than the smallest unit of TWD)$"):
        parse_major(text, "TWD")


def test_two_currencies_do_not_add_up():
    with pytest.raises(BadMoney, match="cannot add TWD to USD"):
        Money(1, "USD") + Money(1, "TWD")
