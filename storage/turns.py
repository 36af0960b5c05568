"""Whose turn it is: of all lenders that wait for a worker on a channel, the one that has waited longest since its last.

The broker's queue is first come, first served; a lender with a million due would stand in it sixteen times. So the
wake-up that arrives does not decide which lane is worked on: this table does.
"""

from datetime import timedelta
from typing import NamedTuple

from domain.channel import Channel
from domain.lane import Lane
from storage.rows import Conn

#: A wake-up that nobody took for this long waits for nobody: its message was lost, or nothing is due any more.
WAITS_AT_MOST = timedelta(seconds=30)


class Turn(NamedTuple):
    """The lane to work on now. `resumed_for`: how long ago its lender was resumed; None: not lately, or never."""

    lane: Lane
    resumed_for: timedelta | None


def take_turn(conn: Conn, channel: Channel, *, gentle_for: timedelta) -> Turn | None:
    """Take the wake-up of the lender that was served least recently; None if nobody waits (a repeated wake-up).

    A resumption counts as of late for `gentle_for`.
    """
    row = conn.execute(
        """
        WITH chosen AS (
            SELECT w.lane, split_part(w.lane, ':', 1) AS lender_id FROM wake_up w
            LEFT JOIN turn t ON t.lender_id = split_part(w.lane, ':', 1) AND t.channel = split_part(w.lane, ':', 2)
            WHERE split_part(w.lane, ':', 2) = %s
            ORDER BY t.taken_at NULLS FIRST, w.published_at, w.lane LIMIT 1 FOR UPDATE OF w SKIP LOCKED
        ), gone AS (
            DELETE FROM wake_up w USING chosen c WHERE w.lane = c.lane RETURNING w.lane, c.lender_id
        ), taken AS (
            INSERT INTO turn (lender_id, channel, taken_at) SELECT lender_id, %s, clock_timestamp() FROM gone
            ON CONFLICT (lender_id, channel) DO UPDATE SET taken_at = excluded.taken_at
        )
        SELECT g.lane, (SELECT min(clock_timestamp() - r.resumed_at) FROM resumption r
                        WHERE r.scope IN ('*', g.lender_id)
                          AND r.resumed_at BETWEEN clock_timestamp() - %s AND clock_timestamp())
        FROM gone g
        """,
        (channel.value, channel.value, gentle_for),
    ).fetchone()
    return Turn(Lane.parse(row[0]), row[1]) if row else None


def others_wait(conn: Conn, lane: Lane) -> bool:
    """Whether another lender, or another channel, waits for a worker."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT 1 FROM wake_up
                       WHERE published_at BETWEEN clock_timestamp() - %s AND clock_timestamp()
                         AND NOT starts_with(lane, %s))
        """,
        (WAITS_AT_MOST, f"{lane.lender}:{lane.channel}:"),
    ).fetchone()
    assert row is not None
    return bool(row[0])


def gentle(conn: Conn, *, gentle_for: timedelta) -> dict[str, timedelta]:
    """Scopes ('*' or a lender) that were resumed of late, and how long ago."""
    rows = conn.execute(
        """
        SELECT scope, clock_timestamp() - resumed_at FROM resumption
        WHERE resumed_at BETWEEN clock_timestamp() - %s AND clock_timestamp()
        """,
        (gentle_for,),
    ).fetchall()
    return dict(rows)


def forget_wake_ups(conn: Conn) -> int:
    """Drop wake-ups that nobody took, and resumptions of long ago; how many wake-ups. The next tick makes new ones."""
    conn.execute("DELETE FROM resumption WHERE resumed_at < clock_timestamp() - interval '1 day'")
    return conn.execute(
        "DELETE FROM wake_up WHERE published_at NOT BETWEEN clock_timestamp() - %s AND clock_timestamp()",
        (WAITS_AT_MOST,),
    ).rowcount
