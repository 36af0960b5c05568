"""Draw bench/results/latest.json beside it: `python -m bench.plots` writes latest.svg, a panel for what is there."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.results import LATEST, RESULTS, read

Rows = Mapping[str, Mapping[str, Any]]

OURS, THEIRS, GOAL = "#1b6ca8", "#b8c4ce", "#c0392b"


def main() -> None:
    rows: Rows = {row["name"]: row for row in read()}
    panels = [(draw, needs) for draw, needs in PANELS if needs in rows]
    if not panels:
        raise SystemExit(f"{LATEST} holds nothing to draw: run `make bench` first")
    matplotlib.use("svg")
    across = 2
    down = -(-len(panels) // across)
    figure, axes = pyplot.subplots(down, across, figsize=(13, 4.2 * down), squeeze=False, layout="constrained")
    for place, (draw, _) in zip(axes.flat, panels, strict=False):
        draw(place, rows)
        place.spines[["top", "right"]].set_visible(False)
    for place in axes.flat[len(panels) :]:
        place.set_axis_off()
    path = RESULTS / "latest.svg"
    figure.savefig(path)
    sys.stderr.write(f"Drawn in {path}\n")


def _rates(place: Axes, rows: Rows) -> None:
    queues = {
        row["yardstick_name"].partition("'")[0]: row["yardstick"]
        for name, row in rows.items()
        if name.startswith("dispatch")
    }
    bars = {
        "a whole reminder of ours": rows["dispatch"]["ours"],
        **dict(sorted(queues.items(), key=lambda entry: -entry[1])),
    }
    place.barh(list(bars), list(bars.values()), color=[OURS, *[THEIRS] * len(queues)])
    place.invert_yaxis()
    place.set_title("Whole reminders, and empty tasks of others, a second")


def _stages(place: Axes, rows: Rows) -> None:
    stages = rows["stages"]["detail"]["stages"]
    names = list(stages)
    own = [stages[name]["cpu_us"] for name in names]
    database = [stages[name]["database_us"] for name in names]
    place.barh(names, own, color=OURS, label="worker")
    place.barh(names, database, left=own, color=THEIRS, label="its database session")
    place.invert_yaxis()
    place.legend(frameon=False)
    place.set_title("Where a reminder's CPU goes, microseconds")


def _fleet(place: Axes, rows: Rows) -> None:
    sizes = [int(name.partition("_")[2]) for name in rows if name.startswith("fleet_")]
    place.plot(sizes, [rows[f"fleet_{size}"]["ours"] for size in sizes], "o-", color=OURS)
    place.set_xticks(sizes)
    place.set_ylim(bottom=0)
    place.set_title("Reminders a second by worker processes")


def _growth(place: Axes, rows: Rows) -> None:
    sizes = rows["growth"]["detail"]["sizes"]
    place.plot([size["open"] for size in sizes], [size["ratio"] for size in sizes], "o-", color=OURS)
    place.axhline(rows["growth"]["goal"], color=GOAL, linestyle=":")
    place.set_xscale("log")
    place.set_ylim(bottom=0)
    place.set_title("CPU of a reminder to that with 10,000 open, round by round")


def _growth_queries(place: Axes, rows: Rows) -> None:
    sizes = rows["growth"]["detail"]["sizes"]
    opened = [size["open"] for size in sizes]
    for name, colour in (("tick", OURS), ("lock", "#e0a030")):
        for position, said, line in ((0, "median", "o-"), (1, "p99", "o:")):
            times = [size[f"{name}_ms"][position] for size in sizes]
            place.plot(opened, times, line, color=colour, label=f"{name}, {said}")
    place.axhline(10, color=GOAL, linestyle=":")
    place.set_xscale("log")
    place.set_ylim(bottom=0)
    place.legend(frameon=False)
    place.set_title("Queries of a tick and of a lock, ms, by open reminders")


def _memory(place: Axes, rows: Rows) -> None:
    row = rows.get("memory") or rows["memory_100k"]
    samples = row["detail"]["samples"]
    sent = [each[0] / 1e6 for each in samples]
    for number in range(1, min(map(len, samples))):
        place.plot(sent, [each[number] for each in samples], color=THEIRS if number == 1 else OURS)
    place.axhline(row["yardstick"], color=GOAL, linestyle=":")
    place.set_ylim(bottom=0)
    place.set_title("Memory (PSS) of parent and children, MB, by million reminders")


def _soak(place: Axes, rows: Rows) -> None:
    samples = rows["soak"]["detail"]["samples"]
    minutes = [each["seconds"] / 60 for each in samples]
    for name in ("largest process MB", "tick ms", "reminder_due MB", "reminder_open MB", "dead reminders %"):
        place.plot(minutes, [each[name] for each in samples], label=name, linewidth=1)
    place.set_ylim(bottom=0)
    place.legend(frameon=False, fontsize="small")
    place.set_title("Soak: what should stay flat, by minutes")


#: What draws each panel, and the figure that it cannot do without.
PANELS: tuple[tuple[Callable[[Axes, Rows], None], str], ...] = (
    (_rates, "dispatch"),
    (_stages, "stages"),
    (_fleet, "fleet_1"),
    (_memory, "memory"),
    (_growth, "growth"),
    (_growth_queries, "growth"),
    (_soak, "soak"),
)


if __name__ == "__main__":
    main()
