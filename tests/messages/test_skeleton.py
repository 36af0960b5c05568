"""A text that is filled into its skeleton says exactly what the full rendering says."""

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from messages import samples
from messages.catalogue import Catalogue, Key
from messages.facts import Debt, Facts
from messages.fault import CopyError
from messages.skeleton import piece_of
from tests.messages.copies import shipped

CATALOGUE = Catalogue.from_files(shipped())

NAMES = st.one_of(
    st.sampled_from(["Ana Silva", "王芳", "José Pérez", "", "100% <b>Ana</b>", "%s {{ name }}", "O'Neil & Sons", "  "]),
    st.text(max_size=60),
)
DAYS = st.dates(date(2025, 12, 1), date(2026, 3, 31))
DEBTS = st.builds(
    Debt,
    st.text("0123456789ABC-%", max_size=4),
    st.sampled_from(["card", "loan", "", "mystery"]),
    st.one_of(st.integers(1, 10**7), st.sampled_from([1, 100, 10**12])),
    st.just("TWD"),
    DAYS,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Key, Facts, Facts]:
    """A piece of copy, and two customers who may share its shape."""
    key = draw(st.sampled_from(sorted(CATALOGUE.templates)))
    one = samples.ordinary(CATALOGUE.messages[key[0]], key[2])
    first = structs.replace(
        one,
        customer_name=draw(NAMES),
        debts=tuple(draw(st.lists(DEBTS, min_size=1, max_size=3))),
        days_past_due=draw(st.integers(-3, 70)),
        as_of=draw(DAYS),
        opt_out=draw(st.booleans()),
        offers=draw(st.sampled_from([(), ("plan",), ("plan", "pause")])),
    )
    other = draw(DEBTS)
    second = structs.replace(
        first,
        customer_name=draw(NAMES),
        debts=tuple(
            structs.replace(
                debt, ref=other.ref, balance_minor=other.balance_minor, due_on=debt.due_on - timedelta(days=1)
            )
            for debt in first.debts
        ),
    )
    return key, first, second


def said(catalogue: Catalogue, key: Key, facts: Facts) -> object:
    message, channel, locale = key
    try:
        return catalogue.render(message, channel, locale, facts)
    except CopyError as error:
        return str(error)


def in_full(key: Key, facts: Facts) -> object:
    """By a copy of the template that remembers nothing."""
    return said(Catalogue(CATALOGUE.messages, {key: replace(CATALOGUE.templates[key])}, CATALOGUE.locales), key, facts)


@settings(max_examples=200)
@given(case=cases())
def test_what_is_filled_in_is_what_is_rendered(case: tuple[Key, Facts, Facts]) -> None:
    key, first, second = case

    once, again, other = said(CATALOGUE, key, first), said(CATALOGUE, key, first), said(CATALOGUE, key, second)

    assert once == again == in_full(key, first)
    assert other == in_full(key, second)


def test_a_shape_is_rendered_in_full_once() -> None:
    for key, template in CATALOGUE.templates.items():
        fresh = replace(template)
        facts = samples.ordinary(CATALOGUE.messages[key[0]], key[2])
        fresh.render(facts, key[1])
        fresh.render(structs.replace(facts, customer_name="Somebody Else"), key[1])
        assert len(fresh._skeletons) == 1, key


@given(text=st.text("ab%s{}\n ", max_size=40))
def test_words_around_the_holes_stay_as_they_are(text: str) -> None:
    assert piece_of(text).fill(()) == text
