"""A true fleet to do harm to: embedded engines, sandbox, console, beat and two workers, with a proxy on every wire.

`Arena` is driven from one thread. Whoever waits, waits through it: parts that died are started again as `duly up` does,
and the steady load goes on.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

import psutil
import psycopg

from config.settings import Settings, child_environment
from console.fleet import Part, Running, fleet
from storage import database, lanes, schema
from storage.rows import Conn
from tests.builders import HOUSE, TUESDAY_MORNING, a_live_release
from tests.chaos.links import Links, Session, Tripwire, Weather
from tests.chaos.planting import Planted, Wanted, a_mixture, plant
from tests.chaos.wiretap import BrokerTap, MailTap, PostgresTap, SmsTap
from worker import engines
from worker.app import QUEUES
from worker.daemons import EngineFailed
from worker.wiring import keyring

Value = TypeVar("Value")

LEASE_SECONDS = 10
SWEEP_SECONDS = 5

#: People a second, well below what two workers on two cores do with a proxy on every wire.
LOAD_PER_SECOND = 60
LOAD_EVERY_SECONDS = 0.25

MEND_SECONDS = 0.5
CLOCK_EVERY_SECONDS = 0.25

#: Whatever should come true does so long before, also on a machine that is busy with other things.
PATIENCE_SECONDS = 240.0


class NeverCameTrue(AssertionError):
    """Something was waited for in vain; the message says what."""


class Arena:
    """One home with everything in it, and all that a fault may do to it."""

    def __init__(self, home: Path, *, seed: int, workers: int = 2, load_per_second: float = LOAD_PER_SECOND) -> None:
        self.home = home
        self.seed = seed
        self.engine_settings = Settings(home=home / "engines")
        self.links = Links(home / "fleet")
        self.dice = Random(f"{seed}/people")
        self.is_feeding = False
        self.load_per_second = load_per_second
        self.holds_engines = False  # keeps a killed engine down
        self.extras: list[Part] = []
        self._conn: Conn | None = None
        self._next_load = 0.0
        self._next_mend = 0.0
        self._clock_read_at = time.monotonic()
        self.held_up_seconds = 0.0  # the longest that this driver itself stood still: then the load did too
        self._workers = workers
        self._is_over = threading.Event()

    # ------------------------------------------------------------------------------------------------ coming and going

    @contextmanager
    def running(self) -> Iterator["Arena"]:
        try:
            self._start_engines()
            self._start_sandbox()
            with fleet(self.settings) as running:
                self.console.target = ("127.0.0.1", urlsplit(running.console_url).port or 0)
                self.running_fleet: Running = running
                for number in range(2, self._workers + 1):
                    self.extras.append(self.worker_part(f"worker-{number}"))
                    self.extras[-1].start()
                mender = threading.Thread(target=self._mend_engines, name="mender", daemon=True)
                mender.start()
                try:
                    self.until(self._all_workers_wait, why="every worker listens")
                    yield self
                finally:
                    self.heal()
                    self._is_over.set()
                    mender.join()
                    for part in self.extras:
                        stop(part)
        finally:
            self._close()

    def _start_engines(self) -> None:
        found = engines.ensure(self.engine_settings)
        self.direct_url = found.database_url
        schema.migrate(found.database_url)
        self.settings = Settings(
            home=self.home / "fleet",
            lease_seconds=LEASE_SECONDS,
            wave_size=20,
            worker_concurrency=2,
            log_level="INFO",
        )
        self.settings.home.mkdir(parents=True)
        self.keyring = keyring(self.settings)
        with database.connect(found.database_url, autocommit=True) as conn:
            a_live_release(conn)
            lanes.step_clock(conn, TUESDAY_MORNING)
            for months in range(1, 7):
                lanes.ensure_partitions(conn, TUESDAY_MORNING + timedelta(days=30 * months))
        self.database = self.links.add("database", PostgresTap)
        self.broker = self.links.add("broker", BrokerTap)
        self.sms = self.links.add("sms", SmsTap)
        self.relay = self.links.add("relay", MailTap)
        self.console = self.links.add("console")
        sockets = Path(parse_qs(urlsplit(found.database_url).query)["host"][0])
        self.database.target = next(sockets.glob(".s.PGSQL.*[0-9]"))
        self.broker.target = Path(unquote(urlsplit(found.broker_url).path))
        self.broker_url = found.broker_url

    def _start_sandbox(self) -> None:
        console_url = f"http://127.0.0.1:{self.console.port}"
        self.outbox = self.home / "outbox"
        self._sandbox = subprocess.Popen(
            [sys.executable, "-m", "simulator.sandbox", "--outbox", str(self.outbox), "--callback-base", console_url,
             "--seed", str(self.seed), "--parent-pid", str(os.getpid())],
            stdout=subprocess.PIPE, cwd=HOUSE,
        )  # fmt: skip
        assert self._sandbox.stdout is not None
        ready = json.loads(self._sandbox.stdout.readline())
        self.sandbox_url = ready["http_url"]
        self.sms.target = ("127.0.0.1", urlsplit(ready["http_url"]).port or 0)
        self.relay.target = ("127.0.0.1", urlsplit(ready["smtp_url"]).port or 0)
        self.settings = Settings(
            **{
                **self.settings.model_dump(),
                # Encryption is not asked for: the tap reads along.
                "database_url": f"postgresql://duly@127.0.0.1:{self.database.port}/duly?sslmode=disable&gssencmode=disable",
                "broker_url": f"redis://127.0.0.1:{self.broker.port}/0",
                "sandbox_http_url": f"http://127.0.0.1:{self.sms.port}",
                "sandbox_smtp_url": f"smtp://127.0.0.1:{self.relay.port}",
                "public_url": console_url,
            }
        )

    def _close(self) -> None:
        if self._conn is not None:
            self._conn.close()
        if hasattr(self, "_sandbox"):
            self._sandbox.terminate()
            self._sandbox.wait(10)
            assert self._sandbox.stdout is not None
            self._sandbox.stdout.close()
        self.links.close()
        engines.stop(self.engine_settings)

    def _all_workers_wait(self) -> bool:
        """Each has a pool child; work comes to them from then on."""
        return all(len(self.children(part)) >= self.settings.worker_concurrency for part in self.workers)

    # ------------------------------------------------------------------------------------------------------- the parts

    @property
    def workers(self) -> list[Part]:
        own = [part for part in self.running_fleet.parts if part.name == "worker"]
        return own + [part for part in self.extras if part.name.startswith("worker")]

    @property
    def beats(self) -> list[Part]:
        return [part for part in (*self.running_fleet.parts, *self.extras) if part.name.startswith("beat")]

    def worker_part(self, name: str) -> Part:
        return self._celery_part(name, "worker", "-Q", ",".join(QUEUES), "-n", f"{name}@%h")

    def beat_part(self, name: str) -> Part:
        return self._celery_part(name, "beat", "--pidfile=", "-s", str(self.settings.home / "run" / name))

    def _celery_part(self, name: str, *words: str) -> Part:
        environment = child_environment(self.settings)
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "--quiet", *words, "--loglevel", "WARNING"]
        return Part(name, command, environment, self.settings.home / "run" / f"{name}.log")

    def process(self, part: Part) -> psutil.Process:
        assert part.process is not None
        return psutil.Process(part.process.pid)

    def children(self, part: Part) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return self.process(part).children()
        return []

    def group_of(self, pid: int) -> list[int]:
        """A pool child's whole worker: the parent first, then all of its children."""
        for part in self.workers:
            family = [child.pid for child in self.children(part)]
            if part.process is not None and pid in (part.process.pid, *family):
                return [part.process.pid, *family]
        return [pid]

    def mend(self) -> None:
        """Start what died, as `duly up` does."""
        now = time.monotonic()
        if now < self._next_mend:
            return
        self._next_mend = now + MEND_SECONDS
        self.running_fleet.mend()
        for part in self.extras:
            if not part.is_running:
                part.start()

    def _mend_engines(self) -> None:
        while not self._is_over.wait(0.25):
            if not self.holds_engines:
                with suppress(EngineFailed, database.DatabaseDown, OSError, psutil.Error):
                    engines.ensure(self.engine_settings)

    # -------------------------------------------------------------------------------------------------------- waiting

    def breathe(self) -> None:
        """What goes on while anybody waits."""
        began = time.monotonic()
        self.mend()
        self.feed()
        self._let_time_pass()
        time.sleep(0.02)
        self.held_up_seconds = max(self.held_up_seconds, time.monotonic() - began)

    def _let_time_pass(self) -> None:
        """Business time goes by as real time does: breakers and postponed attempts wait by it."""
        now = time.monotonic()
        if now < self._clock_read_at + CLOCK_EVERY_SECONDS:
            return
        passed, self._clock_read_at = timedelta(seconds=now - self._clock_read_at), now
        with suppress(psycopg.OperationalError, psycopg.InterfaceError, database.DatabaseDown):
            self._connected(0).execute("UPDATE clock SET stepped_at = stepped_at + %s", (passed,))

    def rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.breathe()

    def until(self, what: Callable[[], bool], *, why: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for something that must come true. Raises NeverCameTrue."""
        until = time.monotonic() + patience_seconds
        while not what():
            if time.monotonic() > until:
                raise NeverCameTrue(f"never came true in {patience_seconds:g} s: {why}")
            self.breathe()

    def feed(self) -> None:
        """The steady load: a few more people with something due, if it is time."""
        now = time.monotonic()
        if not self.is_feeding or now < self._next_load:
            return
        self._next_load = max(self._next_load + LOAD_EVERY_SECONDS, now - 1)
        number = round(self.load_per_second * LOAD_EVERY_SECONDS)
        with suppress(psycopg.OperationalError, psycopg.InterfaceError, database.DatabaseDown):
            self._plant(self._connected(0), a_mixture(self.dice, number))

    def plant(self, wanted: Sequence[Wanted]) -> list[Planted]:
        return self.ask(lambda conn: self._plant(conn, wanted))

    def _plant(self, conn: Conn, wanted: Sequence[Wanted]) -> list[Planted]:
        return plant(conn, self.keyring, wanted, now=lanes.business_now(conn))

    # ---------------------------------------------------------------------------------------------------- the database

    def ask(self, what: Callable[[Conn], Value]) -> Value:
        """Ask the database past all proxies, again when it was away."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return what(self._connected(1))
            except (psycopg.OperationalError, psycopg.InterfaceError, database.DatabaseDown):
                if time.monotonic() > until:
                    raise
                self.breathe()

    def one(self, query: str, *values: object) -> Any:
        row = self.ask(lambda conn: conn.execute(query, values).fetchone())  # type: ignore[arg-type]
        assert row is not None
        return row[0]

    def _connected(self, patience_seconds: float) -> Conn:
        if self._conn is None or self._conn.closed or self._conn.broken:
            self._conn = database.connect(
                self.direct_url, autocommit=True, application_name="judge", patience_seconds=patience_seconds
            )
        return self._conn

    def now(self) -> datetime:
        return self.ask(lanes.business_now)

    def step_clock(self, to: datetime) -> None:
        self.ask(lambda conn: lanes.step_clock(conn, to))

    def kill_database(self) -> None:
        """kill -9 of all of PostgreSQL at once."""
        self._kill_engine("postgres", "postgres")

    def kill_broker(self, *, wipe: bool = False) -> None:
        self.holds_engines = wipe
        self._kill_engine("valkey", "valkey-server")
        if wipe:
            for entry in (self.engine_folder / "valkey").iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            self.holds_engines = False

    @property
    def engine_folder(self) -> Path:
        return self.engine_settings.home / "engines"

    def _kill_engine(self, folder: str, program: str) -> None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.name() == program and Path(process.cwd()) == self.engine_folder / folder:
                    process.kill()

    # ---------------------------------------------------------------------------------------------------- the sandbox

    def arm(self, *rules: dict[str, Any]) -> None:
        """Let the providers fail; without rules, no more."""
        self._post("/sandbox/faults", list(rules))

    def reply(self, phone: str, text: str) -> None:
        """A customer answers by text message."""
        self._post("/sandbox/reply", {"from": phone, "to": "LANTERN", "body": text})

    def pending_callbacks(self) -> int:
        with urlopen(f"{self.sandbox_url}/sandbox/pending", timeout=5) as answer:
            pending: int = json.load(answer)["pending"]
        return pending

    def _post(self, path: str, body: object) -> None:
        urlopen(Request(self.sandbox_url + path, json.dumps(body).encode(), method="POST"), timeout=5).close()

    # --------------------------------------------------------------------------------------------------------- faults

    def trip(self, place: str, act: Callable[[Session], None], *, times: int = 1) -> Tripwire:
        """Lay a tripwire at a place (tests/chaos/wiretap.py names them)."""
        what = place.partition(".")[0]
        link = {"ack": self.broker, "sms": self.sms, "email": self.relay}.get(what, self.database)
        return link.lay(Tripwire(place, act, times))

    def heal(self) -> None:
        """End every fault."""
        self.holds_engines = False
        self.links.clear()
        for link in (self.database, self.broker, self.sms, self.relay, self.console):
            if not link.is_open:
                self.links.listen(link)
        with suppress(URLError, OSError):
            self.arm()
        for part in (*self.running_fleet.parts, *self.extras):
            if part.process is not None:
                for process in [part.process.pid, *(child.pid for child in self.children(part))]:
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGCONT)

    def weather(self, name: str, weather: Weather) -> None:
        link = getattr(self, name)
        link.weather = weather

    # --------------------------------------------------------------------------------------------------------- settling

    def is_settled(self) -> bool:
        """Nothing is left to do at the present moment."""
        with suppress(psycopg.OperationalError, psycopg.InterfaceError, database.DatabaseDown, URLError, OSError):
            still = lanes.stillness(self._connected(0))
            return not any(still) and self.pending_callbacks() == 0
        return False

    def settle(self) -> None:
        """Wait until nothing is left to do. Raises NeverCameTrue."""
        self.until(self._is_done, why="no batch, due reminder, inbox event or callback is left")

    def _is_done(self) -> bool:
        """Settled, and nobody waits for a provider that is to be tried again later: then it is later at once."""
        if not self.is_settled():
            return False
        waiting = self.one("SELECT count(*) FROM reminder WHERE state = 'planned' AND due_at <= business_now()")
        retry_at = self.one("SELECT min(retry_at) FROM provider WHERE retired_at IS NULL")
        if waiting and retry_at is not None and retry_at > self.now():
            self.step_clock(retry_at)
        return not waiting


def stop(part: Part) -> None:
    """End a part of ours: warm first."""
    if part.process is None:
        return
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(part.process.pid), *psutil.Process(part.process.pid).children(recursive=True)]
        part.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            part.process.wait(15)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    part.process.wait(10)


#: Public holidays of Taiwan in the months that a storm may reach.
HOLIDAYS = {(4, 3), (4, 4), (4, 5), (4, 6), (5, 1), (6, 19)}


def minute_after(now: datetime) -> datetime:
    """A minute later; from 15:30 in Taipei on, the next working day's morning."""
    later = now + timedelta(minutes=1)
    if (later + timedelta(hours=8)).time() < datetime(2026, 1, 1, 15, 30).time():
        return later
    morning = (later + timedelta(days=1)).replace(hour=2, minute=0, second=0, microsecond=0)
    while (morning + timedelta(hours=8)).weekday() >= 5 or (morning.month, morning.day) in HOLIDAYS:
        morning += timedelta(days=1)
    return morning
