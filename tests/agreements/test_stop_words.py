"""The word that our copy tells people to reply with is the word that stops the messages."""

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
