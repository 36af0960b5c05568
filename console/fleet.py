"""The whole system on one machine: sandbox, console, beat and workers as processes that one command starts and ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import structlog

from config.settings import Settings, child_environment
from worker import daemons, engines
from worker.app import QUEUES

log = structlog.get_logger()

#: Where a fleet notes its processes, in DULY_HOME/run.
NOTES = "fleet.json"

#: A part that is not ready by then is taken for broken, and its log is shown.
READY_SECONDS = 60.0

#: Celery finishes its batches (a slice takes seconds), the others just go.
WARM_SECONDS = 30.0

#: A part that dies is started again after this long, doubling up to the second.
FIRST_RESTART_SECONDS = 0.5
LAST_RESTART_SECONDS = 30.0


class FleetFailed(Exception):
    """A part of the fleet does not start; the message names it and shows the end of its log."""


@dataclass(slots=True)
class Part:
    """One process of the fleet. `log_file` holds what it prints."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(repr=False)
    log_file: Path
    inherits: tuple[int, ...] = ()  # file descriptors
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    not_before: float = 0.0

    def start(self) -> None:
        with self.log_file.open("ab") as log_file:
            # A session of its own: Ctrl-C reaches the command, which ends the parts in order.
            self.process = subprocess.Popen(  # noqa: S603 - our own programs
                [*_leash(), *self.command], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
                if self.name == "sandbox" else log_file, stderr=log_file, start_new_session=True,
                pass_fds=self.inherits,
            )  # fmt: skip

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def _leash() -> list[str]:
    """What ends a part when its parent is killed without a word, where the system knows how (util-linux's setpriv)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


@dataclass(frozen=True, slots=True)
class Running:
    """A fleet that runs: where its console and its sandbox answer. `sandbox_http` is empty with real providers."""

    console_url: str
    sandbox_http: str
    outbox: Path
    parts: tuple[Part, ...]
    logs: Path
    settings: Settings = field(repr=False)

    def mend(self) -> None:
        """Start parts again that died, each time a little later; and the embedded engines, if somebody killed one."""
        engines.ensure(self.settings)
        for part in self.parts:
            if part.is_running or time.monotonic() < part.not_before:
                continue
            wait = min(FIRST_RESTART_SECONDS * 2**part.restarts, LAST_RESTART_SECONDS)
            log.warning("part_died", part=part.name, restarts=part.restarts, log=str(part.log_file))
            part.restarts += 1
            part.not_before = time.monotonic() + wait
            part.start()
            _remember(self.logs, self.parts)


@contextmanager
def fleet(settings: Settings, *, seed: int = 0, lifelike: bool = False, beats: int = 1) -> Iterator[Running]:
    """Run the fleet for the length of a `with` block. Raises FleetFailed, also when one runs already.

    Leaves nothing running, whatever happens.
    """
    folder = settings.home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_a_second(settings)
    end_fleet(settings)
    parts: list[Part] = []
    doors: list[socket.socket] = []
    try:
        yield _start(settings, folder, parts, doors, seed=seed, lifelike=lifelike, beats=beats)
    finally:
        with _undisturbed():
            _stop(parts)
            for door in doors:
                door.close()
            (folder / NOTES).unlink(missing_ok=True)


def _start(
    settings: Settings,
    folder: Path,
    parts: list[Part],
    doors: list[socket.socket],
    *,
    seed: int,
    lifelike: bool,
    beats: int,
) -> Running:
    door = _door(settings.console_host, settings.console_port)
    doors.append(door)
    console_port = door.getsockname()[1]
    console_url = f"http://{settings.console_host}:{console_port}"
    changes = {"console_port": str(console_port)}
    if settings.public_url is None:
        changes["public_url"] = console_url
    outbox = settings.home / "outbox"
    sandbox_http = settings.sandbox_http_url or ""
    if not settings.is_live and not sandbox_http:
        sandbox = _part(settings, folder, "sandbox", _sandbox_command(outbox, console_url, seed, lifelike), {})
        parts.append(sandbox)
        sandbox.start()
        ready = _ready_line(sandbox)
        sandbox_http, sandbox_smtp = ready["http_url"], ready["smtp_url"]
        changes |= {
            "sandbox_http_url": sandbox_http, "sandbox_smtp_url": sandbox_smtp, "sandbox_apns_url": ready["apns_url"],
            "sandbox_apns_certificate_file": ready["apns_certificate"], "bounces_imap_url": ready["imap_url"],
        }  # fmt: skip
        # A sandbox that is started again must be found where it was.
        ports = {name: urlsplit(ready[f"{name}_url"]).port or 0 for name in ("http", "smtp", "apns", "imap")}
        sandbox.command = _sandbox_command(outbox, console_url, seed, lifelike, ports)
    # Celery says two lines for every wake-up: only who debugs wants them.
    level = ["--loglevel", settings.log_level if settings.log_level == "DEBUG" else "WARNING"]
    celery = [sys.executable, "-m", "celery", "-A", "worker.app", "--quiet"]
    parts += [
        _console(settings, folder, door, changes),
        _part(settings, folder, "worker", [*celery, "worker", *level, "-Q", ",".join(QUEUES)], changes),
        *(
            _part(
                settings, folder, f"beat-{n}",
                [*celery, "beat", *level, "--pidfile=", "-s", str(folder / f"beat-{n}")],
                changes,
            )
            for n in range(1, beats + 1)
        ),
    ]  # fmt: skip
    for part in parts:
        if part.process is None:
            part.start()
    _remember(folder, parts)
    _wait_for_answer(next(part for part in parts if part.name == "console"), console_url)
    return Running(console_url, sandbox_http, outbox, tuple(parts), folder, settings)


def _part(settings: Settings, folder: Path, name: str, command: Sequence[str], changes: dict[str, str]) -> Part:
    return Part(name, command, child_environment(settings, **changes), folder / f"{name}.log")


def _console(settings: Settings, folder: Path, door: socket.socket, changes: dict[str, str]) -> Part:
    command = [sys.executable, "-m", "console.serve", "--socket", str(door.fileno())]
    part = _part(settings, folder, "console", command, changes)
    part.inherits = (door.fileno(),)
    return part


def _sandbox_command(
    outbox: Path, console_url: str, seed: int, lifelike: bool, ports: Mapping[str, int] | None = None
) -> list[str]:
    return [
        sys.executable, "-m", "simulator.sandbox",
        *(word for name, port in (ports or {}).items() for word in (f"--{name}-port", str(port))),
        "--outbox", str(outbox), "--callback-base", console_url, "--seed", str(seed), "--parent-pid", str(os.getpid()),
        *(["--lifelike"] if lifelike else []),
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------------- coming and going


def _ready_line(part: Part) -> dict[str, str]:
    """The one line of JSON with which the sandbox says where it listens."""
    process = part.process
    assert process is not None
    assert process.stdout is not None
    line = _line_within(process.stdout, READY_SECONDS)
    try:
        ready: dict[str, str] = json.loads(line)
    except ValueError:
        raise _failed(part) from None
    return ready


def _line_within(stream: IO[bytes], seconds: float) -> bytes:
    """A line from a pipe, or nothing in time. The pipe stays open: its writer must not die of a closed one."""
    os.set_blocking(stream.fileno(), False)
    until, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n") and time.monotonic() < until:
        piece = stream.read()
        if piece == b"":
            break
        line += piece or b""
        time.sleep(0.01)
    return line


def _wait_for_answer(part: Part, url: str) -> None:
    """Wait until the console answers: its door listens before it does."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if not part.is_running:
            raise _failed(part)
        with suppress(OSError), urlopen(f"{url}/healthz", timeout=2):  # noqa: S310 - our own console
            return
        time.sleep(0.05)
    raise _failed(part)


def _failed(part: Part) -> FleetFailed:
    tail = part.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    return FleetFailed(f"the {part.name} does not start; {part.log_file} ends with:\n" + "\n".join(tail))


def _door(host: str, wanted: int) -> socket.socket:
    """A listening socket on the wanted port if nobody has it, else on any free one.

    The console inherits it: a port that is only looked at could be somebody else's a moment later, and a provider's
    callbacks would go to another home.
    """
    for port in (wanted, 0):
        with suppress(OSError):
            return socket.create_server((host, port), backlog=1024)
    raise FleetFailed(f"no free port on {host}: set DULY_CONSOLE_HOST to an address of this machine")


def _stop(parts: Sequence[Part]) -> None:
    """Beat first, so that nothing new begins; then workers, warm; then the console and the sandbox they talk to."""
    order = sorted(parts, key=lambda part: ("beat", "work", "cons", "sand").index(part.name[:4]))
    for part in order:
        if part.process is None:
            continue
        family = _family(part.process.pid)
        if part.is_running:
            part.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                part.process.wait(WARM_SECONDS)
        daemons.end(family, (signal.SIGTERM, 2), (signal.SIGKILL, 2))
        part.process.wait()
        if part.process.stdout:
            part.process.stdout.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave half a fleet behind: the end is bounded in time anyway."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _remember(folder: Path, parts: Sequence[Part]) -> None:
    """Note the processes, so that the next command knows that they run, or can end them if ours was killed."""
    noted = {
        "command": _noted(os.getpid()),
        "parts": [_noted(part.process.pid) for part in parts if part.is_running and part.process],
    }
    (folder / NOTES).write_text(json.dumps(noted), encoding="utf-8")


def _noted(pid: int) -> dict[str, float]:
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def _still(note: dict[str, float]) -> psutil.Process | None:
    """The process of a note, unless it is gone or its number was given to somebody else since."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(note["pid"]))
        if process.create_time() == note["started"] and daemons.is_alive(process):
            return process
    return None


def _refuse_a_second(settings: Settings) -> None:
    notes = settings.home / "run" / NOTES
    command = _still(json.loads(notes.read_text(encoding="utf-8"))["command"]) if notes.exists() else None
    if command is not None:
        raise FleetFailed(
            f"a fleet runs in this home already (process {command.pid}): stop it with Ctrl-C there or with "
            "`duly down`, or take another DULY_HOME"
        )


def end_fleet(settings: Settings) -> int:
    """End the fleet of this home, whether its command still runs or was killed; how many processes there were."""
    notes = settings.home / "run" / NOTES
    if not notes.exists():
        return 0
    noted = json.loads(notes.read_text(encoding="utf-8"))
    ended = 0
    for note in (noted["command"], *noted["parts"]):
        process = _still(note)
        if process is not None and process.pid != os.getpid():
            # The command ends its parts in order, warm; a part whose command is gone is ended by itself.
            daemons.end(_family(process.pid)[:1], (signal.SIGTERM, 2 * WARM_SECONDS))
            daemons.end(_family(process.pid), (signal.SIGTERM, 2), (signal.SIGKILL, 5))
            ended += 1
    notes.unlink(missing_ok=True)
    return ended
