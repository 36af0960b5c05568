"""How long packs ask that the ledger be kept: the longest need of any that may bind, and maxima that are told."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from config.lenders import load_lenders
from domain.lender import Lender
from domain.purpose import Actor
from policy.keeping import bounds
from policy.packs import PackBook
from tests.builders import the_bundle
from tests.policy.worlds import a_book, a_pack, a_rule, the_book

LENDERS = load_lenders(the_bundle().under("lenders"))
LANTERN = LENDERS["lantern"]

HERE = 'regions = ["AA"]\n'


def keep(rule: str, body: str) -> str:
    return a_rule(rule, "retention", f'record = "log"\ntext = "Keep."\n{body}')


def asked(book: PackBook, lender: Lender = LANTERN) -> tuple[int, str] | None:
    least = bounds(book, [lender]).least
    return None if least is None else (least.days, least.rule)


def test_the_packs_that_come_with_duly_ask_for_five_years() -> None:
    found = bounds(the_book(), LENDERS.values())

    assert found.least is not None
    assert (found.least.days, found.least.rule) == (1827, "cn.retention.consumer_finance")
    assert found.least.what == "asks that consumer_finance_collection be kept for 1827 days"
    assert [(most.days, most.rule) for most in found.most] == [(183, "gr.retention")]


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=5), st.lists(st.integers(4001, 9000), max_size=5))
def test_the_longest_minimum_and_the_shortest_maximum_hold(minima: list[int], maxima: list[int]) -> None:
    rules = "".join(keep(f"xa.least{n}", f"min_days = {days}") for n, days in enumerate(minima))
    rules += "".join(keep(f"xa.most{n}", f"max_days = {days}") for n, days in enumerate(maxima))

    found = bounds(a_book(xa=HERE + rules), [LANTERN])

    assert found.least is not None
    assert found.least.days == max(minima)
    assert [most.days for most in found.most] == ([min(maxima)] if maxima else [])


def test_what_the_judge_looks_back_for_is_needed_with_a_day_for_time_zones() -> None:
    wait = a_rule("xa.wait", "wait", 'after = "conversation"\nsubject = "person"\ndays = 500')
    notice = a_rule("xa.notice", "notice", 'by = ["letter"]\nwithin_days = 600')
    hours = a_rule("xa.hours", "wait", 'after = "conversation"\nsubject = "person"\nhours = 12001')

    assert asked(a_book(xa=HERE + wait)) == (503, "xa.wait")
    assert asked(a_book(xa=HERE + wait + notice)) == (601, "xa.notice")
    assert asked(a_book(xa=HERE + hours)) == (502, "xa.hours"), "500 days and an hour"


def test_a_pack_that_nobody_can_come_under_does_not_count() -> None:
    alone = keep("xa.keep", "min_days = 900")

    assert asked(a_book(xa=alone)) is None
    assert asked(a_book(xa=HERE + alone)) == (900, "xa.keep")
    assert asked(a_book(xa=alone), replace(LANTERN, licence="xa")) == (900, "xa.keep")
    family = PackBook.from_files(
        {
            "xa.toml": a_pack("xa", alone),
            "xb.toml": a_pack("xb", keep("xb.keep", "min_days = 3"), heading=HERE + 'extends = ["xa"]'),
        }
    )
    assert asked(family) == (900, "xa.keep")


def test_a_rule_for_agencies_does_not_bind_a_creditor() -> None:
    book = a_book(xa=HERE + keep("xa.keep", 'min_days = 900\napplies_to = ["agency"]'))

    assert asked(book) is None
    assert asked(book, replace(LANTERN, actor=Actor.AGENCY)) == (900, "xa.keep")
