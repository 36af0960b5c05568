"""What the processes of the fleet have counted: a row for each that lives, and a sum for those that are gone.

The sum of both never falls, whoever dies: a row becomes part of the sum in the statement that deletes it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import orjson

from storage.rows import Conn


class Report(NamedTuple):
    """What a process says of itself. `counts` since it began, `recent` of the last minutes, both by series."""

    name: str
    role: str
    release_hash: str | None
    memory_bytes: int
    counts: Mapping[str, float]
    recent: Mapping[str, float]


class Process(NamedTuple):
    """A process that said something lately. `silent_for` in real time, by the database's clock."""

    name: str
    role: str
    begun_at: datetime
    silent_for: timedelta
    release_hash: str | None
    memory_bytes: int


def introduce(conn: Conn, process_id: UUID, report: Report) -> None:
    """Write down a process for the first time; safe to repeat."""
    conn.execute(
        """
        INSERT INTO process (name, role, release_hash, memory_bytes, counts, recent, process_id)
        VALUES (%s, %s, %s, %s, %s::jsonb, %s::jsonb, %s)
        ON CONFLICT (process_id) DO UPDATE SET seen_at = clock_timestamp(), release_hash = excluded.release_hash,
            memory_bytes = excluded.memory_bytes, counts = excluded.counts, recent = excluded.recent
        """,
        (*_columns(report), process_id),
    )


def renew(conn: Conn, process_id: UUID, report: Report) -> bool:
    """Write down what a process has counted by now; false when it was taken for dead and its counts are in the sum."""
    return bool(
        conn.execute(
            """
            UPDATE process SET name = %s, role = %s, release_hash = %s, memory_bytes = %s, counts = %s::jsonb,
                               recent = %s::jsonb, seen_at = clock_timestamp()
            WHERE process_id = %s
            """,
            (*_columns(report), process_id),
        ).rowcount
    )


def leave(conn: Conn, process_id: UUID) -> None:
    """A process ends: its counts go into the sum."""
    conn.execute(_FOLD, {"process": process_id, "silent": None})


def bury(conn: Conn, *, silent_for: timedelta) -> int:
    """Put the counts of processes that have been silent for so long into the sum; how many series that touched."""
    return conn.execute(_FOLD, {"process": None, "silent": silent_for}).rowcount


#: Series in order, so that two who bury at once never wait for each other in a circle.
_FOLD = """
    WITH gone AS (
        DELETE FROM process WHERE process_id IN (
            SELECT process_id FROM process
            WHERE process_id = %(process)s::uuid OR seen_at < clock_timestamp() - %(silent)s::interval
            ORDER BY process_id FOR UPDATE SKIP LOCKED)
        RETURNING counts
    )
    INSERT INTO tally (series, number)
    SELECT key, sum(value::float8) FROM gone, jsonb_each_text(counts) GROUP BY key ORDER BY key
    ON CONFLICT (series) DO UPDATE SET number = tally.number + excluded.number
"""


def totals(conn: Conn) -> dict[str, float]:
    """Everything that was ever counted, by series."""
    rows = conn.execute(
        """
        SELECT series, sum(number) FROM (
            SELECT series, number FROM tally
            UNION ALL SELECT key, value::float8 FROM process, jsonb_each_text(counts)) AS known (series, number)
        GROUP BY series ORDER BY series
        """
    ).fetchall()
    return dict(rows)


def recently(conn: Conn, *, silent_for: timedelta) -> dict[str, float]:
    """What was counted in the last minutes, by series, by the processes that are not silent."""
    rows = conn.execute(
        """
        SELECT key, sum(value::float8) FROM process, jsonb_each_text(recent)
        WHERE seen_at >= clock_timestamp() - %s GROUP BY key ORDER BY key
        """,
        (silent_for,),
    ).fetchall()
    return dict(rows)


def processes(conn: Conn) -> list[Process]:
    """Every process that is not buried yet, by role and name."""
    rows = conn.execute(
        """
        SELECT name, role, begun_at, greatest(clock_timestamp() - seen_at, interval '0'), release_hash, memory_bytes
        FROM process ORDER BY role, name
        """
    ).fetchall()
    return [Process._make(row) for row in rows]


def _columns(report: Report) -> tuple[str, str, str | None, int, str, str]:
    return (
        report.name, report.role, report.release_hash, report.memory_bytes,
        orjson.dumps(report.counts).decode(), orjson.dumps(report.recent).decode(),
    )  # fmt: skip
