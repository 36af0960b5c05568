"""One round: a steady load, faults at their moments, everything healed, everything quiet, and the judge's finding.

A fault is a script: a generator that yields what it waits for (seconds, or something that must come true), so that
several can be under way at once on the one thread that drives the arena.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from tests.chaos.arena import Arena, NeverCameTrue, minute_after
from tests.chaos.judge import Finding, Judge
from tests.chaos.planting import a_mixture

Pause = float | Callable[[], bool]
Script = Iterator[Pause]

#: The load runs so long before a fault: the rate to come back to.
BEFORE_SECONDS = 2.5

#: People who come due at once as the faults begin, so that batches of several waves are under way.
BURST = 150

#: How long the load goes on after a fault in any case, and at most, while its rate is not back.
AFTER_SECONDS = 1.5
LONGEST_AFTER_SECONDS = 30.0

#: A script that waits longer for something reports it.
SCRIPT_PATIENCE_SECONDS = 400.0


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and where. `is_alone`: it brings its own people, or cannot bear company."""

    name: str
    place: str
    script: Callable[["Trial"], Script]
    is_alone: bool = False

    def __str__(self) -> str:
        return f"{self.name} | {self.place}"


@dataclass
class Trial:
    """What a script has at hand. `expect` adds a question that is put when all is quiet again; None: all is well."""

    arena: Arena
    judge: Judge
    dice: Random
    has_company: bool = False  # other faults are let loose with this one
    questions: list[Callable[[], str | None]] = field(default_factory=list)
    over_at: float | None = None

    def harm_is_done(self) -> None:
        """The harm is done, and recovery begins: a script that looks on for a while says so before."""
        self.over_at = time.time()

    def ended(self, looked_at: float) -> float:
        """When the fault ended, if the round was looked at then. Of several, when the last script came to its end."""
        return looked_at if self.has_company or self.over_at is None else self.over_at

    def expect(self, question: Callable[[], str | None]) -> None:
        self.questions.append(question)


@dataclass
class Outcome:
    """A round's faults and what it came to. Seconds from the end of the fault; None: not measurable."""

    faults: Sequence[Fault]
    finding: Finding
    rate: float
    recovered_seconds: float | None
    rows_back_seconds: float | None  # until the last sweep that took back what a dead worker held
    quiet_seconds: float | None
    held_up_seconds: float  # the longest that the arena's own driver stood still: so long no load came
    said: list[str] = field(default_factory=list)


def play(arena: Arena, judge: Judge, faults: Sequence[Fault], dice: Random) -> Outcome:
    """Live through these faults, each beginning at a moment of its own, and judge what is left."""
    arena.step_clock(minute_after(arena.now()))
    since, first = arena.now(), len(judge.arrivals())
    parties = arena.one("SELECT coalesce(max(party_id), 0) FROM party")
    trial = Trial(arena, judge, dice, has_company=len(faults) > 1)
    is_measured = not any(fault.is_alone for fault in faults)
    arena.is_feeding = is_measured
    arena.held_up_seconds = 0.0
    rate = 0.0
    if is_measured:
        arena.rest(BEFORE_SECONDS)
        # What arrives above the load is the first moments' backlog.
        rate = min(judge.rate(time.time() - BEFORE_SECONDS + 1, time.time()), arena.load_per_second)
        arena.plant(a_mixture(dice, BURST))
    said = _run([(dice.uniform(0, 2) if len(faults) > 1 else 0.0, fault.script(trial)) for fault in faults], arena)
    arena.heal()
    looked_at = time.time()
    ended = trial.ended(looked_at)
    recovered = _wait_for_the_rate(arena, judge, looked_at, rate) if is_measured else None
    if recovered is not None:
        recovered += looked_at - ended
    arena.is_feeding = False
    quiet: float | None = None
    try:
        arena.settle()
        quiet = time.time() - ended
    except NeverCameTrue as stuck:
        said.append(str(stuck))
    finding = arena.ask(lambda conn: judge.look(conn, since=since, first=first, parties=parties))
    said += [answer for question in trial.questions if (answer := question()) is not None]
    finding.violations += said
    return Outcome(faults, finding, rate, recovered, _rows_back(arena, ended), quiet, arena.held_up_seconds)


def _rows_back(arena: Arena, ended: float) -> float | None:
    """How long dead workers' rows were out; None when nobody held any."""
    swept = arena.one(
        "SELECT extract(epoch FROM max(ended_at)) FROM batch WHERE ended_how = 'swept' AND ended_at > to_timestamp(%s)",
        ended,
    )
    return None if swept is None else float(swept) - ended


def _wait_for_the_rate(arena: Arena, judge: Judge, ended: float, rate: float) -> float | None:
    """Let the load go on until its rate is back; how long that took."""
    arena.rest(AFTER_SECONDS)
    with suppress(NeverCameTrue):
        arena.until(
            lambda: judge.recovered_after(ended, rate=rate) is not None,
            why="the rate is back",
            patience_seconds=LONGEST_AFTER_SECONDS,
        )
    return judge.recovered_after(ended, rate=rate)


@dataclass
class _Running:
    script: Script
    not_before: float
    waits_for: Callable[[], bool] | None = None
    gives_up: float = 0.0


def _run(scripts: Sequence[tuple[float, Script]], arena: Arena) -> list[str]:
    """Let scripts run side by side to their ends; what they waited for in vain."""
    began = time.monotonic()
    running = [_Running(script, began + offset) for offset, script in scripts]
    said: list[str] = []
    while running:
        for one in list(running):
            now = time.monotonic()
            if now < one.not_before:
                continue
            if one.waits_for is not None and not one.waits_for():
                if now > one.gives_up:
                    said.append(f"waited in vain in {one.script.gi_code.co_qualname}")  # type: ignore[attr-defined]
                    one.script.close()  # type: ignore[attr-defined]
                    running.remove(one)
                continue
            try:
                pause = next(one.script)
            except StopIteration:
                running.remove(one)
                continue
            one.waits_for = pause if callable(pause) else None
            one.gives_up = now + SCRIPT_PATIENCE_SECONDS
            one.not_before = now if callable(pause) else now + pause
        arena.breathe()
    return said
