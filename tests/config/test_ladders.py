from datetime import time, timedelta
from itertools import pairwise

import pytest

from config.files import ConfigError
from config.ladders import load_ladders
from domain.channel import Channel
from domain.ladder import Stage
from tests.intake_kit import texts

STANDARD = texts("ladders")["standard.toml"]


def changed(old: str, new: str) -> dict[str, str]:
    assert old in STANDARD
    return {"standard.toml": STANDARD.replace(old, new, 1)}


def test_the_packaged_ladders_grow_graver_slowly_and_end_with_a_person() -> None:
    for ladder in load_ladders(texts("ladders")).values():
        assert ladder.steps[-1].channels == ()
        assert ladder.steps[-1].stage is Stage.FINAL
        for before, after in pairwise(ladder.steps):
            assert before.day <= after.day
        for step in ladder.steps:
            assert time(9, 30) <= step.at <= time(17)
            assert step.true_until_day >= step.day


def test_the_standard_ladder_follows_the_stage_guide() -> None:
    ladder = load_ladders(texts("ladders"))["standard"]

    assert [(step.id, step.day, step.stage) for step in ladder.steps] == [
        ("upcoming", -3, Stage.PRE_DUE),
        ("due_today", 0, Stage.PRE_DUE),
        ("first_notice", 1, Stage.INITIAL),
        ("gentle_follow_up", 5, Stage.INITIAL),
        ("options", 12, Stage.INITIAL),
        ("talk", 18, Stage.MIDDLE),
        ("formal_letter", 30, Stage.MIDDLE),
        ("specialist", 61, Stage.FINAL),
    ]
    assert ladder.human_after_day == 60
    assert all(Channel.CALL not in step.channels for step in ladder.steps if step.day < 15)


def test_amount_bounds_are_read_in_major_units() -> None:
    talk = load_ladders(texts("ladders"))["standard"].steps[5]

    assert talk.suits(3000_00, "TWD")
    assert not talk.suits(2999_99, "TWD")
    assert talk.suits(15000, "JPY")


def test_times_repeats_a_step_with_its_days_moved() -> None:
    steps = load_ladders(changed('id = "options"', 'id = "options"\ntimes = 2\nevery_days = 3'))["standard"].steps

    first, second = (step for step in steps if step.message == "options")
    assert (first.id, first.day, first.true_until_day) == ("options-1", 12, 30)
    assert (second.id, second.day, second.true_until_day) == ("options-2", 15, 33)
    assert second.expires_after == timedelta(hours=72)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("day = 12\n", "day = 3\n", "earlier than step 'gentle_follow_up'"),
        ('stage = "initial"', 'stage = "middle"', "gentler than step 'first_notice'"),
        ('stage = "pre_due"', 'stage = "initial"', "pre_due is up to and on the due day"),
        ("true_until_day = 4", "true_until_day = 0", "before the step's own day"),
        ("channels = []", 'channels = ["sms"]', "the last step goes to a person|final stage belongs to a person"),
        ('channels = ["sms", "email"]', 'channels = ["sms", "sms"]', "one is there twice"),
        ('channels = ["sms", "email"]', 'channels = ["pigeon"]', r"step\.3\.channels\.1: "),
        ("expires_hours = 36", "expires_hours = 0", r"step\.1\.expires_hours"),
        ("expires_hours = 36", "expire_hours = 36", r"step\.1\.expire_hours: unknown key"),
        ("at = 10:30:00", 'at = "10 am"', r"step\.1\.at"),
        ("at = 10:30:00", "at = 10:30:30", "whole minutes"),
        ('id = "due_today"', 'id = "upcoming"', "is there twice"),
        ('TWD = "3000.00"', 'TWD = "3000.001"', "step 'talk': at_least: finer"),
        ('TWD = "3000.00"', 'TWX = "3000"', "unknown currency 'TWX'"),
        ('id = "standard"', 'id = "strict"', "must be the file's own name"),
    ],
)
def test_a_slip_is_refused_with_the_file_the_step_and_the_key(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"ladders/standard\.toml: .*({said})"):
        load_ladders(changed(old, new))
