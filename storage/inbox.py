"""What comes in from outside: stored before it is understood, folded later, each report once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from storage.rows import Conn, transpose

#: An event about a contact that is not (yet) in the ledger is looked at once more after this long (real time).
SECOND_LOOK_AFTER = timedelta(minutes=2)

#: The mark of a row that waits for its second look.
EARLY = "early"


class Arrival(NamedTuple):
    """One thing to store. `dedupe_key` is equal for repeats of one report; `body_sealed` is under the inbox key."""

    source: str
    dedupe_key: str
    body_sealed: bytes


class InboxRow(NamedTuple):
    """One waiting row. `at` is the business time of its arrival; `is_second_look` says that no third will follow."""

    inbox_id: int
    source: str
    dedupe_key: str
    at: datetime
    is_second_look: bool
    body_sealed: bytes


def store(conn: Conn, rows: Sequence[Arrival]) -> int:
    """Store a group of arrivals by one statement; how many were new. Repeats are dropped, also within the group."""
    return conn.execute(
        """
        INSERT INTO inbox (source, dedupe_key, body_sealed)
        SELECT * FROM unnest(%b::text[], %b::text[], %b::bytea[])
        ON CONFLICT (source, dedupe_key) DO NOTHING
        """,
        transpose(rows, 3),
    ).rowcount


def take(conn: Conn, limit: int) -> list[InboxRow]:
    """Lock the oldest rows that wait, past those that another worker holds. They stay locked until the commit."""
    rows = conn.execute(
        """
        SELECT inbox_id, source, dedupe_key, coalesce((SELECT stepped_at FROM clock), received_at), outcome IS NOT NULL,
               body_sealed
        FROM inbox
        WHERE folded_at IS NULL AND (outcome IS NULL OR received_at < clock_timestamp() - %s)
        ORDER BY inbox_id LIMIT %s
        FOR UPDATE SKIP LOCKED
        """,
        (SECOND_LOOK_AFTER, limit),
        binary=True,
    ).fetchall()
    return [InboxRow._make(row) for row in rows]


def mark(conn: Conn, ids: Sequence[int], outcome: str) -> None:
    """Say what became of rows: they are folded, and never taken again."""
    if ids:
        conn.execute(
            "UPDATE inbox SET folded_at = clock_timestamp(), outcome = %s WHERE inbox_id = ANY(%s)",
            (outcome, list(ids)),
        )


def keep_waiting(conn: Conn, ids: Sequence[int]) -> None:
    """Leave rows for a second look, SECOND_LOOK_AFTER their arrival; until then they hold nobody up."""
    if ids:
        conn.execute("UPDATE inbox SET outcome = %s WHERE inbox_id = ANY(%s)", (EARLY, list(ids)))


def waiting(conn: Conn) -> int:
    """How many rows would be taken now, or are just being folded."""
    counted = conn.execute(
        """
        SELECT count(*) FROM inbox
        WHERE folded_at IS NULL AND (outcome IS NULL OR received_at < clock_timestamp() - %s)
        """,
        (SECOND_LOOK_AFTER,),
    ).fetchone()
    assert counted is not None
    found: int = counted[0]
    return found


def row(conn: Conn, inbox_id: int) -> InboxRow | None:
    """One row by its number, for a person who has to read what a customer wrote."""
    found = conn.execute(
        """
        SELECT inbox_id, source, dedupe_key, coalesce((SELECT stepped_at FROM clock), received_at), outcome IS NOT NULL,
               body_sealed
        FROM inbox WHERE inbox_id = %s
        """,
        (inbox_id,),
        binary=True,
    ).fetchone()
    return InboxRow._make(found) if found else None
