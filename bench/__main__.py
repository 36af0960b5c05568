"""`make bench`: every benchmark, a table, and bench/results/latest.json. Name some to run only those."""

import argparse
from pathlib import Path

from rich.console import Console

from bench import dispatch
from bench.results import save, show


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Measure duly beside what it is compared to.")
    parser.add_argument("--rounds", type=int, default=dispatch.ROUNDS)
    parser.add_argument("--reminders", type=int, default=dispatch.REMINDERS)
    options = parser.parse_args()
    home = Path(".duly/bench").absolute()
    figures = [dispatch.run(home, rounds=options.rounds, reminders=options.reminders)]
    show(figures)
    Console().print(f"Written to {save(figures)}")


if __name__ == "__main__":
    main()
