"""What every benchmark stands on: a home of its own, workers of ours, and meters for what processes use.

Everything that is started here is ended here, whatever happens; a benchmark that is killed takes its workers with it
(util-linux's setpriv), and the next one stops the engines that it left.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from config import settings as configuration
from config.settings import Settings, child_environment
from console.house import enter
from storage.rows import Conn
from worker import engines
from worker.app import QUEUES
from worker.wiring import Spine

#: As many on our side as on every yardstick's.
PROCESSES = 2

HOMES = Path(".duly/bench").absolute()

#: Recycling is off where memory is measured, and where a worker's age must not matter: more than a run can reach.
NEVER = "1000000000"

READY_SECONDS = 60.0

screen = Console(stderr=True)

#: Says what is done now, and moves a bar by one, or to `done`.
Step = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Rig:
    """A house to measure in: its settings, its engines' processes, and a spine with a connection of our own."""

    settings: Settings
    spine: Spine
    servers: tuple[psutil.Process, ...]

    @property
    def conn(self) -> Conn:
        return self.spine.conn

    @property
    def log_file(self) -> Path:
        return self.settings.home / "workers.log"


@contextmanager
def rig(name: str, *, tick_seconds: float = 0.25, keep: bool = False) -> Iterator[Rig]:
    """A home made anew, engines up and the schema there. Ends the engines and removes the home, unless told to keep it.

    One rig a process: Celery reads its settings once.
    """
    settings = configuration.adopt(
        Settings(
            home=HOMES / name,
            worker_concurrency=PROCESSES,
            log_level="WARNING",
            tick_seconds=tick_seconds,
            sandbox_http_url="http://127.0.0.1:9",
            sandbox_smtp_url="smtp://127.0.0.1:9",
        )
    )
    _clear(settings)
    try:
        with enter(settings, role="bench") as spine:
            pids = [status.pid for status in engines.status(settings) if status.pid]
            yield Rig(settings, spine, tuple(map(psutil.Process, pids)))
    finally:
        engines.stop(settings)
        if not keep:
            shutil.rmtree(settings.home, ignore_errors=True)


def _clear(settings: Settings) -> None:
    """Nothing is left of a run that was killed: what was stopped by a signal does not even see its parent die."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            homes = (environment.get("DULY_HOME", ""), str(Path(environment.get("BENCH_TALLY", "")).parent))
            if str(settings.home) in homes:
                process.kill()
    engines.stop(settings)
    shutil.rmtree(settings.home, ignore_errors=True)
    settings.home.mkdir(parents=True)


# ------------------------------------------------------------------------------------------------------------- workers


@contextmanager
def worker(rig: Rig, *, processes: int = PROCESSES, ageless: bool = False) -> Iterator[psutil.Process]:
    """A worker of ours on every queue, with so many processes; `ageless` never recycles one."""
    words = ["worker", "--loglevel", "WARNING", "--pool", "prefork", "--concurrency", str(processes)]
    words += ["-Q", ",".join(QUEUES)]
    if ageless:
        words += ["--max-tasks-per-child", NEVER, "--max-memory-per-child", NEVER]
    with running(_celery(words), child_environment(rig.settings), rig.log_file) as process:
        wait_for(lambda: len(process.children()) >= processes, what="the workers", log_file=rig.log_file)
        time.sleep(2)  # it has met its broker
        yield process


@contextmanager
def beat(rig: Rig) -> Iterator[psutil.Process]:
    with running(_celery(["beat", "--loglevel", "WARNING"]), child_environment(rig.settings), rig.log_file) as process:
        yield process


def _celery(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "celery", "--quiet", "-A", "worker.app", *words]


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> Iterator[psutil.Process]:
    """A program and all that it starts, for the length of a `with` block."""
    with log_file.open("ab") as log:
        started = subprocess.Popen(
            [*leash(signal.SIGKILL), *command], env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    process = psutil.Process(started.pid)
    try:
        yield process
    finally:
        # The group, and whoever left it: a pool's child may have made a group of its own.
        strays = family(process)
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        for stray in strays:
            with suppress(psutil.NoSuchProcess):
                stray.kill()
        started.wait(10)


def heard(process: subprocess.Popen[str], *, who: str) -> dict[str, Any]:
    """The next line of JSON that a process of ours says; ends the benchmark when it broke off."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"bench: {who} broke off; what it said is above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def leash(at_death: signal.Signals) -> list[str]:
    """What sends a child that signal when we are killed without a word, where the system knows how."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", at_death.name.removeprefix("SIG"), "--"] if setpriv else []


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that descend from it; nobody where it is gone."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_for(until: Callable[[], bool], *, what: str, log_file: Path, seconds: float = READY_SECONDS) -> None:
    """Wait for something that should come soon; ends the benchmark with the log's last lines when it does not."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            tail = "\n".join(log_file.read_text(errors="replace").splitlines()[-12:]) if log_file.exists() else ""
            raise SystemExit(f"bench: waited {seconds:g} s for {what} in vain; the log ends with:\n{tail}")
        time.sleep(0.02)


# -------------------------------------------------------------------------------------------------------------- meters


def cpu_seconds(*roots: psutil.Process) -> float:
    """What whole process trees have used so far, with children that have ended and were waited for."""
    total = 0.0
    for process in (each for root in roots for each in family(root)):
        with suppress(psutil.NoSuchProcess):
            total += math.fsum(process.cpu_times()[:4])
    return total


def pss_bytes(process: psutil.Process) -> int:
    """Its proportional share of memory: what it alone holds, and its part of what it shares (the kernel's roll-up)."""
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"bench: the kernel does not tell the memory of process {process.pid}")


# ------------------------------------------------------------------------------------------------------------ progress


@contextmanager
def steps(title: str, total: float) -> Iterator[Step]:
    """A bar for `total` steps. Call what it gives with the words for the next one, or with how far it has come."""
    columns = (
        TextColumn("{task.description}"), BarColumn(30), TaskProgressColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task(title, total=total)

        def step(said: str, *, done: float | None = None) -> None:
            words = f"{title}: {said}"
            if done is None:
                progress.update(task, description=words)
                progress.advance(task)
            else:
                progress.update(task, description=words, completed=done)

        yield step


def end_on_signals() -> None:
    """Let whoever ends us by a signal find everything cleaned up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
