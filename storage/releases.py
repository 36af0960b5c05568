"""Releases at rest: the bundle as one compressed row, its state, and who did what to it."""

import json
import zlib
from datetime import datetime
from typing import NamedTuple

import orjson

from domain.bundle import Bundle
from storage.rows import Conn


class NoSuchRelease(LookupError):
    """A hash (or the start of one) that names no release, or more than one."""


class ReleaseRow(NamedTuple):
    release_hash: str
    state: str
    proposed_by: str
    proposed_at: datetime
    live_at: datetime | None
    retired_at: datetime | None


def propose(conn: Conn, bundle: Bundle, *, by: str, state: str = "checked") -> bool:
    """Store a bundle under its hash; false if it was there already."""
    packed = zlib.compress(json.dumps(dict(sorted(bundle.files.items())), ensure_ascii=False).encode(), 6)
    made = conn.execute(
        """
        INSERT INTO release (release_hash, state, bundle, proposed_by) VALUES (%s, %s, %s, %s)
        ON CONFLICT (release_hash) DO NOTHING
        """,
        (bundle.hash, state, packed, by),
    ).rowcount
    if made:
        _note(conn, bundle.hash, "proposed", by)
    return bool(made)


def go_live(conn: Conn, release_hash: str, *, by: str) -> None:
    """Make one release the live one; the one before it is retired in the same transaction."""
    with conn.transaction():
        conn.execute(
            """
            UPDATE release SET state = 'retired', retired_at = clock_timestamp()
            WHERE state = 'live' AND release_hash <> %s
            """,
            (release_hash,),
        )
        conn.execute(
            """
            UPDATE release SET state = 'live', live_at = clock_timestamp(), retired_at = NULL WHERE release_hash = %s
            """,
            (release_hash,),
        )
        _note(conn, release_hash, "live", by)


def live_hash(conn: Conn) -> str | None:
    row = conn.execute("SELECT release_hash FROM release WHERE state = 'live'").fetchone()
    return row[0] if row else None


def fetch(conn: Conn, release_hash: str) -> Bundle:
    """The bundle of a release. Raises NoSuchRelease."""
    row = conn.execute("SELECT bundle FROM release WHERE release_hash = %s", (release_hash,)).fetchone()
    if row is None:
        raise NoSuchRelease(f"no release {release_hash[:12]}")
    return Bundle(orjson.loads(zlib.decompress(row[0])))


def resolve(conn: Conn, prefix: str) -> str:
    """The full hash for the start of one. Raises NoSuchRelease if none or several begin so."""
    rows = conn.execute(
        "SELECT release_hash FROM release WHERE starts_with(release_hash, %s) LIMIT 2", (prefix,)
    ).fetchall()
    if len(rows) != 1:
        raise NoSuchRelease(f"{'no' if not rows else 'more than one'} release begins with {prefix[:64]!r}")
    found: str = rows[0][0]
    return found


def history(conn: Conn, limit: int = 50) -> list[ReleaseRow]:
    rows = conn.execute(
        """
        SELECT release_hash, state, proposed_by, proposed_at, live_at, retired_at FROM release
        ORDER BY coalesce(live_at, proposed_at) DESC LIMIT %s
        """,
        (limit,),
    ).fetchall()
    return [ReleaseRow._make(row) for row in rows]


def _note(conn: Conn, release_hash: str, kind: str, by: str) -> None:
    conn.execute(
        "INSERT INTO release_event (release_hash, kind, by_whom) VALUES (%s, %s, %s)", (release_hash, kind, by)
    )
