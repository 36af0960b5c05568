"""Where the time of one reminder goes: one process of ours, looked at a thousand times a second while it drains.

Each look asks the call stack which stage it is in, and gives it what went by since the last look: wall time, CPU of
this process, and CPU of its session in the database. Nothing is instrumented, so nothing is slowed but by the looks
themselves (about 2 %). The stages are told by file and function; what is not in the list is "other".
"""

import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.table import Table

from bench.results import Figure
from bench.rig import Rig, rig, screen, steps
from bench.world import come_due, move_in, round_day, sent_at
from domain.channel import Channel
from domain.lane import SHARDS, Lane
from storage import lanes
from worker import dispatch

REMINDERS = 8_000
ROUNDS = 3
LOOK_SECONDS = 0.001

#: The innermost frame that is in this list names the stage: file (its end), function ("" for any), stage.
STAGES: Sequence[tuple[str, str, str]] = (
    ("storage/picture.py", "lock_parties", "lock"),
    ("storage/picture.py", "", "read"),
    ("storage/history.py", "unpack", "read"),
    ("storage/history.py", "_entries", "read"),
    ("storage/history.py", "_read", "read"),
    ("storage/history.py", "told", "read"),
    ("storage/sealing.py", "", "seal"),
    ("policy/", "", "judge"),
    ("messages/", "", "render"),
    ("worker/letters.py", "", "compose"),
    ("worker/planner.py", "", "plan"),
    ("domain/ladder.py", "", "plan"),
    ("storage/intents.py", "plan", "plan"),
    ("storage/intents.py", "", "intend"),
    # One turn records the wave before and stamps the next in a pipeline: what it waits for cannot be told apart.
    ("storage/waves.py", "", "record, stamp"),
    ("worker/sending.py", "", "send"),
    ("channels/", "", "send"),
    ("worker/loop.py", "", "send"),
    ("worker/cases.py", "", "decide"),
    ("worker/deciding.py", "", "decide"),
    ("psycopg/transaction.py", "", "commit"),
    ("psycopg/_pipeline.py", "", "commit"),
    ("worker/metrics.py", "", "watch"),
    ("worker/tracing.py", "", "watch"),
    ("worker/poison.py", "", "watch"),
    ("worker/turns.py", "", "watch"),
    ("worker/dispatch.py", "", "dispatch"),
)

HOUSE = str(Path(__file__).resolve().parent.parent) + "/"


class Looker:
    """What each stage used, in seconds: wall, own CPU, CPU of the database's session. And the busiest functions."""

    def __init__(self, backend_pid: int) -> None:
        self.wall: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self.database: defaultdict[str, float] = defaultdict(float)
        self.functions: Counter[str] = Counter()
        self._schedule = os.open(f"/proc/{backend_pid}/schedstat", os.O_RDONLY)
        self._last = (0.0, 0.0, 0.0)
        self._known: dict[tuple[str, str], str | None] = {}

    @contextmanager
    def looking(self) -> Iterator[None]:
        self._last = self._clocks()
        before = signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _clocks(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), int(os.pread(self._schedule, 99, 0).split()[0]) / 1e9

    def _look(self, _: int, frame: FrameType | None) -> None:
        now = self._clocks()
        wall, cpu, database = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        stage = self._stage(frame)
        self.wall[stage] += wall
        self.cpu[stage] += cpu
        self.database[stage] += database
        if frame is not None:
            code = frame.f_code
            self.functions[f"{code.co_filename.removeprefix(HOUSE)}:{code.co_name}"] += 1

    def _stage(self, frame: FrameType | None) -> str:
        while frame is not None:
            place = (frame.f_code.co_filename, frame.f_code.co_name)
            if place not in self._known:
                self._known[place] = _named(*place)
            if (stage := self._known[place]) is not None:
                return stage
            frame = frame.f_back
        return "other"


def _named(file: str, function: str) -> str | None:
    for part, name, stage in STAGES:
        within = file.startswith(HOUSE + part) if not part.startswith("psycopg") else part in file
        if within and (not name or name == function):
            return stage
    return None


def run(*, rounds: int = ROUNDS, reminders: int = REMINDERS) -> list[Figure]:
    with rig("stages") as house, steps("stages", rounds + 2) as step:
        step(f"{reminders:,} customers through the import")
        move_in(house, reminders)
        step("a round that is not counted")
        _drain(house, 0, reminders)
        row = house.conn.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        looker = Looker(row[0])
        for number in range(1, rounds + 1):
            step(f"round {number} of {rounds}")
            _drain(house, number, reminders, looker)
    figure = _figure(looker, rounds * reminders, rounds)
    _show(figure)
    return [figure]


def _drain(house: Rig, number: int, reminders: int, looker: Looker | None = None) -> None:
    at = come_due(house.conn, round_day(number))
    while any(lanes.stillness(house.conn)[:2]):
        for shard in range(SHARDS):
            lane = Lane("bench", Channel.NULL, shard)
            if looker is None:
                dispatch.drain(house.spine, lane)
                continue
            with looker.looking():
                dispatch.drain(house.spine, lane)
    if (sent := sent_at(house.conn, at)) < reminders:
        raise SystemExit(f"bench: {sent} of {reminders} reminders were sent; the round measures nothing")


def _figure(looker: Looker, reminders: int, rounds: int) -> Figure:
    def each(seconds: float) -> float:
        return round(1e6 * seconds / reminders, 2)

    stages = {
        stage: {
            "wall_us": each(looker.wall[stage]),
            "cpu_us": each(looker.cpu[stage]),
            "database_us": each(looker.database[stage]),
        }
        for stage in sorted(looker.wall, key=looker.wall.__getitem__, reverse=True)
    }
    cpu = each(sum(looker.cpu.values()) + sum(looker.database.values()))
    wall = each(sum(looker.wall.values()))
    looks = sum(looker.functions.values())
    busiest = {name: round(count / looks, 4) for name, count in looker.functions.most_common(40)}
    return Figure(
        "stages", cpu, wall, "wall time of the same, one process", cpu / wall, None, "us/reminder", rounds, cpu,
        detail={"stages": stages, "busiest": busiest},
    )  # fmt: skip


def _show(figure: Figure) -> None:
    table = Table("stage", "wall us", "CPU us", "database CPU us", "share", box=None, pad_edge=False)
    for stage, used in figure.detail["stages"].items():
        table.add_row(
            stage, f"{used['wall_us']:.1f}", f"{used['cpu_us']:.1f}", f"{used['database_us']:.1f}",
            f"{used['wall_us'] / figure.yardstick:.0%}",
        )  # fmt: skip
    table.add_row("all", f"{figure.yardstick:.1f}", "", f"both CPU: {figure.ours:.1f}", "")
    screen.print(table)
    screen.print("busiest functions, by share of looks:")
    for name, share in list(figure.detail["busiest"].items())[:15]:
        screen.print(f"  {share:6.1%}  {name}")
