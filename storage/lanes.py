"""Wake-ups, pauses, the business clock and nightly jobs: the small tables that steer the fleet."""

from datetime import datetime, timedelta
from typing import LiteralString, NamedTuple

from psycopg.errors import LockNotAvailable

from domain.lane import Lane
from storage.database import DatabaseDown
from storage.rows import Conn

#: A wake-up that nobody has begun on for this long is taken for lost and published again.
WAKE_UP_LASTS = timedelta(seconds=2)


class Pause(NamedTuple):
    scope: str
    reason: str
    paused_by: str
    since: datetime


def claim_wake_ups(conn: Conn, lanes: list[Lane], *, cause: str | None = None) -> list[Lane]:
    """Of these lanes, those that nobody has woken lately: the caller publishes them, now. `cause` is kept with them.

    A wake-up from the future is of a clock that was set back since, and must not keep its lane asleep until then.
    """
    if not lanes:
        return []
    rows = conn.execute(
        """
        INSERT INTO wake_up (lane, cause) SELECT unnest(%s::text[]), %s
        ON CONFLICT (lane) DO UPDATE SET published_at = clock_timestamp(), cause = excluded.cause
        WHERE wake_up.published_at NOT BETWEEN clock_timestamp() - %s AND clock_timestamp()
        RETURNING lane
        """,
        ([str(lane) for lane in lanes], cause, WAKE_UP_LASTS),
    ).fetchall()
    return [Lane.parse(row[0]) for row in rows]


def begin_wake_up(conn: Conn, lane: Lane) -> str | None:
    """The wake-up has arrived: the lane may be woken again. What was kept with it."""
    row = conn.execute("DELETE FROM wake_up WHERE lane = %s RETURNING cause", (str(lane),)).fetchone()
    return row[0] if row else None


def pause(conn: Conn, scope: str, *, reason: str, by: str) -> bool:
    """Stop sending for `*` or one lender; false if it was paused already. Seen by the next stamp, everywhere."""
    return bool(
        conn.execute(
            "INSERT INTO pause (scope, reason, paused_by) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (scope, reason, by),
        ).rowcount
    )


def resume(conn: Conn, scope: str) -> bool:
    """Take a pause back; false if there was none. Sending begins gently (worker/turns.py)."""
    row = conn.execute(
        """
        WITH gone AS (DELETE FROM pause WHERE scope = %s RETURNING scope), begun AS (
            INSERT INTO resumption (scope) SELECT scope FROM gone
            ON CONFLICT (scope) DO UPDATE SET resumed_at = clock_timestamp()
        )
        SELECT count(*) FROM gone
        """,
        (scope,),
    ).fetchone()
    assert row is not None
    return bool(row[0])


def has_lender(conn: Conn, lender_id: str) -> bool:
    return conn.execute("SELECT 1 FROM lender WHERE lender_id = %s", (lender_id,)).fetchone() is not None


def pauses(conn: Conn) -> list[Pause]:
    rows = conn.execute("SELECT scope, reason, paused_by, since FROM pause ORDER BY scope").fetchall()
    return [Pause._make(row) for row in rows]


def business_now(conn: Conn) -> datetime:
    """Business time, aware UTC: the stepped clock if a run lives on one, else the database's own."""
    row = conn.execute("SELECT business_now()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


def step_clock(conn: Conn, to: datetime | None) -> None:
    """Set business time to an instant, or give it back to the real clock with None."""
    conn.execute("UPDATE clock SET stepped_at = %s", (to,))


def stepped_clock(conn: Conn) -> datetime | None:
    row = conn.execute("SELECT stepped_at FROM clock").fetchone()
    return row[0] if row else None


class Stillness(NamedTuple):
    """What is left to do at the present moment: batches counted, of the rest whether there is any (0 or 1)."""

    open_batches: int
    due_reminders: int
    waiting_inbox: int
    due_jobs: int


#: Every lane that has planned reminders, with the time of its first. Skips from lane to lane through the partial index:
#: a probe per lane, however many reminders wait. What was sent since the last vacuum lies before a lane's first, and
#: every probe walks over it: so there is one, and not one for the lane and one for its time.
LANES: LiteralString = """
    WITH RECURSIVE lane AS (
        (SELECT lender_id, channel, shard, due_at FROM reminder WHERE state = 'planned'
         ORDER BY lender_id, channel, shard, due_at LIMIT 1)
        UNION ALL
        SELECT n.* FROM lane l, LATERAL (
            SELECT r.lender_id, r.channel, r.shard, r.due_at FROM reminder r
            WHERE r.state = 'planned' AND (r.lender_id, r.channel, r.shard) > (l.lender_id, l.channel, l.shard)
            ORDER BY r.lender_id, r.channel, r.shard, r.due_at LIMIT 1) n)
    SELECT lender_id, channel, shard, due_at FROM lane
"""

_STILLNESS: LiteralString = f"""
    SELECT (SELECT count(*) FROM batch WHERE ended_at IS NULL),
           (SELECT count(*) FROM (SELECT 1 FROM ({LANES}) l WHERE l.due_at <= (SELECT business_now())
                AND NOT EXISTS (SELECT 1 FROM pause WHERE scope IN ('*', l.lender_id))
                AND l.channel <> ALL (ARRAY(SELECT stopped_channels())) LIMIT 1) one),
           (SELECT count(*) FROM (SELECT 1 FROM inbox WHERE folded_at IS NULL
                AND (outcome IS NULL OR received_at < clock_timestamp() - interval '2 minutes') LIMIT 1) one),
           (SELECT count(*) FROM nightly_job WHERE due_at <= (SELECT business_now()))
"""  # noqa: S608 - one constant inside another


def stillness(conn: Conn) -> Stillness:
    row = conn.execute(_STILLNESS).fetchone()
    assert row is not None
    return Stillness._make(row)


def next_moment(conn: Conn) -> datetime | None:
    """When something comes due next after the present moment: a reminder, a nightly job, a provider to try."""
    row = conn.execute(
        """
        SELECT least((SELECT min(due_at) FROM reminder WHERE state = 'planned' AND due_at > (SELECT business_now())
                      AND NOT EXISTS (SELECT 1 FROM pause WHERE scope IN ('*', lender_id))),
                     (SELECT min(due_at) FROM nightly_job WHERE due_at > business_now()),
                     (SELECT min(retry_at) FROM provider WHERE retry_at > business_now() AND retired_at IS NULL))
        """
    ).fetchone()
    assert row is not None
    moment: datetime | None = row[0]
    return moment


#: When nightly jobs come due: so long after midnight, UTC.
NIGHTLY_AT = timedelta(minutes=30)


class NoRoom(DatabaseDown):
    """A month of the ledger cannot be made now."""

    def __init__(self) -> None:
        super().__init__(
            "no room can be made for another month of the ledger: somebody reads it for long, a backup perhaps. "
            "Nothing was changed: try again when that is over"
        )


def schedule_nightly(conn: Conn, name: str, *, first: datetime) -> None:
    """Make a nightly job known; one that is known keeps its time."""
    conn.execute("INSERT INTO nightly_job (name, due_at) VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, first))


def due_jobs(conn: Conn) -> list[str]:
    rows = conn.execute("SELECT name FROM nightly_job WHERE due_at <= business_now() ORDER BY name").fetchall()
    return [row[0] for row in rows]


class Claim(NamedTuple):
    """A nightly job that is ours for this night: business time, and when it should have come."""

    now: datetime
    was_due: datetime


def claim_job(conn: Conn, name: str) -> Claim | None:
    """Take a due nightly job and move it on to its next night, however late it came; None if another worker has it."""
    row = conn.execute(
        """
        UPDATE nightly_job j SET due_at = date_trunc('day', business_now() - %(at)s, 'UTC') + interval '1 day' + %(at)s
        FROM (SELECT name, due_at FROM nightly_job WHERE name = %(name)s FOR UPDATE) before
        WHERE j.name = before.name AND j.due_at <= business_now() RETURNING business_now(), before.due_at
        """,
        {"name": name, "at": NIGHTLY_AT},
    ).fetchone()
    return Claim._make(row) if row else None


def put_off_job(conn: Conn, name: str, *, by: timedelta) -> None:
    """Let a nightly job that could not be done come again so much later, and not only the next night."""
    conn.execute("UPDATE nightly_job SET due_at = business_now() + %s WHERE name = %s", (by, name))


def ensure_partitions(conn: Conn, around: datetime, *, ahead: int = 3, back: int = 2) -> int:
    """Make the monthly partitions from `back` months before to `ahead` months after; how many months were new.

    A new one wants its tables for itself, for a moment. Raises NoRoom where somebody holds them for longer: whoever
    waited would make all others wait.
    """
    try:
        row = conn.execute(
            """
            SELECT count(*) FILTER (WHERE ensure_partitions((date_trunc('month', %s::timestamptz)
                                                             + make_interval(months => m))::date))
            FROM generate_series(%s::int, %s::int) AS m
            """,
            (around, -back, ahead),
        ).fetchone()
    except LockNotAvailable:
        raise NoRoom from None
    assert row is not None
    made: int = row[0]
    return made


def forget_batches(conn: Conn) -> int:
    """Drop the rows of batches that ended a while ago (real time): a busy fleet ends ten a second.

    Whoever had one in hand and wakes up later still finds what it would find of one that has ended: no lease. The last
    that finished stays, whenever that was: it shows that others were served (`suspects.end_poisonous`).
    """
    return conn.execute(
        """
        DELETE FROM batch WHERE ended_at < clock_timestamp() - interval '10 minutes'
          AND ended_at < coalesce((SELECT max(ended_at) FROM batch WHERE ended_how = 'finished'), 'infinity')
        """
    ).rowcount
