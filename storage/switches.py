"""Releases that go live, or end, at a time of their own. Times are business time."""

from datetime import datetime
from typing import LiteralString, NamedTuple

from storage.rows import Conn

#: The job that carries them out, among those that come due by business time.
JOB = "releases"


class Switch(NamedTuple):
    """One that waits. `until` is when a go-live expires again."""

    release_switch_id: int
    kind: str
    release_hash: str
    at: datetime
    until: datetime | None
    by_whom: str
    why: str


def plan(
    conn: Conn, kind: str, release_hash: str, at: datetime, *, until: datetime | None, by: str, why: str = ""
) -> int:
    """Write one down and have the fleet look at that moment; its number."""
    row = conn.execute(
        """
        INSERT INTO release_switch (kind, release_hash, at, until, by_whom, why) VALUES (%s, %s, %s, %s, %s, %s)
        RETURNING release_switch_id
        """,
        (kind, release_hash, at, until, by, why),
    ).fetchone()
    assert row is not None
    wake(conn)
    number: int = row[0]
    return number


def wake(conn: Conn) -> None:
    """Have the job come due no later than the first switch that waits."""
    conn.execute(
        """
        INSERT INTO nightly_job (name, due_at) SELECT %s, min(at) FROM release_switch WHERE state = 'waiting'
        HAVING min(at) IS NOT NULL
        ON CONFLICT (name) DO UPDATE SET due_at = least(nightly_job.due_at, excluded.due_at)
        """,
        (JOB,),
    )


def due(conn: Conn, now: datetime) -> list[Switch]:
    """Those whose time has come, in order, locked."""
    rows = conn.execute(_WAITING + " AND at <= %s ORDER BY at, release_switch_id FOR UPDATE", (now,)).fetchall()
    return [Switch._make(row) for row in rows]


def waiting(conn: Conn) -> list[Switch]:
    rows = conn.execute(_WAITING + " ORDER BY at, release_switch_id").fetchall()
    return [Switch._make(row) for row in rows]


_WAITING: LiteralString = """
    SELECT release_switch_id, kind, release_hash, at, until, by_whom, why FROM release_switch
    WHERE state = 'waiting'
"""


def end(conn: Conn, number: int, *, state: str, outcome: str) -> bool:
    """Say what became of one; false when it no longer waited."""
    done = conn.execute(
        "UPDATE release_switch SET state = %s, outcome = %s WHERE release_switch_id = %s AND state = 'waiting'",
        (state, outcome, number),
    ).rowcount
    return bool(done)


def drop_expiries(conn: Conn, release_hash: str) -> None:
    """Forget when a release was to expire: it has gone live anew, or gone."""
    conn.execute(
        """
        UPDATE release_switch SET state = 'cancelled', outcome = 'overtaken by another change'
        WHERE release_hash = %s AND kind = 'expire' AND state = 'waiting'
        """,
        (release_hash,),
    )
