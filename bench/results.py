"""What a benchmark says, in one form: a row of figures, a table for people, a file for scripts."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

LATEST = Path(__file__).with_name("results") / "latest.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians of `rounds` interleaved rounds. `ratio` is ours over the yardstick, `goal` what it should reach."""

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
) -> Figure:
    """The ratio is the median of the rounds' own ratios: rounds are interleaved, so noise hits both sides alike."""
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, yardstick, strict=True))
    return Figure(
        name, statistics.median(ours), statistics.median(yardstick), yardstick_name, ratio, goal, unit, len(ours),
        cpu_us, yardstick_cpu_us,
    )  # fmt: skip


def show(figures: Sequence[Figure]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "ours", "yardstick", "", "ratio", "goal", "unit", "CPU us: ours", "theirs", "rounds"):
        table.add_column(heading, justify="left" if heading in ("", "unit") else "right")
    for f in figures:
        table.add_row(
            f.name, _short(f.ours), _short(f.yardstick), f.yardstick_name, f"{f.ratio:.2f}",
            f"{f.goal:g}" if f.goal else "", f.unit, f"{f.cpu_us:,.0f}" if f.cpu_us else "",
            f"{f.yardstick_cpu_us:,.0f}" if f.yardstick_cpu_us else "", str(f.rounds),
        )  # fmt: skip
    Console(width=140).print(table)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def save(figures: Sequence[Figure]) -> Path:
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")
    return LATEST
