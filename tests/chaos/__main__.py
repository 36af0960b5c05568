"""Chaos against a true fleet: `python -m tests.chaos` runs every fault once, `--minutes 30` a storm of random ones.

A storm prints its seed. With `--seed` the same faults are drawn again in the same order, with `--round 17` that round
alone. The exit code is 1 when a promise was broken.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random, SystemRandom

from config.settings import PREFIX
from tests.builders import HOUSE
from tests.chaos.arena import Arena
from tests.chaos.judge import Judge
from tests.chaos.matrix import FAULTS
from tests.chaos.report import as_rounds, lines_of, summary, table, write
from tests.chaos.rounds import Fault, Outcome, play

RESULTS = HOUSE / "build" / "chaos"

#: An arena that stood still for so long says so with its round: its load stood still with it.
HELD_UP_SECONDS = 2.0

#: How many faults a storm lets loose at once, and how often.
COMPANY = (1, 1, 1, 2, 2, 3)


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored for what runs behind it
        signal.signal(number, signal.default_int_handler)
    seed = options.seed if options.seed is not None else SystemRandom().randrange(1_000_000)
    say(f"seed {seed}")
    for key in [key for key in os.environ if key.startswith(PREFIX)]:
        del os.environ[key]  # the fleet lives by the arena's settings alone
    home = Path(tempfile.mkdtemp(prefix="duly-chaos-"))
    arena = Arena(home, seed=seed)
    outcomes: list[Outcome] = []
    try:
        with arena.running():
            judge = Judge(arena.outbox)
            try:
                for number, faults in _rounds(options, seed):
                    outcome = play(arena, judge, faults, Random(f"{seed}/{number}/play"))
                    outcomes.append(outcome)
                    _say(number, outcome)
            finally:
                judge.close()
    except KeyboardInterrupt:
        say("stopped; this is what was seen so far")
    is_sound = not any(outcome.finding.violations for outcome in outcomes)
    if is_sound and not options.keep:
        shutil.rmtree(home)
    else:
        say(f"the fleet's logs and data are in {home}")
    rounds = as_rounds(outcomes)
    name = f"{'storm' if options.minutes else 'matrix'}-{seed}"
    say(f"\n{table(lines_of(rounds))}\n\nSeed {seed}. {summary(rounds)}.")
    say(f"Written to {write(RESULTS, name, rounds, seed=seed)}")
    return 0 if is_sound else 1


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.chaos", description="Harm a true fleet, and let the sandbox judge.")
    parser.add_argument("--minutes", type=float, default=0, help="a storm of this length; without it: every fault once")
    parser.add_argument("--seed", type=int, help="draw what an earlier storm drew")
    parser.add_argument("--round", type=int, help="with --seed and --minutes: this round alone")
    parser.add_argument("--only", default="", help="faults whose `name | place` fits this pattern")
    parser.add_argument("--keep", action="store_true", help="keep the fleet's folder, also when all went well")
    return parser.parse_args()


def _rounds(options: argparse.Namespace, seed: int) -> Iterator[tuple[int, list[Fault]]]:
    faults = [fault for fault in FAULTS if re.search(options.only, str(fault), re.IGNORECASE)]
    if not faults:
        sys.exit(f"no fault fits {options.only!r}")
    if not options.minutes:
        yield from ((number, [fault]) for number, fault in enumerate(faults, start=1))
        return
    if options.round is not None:
        yield options.round, drawn(faults, seed, options.round)
        return
    until = time.monotonic() + 60 * options.minutes
    number = 0
    while time.monotonic() < until:
        number += 1
        yield number, drawn(faults, seed, number)


def drawn(faults: list[Fault], seed: int, number: int) -> list[Fault]:
    """The faults of a storm's round: they depend on nothing but its seed and number."""
    dice = Random(f"{seed}/{number}")
    first = dice.choice(faults)
    company = [fault for fault in faults if not fault.is_alone and fault is not first]
    wanted = 0 if first.is_alone else min(dice.choice(COMPANY) - 1, len(company))
    return [first, *dice.sample(company, wanted)]


def _say(number: int, outcome: Outcome) -> None:
    finding = outcome.finding
    names = " + ".join(f"{fault.name} ({fault.place})" for fault in outcome.faults)
    back = f"{outcome.recovered_seconds:.1f}" if outcome.recovered_seconds is not None else "-"
    rows = f"{outcome.rows_back_seconds:.1f}" if outcome.rows_back_seconds is not None else "-"
    quiet = f"{outcome.quiet_seconds:.1f}" if outcome.quiet_seconds is not None else "-"
    say(
        f"{number:4}  {names}: {finding.arrived} arrived, {finding.ledger} known, {finding.uncertain} uncertain, "
        f"twice {finding.twice}, lost {finding.lost}; rate back {back} s, rows back {rows} s, "
        f"quiet {quiet} s",
    )
    if outcome.held_up_seconds > HELD_UP_SECONDS:
        say(f"      the arena itself stood still for {outcome.held_up_seconds:.1f} s, and its load with it")
    for violation in finding.violations:
        say(f"      BROKEN: {violation}")


if __name__ == "__main__":
    sys.exit(main())
