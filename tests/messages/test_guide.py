"""The editors' guide says what is so: every field, every rule, and pictures that the program really draws."""

import inspect
import re

from domain.channel import Channel
from messages import checks, fit, preview, rules
from messages.catalogue import Catalogue
from messages.fields import FIELDS
from messages.phrases import ADVICE
from tests.messages.copies import FOLDER, shipped

GUIDE = (FOLDER / "README.md").read_text(encoding="utf-8")
ENGLISH, CHINESE = GUIDE.split("\n# 文案编辑指南\n")


def test_every_field_is_explained_in_both_languages() -> None:
    for half in (ENGLISH, CHINESE):
        rows = {field for row in half.split("\n") if row.startswith("| `") for field in re.findall(r"`(\w+)`", row)}
        assert rows >= set(FIELDS)


def test_every_rule_that_can_be_found_is_explained_in_both_languages() -> None:
    source = inspect.getsource(rules) + inspect.getsource(checks) + inspect.getsource(fit)
    known = set(re.findall(r'(?:Finding|_error|_warning)\(\s*"([A-Z0-9]+)"', source)) | {
        advice.rule for advice in ADVICE.values()
    }

    assert known >= {"C01", "C23", "TONE", "BRANCH"}
    for half in (ENGLISH, CHINESE):
        assert {f"C{number:02}" for number in range(1, 25)} | known <= set(re.findall(r"\b(C\d\d|[A-Z]{4,7})\b", half))


def test_the_pictures_show_what_a_preview_draws() -> None:
    catalogue = Catalogue.from_files(shipped())

    for locale, half in (("en", ENGLISH), ("zh-Hans", CHINESE)):
        shown = preview.views(catalogue, ("first_notice", Channel.SMS, locale))[0]
        drawn = "".join(re.findall(r"│ (.*?)\s*│\n", half.split("╭", 1)[1].split("╰")[0]))
        assert re.sub(r"\s", "", drawn) == re.sub(r"\s", "", shown.rendered.text)
        assert shown.segments is not None
        assert preview.badge_of(shown.segments) in half


PICTURES = re.compile(r"\((\.\./docs/images/[\w.-]+)\)|src=\"(\.\./docs/images/[\w.-]+)\"")


def test_the_pictures_are_there_in_both_languages_and_no_larger_than_a_page_should_be() -> None:
    for half in (ENGLISH, CHINESE):
        shown = {(FOLDER / (one or other)).resolve() for one, other in PICTURES.findall(half)}
        assert {picture.name for picture in shown} >= {"words.png", "check.png", "words-changed.png"}
        for picture in shown:
            assert picture.read_bytes().startswith(b"\x89PNG")
            assert picture.stat().st_size < 400_000


def test_every_shared_piece_of_words_is_explained_in_both_languages() -> None:
    shared = {path.removeprefix("_shared/").split(".")[0] for path in shipped() if path.startswith("_shared/")}

    for half in (ENGLISH, CHINESE):
        assert shared - {"locales", "email"} <= set(re.findall(r"(?m)^\| `(\w+)` \|", half))
