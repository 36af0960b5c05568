"""Where PostgreSQL and the broker are: the operator's own, or embedded ones in DULY_HOME that every process shares.

The embedded servers are detached: they outlive the command that started them, and `duly down` ends them. Nothing is
remembered about them but what they write themselves, so whoever comes next joins them, or starts what is not there.
"""

import fcntl
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import redis
from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from config.settings import Settings
from storage import database
from worker.daemons import EngineFailed, account_for, owned_folder
from worker.embedded import Engine, Place, Postgres, Valkey, version

#: Another process may be in the middle of initdb, or of a recovery.
LOCK_SECONDS: Final = 330

#: Linux allows 107 bytes for a socket's path, macOS 103.
LONGEST_SOCKET_PATH: Final = 100

#: pg_ctl hands paths to a shell between double quotes.
UNSAFE_IN_PATHS: Final = frozenset('"$`\\\n')

PROBE_SECONDS: Final = 2

#: A broker that is away for ten seconds is waited for.
BROKER_PATIENCE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Engines:
    """Addresses for libpq and for Celery. They hold passwords when they are the operator's own: never log them."""

    database_url: str
    broker_url: str
    embedded: bool

    def __repr__(self) -> str:
        return (
            f"Engines({database.place(self.database_url)}, {broker_place(self.broker_url)}, embedded={self.embedded})"
        )


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine as `duly status` shows it. `place` and `trouble` hold no password; `pid` only of an embedded one."""

    name: str
    embedded: bool
    running: bool
    place: str
    version: str | None = None
    pid: int | None = None
    trouble: str | None = None


def ensure(settings: Settings) -> Engines:
    """The engines, started if they are embedded and not running. Safe to call often and from many processes at once.

    Servers of the operator's own are taken as they are: whether they answer shows when they are used.
    Raises EngineFailed.
    """
    wanted = _embedded(settings)
    if not all(engine.answers() for engine in wanted):
        _make_home(settings.home)
        with _lock(settings.home):
            # Again under the lock, with whoever owns the folder by now: another process may have been first.
            for engine in _embedded(settings, make=True):
                if not engine.answers():
                    engine.start()
            wanted = _embedded(settings)
    urls = {engine.name: engine.url for engine in wanted}
    return Engines(
        database_url=_clear(settings.database_url) or urls[Postgres.name],
        broker_url=_clear(settings.broker_url) or urls[Valkey.name],
        embedded=bool(wanted),
    )


def stop(settings: Settings) -> list[str]:
    """End the embedded engines of this home, cleanly, and name what was running: `PostgreSQL (process 71)`."""
    stopped = []
    # A home that was deleted under its servers has no lock to take, and servers all the same.
    with _lock(settings.home) if settings.home.exists() else nullcontext():
        place = _place(settings.home)
        for engine in (Valkey(place), Postgres(place)):
            server = engine.server()
            if engine.stop():
                stopped.append(f"{engine.name} (process {server.pid})" if server else engine.name)
        if place.folder not in place.sockets.parents and place.sockets.is_dir():
            shutil.rmtree(place.sockets)
    return stopped


def status(settings: Settings) -> tuple[EngineStatus, EngineStatus]:
    """The database and the broker, as they are; starts nothing."""
    place = _place(settings.home)
    return (
        _own_database(settings.database_url) if settings.database_url else _embedded_status(Postgres(place), place),
        _own_broker(settings.broker_url) if settings.broker_url else _embedded_status(Valkey(place), place),
    )


def was_started(settings: Settings) -> bool:
    """Whether this home has embedded engines, running or not; starts nothing."""
    return (settings.home.resolve() / "engines" / "postgres").is_dir()


def require_broker(settings: Settings, *, patience_seconds: float = BROKER_PATIENCE_SECONDS) -> None:
    """Pass once the broker answers. Raises EngineFailed when it has not within `patience_seconds`.

    Only who starts a fleet asks: one that runs rides out a broker that goes away.
    """
    url = ensure(settings).broker_url
    attempts = Retrying(
        retry=retry_if_exception_type((redis.RedisError, OSError)),
        stop=stop_after_delay(patience_seconds),
        wait=wait_random_exponential(multiplier=0.1, max=1.0),
        reraise=True,
    )
    try:
        attempts(_asked, url)
    except (redis.RedisError, OSError) as error:
        # From None: the client's own text may repeat the address with its password.
        raise EngineFailed(
            f"no answer from the {broker_place(url)} within {patience_seconds:g} s ({type(error).__name__}): "
            "is it running, and is DULY_BROKER_URL right?"
        ) from None


def broker_place(url: str) -> str:
    """Where a broker's address points, without user or password."""
    parts = urlsplit(url)
    return (
        f"broker at {unquote(parts.path)}"
        if parts.scheme == "redis+socket"
        else f"broker at {parts.hostname}:{_port(url)}"
    )


def redis_client(url: str) -> redis.Redis:
    """A plain client for a broker that speaks Redis; embedded sockets are spelt differently for Celery and for it."""
    address = url.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(address, socket_timeout=PROBE_SECONDS, socket_connect_timeout=PROBE_SECONDS)


def _embedded(settings: Settings, *, make: bool = False) -> tuple[Engine, ...]:
    """The engines that are not the operator's own."""
    if settings.database_url and settings.broker_url:
        return ()
    place = _place(settings.home, make=make)
    engines: list[Engine] = [] if settings.database_url else [Postgres(place)]
    return (*engines, *([] if settings.broker_url else [Valkey(place)]))


def _place(home: Path, *, make: bool = False) -> Place:
    folder = home.resolve() / "engines"  # as the kernel names it: servers are found by their working folder
    try:
        account = account_for(folder, make=make)
    except OSError as error:
        raise EngineFailed(f"DULY_HOME ({home}) cannot be used: {error.strerror}") from error
    sockets = folder / "run"
    if len(os.fsencode(sockets / ".s.PGSQL.5432")) > LONGEST_SOCKET_PATH or "," in str(sockets):
        # (libpq reads a comma as the start of another host.)
        # Not tempfile's folder: TMPDIR may differ between the processes that are to meet here.
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        sockets = Path("/tmp") / f"duly-{account.uid}-{name}"  # noqa: S108  # its owner and mode are checked
    if make:
        owned_folder(folder, account)
        owned_folder(sockets, account)
    return Place(folder=folder, sockets=sockets, account=account)


def _make_home(home: Path) -> None:
    if UNSAFE_IN_PATHS & set(str(home)):
        raise EngineFailed(f"DULY_HOME ({home}) holds a quote, a dollar sign or a backslash: choose a plainer path")
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineFailed(f"DULY_HOME ({home}) cannot be used: {error.strerror}") from error


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    """One process at a time starts or stops the engines of a home; the kernel lets go when its holder dies."""
    path = home / "engines.lock"
    try:
        file = path.open("w")
    except OSError as error:
        raise EngineFailed(
            f"{path} cannot be written ({error.strerror}): run duly as the owner of {home}, or set DULY_HOME"
        ) from error
    with file:
        _wait_for(file.fileno(), path)
        yield


def _wait_for(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise EngineFailed(
                    f"another command has held {path} for {LOCK_SECONDS} s: end it, then try again"
                ) from None
            time.sleep(0.02)


def _embedded_status(engine: Engine, place: Place) -> EngineStatus:
    server = engine.server()
    running = server is not None and engine.answers()
    return EngineStatus(
        name=engine.name,
        embedded=True,
        running=running,
        place=str(place.folder),
        version=version(engine.name, place.account),
        pid=server.pid if server else None,
        trouble="runs and does not answer" if server and not running else None,
    )


def _own_database(url: SecretStr) -> EngineStatus:
    where = database.place(url.get_secret_value())
    try:
        with database.connect(url.get_secret_value(), patience_seconds=PROBE_SECONDS) as connection:
            said = connection.info.parameter_status("server_version")
    except database.DatabaseDown as error:
        return EngineStatus(Postgres.name, embedded=False, running=False, place=where, trouble=str(error))
    return EngineStatus(Postgres.name, embedded=False, running=True, place=where, version=said)


def _own_broker(url: SecretStr) -> EngineStatus:
    where = broker_place(url.get_secret_value())
    try:
        name, said = _asked(url.get_secret_value())
    except (redis.RedisError, OSError) as error:
        return EngineStatus("broker", embedded=False, running=False, place=where, trouble=type(error).__name__)
    return EngineStatus(name, embedded=False, running=True, place=where, version=said)


def _asked(url: str) -> tuple[str, str | None]:
    """Name and version of a broker; of one that does not speak Redis only that its port is open."""
    if not url.startswith(("redis", "rediss")):
        socket.create_connection((urlsplit(url).hostname or "localhost", _port(url)), timeout=PROBE_SECONDS).close()
        return "broker", None
    with redis_client(url) as client:
        info = client.info("server")
    name = str(info.get("server_name", "redis")).capitalize()
    return name, str(info.get("valkey_version") or info.get("redis_version"))


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or {"amqp": 5672, "amqps": 5671, "sentinel": 26379}.get(parts.scheme, 6379)


def _clear(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
