"""Facts survive JSON whole, and facts that no message may be made of are refused."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.money import EXPONENTS, MAX_MINOR
from messages.facts import MAX_DEBTS, BadFacts, Debt, Facts

days = st.dates(date(2000, 1, 1), date(2100, 1, 1))
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    currency = draw(st.sampled_from(sorted(EXPONENTS)))
    debt = st.builds(
        Debt,
        ref=st.text("0123456789AB", max_size=4),
        product=words,
        balance_minor=st.integers(1, MAX_MINOR),
        currency=st.just(currency),
        due_on=days,
    )
    return Facts(
        customer_name=draw(words),
        brand=draw(words),
        debts=tuple(draw(st.lists(debt, min_size=1, max_size=4))),
        days_past_due=draw(st.integers(-30, 4000)),
        as_of=draw(days),
        help_phone=draw(words),
        help_hours=draw(words),
        pay_url=draw(words),
        help_url=draw(words),
        opt_out=draw(st.booleans()),
        offers=tuple(draw(st.lists(st.sampled_from(["plan", "pause"]), max_size=2))),
        deadline_on=draw(st.none() | days),
        report_on=draw(st.none() | days),
    )


@given(facts())
def test_facts_come_back_from_json_as_they_were(made: Facts) -> None:
    assert Facts.from_json(made.to_json()) == made


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"debts": [{}]}', b'{"debts": []}'])
def test_json_that_is_not_facts_is_refused_without_a_trace(data: bytes) -> None:
    with pytest.raises(BadFacts):
        Facts.from_json(data)


def a_debt(**changes: object) -> Debt:
    return replace(Debt("4821", "card", 8420, "EUR", date(2026, 7, 3)), **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ref": "12345"}, "last 4"),
        ({"balance_minor": 0}, "above zero"),
        ({"balance_minor": -1}, "above zero"),
        ({"balance_minor": MAX_MINOR + 1}, "above zero"),
        ({"currency": "XXX"}, "currency"),
    ],
)
def test_a_debt_that_no_reminder_may_name_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(BadFacts, match=says):
        a_debt(**changes)


@pytest.mark.parametrize("debts", [(), (a_debt(),) * (MAX_DEBTS + 1), (a_debt(), a_debt(currency="USD"))])
def test_one_message_covers_a_few_debts_of_one_currency(debts: tuple[Debt, ...]) -> None:
    with pytest.raises(BadFacts):
        Facts("Ana", "Northbank", debts, 3, date(2026, 7, 6), "0800", "9-17", "a.example", "b.example")


def test_the_total_and_the_first_due_date_are_over_all_debts() -> None:
    both = (a_debt(balance_minor=1), a_debt(balance_minor=2, due_on=date(2026, 7, 1)))

    made = Facts("Ana", "Northbank", both, 3, date(2026, 7, 6), "0800", "9-17", "a.example", "b.example")

    assert (made.total_minor, made.due_on) == (3, date(2026, 7, 1))
