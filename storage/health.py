"""What a doctor asks the database: its clock, its time zones, its partitions, its settings that safety rests on."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from storage.rows import Conn


class Vitals(NamedTuple):
    """`now` is the database's real clock. `fsync` and `synchronous_commit` must be on: a stamp must survive a crash."""

    version: str
    now: datetime
    fsync: str
    synchronous_commit: str
    partitions_until: str | None


def vitals(conn: Conn) -> Vitals:
    row = conn.execute(
        """
        SELECT current_setting('server_version'), clock_timestamp(),
               current_setting('fsync'), current_setting('synchronous_commit'),
               (SELECT max(right(c.relname, 7)) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'contact'::regclass AND c.relname ~ '_[0-9]{4}_[0-9]{2}$')
        """
    ).fetchone()
    assert row is not None
    return Vitals._make(row)


def utc_offsets(conn: Conn, zones: Sequence[str], at: Sequence[datetime]) -> dict[tuple[str, datetime], float]:
    """The database's own UTC offsets in seconds, by zone and instant; zones that it does not know are left out."""
    rows = conn.execute(
        """
        SELECT z.name, t.at, extract(epoch FROM (t.at AT TIME ZONE z.name) - (t.at AT TIME ZONE 'UTC'))::float
        FROM pg_timezone_names z, unnest(%s::timestamptz[]) AS t(at) WHERE z.name = ANY(%s)
        """,
        (list(at), list(zones)),
    ).fetchall()
    return {(name, moment.astimezone(UTC)): offset for name, moment, offset in rows}


def zones_in_use(conn: Conn) -> list[str]:
    """The zones of our customers, the most frequent first; at most a hundred."""
    rows = conn.execute(
        "SELECT z FROM customer, unnest(zones) AS z GROUP BY z ORDER BY count(*) DESC, z LIMIT 100"
    ).fetchall()
    return [row[0] for row in rows]
