"""What a batch counts, whatever became of it; and that it costs next to nothing."""

import time
from collections import Counter
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Misconfigured, OutcomeUnknown, Receipt, Rejected, TryLater
from domain.channel import Channel
from domain.contact import EventKind
from domain.lane import Lane
from domain.reminder import ReminderState
from storage.waves import Result
from tests.builders import TUESDAY_MORNING
from worker.metrics import FAILURES, LATENCY, REMINDERS, SENDS, STAGES, BatchMeter, Stage, Tally, series_of

LANE = Lane("lantern", Channel.SMS, 3)

#: What a provider may answer, as the metric calls it, and what it makes of the reminder.
ANSWERS: dict[str, tuple[Any, ReminderState]] = {
    "accepted": (Receipt("twilio", "SM1"), ReminderState.SENT),
    "later": (TryLater("busy"), ReminderState.PLANNED),
    "rejected": (Rejected("21211"), ReminderState.FAILED),
    "misconfigured": (Misconfigured("auth"), ReminderState.PLANNED),
    "uncertain": (OutcomeUnknown("timeout"), ReminderState.UNCERTAIN),
}


def wave(kinds: list[str], waited: float = 0.0) -> tuple[list[Any], list[Any], list[Result]]:
    """Letters, what was answered to them, and what that means."""
    letters = [SimpleNamespace(outbound=SimpleNamespace(channel=Channel.SMS), waited=waited) for _ in kinds]
    results = [
        Result(1, uuid4(), TUESDAY_MORNING, (n,), EventKind.SENT, ANSWERS[kind][1], "twilio", None, None)
        for n, kind in enumerate(kinds)
    ]
    return letters, [ANSWERS[kind][0] for kind in kinds], results


def of(tally: Tally, stem: str) -> dict[str, float]:
    return {key.removeprefix(stem + "|"): number for key, number in tally.counts().items() if key.startswith(stem)}


@given(
    waves=st.lists(st.lists(st.sampled_from(sorted(ANSWERS)), max_size=6), max_size=4),
    verdicts=st.lists(st.tuples(st.sampled_from(["hold", "suppress"]), st.sampled_from(["a.b", "c.d"])), max_size=8),
)
def test_every_answer_and_every_verdict_is_counted_once(
    waves: list[list[str]], verdicts: list[tuple[str, str]]
) -> None:
    tally = Tally()
    meter = BatchMeter(LANE, tally)
    answers = [SimpleNamespace(verdict=verdict, rule=rule) for verdict, rule in verdicts]
    ended = [SimpleNamespace(state=ReminderState.SUPPRESSED) for verdict, _ in verdicts if verdict == "suppress"]

    meter.judged(29, ended, answers)  # type: ignore[arg-type]
    for kinds in waves:
        letters, answered, results = wave(kinds)
        if kinds and set(kinds) == {"accepted"}:
            meter.accepted(Channel.SMS, letters, [each.provider for each in answered], reminders=len(kinds))
        else:
            meter.answered(letters, answered, results)
    meter.close()

    kinds = Counter(kind for each in waves for kind in each)
    assert of(tally, series_of(SENDS, ("twilio", "sms"))) == kinds
    states = Counter(ANSWERS[kind][1].value for kind in kinds.elements()) - Counter(planned=99)
    told = states + Counter({"held": sum(v == "hold" for v, _ in verdicts), "suppressed": len(ended)})
    assert of(tally, series_of(REMINDERS, ("lantern", "sms"))) == +told
    handed = of(tally, series_of(LATENCY, ("sms",)))
    assert sum(number for bound, number in handed.items() if bound != "sum") == kinds["accepted"]
    assert of(tally, "duly_verdicts_total") == Counter(f"{verdict}|{rule}" for verdict, rule in verdicts)


def test_a_wave_of_several_channels_is_counted_by_channel() -> None:
    tally = Tally()
    meter = BatchMeter(LANE, tally)
    letters, answers, results = wave(["accepted", "rejected", "accepted", "uncertain"])
    for letter, channel in zip(letters, (Channel.SMS, Channel.EMAIL, Channel.EMAIL, Channel.PUSH), strict=True):
        letter.outbound.channel = channel

    meter.judged(4, [], [])
    meter.answered(letters, answers, results)
    meter.close()

    assert of(tally, SENDS.name) == {
        "twilio|sms|accepted": 1, "twilio|email|accepted": 1, "twilio|email|rejected": 1, "twilio|push|uncertain": 1,
    }  # fmt: skip
    assert of(tally, series_of(REMINDERS, ("lantern", "email"))) == {"sent": 1, "failed": 1}


def test_the_laps_add_up_to_the_time_of_the_batch() -> None:
    tally = Tally()
    began = time.perf_counter()
    meter = BatchMeter(LANE, tally)
    for stage in (Stage.LOCK, Stage.READ, Stage.SEND, Stage.SEND):
        time.sleep(0.002)
        meter.lap(stage)
    whole = sum(meter.seconds.values())
    took = time.perf_counter() - began
    meter.close()

    assert 0.008 <= whole <= took
    spent = of(tally, STAGES.name)
    assert sum(number for key, number in spent.items() if key.endswith("sum")) == whole
    assert {key.partition("|")[0] for key in spent} == {"lock", "read", "send"}


@pytest.mark.parametrize("is_whole", [True, False])
def test_lateness_is_from_due_to_handed_over(is_whole: bool) -> None:
    tally = Tally()
    meter = BatchMeter(LANE, tally)

    began = time.perf_counter()
    meter.judged(4, [], [])
    if is_whole:
        letters, _, _ = wave(["accepted"] * 4)
        for letter, waited in zip(letters, (4, 400, 3, 4), strict=True):
            letter.waited = waited
        meter.accepted(Channel.SMS, letters, ["twilio"] * 4, reminders=4)
    else:
        for waited in (4, 400, 3, 4):
            meter.answered(*wave(["accepted"], waited))
    meter.close()

    handed = of(tally, series_of(LATENCY, ("sms",)))
    assert (handed["5.0"], handed["1800.0"]) == (3, 1)
    assert 411 <= handed["sum"] <= 411 + 4 * (time.perf_counter() - began)


def test_a_batch_that_fails_counts_its_error_and_what_it_had_come_to() -> None:
    tally = Tally()
    meter = BatchMeter(LANE, tally)

    meter.judged(1, [], [])
    meter.answered(*wave(["accepted"]))
    meter.fail(ValueError("somebody's number"))

    assert of(tally, FAILURES.name) == {"sms|ValueError": 1}
    assert of(tally, SENDS.name) == {"twilio|sms|accepted": 1}
    assert "number" not in str(tally.counts())


def test_a_label_cannot_break_out_of_its_series() -> None:
    assert series_of(SENDS, ("a|b", "c", "d")) == "duly_sends_total|a/b|c|d"
