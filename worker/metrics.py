"""What the workers count: by the batch, in memory, with few labels and no person among them.

Counting is a few dictionary updates per batch. `worker/reporting.py` hands the counts to the database every few seconds
and the console shows them as Prometheus metrics, so a fleet has one place to scrape, a recycled pool child leaves
nothing behind, and `duly status` shows the same numbers.
"""

import os
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from operator import attrgetter
from time import perf_counter
from typing import Final, Literal

from channels.base import ChannelError, HeldBack, Misconfigured, OutcomeUnknown, Receipt, Rejected, TryLater
from domain.channel import Channel
from domain.lane import Lane
from domain.reminder import ReminderState
from storage.intents import Answer, Ended
from storage.waves import Result
from worker.letters import Letter
from worker.tracing import SPANS

#: Between the parts of a series' key; label values have none.
SEPARATOR: Final = "|"

#: Upper bounds in seconds. A batch takes tens of milliseconds; a wave may take WAVE_SECONDS.
STAGE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

#: Upper bounds in seconds: the goal is a second, the best public service aims at ten.
LATENCY_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name and unit, what it says, and its labels. `buckets` makes it a histogram."""

    name: str
    says: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def kind(self) -> Literal["counter", "histogram"]:
        return "histogram" if self.buckets else "counter"


REMINDERS: Final = Family(
    "duly_reminders_total", "Reminders that came to an end, or were held and will be judged again.",
    ("lender", "channel", "outcome"),
)  # fmt: skip
VERDICTS: Final = Family(
    "duly_verdicts_total", "Judgements that were not yes, by the rule that gave them.", ("verdict", "rule")
)
SENDS: Final = Family(
    "duly_sends_total", "Attempts to send, by what the provider answered.", ("provider", "channel", "result")
)
BATCHES: Final = Family("duly_batches_total", "Batches worked on.", ("lender", "channel"))
FAILURES: Final = Family("duly_batches_failed_total", "Batches that ended in an error.", ("channel", "error"))
SWEEPS: Final = Family("duly_sweeps_total", "Stuck states that were put right, by reason.", ("reason",))
REFUSED: Final = Family("duly_broker_messages_refused_total", "Broker messages that were refused.", ("reason",))
PROVIDER_TURNS: Final = Family(
    "duly_provider_turns_total", "Turns of a provider's breaker, by the state it came to.", ("provider", "state")
)
PACED: Final = Family("duly_paced_total", "Reminders put off because a rate limit was met.", ("provider",))
OF_PROVIDERS: Final = (PROVIDER_TURNS, PACED)
CALLBACKS_REFUSED: Final = Family(
    "duly_callbacks_refused_total", "Callbacks of providers and clicks that were refused.", ("source", "reason")
)
STAGES: Final = Family(
    "duly_stage_seconds", "Time of a whole batch by the stage it went into.", ("stage",), STAGE_BUCKETS
)
LATENCY: Final = Family(
    "duly_due_to_handed_seconds", "From due to handed over to the provider, business time.", ("channel",),
    LATENCY_BUCKETS,
)  # fmt: skip
TICKS: Final = Family("duly_tick_seconds", "Time of one look at what is due.", (), STAGE_BUCKETS)
CPU: Final = Family("duly_process_cpu_seconds_total", "Processor time of our processes.", ("role",))

FAMILIES: Final = (
    REMINDERS, VERDICTS, SENDS, BATCHES, FAILURES, SWEEPS, REFUSED, *OF_PROVIDERS, CALLBACKS_REFUSED, STAGES,
    LATENCY, TICKS, CPU,
)  # fmt: skip


class Stage(StrEnum):
    """Where the time of a batch goes, in the order of the way."""

    LOCK = "lock"
    READ = "read"
    DECIDE = "decide"  # judge and render
    INTEND = "intend"  # write what was decided, and commit
    STAMP = "stamp"
    SEND = "send"
    RECORD = "record"


class SendResult(StrEnum):
    """What a provider made of an attempt."""

    ACCEPTED = "accepted"
    LATER = "later"
    REJECTED = "rejected"
    MISCONFIGURED = "misconfigured"
    UNCERTAIN = "uncertain"
    HELD_BACK = "held_back"  # it never went: its provider is stopped


_RESULT_OF: Final[Mapping[type, SendResult]] = {
    Receipt: SendResult.ACCEPTED,
    TryLater: SendResult.LATER,
    Rejected: SendResult.REJECTED,
    Misconfigured: SendResult.MISCONFIGURED,
    OutcomeUnknown: SendResult.UNCERTAIN,
    HeldBack: SendResult.HELD_BACK,
}


#: Looked up for every letter: an enum's own look-ups are slow.
_PLANNED: Final = ReminderState.PLANNED
_SENT: Final = ReminderState.SENT
_WAITED: Final = attrgetter("waited")


class Tally:
    """Counts of one process since it began, by series. Safe from several threads; a fork begins anew."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget everything: this is another process, or another life."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, family: Family, labels: Sequence[str], number: float = 1) -> None:
        """Add to a counter. Labels in the family's order."""
        self._add({series_of(family, labels): number})

    def observe(self, family: Family, labels: Sequence[str], value: float, number: int = 1) -> None:
        """Add equal observations to a histogram."""
        self._add(_observed(family, labels, [value] * number))

    def counts(self) -> dict[str, float]:
        """The counts by series, as storage keeps them."""
        with self._lock:
            return dict(self._counts)

    def _add(self, counts: Mapping[str, float]) -> None:
        with self._lock:
            for series, number in counts.items():
                self._counts[series] += number  # type: ignore[assignment] # Counter is typed for whole numbers


#: This process's counts.
TALLY: Final = Tally()
os.register_at_fork(after_in_child=TALLY.begin)


class BatchMeter:
    """The laps and counts of one batch; they reach the tally when it is closed."""

    __slots__ = (
        "_began", "_cause", "_counts", "_due", "_judged_at", "_lane", "_sent", "_since", "_tally", "seconds",
    )  # fmt: skip

    def __init__(self, lane: Lane, tally: Tally = TALLY, *, cause: str | None = None) -> None:
        """`cause` is the tick that woke the lane, if it was traced."""
        self.seconds: dict[Stage, float] = {}
        self._cause = cause
        self._sent = 0
        self._tally = tally
        self._lane = lane
        self._counts: Counter[str] = Counter()
        self._due = 0
        self._began = self._since = self._judged_at = perf_counter()

    def lap(self, stage: Stage) -> None:
        """The time since the last lap went into this stage."""
        now = perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def judged(self, due: int, ended: Sequence[Ended], answers: Sequence[Answer]) -> None:
        """What was decided about so many reminders: once per batch."""
        self._due, self._judged_at = due, perf_counter()
        self._reminders(Counter(row.state.value for row in ended), self._lane.channel.value)
        verdicts = Counter((row.verdict, row.rule) for row in answers)
        for labels, number in verdicts.items():
            self._counts[series_of(VERDICTS, labels)] += number
        held = sum(number for (verdict, _), number in verdicts.items() if verdict == "hold")
        if held:
            self._reminders({"held": held}, self._lane.channel.value)

    def accepted(
        self, channel: Channel, letters: Sequence[Letter], providers: Sequence[str], *, reminders: int
    ) -> None:
        """A wave of one channel that was accepted whole, each letter by its provider: how many reminders that ends."""
        for provider, number in Counter(providers).items():
            labels = provider, channel.value, SendResult.ACCEPTED.value
            self._counts[series_of(SENDS, labels)] += number
        self._handed(channel.value, list(map(_WAITED, letters)), reminders=reminders)

    def answered(
        self, letters: Sequence[Letter], answers: Sequence[Receipt | ChannelError], results: Sequence[Result]
    ) -> None:
        """What the providers answered to a wave, and what its letters' reminders came to, letter by letter."""
        handed: dict[str, list[tuple[float, int]]] = {}
        for letter, answer, result in zip(letters, answers, results, strict=True):
            channel, state, number = letter.outbound.channel.value, result.state, len(result.reminder_ids)
            labels = (result.provider or "none", channel, _RESULT_OF.get(type(answer), SendResult.UNCERTAIN).value)
            self._counts[series_of(SENDS, labels)] += 1
            if state is _SENT:
                handed.setdefault(channel, []).append((letter.waited, number))
            elif state is not _PLANNED:
                self._reminders({state.value: number}, channel)
        for channel, went in handed.items():
            self._handed(channel, [waited for waited, _ in went], reminders=sum(number for _, number in went))

    def _handed(self, channel: str, waited: Sequence[float], *, reminders: int) -> None:
        self._reminders({_SENT.value: reminders}, channel)
        self._sent += reminders
        self._counts.update(_waited(channel, waited, since=perf_counter() - self._judged_at))

    def close(self) -> None:
        """The batch is over: count it."""
        counts: dict[str, float] = dict(self._counts)
        counts[series_of(BATCHES, (self._lane.lender, self._lane.channel.value))] = 1
        for stage, seconds in self.seconds.items():
            counts.update(_observed(STAGES, (stage.value,), [seconds]))
        self._tally._add(counts)
        SPANS.batch(
            self._lane, seconds=perf_counter() - self._began, cause=self._cause,
            attributes={
                "duly.reminders": self._due, "duly.sent": self._sent,
                **{f"duly.{stage}_ms": round(1000 * seconds, 3) for stage, seconds in self.seconds.items()},
            },
        )  # fmt: skip
        self._counts.clear()
        self.seconds.clear()

    def fail(self, error: Exception) -> None:
        """The batch ended in an error: count its kind, and what it had come to before."""
        kind = type(error).__name__
        self._counts[series_of(FAILURES, (self._lane.channel.value, kind))] += 1
        self._tally._add(self._counts)
        SPANS.batch(
            self._lane, seconds=perf_counter() - self._began, cause=self._cause, attributes={}, error=kind
        )  # fmt: skip

    def _reminders(self, outcomes: Mapping[str, int], channel: str) -> None:
        for outcome, number in outcomes.items():
            self._counts[series_of(REMINDERS, (self._lane.lender, channel, outcome))] += number


def series_of(family: Family, labels: Sequence[str]) -> str:
    """The key of a series: the family's name and the labels in its order."""
    return SEPARATOR.join((family.name, *(label.replace(SEPARATOR, "/") for label in labels)))


def _waited(channel: str, waited: Sequence[float], *, since: float) -> dict[str, float]:
    """The observations of a wave's latency: what each letter had waited, and the seconds `since` for all.

    They mostly fall into one bucket: then none is looked at by itself.
    """
    stem = series_of(LATENCY, (channel,))
    place = partial(bisect_left, LATENCY_BUCKETS)
    least, most = place(min(waited) + since), place(max(waited) + since)
    places = {least: len(waited)} if least == most else Counter(place(each + since) for each in waited)
    counts: dict[str, float] = {f"{stem}{SEPARATOR}{_bound(LATENCY, each)}": n for each, n in places.items()}
    counts[f"{stem}{SEPARATOR}sum"] = sum(waited) + len(waited) * since
    return counts


def _observed(family: Family, labels: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Counts per bucket (not cumulative, `inf` the last) and their sum."""
    if not values:
        return {}
    stem = series_of(family, labels)
    counts: dict[str, float] = {
        f"{stem}{SEPARATOR}{_bound(family, place)}": number
        for place, number in Counter(bisect_left(family.buckets, value) for value in values).items()
    }
    counts[f"{stem}{SEPARATOR}sum"] = sum(values)
    return counts


def _bound(family: Family, place: int) -> str:
    return str(family.buckets[place]) if place < len(family.buckets) else "inf"
