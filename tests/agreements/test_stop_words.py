"""The words that our copy tells people to reply with do what it says: stop the messages, or bring help."""

import re
from pathlib import Path

import pytest

from channels.keywords import Intent, classify

SHARED = Path(__file__).parents[2] / "templates" / "_shared"
TOLD = re.compile(r"[Rr]eply ([A-Z]+)|回[复覆]“?「?([A-Z]|退[订訂])")


@pytest.mark.parametrize("file", sorted(SHARED.glob("opt_out.*.txt")), ids=lambda file: file.name)
def test_what_copy_says_to_reply_is_certainly_an_opt_out(file: Path) -> None:
    told = TOLD.search(file.read_text(encoding="utf-8"))

    assert told is not None
    reading = classify(next(filter(None, told.groups())))
    assert (reading.intent, reading.is_certain) == (Intent.OPT_OUT, True)


TEMPLATES = SHARED.parent
INVITED = re.compile(r"\b[Rr]eply ([A-Z]{3,})\b|回[复覆]((?:[“「][^”」]+[”」]或?)+)")
INVITING = [file for file in sorted(TEMPLATES.rglob("*sms.*.txt")) if not file.name.startswith("opt_out")]


@pytest.mark.parametrize("file", INVITING, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_copy_says_to_reply_when_it_is_hard_to_pay_is_certainly_a_wish_for_help(file: Path) -> None:
    for english, chinese in INVITED.findall(file.read_text(encoding="utf-8")):
        for word in re.findall(r"[^“”「」或]+", english or chinese):
            reading = classify(word)
            assert (reading.intent, reading.is_certain) == (Intent.HARDSHIP, True), word


def test_some_copy_does_invite_such_a_reply_in_every_language() -> None:
    inviting = {file.name for file in INVITING if INVITED.search(file.read_text(encoding="utf-8"))}

    assert inviting >= {"sms.en.txt", "sms.zh-Hans.txt", "sms.zh-Hant.txt"}
