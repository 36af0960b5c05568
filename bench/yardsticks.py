"""The empty-task rate of other queues: each started for its round, fed while it is stopped, measured to its last task.

Same number of processes, same Valkey or PostgreSQL as ours. A task counts itself in shared memory, so a round ends when
the last has run, whatever the queue still tidies up.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil

from bench.peers import tally
from bench.rig import PROCESSES, Rig, cpu_seconds, family, running, wait_for
from storage import database
from worker import engines

#: Where `make bench` installs them.
PEERS = Path(sys.prefix) / "peers" / "bin" / "python"
ARQ = Path(sys.prefix) / "peers-arq" / "bin" / "python"

#: Tasks of a warm-up, which ends when the queue has shown that it runs.
FIRST_TASKS = 200


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue: its interpreter, what starts its workers, and how many tasks keep it busy for some seconds."""

    name: str
    python: Path
    worker: tuple[str, ...]
    tasks: int
    database: int
    copies: int = 1  # how often the command is started, where one does not fork

    @property
    def is_installed(self) -> bool:
        return self.python.exists()


@dataclass(frozen=True, slots=True)
class Round:
    per_second: float
    cpu_us: float


_two = str(PROCESSES)

CELERY = Queue(
    "celery", Path(sys.executable),
    ("-m", "celery", "--quiet", "-A", "bench.peers.celery_app", "worker", "--loglevel", "ERROR", "--pool", "prefork",
     "--concurrency", _two, "-Q", "empty", "-n", "empty@%h"),
    tasks=5_000, database=1,
)  # fmt: skip

QUEUES: tuple[Queue, ...] = (
    CELERY,
    Queue(
        "dramatiq", PEERS,
        ("-m", "dramatiq", "bench.peers.dramatiq_app", "--processes", _two, "--threads", "4"),
        tasks=6_000, database=2,
    ),
    Queue(
        "taskiq", PEERS,
        ("-m", "taskiq", "worker", "bench.peers.taskiq_app:broker", "--workers", _two, "--log-level", "ERROR",
         "--max-prefetch", "100", "--no-parse"),
        tasks=8_000, database=3,
    ),
    Queue(
        "huey", PEERS,
        ("-m", "huey.bin.huey_consumer", "bench.peers.huey_app.huey", "--workers", _two, "--worker-type", "process",
         "--disable-health-check", "--no-periodic", "--quiet"),
        tasks=8_000, database=4,
    ),
    Queue(
        "rq", PEERS,
        ("-m", "rq.cli", "worker", "--worker-class", "rq.worker.SimpleWorker", "--quiet", "--url", "{broker}", "empty"),
        tasks=2_000, database=5, copies=PROCESSES,
    ),
    Queue("arq", ARQ, ("-m", "arq", "bench.peers.arq_app.Worker"), tasks=4_000, database=6, copies=PROCESSES),
    Queue(
        "procrastinate", PEERS,
        ("-m", "procrastinate", "--app", "bench.peers.procrastinate_app.app", "worker", "--concurrency", "10",
         "--queues", "empty"),
        tasks=1_000, database=7, copies=PROCESSES,
    ),
)  # fmt: skip


def run(rig: Rig, queue: Queue) -> Round:
    """Start a queue's workers, let them show that they run, stop them, fill the queue, and see how long it lasts."""
    environment = _environment(rig, queue)
    folder = Path(environment["BENCH_TALLY"])
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    _empty(rig, queue, environment)
    command = [str(queue.python), *(word.format(broker=environment["BENCH_BROKER"]) for word in queue.worker)]
    log_file = rig.settings.home / f"{queue.name}.log"
    with ExitStack() as stack:
        workers = [stack.enter_context(running(command, environment, log_file)) for _ in range(queue.copies)]
        _put(queue, FIRST_TASKS, environment)
        wait_for(lambda: tally.total(folder) >= FIRST_TASKS, what=f"{queue.name}'s first tasks", log_file=log_file)
        _signal(workers, signal.SIGSTOP)
        _put(queue, queue.tasks, environment)
        before, began = cpu_seconds(*workers, *rig.servers), time.perf_counter()
        _signal(workers, signal.SIGCONT)
        wait_for(
            lambda: tally.total(folder) >= FIRST_TASKS + queue.tasks, what=f"{queue.name}'s tasks", log_file=log_file,
            seconds=120,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        used = cpu_seconds(*workers, *rig.servers) - before
    return Round(queue.tasks / seconds, 1e6 * used / queue.tasks)


def _put(queue: Queue, count: int, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [str(queue.python), "-m", "bench.peers.enqueue", queue.name, str(count)], env=dict(environment), check=False,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"bench: {queue.name} takes no tasks:\n{done.stderr[-2000:]}")


def _signal(workers: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in (each for worker in workers for each in family(worker)):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _environment(rig: Rig, queue: Queue) -> dict[str, str]:
    running_engines = engines.ensure(rig.settings)
    socket = running_engines.broker_url.replace("redis+socket://", "unix://")
    return {
        **os.environ,
        "BENCH_BROKER": f"{socket}?db={queue.database}" if queue.name != "celery" else socket,
        "BENCH_DATABASE": urlunsplit(urlsplit(running_engines.database_url)._replace(path="/procrastinate")),
        "BENCH_TALLY": str(rig.settings.home / f"tally-{queue.name}"),
        "PYTHONUNBUFFERED": "1",
    }


def _empty(rig: Rig, queue: Queue, environment: Mapping[str, str]) -> None:
    """Nothing is left of the round before."""
    if queue.name == "procrastinate":
        _prepare_procrastinate(queue, environment)
    elif queue.name != "celery":
        with engines.redis_client(environment["BENCH_BROKER"]) as client:
            client.flushdb()


def _prepare_procrastinate(queue: Queue, environment: Mapping[str, str]) -> None:
    url = environment["BENCH_DATABASE"]
    database.drop_database(url)
    database.create_database(url)
    subprocess.run(
        [str(queue.python), "-m", "procrastinate", "--app", "bench.peers.procrastinate_app.app", "schema", "--apply"],
        env=dict(environment), check=True, capture_output=True, timeout=60,
    )  # fmt: skip
