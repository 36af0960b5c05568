"""docs/policies.md says what the code does."""

from pathlib import Path

from domain.channel import Channel
from domain.contact import Outcome
from policy.counting import Counts, counted_as
from tests.policy.worlds import the_book

MANUAL = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def rows() -> list[list[str]]:
    return [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in MANUAL.splitlines() if line[:3] == "| `"
    ]


def test_the_table_of_outcomes_is_the_one_that_is_counted_by() -> None:
    printed = {(r[0], r[1]): r[2:] for r in rows() if r[0] in ("call", "sms", "letter") and len(r) == 7}

    assert printed == {
        (channel, outcome): [str(int(counts in counted_as(channel, outcome))) for counts in Counts]
        for channel in (Channel.CALL, Channel.SMS, Channel.LETTER)
        for outcome in Outcome
    }


def test_the_channels_that_the_manual_likens_count_alike() -> None:
    for outcome in Outcome:
        written = {
            counted_as(c, outcome) for c in (Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.SOCIAL, Channel.NULL)
        }
        assert len(written) == 1
        assert counted_as(Channel.VISIT, outcome) == counted_as(Channel.CALL, outcome)


def test_the_manual_lists_every_pack_with_its_rules() -> None:
    listed = {r[0]: int(r[2]) for r in rows() if len(r) == 6}

    assert listed == {pack.id: len(pack.rules) for pack in the_book().packs.values()}
