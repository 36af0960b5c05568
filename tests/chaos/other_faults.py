"""Clocks, beats, crowds, poison, providers, and people who change their minds between the intent and the wave."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from config.settings import child_environment
from domain.channel import Channel
from domain.hold import HoldKind
from storage import feedback, lanes
from storage.rows import Conn
from tests.builders import HOUSE
from tests.chaos.arena import minute_after, stop
from tests.chaos.links import Session
from tests.chaos.planting import LENDER, Planted, Wanted
from tests.chaos.rounds import Fault, Script, Trial
from tests.chaos.wiretap import POISON
from worker.payments import Payment, record_payments

#: Seconds that a held worker may be held: well inside its lease.
HELD_SECONDS = 8.0

#: Issue 4, item 6.
PAUSE_SECONDS = 2.0

#: People who are decided about together.
GROUP = 24


# ------------------------------------------------------------------------------------------------------------- clocks


def clock_jumps(*jumps: timedelta) -> Callable[[Trial], Script]:
    """Business time moves by each in turn, under load."""

    def script(trial: Trial) -> Script:
        for jump in jumps:
            trial.arena.step_clock(trial.arena.now() + jump)
            yield 1.5

    return script


def a_day_ahead_and_back(trial: Trial) -> Script:
    now = trial.arena.now()
    morning = minute_after(now.replace(hour=8))
    trial.arena.step_clock(morning)
    yield 2.0
    trial.arena.step_clock(now)
    yield 2.0


# -------------------------------------------------------------------------------------------------------------- beats


def no_beat_for_ten_minutes(trial: Trial) -> Script:
    """Beat stands still while ten minutes pass by the business clock; then there is one catch-up and no flood."""
    stopped = [part.process.pid for part in trial.arena.beats if part.process is not None]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    for _ in range(10):
        trial.arena.step_clock(trial.arena.now() + timedelta(minutes=1))
        yield 0.6
    for pid in stopped:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def more_beats(number: int) -> Callable[[Trial], Script]:
    def script(trial: Trial) -> Script:
        parts = [trial.arena.beat_part(f"beat-{2 + each}") for each in range(number - 1)]
        for part in parts:
            part.start()
        yield 5.0
        for part in parts:
            stop(part)

    return script


def crowd(trial: Trial) -> Script:
    """A hundred workers' worth of threads in ten processes, on the lanes that the fleet drains too."""
    environment = child_environment(trial.arena.settings) | {"PYTHONPATH": str(HOUSE)}
    processes = [
        subprocess.Popen([sys.executable, "-m", "tests.chaos.crowd", "6", str(10 * number)], env=environment, cwd=HOUSE)
        for number in range(10)
    ]
    try:
        yield lambda: all(process.poll() is not None for process in processes)
    finally:
        for process in processes:
            process.kill()
    codes = [process.wait() for process in processes]
    trial.expect(lambda: f"a process of the crowd ended with {max(codes)}" if any(codes) else None)


# ------------------------------------------------------------------------------------------------------------- poison


def poison(trial: Trial) -> Script:
    """A reminder that kills every process that reads it ends `failed`, soon, and holds nobody up."""
    arena = trial.arena
    arena.trip("poison.read", Session.kill, times=1000)
    [sick] = arena.plant([Wanted(Channel.SMS, ref=POISON.decode())])
    others = arena.plant([Wanted(Channel.SMS)] * GROUP)
    yield lambda: state_of(trial, sick)[0] != "planned"
    trial.expect(lambda: _failed_with_a_reason(trial, sick))
    trial.expect(lambda: _all_got_one(trial, others))


def _failed_with_a_reason(trial: Trial, sick: Planted) -> str | None:
    state, reason = state_of(trial, sick)
    return None if state == "failed" and reason else f"the poisonous reminder ended {state} ({reason})"


def state_of(trial: Trial, who: Planted) -> tuple[str, str | None]:
    def ask(conn: Conn) -> tuple[str, str | None]:
        row = conn.execute(
            "SELECT state, reason FROM reminder WHERE party_id = %s ORDER BY reminder_id LIMIT 1", (who.party_id,)
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    return trial.arena.ask(ask)


# ------------------------------------------------------------------------------------- between the intent and the wave


def changed_before_the_wave(
    change: Callable[[Trial, list[Planted]], None],
    has_taken: Callable[[Trial, list[Planted]], bool],
    spared: Callable[[list[Planted]], list[Planted]],
) -> Callable[[Trial], Script]:
    """Hold a worker between its intents' commit and its first wave; change something; let it go on.

    `has_taken` says that the change stands in the ledger; those `spared` must not be written to.
    """

    def script(trial: Trial) -> Script:
        arena = trial.arena
        yield arena.is_settled
        goes_on = threading.Event()
        arena.trip("intents.committed", lambda session: (goes_on.wait(HELD_SECONDS), None)[1], times=1000)
        group = arena.plant([Wanted(Channel.SMS)] * GROUP)
        try:
            yield lambda: all(in_hand(trial, one) for one in group)
            change(trial, group)
            yield lambda: has_taken(trial, group)
        finally:
            goes_on.set()
        yield 1.0
        lucky = spared(group)
        early = arrived_at(trial, lucky)
        trial.arena.ask(lambda conn: lanes.resume(conn, LENDER))
        if early:
            trial.expect(lambda: f"{len(early)} were written to although they were spared")
        if len(lucky) < len(group):
            rest = [one for one in group if one not in lucky]
            trial.expect(lambda: _all_got_one(trial, rest))
            trial.expect(lambda: "somebody was written to in the end" if arrived_at(trial, lucky) else None)
        else:
            trial.expect(lambda: _all_got_one(trial, group))

    return script


def in_hand(trial: Trial, who: Planted) -> bool:
    return bool(trial.arena.one("SELECT count(*) FROM intended WHERE party_id = %s", who.party_id))


def arrived_at(trial: Trial, group: list[Planted]) -> list[str]:
    phones = {one.phone for one in group}
    return [arrival.to for arrival in trial.judge.arrivals() if arrival.to in phones]


def _all_got_one(trial: Trial, group: list[Planted]) -> str | None:
    got = arrived_at(trial, group)
    return None if sorted(got) == sorted(one.phone for one in group) else f"{len(got)} messages to {len(group)} people"


def stop_by_text(trial: Trial, group: list[Planted]) -> None:
    trial.arena.reply(group[0].phone, "STOP")


def pay(trial: Trial, group: list[Planted]) -> None:
    now = trial.arena.now()
    payment = Payment(LENDER, group[0].account_refs[0], f"chaos-{group[0].party_id}", 123_400, "TWD", now)
    trial.arena.ask(lambda conn: record_payments(conn, [payment], now=now))


def hold(trial: Trial, group: list[Planted]) -> None:
    now = trial.arena.now()
    stop_order = feedback.NewHold(
        group[0].party_id, HoldKind.DISPUTE, "says that it is not theirs", "tests", now, now + timedelta(days=30)
    )
    trial.arena.ask(lambda conn: feedback.set_hold(conn, stop_order))


def pause(trial: Trial, group: list[Planted]) -> None:
    trial.arena.ask(lambda conn: lanes.pause(conn, LENDER, reason="chaos", by="tests"))


def epoch_is_raised(trial: Trial, group: list[Planted]) -> bool:
    return bool(trial.arena.one("SELECT stop_epoch FROM party WHERE party_id = %s", group[0].party_id))


def is_paused(trial: Trial, group: list[Planted]) -> bool:
    return bool(trial.arena.one("SELECT count(*) FROM pause"))


def paused_under_load(trial: Trial) -> Script:
    """Pause all in the middle of batches: nothing leaves beyond two seconds; then resume."""
    arena = trial.arena
    arena.plant([Wanted(Channel.SMS)] * 300)
    yield 0.3
    arena.ask(lambda conn: lanes.pause(conn, "*", reason="chaos", by="tests"))
    paused = time.time()
    yield 5.0
    resumed = time.time()
    arena.ask(lambda conn: lanes.resume(conn, "*"))
    late = [one for one in trial.judge.arrivals() if paused + PAUSE_SECONDS < one.at < resumed]
    if late:
        trial.expect(lambda: f"{len(late)} messages left more than {PAUSE_SECONDS:g} s after the pause")


# ---------------------------------------------------------------------------------------------------------- providers


def provider(*rules: dict[str, Any], seconds: float = 4.0) -> Callable[[Trial], Script]:
    def script(trial: Trial) -> Script:
        trial.arena.arm(*rules)
        yield seconds
        trial.arena.arm()

    return script


def _both(kind: str, **more: Any) -> list[dict[str, Any]]:
    return [{"channel": channel, "kind": kind, "probability": 0.3, **more} for channel in ("sms", "email")]


def _one(group: list[Planted]) -> list[Planted]:
    return group[:1]


def _all(group: list[Planted]) -> list[Planted]:
    return group


BETWEEN = "between intent and wave"

FAULTS = [
    Fault("the clock jumps", "half an hour ahead", clock_jumps(timedelta(minutes=30))),
    Fault("the clock jumps", "20 minutes ahead, 15 back", clock_jumps(timedelta(minutes=20), timedelta(minutes=-15))),
    Fault("the clock jumps", "to the next day and back", a_day_ahead_and_back),
    Fault("no beat for ten minutes", "by the stepped clock", no_beat_for_ten_minutes),
    Fault("two beats", "at once", more_beats(2)),
    Fault("five beats", "at once", more_beats(5)),
    Fault("100 more workers", "ten processes, the same lanes", crowd),
    Fault("a poisonous reminder", "kills whoever reads it", poison, is_alone=True),
    Fault("STOP", BETWEEN, changed_before_the_wave(stop_by_text, epoch_is_raised, _one), is_alone=True),
    Fault("payment", BETWEEN, changed_before_the_wave(pay, epoch_is_raised, _one), is_alone=True),
    Fault("hold", BETWEEN, changed_before_the_wave(hold, epoch_is_raised, _one), is_alone=True),
    Fault("pause", BETWEEN, changed_before_the_wave(pause, is_paused, _all), is_alone=True),
    Fault("pause", "in the middle of batches", paused_under_load),
    Fault("provider drops the connection", "after accepting", provider(*_both("drop_after"))),
    Fault("provider answers half", "after accepting", provider(*_both("half_after"))),
    Fault("provider answers 500", "after accepting", provider({"channel": "sms", "kind": "error_after", "every": 3})),
    Fault("provider drops the connection", "before accepting", provider(*_both("drop_before"))),
    Fault("provider is busy", "429", provider({"channel": "sms", "kind": "refuse", "code": "20429", "every": 2})),
    Fault(
        "provider stalls past the deadline",
        "after accepting",
        provider({"channel": "sms", "kind": "stall_after", "seconds": 13, "every": 8}, seconds=3.0),
    ),
    Fault("callbacks twice", "provider - console", provider({"channel": "sms", "kind": "callback_twice"})),
    Fault("callbacks reversed", "provider - console", provider({"channel": "sms", "kind": "callback_reversed"})),
    Fault("callbacks lost", "provider - console", provider({"channel": "sms", "kind": "callback_lost"})),
]
