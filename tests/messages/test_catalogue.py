"""The catalogue renders what the editors wrote, for the customer's language, and refuses what it cannot trust."""

import re
from datetime import date
from html.parser import HTMLParser

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.channel import Channel
from messages import clean, samples
from messages.catalogue import Catalogue, CopyError
from messages.facts import Debt, Facts
from tests.messages.copies import shipped, with_sms

CATALOGUE = Catalogue.from_files(shipped())

LADDER_ASKS_FOR = {
    "upcoming": {"email", "push", "sms"},
    "due_today": {"push", "sms", "email"},
    "first_notice": {"sms", "email", "push"},
    "gentle_follow_up": {"email", "sms"},
    "options": {"email", "sms"},
    "talk": {"call"},
    "formal_letter": {"email", "letter"},
    "specialist": {"call"},
}


def facts(**changes: object) -> Facts:
    return replace(samples.ordinary(CATALOGUE.messages["first_notice"], "en"), **changes)


def test_every_message_that_a_ladder_names_has_copy_in_three_languages() -> None:
    have = {(name, str(channel), locale) for name, channel, locale in CATALOGUE.templates}

    assert have == {
        (name, channel, locale)
        for name, channels in LADDER_ASKS_FOR.items()
        for channel in channels
        for locale in ("en", "zh-Hans", "zh-Hant")
    }


def test_an_sms_says_who_what_when_and_what_to_do() -> None:
    text = CATALOGUE.render("first_notice", Channel.SMS, "en", facts()).text

    assert text == (
        "Hi Ana Silva, this is Northbank. As of 6 July, your card payment of EUR 84.20, due on 4 July, has not come in."
        " To pay: northbank.example/pay. Money tight? Reply PLAN or call 0800 0100 (Mon-Fri 9-17) to move"
        " the date or split it. Paid? Nothing to do. Not yours? Tell us. Reply STOP to end texts."
    )


def test_several_debts_are_one_message_with_their_total_and_each_one() -> None:
    debts = (
        Debt("4821", "card", 8420, "EUR", date(2026, 7, 4)),
        Debt("07", "loan", 100_000, "EUR", date(2026, 6, 30)),
    )

    sms = CATALOGUE.render("first_notice", Channel.SMS, "en", facts(debts=debts)).text
    mail = CATALOGUE.render("first_notice", Channel.EMAIL, "en", facts(debts=debts)).text

    assert "2 payments (EUR 1,084.20) have not come in; the first was due on 30 June" in sms
    assert (
        "- card (ends 4821): EUR 84.20, due on 4 July 2026\n- loan (ends 07): EUR 1,000.00, due on 30 June 2026" in mail
    )


def test_the_null_channel_carries_the_sms() -> None:
    null = CATALOGUE.render("first_notice", Channel.NULL, "en", facts())

    assert null.channel is Channel.NULL
    assert null.text == CATALOGUE.render("first_notice", Channel.SMS, "en", facts()).text
    assert CATALOGUE.locale_for("first_notice", Channel.NULL, "zh-TW") == "zh-Hant"


@pytest.mark.parametrize(
    ("wanted", "given_locale"),
    [("en-IE", "en"), ("zh-HK", "zh-Hant"), ("zh-CN", "zh-Hans"), ("zh-Hant", "zh-Hant"), ("fr", None), ("", None)],
)
def test_nobody_is_sent_a_language_they_do_not_read(wanted: str, given_locale: str | None) -> None:
    assert CATALOGUE.locale_for("first_notice", Channel.SMS, wanted) == given_locale


def test_a_locale_of_its_own_comes_before_the_one_it_falls_back_to() -> None:
    table = """
[locales.zh-HK]
name = "香港"
joins_lines_with = ""
date = "M月d日"
date_with_year = "y年M月d日"
money = "¤¤ #,##0.00"
products = { other = "賬單" }
"""
    hong_kong = {
        "_shared/locales.toml": shipped()["_shared/locales.toml"] + table,
        "first_notice/push.zh-HK.txt": "---\nsubject: {{ brand }}\n---\n您有一則新訊息。",
    }

    catalogue = Catalogue.from_files(shipped(**hong_kong))

    assert catalogue.locale_for("first_notice", Channel.PUSH, "zh-HK") == "zh-HK"
    assert catalogue.locale_for("first_notice", Channel.SMS, "zh-HK") == "zh-Hant"


def test_copy_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(CopyError, match=r"upcoming/call\.en: there is no such copy"):
        CATALOGUE.render("upcoming", Channel.CALL, "en", facts())


def test_a_push_says_nothing_of_what_it_is_about() -> None:
    for (name, channel, locale), _ in CATALOGUE.templates.items():
        if channel is Channel.PUSH:
            made = CATALOGUE.render(name, channel, locale, facts())

            assert made.subject == "Northbank"
            assert not re.search(r"\d|EUR|Ana", made.text)


def test_sealed_facts_show_the_exact_text_again() -> None:
    for (name, channel, locale), _ in CATALOGUE.templates.items():
        told = samples.branches(CATALOGUE.messages[name], locale)[1].facts

        again = Facts.from_json(told.to_json())

        assert CATALOGUE.render(name, channel, locale, again) == CATALOGUE.render(name, channel, locale, told)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(f"{tag} {attrs}")
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


TO_TRY = (("formal_letter", Channel.EMAIL), ("formal_letter", Channel.LETTER), ("first_notice", Channel.SMS))
NASTY = st.text(st.sampled_from("Ab王é <>&\"'{}%[]()\n\r./:@#$_*\\\u202e\u200b😀7"), max_size=60)


@settings(max_examples=150)
@given(name=NASTY, brand=NASTY, hours=NASTY, product=NASTY)
def test_no_value_can_bring_in_markup_a_link_a_line_or_template_code(
    name: str, brand: str, hours: str, product: str
) -> None:
    one = facts().debts[0]
    plain = facts(debts=(one, one))
    both = (replace(one, product=product),) * 2
    told = facts(customer_name=name, brand=brand, help_hours=hours, debts=both)

    for message, channel in TO_TRY:
        try:
            made = CATALOGUE.render(message, channel, "en", told)
        except CopyError:  # only because nothing of the brand or the hours could be shown
            event("refused")
            assert not all(any(c.isalnum() for c in clean.line(raw)) for raw in (brand, hours))
            return
        same = CATALOGUE.render(message, channel, "en", plain)

        assert made.text.count("\n") == same.text.count("\n")
        assert not set("<>{}") & set(made.text)
        assert made.subject is None or "\n" not in made.subject
        assert Tags(made.html or "").seen == Tags(same.html or "").seen
        assert not Tags(made.html or "").open


def test_what_is_no_markup_is_shown_as_it_is_written() -> None:
    words = shipped()["first_notice/email.en.txt"].replace("It is easy to miss a date", "2 < 3 & so on")
    catalogue = Catalogue.from_files(shipped(**{"first_notice/email.en.txt": words}))

    made = catalogue.render("first_notice", Channel.EMAIL, "en", facts(brand="Smith & Sons"))

    assert "This is Smith & Sons" in made.text
    assert "This is Smith &amp; Sons" in (made.html or "")
    assert "2 &lt; 3 &amp; so on" in (made.html or "")
    assert made.subject == "A note from Smith & Sons: something may have slipped by"


def test_a_link_is_short_in_an_sms_and_live_in_a_page() -> None:
    told = facts(pay_url="https://pay.northbank.example/me?a=1&b=2")

    sms = CATALOGUE.render("first_notice", Channel.SMS, "en", told)
    mail = CATALOGUE.render("first_notice", Channel.EMAIL, "en", told)

    assert "To pay: pay.northbank.example/me?a=1&b=2." in sms.text
    assert "at https://pay.northbank.example/me?a=1&b=2." in mail.text
    assert '<a href="https://pay.northbank.example/me?a=1&amp;b=2">' in (mail.html or "")


def test_every_page_is_whole_for_every_sample() -> None:
    for (name, channel, locale), _ in CATALOGUE.templates.items():
        for sample in samples.all_samples(CATALOGUE.messages[name], locale):
            page = CATALOGUE.render(name, channel, locale, sample.facts).html
            assert page is None or (not Tags(page).open and "<p></p>" not in page), (name, locale, sample.title)


def test_a_lenders_line_that_threatens_stops_the_message_and_is_not_repeated() -> None:
    with pytest.raises(CopyError, match=r"options/sms\.en\.txt: says what is never sent: threat of law") as caught:
        CATALOGUE.render("options", Channel.SMS, "en", facts(help_hours="or we will sue"))

    assert "sue" not in str(caught.value)


def test_a_customer_whose_name_is_a_word_of_law_is_still_written_to() -> None:
    fresh = Catalogue.from_files(with_sms(shipped()["first_notice/sms.en.txt"]))
    told = facts(customer_name="Sheriff Court", brand="Another Bank")

    assert "Sheriff Court" in fresh.render("first_notice", Channel.SMS, "en", told).text


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"pay_url": "javascript:alert(1)"}, "https"), ({"help_phone": "call me"}, "telephone")],
)
def test_a_lender_without_an_official_way_sends_nothing(changes: dict[str, object], says: str) -> None:
    with pytest.raises(CopyError, match=says):
        CATALOGUE.render("first_notice", Channel.SMS, "en", facts(**changes))


@pytest.mark.parametrize(
    ("sms", "says"),
    [
        ("Hi {{ nmae }}", r"sms\.en\.txt:1: unknown field 'nmae'. Did you mean 'name'"),
        ("Hi\n\n{{ name", r"sms\.en\.txt:3: template syntax"),
        ("{% if several %}x", "template syntax.*Close what was opened"),
        ("{% for i in range(10**9) %}x{% endfor %}", "a loop may only go over debts"),
        ("{% for d in debts %}{% for e in debts %}x{% endfor %}{% endfor %}", "once"),
        ("{% for d in debts %}{{ d.__class__ }}{% endfor %}", "d has no field '__class__'"),
        ("{% for d in debts %}{{ d }}{% endfor %}", "whole entry"),
        ("{{ name.__class__ }}", "cannot be asked for"),
        ("{{ name|upper }}", "the filter 'upper' cannot be used"),
        ("{{ 'a' * 10**9 }}", "mul cannot be used"),
        ("{{ lipsum() }}", r"lipsum\(\) cannot be used"),
        ("{% set x = 1 %}", "assign cannot be used"),
        ("{% macro x() %}{% endmacro %}", "macro cannot be used"),
        ("{% include name %}", "must name its file"),
        ('{% include "../../etc/passwd" %}', "no shared words"),
        ('{% include "nowhere" %}', "no shared words 'nowhere'"),
        ("{{ debts }}", "not a text to show"),
        ("{% if amount == 'x' %}y{% endif %}", "only count and days_past_due"),
        ("{{ ref }}", "message.toml does not declare"),
        ("{{ " + "(" * 5000, "template syntax|nested too deeply"),
        ("x" * 70_000, "larger than 64 KB"),
        ("x" * 700, "longer than sms may be"),
        ("   \n", "is empty"),
        ("---\nsubject: x\n---\nHi", "sms copy has no front matter"),
        ("Hi\x00", r"invisible character U\+0000"),
        ("H\u200bi", r"invisible character U\+200B"),
    ],
)
def test_a_broken_template_is_refused_with_its_place_and_a_remedy(sms: str, says: str) -> None:
    with pytest.raises(CopyError, match=says):
        Catalogue.from_files(with_sms(sms))


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("first_notice/sns.en.txt", "x", "unknown channel 'sns'. Did you mean 'sms'"),
        ("first_notice/sms.en.html", "x", "cannot end in .html"),
        ("first_notice/sms.tlh.txt", "x", "unknown locale 'tlh'"),
        ("first_notice/notes.txt", "x", "not named like"),
        ("stray.txt", "x", "not named like"),
        ("lost/sms.en.txt", "x", r"lost/message\.toml: is missing"),
        ("first_notice/email.en.txt", "Hello", "has no subject"),
        ("first_notice/email.en.txt", "---\nsubject: x\nHello", "not closed"),
        ("first_notice/email.en.txt", "---\nsubjet: x\n---\nHello", r"email\.en\.txt:2: .*Did you mean 'subject'"),
        ("first_notice/email.en.txt", "---\nsubject: x\n---\n", "no words"),
        ("first_notice/message.toml", "stage = 'initial'", "purpose is missing"),
        ("first_notice/message.toml", "purpose = 'reminder'\nstage = 'inital'", r"toml:2: .*Did you mean 'initial'"),
        ("first_notice/message.toml", "purpose = @", r"message\.toml:1: not TOML"),
        ("_shared/email.html", "<p>{{ words }}</p>", "is not a layout"),
        ("_shared/pay.sms.en.txt", "Pay \u202ehere", r"pay\.sms\.en\.txt:1: holds the invisible character U\+202E"),
        ("_shared/pay.sms.en.txt", "x" * 5_000_000, r"pay\.sms\.en\.txt: is larger than 64 KB"),
        ("first_notice/message.toml", "#" * 5_000_000, r"message\.toml: is larger than 64 KB"),
        ("_shared/locales.toml", "[fall_back]", "no table"),
        ("_shared/pay.sms.en.txt", '{% include "pay" %}', "in circles"),
        ("_shared/pay.sms.en.txt", "\n{{ amout }}", r"pay\.sms\.en\.txt:2: unknown field 'amout'"),
    ],
)
def test_a_folder_that_is_not_right_is_refused_with_its_place(path: str, text: str, says: str) -> None:
    with pytest.raises(CopyError, match=says):
        Catalogue.from_files(shipped(**{path: text}))


def test_a_missing_table_of_locales_is_refused() -> None:
    files = shipped()
    del files["_shared/locales.toml"]

    with pytest.raises(CopyError, match="is missing"):
        Catalogue.from_files(files)
