"""`make bench`: every benchmark, a table, bench/results/latest.json and a plot. Name some to run only those.

Each runs in a process of its own, one after the other; one that fails does not stop the rest.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import dispatch, fleet, growth, latency, limit, memory, policy, receipts, rendering, senders, soak, stages
from bench.results import Figure, figure_from, save, show
from bench.rig import end_on_signals, leash, screen

#: What `make bench` runs.
BENCHES: Mapping[str, Callable[[], Sequence[Figure]]] = {
    "dispatch": dispatch.run,
    "stages": stages.run,
    "limit": limit.run,
    "latency": latency.run,
    "fleet": fleet.run,
    "memory": memory.run_short,
    "senders": lambda: [_figure(row) for row in senders.run()[1]],
    "receipts": receipts.run,
    "rendering": lambda: [_figure({**row, "at_most": True}) for row in rendering.rows()],
    "policy": policy.run,
}

#: What takes long, and is run by its own name only.
LONG: Mapping[str, Callable[..., Sequence[Figure]]] = {
    "memory-million": memory.run,
    "growth": growth.run,
    "soak": soak.run,
}

#: What shows in seconds that a benchmark still runs: so few reminders that its figures mean nothing.
SHORT: Mapping[str, Callable[[], Sequence[Figure]]] = {
    "stages": partial(stages.run, rounds=1, reminders=300),
    "limit": partial(limit.run, rounds=1, reminders=300),
    "latency": partial(latency.run, seconds=2, customers=2_000, full=300),
    "fleet": partial(fleet.run, rounds=1, reminders=300, sizes=(1, 2)),
    "memory": partial(memory.measure, 4_000, 2_000, name="memory_short"),
    "growth": partial(growth.run, growth.Scale(smallest=300, sizes=(600,), rounds=1, fewest_due=300)),
    "soak": partial(soak.run, minutes=0.15, customers=2_000),
}


def _figure(row: Mapping[str, Any]) -> Figure:
    """A row that a benchmark gives as a mapping; what only it knows is left to its own `python -m`."""
    known = {field.name: row[field.name] for field in fields(Figure) if field.name in row}
    return Figure(**{**known, **{name: float(known[name]) for name in ("ours", "yardstick", "ratio", "goal")}})


def main() -> None:
    end_on_signals()
    options = _options()
    if options.out:  # we are the process of one benchmark
        figures = _measure(options.names[0], options)
        options.out.write_text(json.dumps([asdict(figure) for figure in figures]), encoding="utf-8")
        return
    failed = []
    figures = []
    for name in options.names or (SHORT if options.short else BENCHES):
        measured = _in_a_process(name)
        failed += [name] if measured is None else []
        figures += measured or []
        if not options.short:
            save(measured or [])
    show(figures)
    if not options.short:
        _plot()
    if failed:
        raise SystemExit(f"bench: {', '.join(failed)} failed; what it said is above")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure duly beside what it is compared to.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help=f"of {', '.join(BENCHES)} (all of these by default) and {', '.join(LONG)}",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to soak")
    parser.add_argument("--most", type=int, default=10_000_000, help="the most open reminders to grow to")
    parser.add_argument("--short", action="store_true", help="see in seconds that they run; the figures mean nothing")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = [*SHORT] if options.short else [*BENCHES, *LONG]
    if unknown := set(options.names) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there is {', '.join(known)}")
    if options.minutes <= 0:
        parser.error(f"--minutes {options.minutes:g}: say how long to soak, such as 60")
    if options.most < (smallest := growth.Scale().smallest):
        parser.error(f"--most {options.most:,}: growth is told beside {smallest:,} open reminders; name more")
    return options


def _measure(name: str, options: argparse.Namespace) -> Sequence[Figure]:
    if options.short:
        return [replace(figure, goal=None) for figure in SHORT[name]()]
    match name:
        case "soak":
            return soak.run(minutes=options.minutes)
        case "growth":
            return growth.run(most=options.most)
        case _:
            return (BENCHES.get(name) or LONG[name])()


def _in_a_process(name: str) -> list[Figure] | None:
    """One benchmark's figures, or None when it failed."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        again = [word for word in sys.argv[1:] if word not in {*BENCHES, *LONG}]
        child = subprocess.Popen(
            [*leash(signal.SIGTERM), sys.executable, "-m", "bench", name, *again, "--out", str(out)]
        )
        try:
            code = child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        screen.print(f"{name}: {'measured' if code == 0 else 'failed'} in {time.monotonic() - began:,.0f} s")
        return [figure_from(row) for row in json.loads(out.read_text())] if code == 0 else None


def _plot() -> None:
    """The plots are drawn by a process of their own: matplotlib is needed for nothing else."""
    if find_spec("matplotlib") is None:
        screen.print("no plot: matplotlib is not installed; `make bench` installs it")
        return
    subprocess.run([sys.executable, "-m", "bench.plots"], check=False)


if __name__ == "__main__":
    main()
