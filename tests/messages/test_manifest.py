"""message.toml declares what a message is; what it declares wrongly is refused with its line, what it gives is used."""

import re
from datetime import date

import pytest

from domain.channel import Channel
from messages import manifest, samples
from messages.catalogue import Catalogue
from messages.fault import CopyError
from messages.manifest import Message
from tests.messages.copies import only, shipped

CATALOGUE = Catalogue.untried(shipped())
DECLARED = shipped()["first_notice/message.toml"]
FINAL = shipped()["specialist/message.toml"]


def read(text: str) -> Message:
    return manifest.read("first_notice", text)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('purpose = "reminder"', 'purpose = "remindr"', r"toml:1: .*Did you mean 'reminder'"),
        ('stage = "initial"', 'stge = "initial"', r"toml:2: unknown key 'stge'. Did you mean 'stage'"),
        ("days = [1, 14]", "days = [14, 1]", r"toml:3: days must be"),
        ('required = ["brand"', 'required = ["brnd"', r"requires 'brnd', .*Did you mean 'brand'"),
        ('required = ["brand"', 'required = "brand" # ["', "required must be a list"),
        ('stage = "initial"', 'stage = "initial"\nspoken_by = "robot"', "spoken_by 'robot' is unknown"),
        ('stage = "initial"', 'stage = "initial"\nlegal_approved_by = "A. Jurist"', r"toml:3: .*final"),
        ('brand = { type = "text"', 'brand = { type = "money"', "'brand' has the type 'text'"),
        ('brand = { type = "text"', 'brnd = { type = "text"', "unknown field 'brnd'. Did you mean 'brand'"),
        ('brand = { type = "text"', 'brand = { kind = "x", type = "text"', "may have a type and a sample"),
        ('en = "EUR 84.20"', 'en = "84.20"', "no amount above zero"),
        ('en = "EUR 84.20"', 'en = "EUR 0"', "no amount above zero"),
        ('en = "EUR 84.20"', 'en = "XXX 5"', "no amount above zero"),
        ("sample = 2026-07-04", 'sample = "4 July"', "no date"),
        ("sample = 2026-07-04", "sample = 2026-05-04", "63 days past due, and the message is for day 1 to 14"),
        ("sample = 2026-07-04", "sample = 2026-07-07", "-1 days past due"),
        ('sample = "northbank.example/pay"', "sample = 5", "no text"),
        ('count = { type = "number" }', 'count = { type = "number", sample = 3 }', "follows from the others"),
    ],
)
def test_a_slip_is_refused_with_its_line_and_a_remedy(old: str, new: str, says: str) -> None:
    assert old in DECLARED

    with pytest.raises(CopyError, match=says) as caught:
        read(DECLARED.replace(old, new, 1))

    assert caught.value.remedy


def test_words_of_law_are_approved_only_with_the_law_they_rest_on() -> None:
    approved = 'legal_approved_by = "A. Jurist"\n' + FINAL

    with pytest.raises(CopyError, match=r"toml:1: words of law are approved without a legal basis"):
        manifest.read("specialist", approved)
    assert manifest.read("specialist", 'legal_basis = "contract, 9"\n' + approved).legal_approved_by == "A. Jurist"


def test_a_plain_type_is_enough_and_has_a_sample_made_up() -> None:
    plain = re.sub(r"\{ type = (\"[^\"]+\").*\}", r"\1", DECLARED)

    facts = samples.ordinary(read(plain), "zh-Hant")

    assert (facts.customer_name, facts.currency, facts.days_past_due) == ("陳美玲", "TWD", 2)


def test_the_samples_of_a_message_are_what_its_previews_show() -> None:
    changed = (
        DECLARED.replace("Ana Silva", "Björk Ek").replace("EUR 84.20", "GBP 12").replace("2026-07-04", "2026-06-30")
    )
    files = only("first_notice")
    message = Catalogue.untried({**files, "first_notice/message.toml": changed}).messages["first_notice"]

    english, chinese = samples.ordinary(message, "en"), samples.ordinary(message, "zh-Hans")

    assert (english.customer_name, english.total_minor, english.currency) == ("Björk Ek", 1200, "GBP")
    assert (english.due_on, english.days_past_due) == (date(2026, 6, 30), 6)
    assert (chinese.customer_name, chinese.currency) == ("王芳", "CNY")


def test_every_shipped_message_declares_samples_and_what_it_requires() -> None:
    for path, text in shipped().items():
        if path.endswith("message.toml"):
            message = manifest.read(path.split("/")[0], text)
            assert {"brand", "amount", "due_on", "as_of", "help_phone"} <= set(message.required)
            wanted = {name for name in message.fields if name not in manifest._NO_SAMPLE}
            assert wanted == message.samples.keys(), path


LOCALES = ("en", "zh-Hans", "zh-Hant")
#: What the shared words are for: sender line, help line, opt-out line, ways to pay; and what else many messages say.
SHARED = ("hello", "help", "opt_out", "pay", "way_out", "wrong", "offer")


@pytest.mark.parametrize("words", SHARED)
def test_shared_words_exist_in_every_language_and_serve_several_messages(words: str) -> None:
    files = shipped()

    for locale in LOCALES:
        assert any(path.startswith(f"_shared/{words}.") and f".{locale}." in path for path in files)
        serves = {name for name, channel, at in CATALOGUE.templates if at == locale and uses(name, words)}
        assert len(serves) >= 3, (words, locale)


def uses(message: str, words: str, depth: int = 0) -> bool:
    """Whether a message includes these words, itself or through others."""
    files = shipped()
    own = "".join(text for path, text in files.items() if path.startswith((f"{message}/", f"_shared/{message}.")))
    included = set(re.findall(r'\{% include "(\w+)" %\}', own))
    return words in included or (depth < 3 and any(uses(each, words, depth + 1) for each in included))


def test_no_shared_words_lie_unused() -> None:
    files = shipped()
    included = set(re.findall(r'\{% include "(\w+)" %\}', "".join(files.values())))
    there = {path.removeprefix("_shared/").split(".")[0] for path in files if path.startswith("_shared/")}

    assert there - {"locales", "email"} == included


def test_every_channel_that_copy_can_take_has_words_in_every_language() -> None:
    have = {(channel, at) for _, channel, at in CATALOGUE.templates}

    assert have == {
        (channel, at)
        for channel in (Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.CALL, Channel.LETTER)
        for at in LOCALES
    }
