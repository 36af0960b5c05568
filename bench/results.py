"""What a benchmark says, in one form: a row of figures, a table for people, a file for scripts."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results")
LATEST = RESULTS / "latest.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians of `rounds` interleaved rounds. `ratio` is ours over the yardstick, `goal` what it should reach.

    `at_most` turns the goal round: the ratio should stay below it. `detail` holds what else was seen: plain JSON.
    """

    name: str
    ours: float
    yardstick: float
    yardstick_name: str
    ratio: float
    goal: float | None
    unit: str
    rounds: int
    cpu_us: float | None = None
    yardstick_cpu_us: float | None = None
    at_most: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal was reached; None where there is none."""
        if not self.goal:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


def figure(
    name: str,
    ours: Sequence[float],
    yardstick: Sequence[float],
    *,
    yardstick_name: str,
    unit: str,
    goal: float | None = None,
    cpu_us: float | None = None,
    yardstick_cpu_us: float | None = None,
    at_most: bool = False,
    detail: Mapping[str, Any] | None = None,
) -> Figure:
    """The ratio is the median of the rounds' own ratios: rounds are interleaved, so noise hits both sides alike."""
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, yardstick, strict=True))
    return Figure(
        name, statistics.median(ours), statistics.median(yardstick), yardstick_name, ratio, goal, unit, len(ours),
        cpu_us, yardstick_cpu_us, at_most, detail or {},
    )  # fmt: skip


def against_goal(
    name: str, value: float, limit: float, *, said: str, unit: str, detail: Mapping[str, Any] | None = None
) -> Figure:
    """One value that should stay at or below a limit."""
    return Figure(name, value, limit, said, value / limit, 1.0, unit, 1, at_most=True, detail=detail or {})


def figure_from(row: Mapping[str, Any]) -> Figure:
    """A row of the file; what a row says beside its figure is left."""
    return Figure(**{each.name: row[each.name] for each in fields(Figure) if each.name in row})


# -------------------------------------------------------------------------------------------------------------- people


def show(figures: Sequence[Figure]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "ours", "yardstick", "", "ratio", "goal", "", "unit", "CPU us: ours", "theirs", "rounds"):
        table.add_column(heading, justify="left" if heading in ("", "unit") else "right")
    for f in figures:
        table.add_row(
            f.name, short(f.ours), short(f.yardstick), f.yardstick_name, f"{f.ratio:.2f}", goal_of(f),
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[f.is_met], f.unit,
            f"{f.cpu_us:,.0f}" if f.cpu_us else "", f"{f.yardstick_cpu_us:,.0f}" if f.yardstick_cpu_us else "",
            str(f.rounds),
        )  # fmt: skip
    Console(width=160).print(table)


def goal_of(figure: Figure) -> str:
    """The goal as it reads in a table: `12`, or `<= 1` where less is better."""
    if not figure.goal:
        return ""
    return f"<= {figure.goal:g}" if figure.at_most else f"{figure.goal:g}"


def short(number: float) -> str:
    """A number with as many digits as are worth reading."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


# ------------------------------------------------------------------------------------------------------------- scripts


def save(figures: Sequence[Figure], path: Path = LATEST) -> Path:
    """Put the figures into the file, each in the place of the one of its name; the others stay, with their time."""
    rows = {row["name"]: row for row in read(path)}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rows.update({figure.name: {**asdict(figure), "measured_at": now} for figure in figures})
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(list(rows.values()), indent=2) + "\n", encoding="utf-8")
    return path


def read(path: Path = LATEST) -> list[dict[str, Any]]:
    """The rows of the file; none where there is no file."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The rise of the straight line that fits best (least squares)."""
    return statistics.linear_regression(xs, ys).slope if len(set(xs)) > 1 else 0.0


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them stay at or below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
