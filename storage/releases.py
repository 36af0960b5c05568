"""Releases at rest: the bundle as one compressed row, its state, and who did what to it."""

import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from psycopg.types.json import Jsonb

from domain.bundle import Bundle
from storage.rows import Conn


class NoSuchRelease(LookupError):
    """A hash (or the start of one) that names no release, or more than one."""


class TamperedRelease(ValueError):
    """A stored bundle that is no longer what its hash says."""


class ReleaseRow(NamedTuple):
    release_hash: str
    state: str
    proposed_by: str
    proposed_at: datetime
    live_at: datetime | None
    retired_at: datetime | None


class Signed(NamedTuple):
    """What was signed, the signature, and the public key that it was made with."""

    statement: bytes
    signature: bytes
    public_key: bytes


class Deed(NamedTuple):
    """A signed event of a release, with all that is known of its signer now."""

    kind: str
    by_whom: str
    at: datetime
    signed: Signed
    key_owner: str
    key_retired_at: datetime | None
    roles: list[str]
    user_retired_at: datetime | None


class Standing(NamedTuple):
    """A release with what it needs to go live. `now` is the database's own clock."""

    release_hash: str
    state: str
    proposer: str | None
    kept: bool
    live_at: datetime | None
    now: datetime
    has_users: bool
    deeds: list[Deed]


class Happening(NamedTuple):
    """One line of a release's history."""

    at: datetime
    release_hash: str
    kind: str
    by_whom: str
    is_signed: bool
    detail: Mapping[str, Any]


def propose(conn: Conn, bundle: Bundle, *, by: str, state: str = "checked", why: str = "") -> bool:
    """Store a bundle under its hash, signed by nobody yet; false if it was there already."""
    packed = zlib.compress(json.dumps(dict(sorted(bundle.files.items())), ensure_ascii=False).encode(), 6)
    made = conn.execute(
        """
        INSERT INTO release (release_hash, state, bundle, proposed_by) VALUES (%s, %s, %s, %s)
        ON CONFLICT (release_hash) DO NOTHING
        """,
        (bundle.hash, state, packed, by),
    ).rowcount
    if made:
        note(conn, bundle.hash, "stored", by, why=why)
    return bool(made)


def sign_proposal(conn: Conn, release_hash: str, proposer: str, signed: Signed, *, detail: Mapping[str, Any]) -> None:
    """Put a person's name to a release. Fails when somebody has approved it for another proposer."""
    conn.execute(
        "UPDATE release SET proposer = %s, proposed_by = %s, proposed_at = clock_timestamp() WHERE release_hash = %s",
        (proposer, proposer, release_hash),
    )
    note(conn, release_hash, "proposed", proposer, signed=signed, **detail)


def mark_checked(conn: Conn, release_hash: str, *, by: str) -> bool:
    """A draft that passed the checks; false when it was no draft."""
    moved = conn.execute(
        "UPDATE release SET state = 'checked' WHERE release_hash = %s AND state = 'draft'", (release_hash,)
    ).rowcount
    if moved:
        note(conn, release_hash, "checked", by)
    return bool(moved)


def approve(conn: Conn, release_hash: str, approver: str, signed: Signed, *, why: str) -> None:
    """Record an approval. The database refuses one by the proposer, and one of what nobody proposed."""
    conn.execute(
        """
        INSERT INTO release_approval (release_hash, approver, proposer)
        SELECT release_hash, %s, proposer FROM release WHERE release_hash = %s
        ON CONFLICT (release_hash, approver) DO UPDATE SET approved_at = clock_timestamp()
        """,
        (approver, release_hash),
    )
    conn.execute(
        "UPDATE release SET state = 'approved' WHERE release_hash = %s AND state IN ('draft', 'checked')",
        (release_hash,),
    )
    note(conn, release_hash, "approved", approver, signed=signed, why=why)


def go_live(
    conn: Conn, release_hash: str, *, by: str, kind: str = "live", signed: Signed | None = None, **detail: Any
) -> None:
    """Make one release the live one; the one before it is retired in the same transaction.

    The database refuses one that no second person approved, from the day on which the first user is registered.
    """
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
        note(conn, release_hash, kind, by, signed=signed, **detail)


def keep_live(conn: Conn, by: str, signed: Signed) -> None:
    """When the first user comes: what is live stays, by their signature, though nobody approved it."""
    conn.execute("UPDATE release SET kept = true WHERE state = 'live'")
    live = live_hash(conn)
    if live is not None:
        note(conn, live, "kept", by, signed=signed, why="was live when the first user was registered")


def lock(conn: Conn) -> None:
    """Let one change of what is live happen at a time, to the end of the transaction."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('duly.release'))")


def live_hash(conn: Conn) -> str | None:
    row = conn.execute("SELECT release_hash FROM release WHERE state = 'live'").fetchone()
    return row[0] if row else None


def lived_before(conn: Conn, release_hash: str, *, limit: int = 5) -> list[str]:
    """Releases that were live, other than this one; the latest first."""
    rows = conn.execute(
        """
        SELECT release_hash FROM release WHERE live_at IS NOT NULL AND release_hash <> %s
        ORDER BY retired_at DESC NULLS FIRST, live_at DESC LIMIT %s
        """,
        (release_hash, limit),
    ).fetchall()
    return [row[0] for row in rows]


def fetch(conn: Conn, release_hash: str) -> Bundle:
    """The bundle of a release. Raises NoSuchRelease, or TamperedRelease when it is not what its hash says."""
    row = conn.execute("SELECT bundle FROM release WHERE release_hash = %s", (release_hash,)).fetchone()
    if row is None:
        raise NoSuchRelease(f"no release {release_hash[:12]}")
    try:
        bundle = Bundle(orjson.loads(zlib.decompress(row[0])))
        is_whole = bundle.hash == release_hash
    except (zlib.error, orjson.JSONDecodeError, AttributeError, TypeError):
        is_whole = False
    if not is_whole:
        raise TamperedRelease(
            f"release {release_hash[:12]} was changed in the database: what it holds is not what was named, so it is "
            "not used; restore the row from a backup, or propose the content again"
        )
    return bundle


def standing(conn: Conn, release_hash: str) -> Standing:
    """A release, its signed deeds and their signers, as they are now. Raises NoSuchRelease."""
    row = conn.execute(
        """
        SELECT release_hash, state, proposer, kept, live_at, clock_timestamp(), EXISTS (SELECT 1 FROM duly_user)
        FROM release WHERE release_hash = %s
        """,
        (release_hash,),
    ).fetchone()
    if row is None:
        raise NoSuchRelease(f"no release {release_hash[:12]}")
    deeds = conn.execute(
        """
        SELECT e.kind, e.by_whom, e.at, e.statement, e.signature, e.public_key, k.user_id, k.retired_at, u.roles,
               u.retired_at
        FROM release_event e JOIN user_key k USING (public_key) JOIN duly_user u ON u.user_id = k.user_id
        WHERE e.release_hash = %s ORDER BY e.release_event_id
        """,
        (release_hash,),
    ).fetchall()
    told = [
        Deed(d[0], d[1], d[2], Signed(bytes(d[3]), bytes(d[4]), bytes(d[5])), d[6], d[7], d[8], d[9]) for d in deeds
    ]
    return Standing._make((*row, told))


def resolve(conn: Conn, prefix: str) -> str:
    """The full hash for the start of one. Raises NoSuchRelease if none or several begin so."""
    rows = conn.execute(
        "SELECT release_hash FROM release WHERE starts_with(release_hash, %s) LIMIT 2", (prefix.lower(),)
    ).fetchall()
    if not prefix or len(rows) != 1:
        raise NoSuchRelease(f"{'no' if not rows else 'more than one'} release begins with {prefix[:64]!r}")
    found: str = rows[0][0]
    return found


def history(conn: Conn, limit: int = 50) -> list[ReleaseRow]:
    """The releases themselves, the one that was live last first."""
    rows = conn.execute(
        """
        SELECT release_hash, state, proposed_by, proposed_at, live_at, retired_at FROM release
        ORDER BY state = 'live' DESC, coalesce(live_at, proposed_at) DESC LIMIT %s
        """,
        (limit,),
    ).fetchall()
    return [ReleaseRow._make(row) for row in rows]


def happenings(conn: Conn, limit: int = 100) -> list[Happening]:
    """Who did what to which release, the latest first."""
    rows = conn.execute(
        """
        SELECT at, release_hash, kind, by_whom, signature IS NOT NULL, detail FROM release_event
        ORDER BY at DESC, release_event_id DESC LIMIT %s
        """,
        (limit,),
    ).fetchall()
    return [Happening._make(row) for row in rows]


def note(conn: Conn, release_hash: str, kind: str, by: str, *, signed: Signed | None = None, **detail: Any) -> None:
    """Write one line of a release's history; what is empty in the detail is left out."""
    told = {key: value for key, value in detail.items() if value not in (None, "")}
    conn.execute(
        """
        INSERT INTO release_event (release_hash, kind, by_whom, detail, statement, signature, public_key)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (release_hash, kind, by, Jsonb(told, dumps=orjson.dumps), *(signed or (None, None, None))),
    )
