"""Connections to the ledger: short outages are ridden out."""

import sys
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

#: A database that is away for ten seconds (a restart, a failover) is waited for.
PATIENCE_SECONDS: Final = 15.0

#: One attempt; libpq takes whole seconds and nothing below 2.
CONNECT_TIMEOUT_SECONDS: Final = 5

#: A silent peer is given up after idle + interval x count: about half a minute, well inside a worker's lease.
KEEPALIVE: Final = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}

#: A session that waits for a lock, or computes, looks this often whether its client lives: one that was killed would
#: else keep its parties locked until the wait is over. Servers on other systems cannot look.
NOTICE_DEATH: Final = "-c client_connection_check_interval=1000" if sys.platform == "linux" else ""

#: What a server says while it starts, stops, or has no slot left; anything else that it answers is final.
PASSING_STATES: Final = frozenset({"57P01", "57P02", "57P03", "53300"})


class DatabaseDown(Exception):
    """No connection within the patience, or none that the database would ever grant."""


Connection = psycopg.Connection[tuple[Any, ...]]


def connect(
    url: str,
    *,
    autocommit: bool = False,
    application_name: str = "duly",
    patience_seconds: float = PATIENCE_SECONDS,
    prepare_threshold: int | None = 5,
) -> Connection:
    """A connection whose session runs in UTC. Raises DatabaseDown after `patience_seconds` of trying.

    `prepare_threshold` None is for poolers that hand out a server per transaction (PgBouncer before 1.21).
    """
    attempts = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_delay(patience_seconds),
        wait=wait_random_exponential(multiplier=0.1, max=1.0),
        reraise=True,
    )
    try:
        return attempts(
            psycopg.connect,
            url,
            autocommit=autocommit,
            prepare_threshold=prepare_threshold,
            application_name=application_name,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            options=_with_utc(url),
            **KEEPALIVE,
        )
    except psycopg.OperationalError as error:
        waited = f" within {patience_seconds:g} s" if _may_pass(error) else ""
        # From None: libpq's own text may repeat the connection string.
        raise DatabaseDown(
            f"no connection to {place(url)}{waited}: {_reason(error)}. Is it running, and is DULY_DATABASE_URL right?"
        ) from None
    except psycopg.ProgrammingError as error:
        raise DatabaseDown(
            f"DULY_DATABASE_URL cannot be read as a PostgreSQL address ({type(error).__name__}): it looks like "
            "postgresql://user:password@host:5432/database"
        ) from None


def answers(url: str) -> bool:
    """Whether the database grants a connection right now: one attempt, no waiting for it to come back."""
    try:
        connect(url, application_name="duly probe", patience_seconds=0).close()
    except DatabaseDown:
        return False
    return True


def create_database(url: str) -> None:
    """Make the database that the address names, unless it is there; its user must be allowed to.

    Several processes may ask at once, and one that was killed may have left its statement running in the server.
    """
    name = conninfo_to_dict(url)["dbname"]
    with connect(make_conninfo(url, dbname="postgres"), autocommit=True) as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            # Whoever loses the race waits for the winner's commit, and is told of it by either of these.
            with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                admin.execute(SQL("CREATE DATABASE {}").format(Identifier(str(name))))


def drop_database(url: str) -> None:
    """Remove the database that the address names, with whoever is connected to it; fine if it is not there."""
    name = str(conninfo_to_dict(url)["dbname"])
    with connect(make_conninfo(url, dbname="postgres"), autocommit=True) as admin:
        admin.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def place(url: str) -> str:
    """Where a connection string points, without user or password: `PostgreSQL at host:5432/duly`."""
    parts = conninfo_to_dict(url)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    port = "" if str(host).startswith("/") else f":{parts.get('port') or 5432}"
    return f"PostgreSQL at {host}{port}, database {parts.get('dbname') or 'postgres'}"


def _may_pass(error: BaseException) -> bool:
    """Whether waiting can help: the server is away, starting, stopping or full."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate in PASSING_STATES if error.sqlstate else not _is_refusal(error)


def _is_refusal(error: psycopg.OperationalError) -> bool:
    # libpq keeps no SQLSTATE for a connection that was answered with an error: only its text says so.
    text = str(error)
    return "FATAL:" in text and not any(passing in text for passing in PASSING_WORDS)


#: The same states in words. A server that speaks another language is waited for in vain, and then named as down.
PASSING_WORDS: Final = ("starting up", "shutting down", "recovery mode", "too many clients", "connection slots")


def _reason(error: psycopg.OperationalError) -> str:
    """The last clause of libpq's report: `Connection refused`, `database "x" does not exist`."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    report = next((line for line in lines if "failed:" in line or "FATAL:" in line), lines[0] if lines else "no answer")
    return report.rpartition("FATAL:  ")[2].rpartition("failed: ")[2]


def _with_utc(url: str) -> str:
    own = conninfo_to_dict(url).get("options") or ""
    return f"{own} -c TimeZone=UTC {NOTICE_DEATH}".strip()
