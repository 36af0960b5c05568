"""The table: fault x place, how often, what arrived, what the ledger has, and how long it took to be well again.

`python -m tests.chaos.report build/chaos/*.json` puts several runs together.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.rounds import Outcome

HEAD = (
    "fault", "place", "runs", "arrived", "ledger", "uncertain", "twice", "lost", "rate back, s", "rows back, s",
    "all quiet, s",
)  # fmt: skip


@dataclass
class Line:
    """All runs of one fault at one place. In a storm a run may have had company; its counts are the whole round's."""

    name: str
    place: str
    runs: int = 0
    arrived: int = 0
    ledger: int = 0
    uncertain: int = 0
    twice: int = 0
    lost: int = 0
    recovered: list[float] = field(default_factory=list)
    rows_back: list[float] = field(default_factory=list)
    quiet: list[float] = field(default_factory=list)


def lines_of(rounds: Iterable[Mapping[str, Any]]) -> list[Line]:
    """One line for each fault, in the order in which they first came."""
    lines: dict[str, Line] = {}
    for one in rounds:
        for fault in one["faults"]:
            name, _, place = fault.partition(" | ")
            line = lines.setdefault(fault, Line(name, place))
            line.runs += 1
            line.arrived += one["arrived"]
            line.ledger += one["ledger"]
            line.uncertain += one["uncertain"]
            line.twice += one["twice"]
            line.lost += one["lost"]
            line.recovered += [one["recovered_seconds"]] if one["recovered_seconds"] is not None else []
            line.rows_back += [one["rows_back_seconds"]] if one.get("rows_back_seconds") is not None else []
            line.quiet += [one["quiet_seconds"]] if one["quiet_seconds"] is not None else []
    return list(lines.values())


def as_rounds(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Outcomes as the file has them."""
    return [
        {
            "faults": [str(fault) for fault in one.faults],
            "rate": one.rate,
            "recovered_seconds": one.recovered_seconds,
            "rows_back_seconds": one.rows_back_seconds,
            "quiet_seconds": one.quiet_seconds,
            "arrived": one.finding.arrived,
            "ledger": one.finding.ledger,
            "states": dict(one.finding.states),
            "twice": one.finding.twice,
            "lost": one.finding.lost,
            "uncertain": one.finding.uncertain,
            "violations": one.finding.violations,
        }
        for one in outcomes
    ]


def table(lines: Sequence[Line]) -> str:
    """Markdown, in columns that a terminal shows well too. Times: median and worst."""
    rows = [HEAD, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]

    def written(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if n < 2 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([written(rows[0]), rule, *map(written, rows[1:])])


def _cells(line: Line) -> tuple[str, ...]:
    counts = (line.runs, line.arrived, line.ledger, line.uncertain, line.twice, line.lost)
    times = (line.recovered, line.rows_back, line.quiet)
    return (line.name, line.place, *map(str, counts), *map(_times, times))


def _times(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    return f"{median(seconds):.1f} / {max(seconds):.1f}" if len(seconds) > 1 else f"{seconds[0]:.1f}"


def summary(rounds: Sequence[Mapping[str, Any]]) -> str:
    """One line that can be checked against the table."""
    loaded = [one for one in rounds if one["rate"]]
    back = sum(one["recovered_seconds"] is not None and one["recovered_seconds"] <= 10 for one in loaded)

    def total(name: str) -> int:
        return sum(one[name] for one in rounds)

    return (
        f"{len(rounds)} rounds, {sum(len(one['faults']) for one in rounds)} faults, {total('arrived')} messages "
        f"arrived; twice {total('twice')}, lost {total('lost')}, uncertain {total('uncertain')}; 90 % of the rate was "
        f"back within ten seconds in {back} of {len(loaded)} rounds under load; "
        f"{sum(bool(one['violations']) for one in rounds)} rounds with violations"
    )


def write(folder: Path, name: str, rounds: Sequence[Mapping[str, Any]], *, seed: int) -> Path:
    """The table for people and the rounds for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"schema": 1, "seed": seed, "rounds": rounds}, indent=1))
    path = folder / f"{name}.md"
    path.write_text(f"Seed {seed}. {summary(rounds)}.\n\n{table(lines_of(rounds))}\n")
    return path


if __name__ == "__main__":
    runs = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    for run in runs:
        sys.stdout.write(f"Seed {run['seed']}. {summary(run['rounds'])}.\n\n")
    sys.stdout.write(table(lines_of(one for run in runs for one in run["rounds"])) + "\n")
