"""Write the tables of docs/speed.md from bench/results/latest.json: `python -m bench.tables`, or `--print` to look.

Each table stands between two comments that name it; what is around them is written by people. A table whose benchmark
was not run stays as it is.
"""

import argparse
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.results import figure_from, goal_of, read, short

PAGE = Path(__file__).resolve().parent.parent / "docs" / "speed.md"

Rows = Mapping[str, Mapping[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", help="print the tables instead of writing the page")
    options = parser.parse_args()
    rows: Rows = {row["name"]: row for row in read()}
    tables = {name: table for name, draw in TABLES.items() if (table := draw(rows))}
    if options.print:
        sys.stdout.write("\n\n".join(tables.values()) + "\n")
        return
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table between its own two comments; raises ValueError for a table that has no place."""
    for name, table in tables.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        if not place.search(page):
            raise ValueError(
                f"docs/speed.md has no place for the table {name!r}: write <!-- {name} --> and <!-- /{name} -->"
            )
        page = place.sub(partial(_between, table), page)
    return page


def _between(table: str, found: re.Match[str]) -> str:
    return f"{found[1]}{table}{found[2]}"


def _table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    body = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in body) if lines else ""


def _figures(rows: Rows) -> str:
    """Every figure that is no part of a table of its own."""
    shown = [
        figure_from(row) for name, row in rows.items() if not name.startswith(("dispatch_vs_", "fleet_", "stages"))
    ]
    return _table(
        ("", "ours", "yardstick", "against", "ratio", "goal", "unit", "CPU us, ours", "CPU us, theirs"),
        [
            (f.name, short(f.ours), short(f.yardstick), f.yardstick_name, f"{f.ratio:.2f}", goal_of(f), f.unit,
             f"{f.cpu_us:,.0f}" if f.cpu_us else "", f"{f.yardstick_cpu_us:,.0f}" if f.yardstick_cpu_us else "")
            for f in shown
        ],
    )  # fmt: skip


def _dispatch(rows: Rows) -> str:
    shown = [figure_from(row) for name, row in rows.items() if name.startswith("dispatch")]
    return _table(
        ("beside", "its tasks/s", "its CPU us", "our reminders/s", "our CPU us", "ratio", "goal"),
        [
            (f.yardstick_name, short(f.yardstick), f"{f.yardstick_cpu_us or 0:,.0f}", short(f.ours),
             f"{f.cpu_us or 0:,.0f}", f"{f.ratio:.1f}", goal_of(f))
            for f in sorted(shown, key=lambda figure: figure.ratio, reverse=True)
        ],
    )  # fmt: skip


def _stages(rows: Rows) -> str:
    if "stages" not in rows:
        return ""
    row = rows["stages"]
    lines: list[Sequence[object]] = []
    for name, used in row["detail"]["stages"].items():
        spent = (f"{used[key]:.1f}" for key in ("wall_us", "cpu_us", "database_us"))
        lines.append((name, *spent, f"{used['wall_us'] / row['yardstick']:.0%}"))
    return _table(("stage", "wall us", "worker CPU us", "database CPU us", "of the wall time"), lines)


def _fleet(rows: Rows) -> str:
    lines = [
        (name.partition("_")[2], short(row["ours"]), f"{row['ratio']:.2f}", f"{row['cpu_us']:,.0f}",
         f"{row['detail']['lock_wait_share']:.2%}", f"{row['detail']['database_cpus']:.2f}")
        for name, row in rows.items() if name.startswith("fleet_")
    ]  # fmt: skip
    return _table(("processes", "reminders/s", "to one", "CPU us", "waiting for a lock", "CPUs of the database"), lines)


def _growth(rows: Rows) -> str:
    sizes = rows["growth"]["detail"]["sizes"] if "growth" in rows else []
    return _table(
        ("open reminders", "reminders/s", "CPU us", "of it vacuum", "the smallest beside it", "ratio", "tick ms (p99)",
         "lock ms (p99)", "GB"),
        [
            (f"{size['open']:,}", short(size["per_second"]), f"{size['cpu_us']:,.0f}",
             f"{size['vacuum_us']:,.0f}", f"{statistics.median(size['beside_us']):,.0f}", f"{size['ratio']:.2f}",
             "{:.1f} ({:.1f})".format(*size["tick_ms"]),
             "{:.1f} ({:.1f})".format(*size["lock_ms"]), f"{size['database_bytes'] / 1e9:.2f}")
            for size in sizes
        ],
    )  # fmt: skip


def _soak(rows: Rows) -> str:
    fits = rows["soak"]["detail"]["fits"] if "soak" in rows else {}
    return _table(
        ("", "mean", "most", "rises by", "may rise by", "flat"),
        [
            (name, f"{fit['mean']:.2f}", f"{fit['most']:.2f}", f"{fit['rise']:+.2f}", f"{fit['allowed']:.2f}",
             "yes" if fit["flat"] else "no")
            for name, fit in fits.items()
        ],
    )  # fmt: skip


#: The tables of the page, by the name between the comments.
TABLES: Mapping[str, Callable[[Rows], str]] = {
    "figures": _figures,
    "dispatch": _dispatch,
    "stages": _stages,
    "fleet": _fleet,
    "growth": _growth,
    "soak": _soak,
}


if __name__ == "__main__":
    main()
