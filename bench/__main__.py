"""`make bench`: every benchmark, a table, and bench/results/latest.json. Name some to run only those."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import dispatch, policy, rendering, senders
from bench.results import Figure, save, show

HOME = Path(".duly/bench").absolute()

BENCHES: Mapping[str, Callable[[], list[Figure]]] = {
    "dispatch": lambda: [dispatch.run(HOME)],
    "senders": lambda: [_figure(row) for row in senders.run()[1]],
    "rendering": lambda: [_figure(row) for row in rendering.rows()],
    "policy": policy.run,
}


def _figure(row: Mapping[str, Any]) -> Figure:
    """A row that a benchmark gives as a mapping; what only it knows is left to its own `python -m`."""
    known = {field.name: row[field.name] for field in fields(Figure) if field.name in row}
    return Figure(**{**known, **{name: float(known[name]) for name in ("ours", "yardstick", "ratio", "goal")}})


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Measure duly beside what it is compared to.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all by default")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there is {', '.join(BENCHES)}")
    figures = [figure for name in options.names or BENCHES for figure in BENCHES[name]()]
    show(figures)
    Console().print(f"Written to {save(figures)}")


if __name__ == "__main__":
    main()
