"""What a lender may offer, and the dates that its contracts name: only those that are true of all debts and to come."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.lender import Lender, OfferTerms
from domain.purpose import Actor

LENDER = Lender(
    id="northbank", brand={"en": "Northbank"}, actor=Actor.CREDITOR, licence="hk", creditor_group="northbank",
    sms_sender="68102", email_sender="notice@northbank.example", help_phone="0800 0100", help_hours={"en": "9-17"},
    pay_url="https://northbank.example/pay", help_url="https://northbank.example/help", ladders=(),
    offers=(OfferTerms("plan", last_day=60, min_minor=500_00), OfferTerms("pause", last_day=30, max_minor=9000_00)),
    deadline_day=45, report_day=60,
)  # fmt: skip


@pytest.mark.parametrize(
    ("debts", "offered"),
    [
        ([(10, 1000_00)], ("plan", "pause")),
        ([(60, 500_00)], ("plan",)),
        ([(61, 1000_00)], ()),
        ([(30, 499_99)], ("pause",)),
        ([(30, 9000_00)], ("plan",)),
        ([(10, 1000_00), (31, 1000_00)], ("plan",)),
        ([(10, 100_00), (31, 1000_00)], ()),
    ],
)
def test_only_what_every_debt_may_have_is_offered(debts: list[tuple[int, int]], offered: tuple[str, ...]) -> None:
    assert LENDER.offers_for(debts) == offered


def test_a_lender_that_says_nothing_offers_nothing_and_names_no_date() -> None:
    silent = replace(LENDER, offers=(), deadline_day=None, report_day=None)
    due = date(2026, 7, 3)

    assert silent.offers_for([(1, 100)]) == ()
    assert silent.deadline_on([due], due) is None
    assert silent.report_on([due], due) is None


days = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(st.lists(days, min_size=1, max_size=5), days)
def test_a_date_that_is_named_is_the_next_one_that_is_true(due_dates: list[date], on: date) -> None:
    named = LENDER.deadline_on(due_dates, on)

    true_ones = [due + timedelta(days=45) for due in due_dates]
    assert named is None or (named in true_ones and named >= on)
    assert all(at < on or (named is not None and named <= at) for at in true_ones)
