"""The people who propose, approve and operate: their roles, and the public keys they sign with."""

from datetime import datetime
from typing import LiteralString, NamedTuple

from psycopg.errors import UniqueViolation

from storage.releases import Signed
from storage.rows import Conn


class NoSuchUser(LookupError):
    """A name that is not registered."""


class UserTaken(ValueError):
    """A name or a key that somebody has already."""


class User(NamedTuple):
    """A person as the ledger knows them. `public_key` is the one that counts now; None when there is none."""

    user_id: str
    full_name: str
    roles: list[str]
    registered_by: str
    registered_at: datetime
    retired_at: datetime | None
    public_key: bytes | None


def everybody(conn: Conn) -> list[User]:
    rows = conn.execute(_USERS + " ORDER BY u.registered_at, u.user_id").fetchall()
    return [User._make(row) for row in rows]


def find(conn: Conn, user_id: str) -> User:
    """Raises NoSuchUser."""
    row = conn.execute(_USERS + " WHERE u.user_id = %s", (user_id,)).fetchone()
    if row is None:
        raise NoSuchUser(f"no user {user_id[:40]!r} is registered: `duly users list` shows who is")
    return User._make(row)


_USERS: LiteralString = """
    SELECT u.user_id, u.full_name, u.roles, u.registered_by, u.registered_at, u.retired_at, k.public_key
    FROM duly_user u LEFT JOIN user_key k ON k.user_id = u.user_id AND k.retired_at IS NULL
"""


def has_users(conn: Conn) -> bool:
    row = conn.execute("SELECT EXISTS (SELECT 1 FROM duly_user)").fetchone()
    return bool(row and row[0])


def add(
    conn: Conn, user_id: str, *, full_name: str, roles: list[str], public_key: bytes, by: str, signed: Signed
) -> None:
    """Register a person with their first key. Raises UserTaken."""
    try:
        with conn.transaction():
            conn.execute(
                "INSERT INTO duly_user (user_id, full_name, roles, registered_by) VALUES (%s, %s, %s, %s)",
                (user_id, full_name, roles, by),
            )
            conn.execute("INSERT INTO user_key (public_key, user_id) VALUES (%s, %s)", (public_key, user_id))
    except UniqueViolation as error:
        whose = "the name" if error.diag.constraint_name == "duly_user_pkey" else "the key"
        raise UserTaken(f"{whose} is somebody's already: names and keys are never given twice") from None
    _note(conn, user_id, "registered", by, signed)


def replace_key(conn: Conn, user_id: str, public_key: bytes, *, by: str, signed: Signed) -> None:
    """Retire a person's key and register another: what the old one signed no longer lets anything go live."""
    try:
        with conn.transaction():
            conn.execute(
                "UPDATE user_key SET retired_at = clock_timestamp() WHERE user_id = %s AND retired_at IS NULL",
                (user_id,),
            )
            conn.execute("INSERT INTO user_key (public_key, user_id) VALUES (%s, %s)", (public_key, user_id))
    except UniqueViolation:
        raise UserTaken("the key is somebody's already: make a new one with `duly users key`") from None
    _note(conn, user_id, "new_key", by, signed)


def retire(conn: Conn, user_id: str, *, by: str, signed: Signed) -> bool:
    """From now on nothing goes live by their signature; false when they were retired already."""
    done = conn.execute(
        """
        UPDATE duly_user SET retired_at = clock_timestamp(), retired_by = %s
        WHERE user_id = %s AND retired_at IS NULL
        """,
        (by, user_id),
    ).rowcount
    if done:
        _note(conn, user_id, "retired", by, signed)
    return bool(done)


def operators(conn: Conn) -> int:
    """How many people who are not retired may operate."""
    row = conn.execute("SELECT count(*) FROM duly_user WHERE retired_at IS NULL AND 'operator' = ANY(roles)").fetchone()
    assert row is not None
    number: int = row[0]
    return number


def _note(conn: Conn, user_id: str, kind: str, by: str, signed: Signed) -> None:
    conn.execute(
        """
        INSERT INTO user_event (user_id, kind, by_whom, statement, signature, public_key)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (user_id, kind, by, *signed),
    )
