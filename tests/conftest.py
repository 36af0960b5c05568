"""Real engines for every test that touches them: one pair of servers per test process, a fresh database per test.

database_url   a migrated database of the test's own
connection     a connection to it
broker_url     an empty broker
engines        both servers, for tests that make databases themselves
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings

from config.settings import Settings
from storage import database, schema
from worker import engines as embedded
from worker.engines import Engines

# A run tells about the change and not about the dice or the machine: the same examples each time, however long each
# takes. `python -m tests.worlds` and `make chaos` are for the dice.
hypothesis_settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis_settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    home = Path(tempfile.mkdtemp(prefix="duly-tests-", dir=roomy_memory()))
    settings = Settings(home=home)
    try:
        running = embedded.ensure(settings)
        hurry(running.database_url)
        yield running
    finally:
        embedded.stop(settings)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def admin(engines: Engines) -> Iterator[psycopg.Connection]:
    """The session that makes and drops databases."""
    with database.connect(engines.database_url, autocommit=True, application_name="tests") as opened:
        yield opened


@pytest.fixture(scope="session")
def template(engines: Engines) -> str:
    """The name of a migrated database that every test's own is copied from."""
    url = named(engines.database_url, "migrated")
    database.create_database(url)
    schema.migrate(url)
    return "migrated"


@pytest.fixture
def database_url(engines: Engines, admin: psycopg.Connection, template: str) -> Iterator[str]:
    with copy_of(template, admin) as name:
        yield named(engines.database_url, name)


@pytest.fixture
def empty_database_url(engines: Engines, admin: psycopg.Connection) -> Iterator[str]:
    """A database without a schema."""
    with copy_of("template0", admin) as name:
        yield named(engines.database_url, name)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with database.connect(database_url) as opened:
        yield opened


@pytest.fixture
def broker_url(engines: Engines) -> str:
    with embedded.redis_client(engines.broker_url) as client:
        client.flushall()
    return engines.broker_url


@contextmanager
def copy_of(template: str, admin: psycopg.Connection) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    # FILE_COPY is the faster way for a database this small: 11 ms in memory, 150 ms on this project's first disk.
    admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield name
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def named(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def roomy_memory() -> Path | None:
    """The memory file system, where making a database is a dozen times faster; None where there is little of it."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 1024**3 else None


def hurry(url: str) -> None:
    """Tests lose nothing that matters when the machine loses power."""
    with database.connect(url, autocommit=True) as admin:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_wal_size = '256MB'"):
            admin.execute(f"ALTER SYSTEM SET {setting}")
        admin.execute("SELECT pg_reload_conf()")
