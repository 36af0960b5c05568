"""The table: fault x place, how often, what arrived, what the ledger has, and how long it took to be well again."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.chaos.rounds import Outcome

HEAD = (
    "fault", "place", "runs", "arrived", "ledger", "uncertain", "twice", "lost", "rate back, s", "all quiet, s",
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
    quiet: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def lines_of(outcomes: Iterable[Outcome]) -> list[Line]:
    lines: dict[str, Line] = {}
    for outcome in outcomes:
        for fault in outcome.faults:
            line = lines.setdefault(str(fault), Line(fault.name, fault.place))
            finding = outcome.finding
            line.runs += 1
            line.arrived += finding.arrived
            line.ledger += finding.ledger
            line.uncertain += finding.uncertain
            line.twice += finding.twice
            line.lost += finding.lost
            line.violations += finding.violations
            line.recovered += [outcome.recovered_seconds] if outcome.recovered_seconds is not None else []
            line.quiet += [outcome.quiet_seconds] if outcome.quiet_seconds is not None else []
    return list(lines.values())


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
    return (line.name, line.place, *map(str, counts), _times(line.recovered), _times(line.quiet))


def _times(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    return f"{median(seconds):.1f} / {max(seconds):.1f}" if len(seconds) > 1 else f"{seconds[0]:.1f}"


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line that can be checked against the table."""
    findings = [outcome.finding for outcome in outcomes]
    within = [one.recovered_seconds for one in outcomes if one.rate]
    back = sum(seconds is not None and seconds <= 10 for seconds in within)
    return (
        f"{len(outcomes)} rounds, {sum(len(one.faults) for one in outcomes)} faults, "
        f"{sum(one.arrived for one in findings)} messages arrived; twice {sum(one.twice for one in findings)}, "
        f"lost {sum(one.lost for one in findings)}, uncertain {sum(one.uncertain for one in findings)}; "
        f"90 % of the rate was back within ten seconds in {back} of {len(within)} rounds under load; "
        f"{sum(bool(one.violations) for one in findings)} rounds with violations"
    )


def write(folder: Path, name: str, outcomes: Sequence[Outcome], *, seed: int) -> Path:
    """The table for people and the rounds for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    rounds = [
        {
            "faults": [str(fault) for fault in one.faults],
            "rate": one.rate,
            "recovered_seconds": one.recovered_seconds,
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
    (folder / f"{name}.json").write_text(json.dumps({"schema": 1, "seed": seed, "rounds": rounds}, indent=1))
    path = folder / f"{name}.md"
    path.write_text(f"Seed {seed}. {summary(outcomes)}.\n\n{table(lines_of(outcomes))}\n")
    return path
