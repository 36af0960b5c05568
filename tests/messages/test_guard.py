"""The last look before a text leaves: what data may not say for copy, and what a name may."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.channel import Channel
from messages import guard, samples
from messages.catalogue import Catalogue, CopyError
from messages.facts import Facts
from messages.phrases import CHINESE, ENGLISH, STOPPED_AT_SEND, Reason
from tests.messages.copies import only, shipped


def catalogue(message: str = "first_notice", **changes: str) -> Catalogue:
    """A fresh one: what was let pass before is not remembered."""
    return Catalogue.untried(only(message, **changes))


def facts(message: str = "first_notice", locale: str = "en", **changes: object) -> Facts:
    return replace(samples.ordinary(catalogue(message).messages[message], locale), **changes)


@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.PUSH])
def test_a_brand_that_gives_the_debt_away_in_plain_sight_is_stopped(channel: Channel) -> None:
    with pytest.raises(CopyError, match="debt fact in plain sight") as caught:
        catalogue().render("first_notice", channel, "en", facts(brand="Northbank Debt Collection"))

    assert "Northbank" not in str(caught.value)


def test_the_same_brand_may_stand_in_a_text_that_only_the_customer_opens() -> None:
    made = catalogue().render("first_notice", Channel.SMS, "en", facts(brand="Northbank Loans"))

    assert "Northbank Loans" in made.text


@pytest.mark.parametrize(
    ("name", "locale", "why"),
    [
        ("Mary Court", "en", ("threat of law",)),
        ("Warrant Officer Sheriff", "en", ("threat of law", "false authority")),
        ("立即", "zh-Hans", ("false urgency",)),
        ("Ana Silva", "en", ()),
        ("马小明", "zh-Hans", ()),
    ],
)
def test_a_hit_in_the_customers_own_name_is_a_warning_and_no_stop(name: str, locale: str, why: tuple[str, ...]) -> None:
    made = catalogue().render("first_notice", Channel.SMS, locale, facts(locale=locale, customer_name=name))

    assert name in made.text
    assert sorted(made.warnings) == sorted(why)


def test_a_name_that_warns_does_not_let_the_lenders_words_pass() -> None:
    with pytest.raises(CopyError, match="threat of law"):
        catalogue("options").render(
            "options", Channel.SMS, "en", facts("options", customer_name="Mary Court", help_hours="or go to court")
        )


def test_what_was_let_pass_once_is_not_let_pass_for_other_words() -> None:
    warm = catalogue("options")
    warm.render("options", Channel.SMS, "en", facts("options"))

    with pytest.raises(CopyError, match="threat of law"):
        warm.render("options", Channel.SMS, "en", facts("options", help_hours="or we will sue"))


def test_a_message_whose_required_fact_is_not_known_is_not_sent() -> None:
    """A date that the words rest on: no such date, no such message."""
    declared = only("formal_letter")["formal_letter/message.toml"]
    strict = declared.replace('required = ["brand"', 'required = ["report_on", "brand"')
    made = catalogue("formal_letter", **{"formal_letter/message.toml": strict})
    known = facts("formal_letter", report_on=date(2026, 8, 5))

    assert "5 August 2026" in made.render("formal_letter", Channel.EMAIL, "en", known).text
    with pytest.raises(CopyError, match="the required fact 'report_on' is not known"):
        made.render("formal_letter", Channel.EMAIL, "en", replace(known, report_on=None))


listed = st.sampled_from(sorted({phrase for reason in STOPPED_AT_SEND for phrase in ENGLISH.get(reason, ())}))


@given(
    listed, st.sampled_from(["{}", "We will: {}.", "{}!", "and ({}) now"]), st.sampled_from([str.upper, str.title, str])
)
def test_every_listed_phrase_is_caught_however_it_is_written(phrase: str, inside: str, written) -> None:  # type: ignore[no-untyped-def]
    assert guard.Guard().caught(inside.format(written(phrase))) is not None


plain_chinese = st.sampled_from(
    sorted(
        part
        for reason in STOPPED_AT_SEND
        for entry in CHINESE.get(reason, ())
        if "(" not in entry
        for part in entry.split("|")
    )
)


@given(plain_chinese, st.sampled_from(["", " ", "*", "\u200b", "·", "-", "　"]))
def test_a_listed_phrase_is_caught_with_signs_between_its_characters(phrase: str, sign: str) -> None:
    assert guard.Guard().caught(f"您好，{sign.join(phrase)}。") is not None


def test_nothing_shipped_reads_like_what_is_never_sent() -> None:
    for reason in (Reason.CROSS_SALE, *STOPPED_AT_SEND):
        for path, words in shipped().items():
            if not path.endswith(".toml"):
                assert not list(guard.hits(words, frozenset({reason}))), (path, reason)
