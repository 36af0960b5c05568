"""The schema of the ledger: brought up to date, and refused where a newer duly was.

Apart from the connections, since what it needs takes a worker a quarter of its start and no worker migrates.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from storage.database import connect, place

#: "duly" in ASCII: the advisory lock under which one process migrates.
MIGRATION_LOCK: Final = 0x64756C79

#: DDL that waits for a lock holds up everyone behind it.
DDL_LOCK_TIMEOUT: Final = "30s"


class NewerSchema(Exception):
    """The database was migrated by a newer duly; this one would misread it."""


class SchemaMissing(Exception):
    """The database has no schema, or an older one: `duly migrate` comes first."""


def migrate(url: str) -> list[str]:
    """Bring the schema up to this version and name the revisions applied; safe from several processes at once.

    Raises NewerSchema, without touching anything, if a newer duly was here.
    """
    with _alembic(url) as (config, connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
        connection.exec_driver_sql(f"SET lock_timeout = '{DDL_LOCK_TIMEOUT}'")
        connection.commit()
        scripts = ScriptDirectory.from_config(config)
        before = _current(connection, scripts, url)
        command.upgrade(config, "head")
        connection.commit()
        ours = [script.revision for script in scripts.iterate_revisions("head", before)]
        return ours[::-1]


def schema_version(url: str) -> str | None:
    """The revision that the database stands at; None before the first. Raises NewerSchema."""
    with _alembic(url) as (config, connection):
        return _current(connection, ScriptDirectory.from_config(config), url)


def newest_version() -> str:
    """The revision that this version of duly works with."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("storage/migrations holds no revision: the installation is incomplete")
    return head


def require_schema(url: str) -> None:
    """Pass only when the database is at exactly this version's schema. Raises NewerSchema or SchemaMissing."""
    version = schema_version(url)
    if version != newest_version():
        stands = (
            "has no schema of duly" if version is None else f"is at schema {version}, older than {newest_version()}"
        )
        raise SchemaMissing(f"{place(url)} {stands}: run `duly migrate`")


@contextmanager
def _alembic(url: str) -> Iterator[tuple[Config, Any]]:
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: connect(url, application_name="duly migrate"), poolclass=NullPool
    )
    with engine.connect() as connection:
        config = _config()
        config.attributes["connection"] = connection
        yield config, connection


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("storage") / "migrations").replace("%", "%%"))
    return config


def _current(connection: Any, scripts: ScriptDirectory, url: str) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    known = {script.revision for script in scripts.walk_revisions()}
    if revision is None or revision in known:
        return revision
    raise NewerSchema(
        f"{place(url)} is at schema {revision}, which this version of duly does not know (its newest is "
        f"{scripts.get_current_head()}): install the duly that migrated it, or restore a backup"
    )
