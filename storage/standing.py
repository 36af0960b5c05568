"""How the fleet stands now, at a cost that does not grow with the ledger.

Lags are one probe of an index for each lane; whatever is counted is counted through a partial index, and no further
than MOST_COUNTED; what is planned beyond that is the planner's own estimate. Nothing reads a whole table.
"""

from datetime import datetime, timedelta
from typing import Final, LiteralString, NamedTuple

from psycopg.rows import dict_row

from storage.lanes import LANES
from storage.rows import Conn

#: Nobody needs to know whether it is ten thousand or eleven. What is counted so far is at least that many.
MOST_COUNTED: Final = 10_000

#: A question that takes longer than this is given up: who asks must never be a burden to who works.
MOST_MILLISECONDS: Final = 5_000


class LaneLag(NamedTuple):
    """One lender and channel: the first thing planned, how late it is, and how much is due (at most MOST_COUNTED)."""

    lender_id: str
    channel: str
    first_due: datetime
    lag: timedelta
    due: int


class Counted(NamedTuple):
    """How many of a kind are in a state; at most MOST_COUNTED."""

    name: str
    state: str
    number: int


class Breaker(NamedTuple):
    """A provider's breaker and its share of the channel, for so long (business time). `code` is the provider's word."""

    provider: str
    channel: str
    state: str
    lasts: timedelta
    weight: int
    configured: int
    code: str | None
    channel_stopped: bool


class Standing(NamedTuple):
    """How the fleet stands. Leases in real time by the database's clock, lags in business time."""

    business_now: datetime
    stepped_at: datetime | None
    release_hash: str | None
    paused: list[tuple[str, str]]
    lanes: list[LaneLag]
    planned: int
    open_batches: int
    oldest_lease: timedelta | None
    overdue_leases: int
    overdue_for: timedelta | None
    uncertain: int
    uncertain_today: int
    inbox_waiting: int
    inbox_waits: timedelta | None
    inbox_early: int
    suspects: int
    call_tasks: list[Counted]
    breakers: list[Breaker]
    partitions_until: datetime | None
    first_month_ends: datetime | None
    jobs_late: timedelta | None


def standing(conn: Conn) -> Standing:
    """How the fleet stands, in one snapshot. `conn` must be in autocommit."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        conn.execute(_PATIENCE)
        head = conn.cursor(row_factory=dict_row).execute(_HEAD, _MOST).fetchone()
        assert head is not None
        return Standing(
            **head,
            paused=conn.execute("SELECT scope, reason FROM pause ORDER BY scope").fetchall(),
            lanes=[LaneLag._make(lane) for lane in conn.execute(_LAGS, _MOST)],
            call_tasks=[Counted._make(each) for each in conn.execute(_CALL_TASKS, _MOST)],
            breakers=[Breaker._make(each) for each in conn.execute(_BREAKERS)],
        )


_MOST: Final = {"most": MOST_COUNTED}

_PATIENCE: LiteralString = f"SET LOCAL statement_timeout = {MOST_MILLISECONDS}"

#: Everything of a `Standing` but its lists. Beyond MOST_COUNTED what is planned is what the planner believes.
_HEAD: LiteralString = """
    WITH few AS (SELECT count(*) AS n FROM (SELECT 1 FROM reminder WHERE state = 'planned' LIMIT %(most)s) planned)
    SELECT business_now() AS business_now,
           (SELECT stepped_at FROM clock) AS stepped_at,
           (SELECT release_hash FROM release WHERE state = 'live') AS release_hash,
           (SELECT CASE WHEN n < %(most)s THEN n ELSE greatest(n, (
                SELECT max(c.reltuples)::bigint FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                WHERE i.indrelid = 'reminder'::regclass
                  AND pg_get_expr(i.indpred, i.indrelid) = '(state = ''planned''::text)')) END FROM few) AS planned,
           (SELECT count(*) FROM batch WHERE ended_at IS NULL) AS open_batches,
           (SELECT clock_timestamp() - min(begun_at) FROM batch WHERE ended_at IS NULL) AS oldest_lease,
           (SELECT count(*) FROM batch WHERE ended_at IS NULL AND lease_until <= clock_timestamp()) AS overdue_leases,
           (SELECT clock_timestamp() - min(lease_until) FROM batch
            WHERE ended_at IS NULL AND lease_until <= clock_timestamp()) AS overdue_for,
           (SELECT count(*) FROM (SELECT 1 FROM reminder WHERE state = 'uncertain' LIMIT %(most)s) u) AS uncertain,
           (SELECT count(*) FROM (SELECT 1 FROM reminder WHERE state = 'uncertain'
                                  AND ended_at > business_now() - interval '24 hours' LIMIT %(most)s) u)
               AS uncertain_today,
           (SELECT count(*) FROM (SELECT 1 FROM inbox WHERE folded_at IS NULL AND outcome IS NULL
                                  LIMIT %(most)s) i) AS inbox_waiting,
           (SELECT clock_timestamp() - received_at FROM inbox WHERE folded_at IS NULL AND outcome IS NULL
            ORDER BY inbox_id LIMIT 1) AS inbox_waits,
           (SELECT count(*) FROM (SELECT 1 FROM inbox WHERE folded_at IS NULL AND outcome IS NOT NULL
                                  LIMIT %(most)s) e) AS inbox_early,
           (SELECT count(*) FROM (SELECT 1 FROM suspect WHERE losses > 0 LIMIT %(most)s) s) AS suspects,
           (SELECT (to_date(max(right(c.relname, 7)), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC'
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'contact'::regclass AND c.relname ~ '_[0-9]{4}_[0-9]{2}$') AS partitions_until,
           (SELECT (to_date(min(right(c.relname, 7)), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC'
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'contact'::regclass AND c.relname ~ '_[0-9]{4}_[0-9]{2}$') AS first_month_ends,
           (SELECT business_now() - min(due_at) FROM nightly_job WHERE due_at <= business_now()) AS jobs_late
"""

#: The first of each lender and channel, and what is due of it.
_LAGS: LiteralString = f"""
    WITH first AS (
        SELECT lender_id, channel, min(due_at) AS due_at, array_agg(shard) FILTER (WHERE due_at <= business_now()) late
        FROM ({LANES}) lane GROUP BY lender_id, channel)
    SELECT f.lender_id, f.channel, f.due_at, greatest(business_now() - f.due_at, interval '0'),
           (SELECT count(*) FROM (
                SELECT 1 FROM unnest(f.late) AS s(shard), LATERAL (
                    SELECT 1 FROM reminder r
                    WHERE r.state = 'planned' AND r.lender_id = f.lender_id AND r.channel = f.channel
                      AND r.shard = s.shard AND r.due_at <= business_now() LIMIT %(most)s) each
                LIMIT %(most)s) due)
    FROM first f ORDER BY f.lender_id, f.channel
"""  # noqa: S608 - one constant inside another

_CALL_TASKS: LiteralString = """
    SELECT kind, state, count(*)
    FROM (SELECT kind, state FROM call_task WHERE state IN ('queued', 'claimed') LIMIT %(most)s) waiting
    GROUP BY kind, state ORDER BY kind, state
"""

_BREAKERS: LiteralString = """
    SELECT provider, channel, state, greatest(business_now() - since, interval '0'), weight, configured, code,
           channel IN (SELECT stopped_channels())
    FROM provider WHERE retired_at IS NULL ORDER BY channel, provider
"""

#: What a look asks of tables that grow; a test holds each of them to its indexes.
QUERIES: Final = (_HEAD, _LAGS, _CALL_TASKS)


# --------------------------------------------------------------------------------------------------------- the database


class Database(NamedTuple):
    """What the database says of itself. `replay_lag` is the slowest replica's, None without one.

    `bloat` is the share of dead rows in the hot table; `longest_transaction` what keeps them from being cleaned up.
    """

    version: str
    schema: str | None
    is_standby: bool
    connections: int
    max_connections: int
    waiting_for_locks: int
    longest_transaction: timedelta | None
    replicas: int
    replay_lag: timedelta | None
    size_bytes: int
    dead_rows: int
    rows: int
    fsync: str
    synchronous_commit: str


def database(conn: Conn) -> Database:
    """Statistics that the server keeps anyway. Its role sees only its own sessions unless it may read all."""
    row = conn.execute(
        """
        SELECT current_setting('server_version'), (SELECT version_num FROM alembic_version),
               pg_is_in_recovery(),
               (SELECT sum(numbackends)::int FROM pg_stat_database),
               current_setting('max_connections')::int,
               (SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock'),
               (SELECT max(clock_timestamp() - xact_start) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()),
               (SELECT count(*)::int FROM pg_stat_replication),
               (SELECT max(replay_lag) FROM pg_stat_replication),
               pg_database_size(current_database()),
               coalesce(s.n_dead_tup, 0), coalesce(s.n_live_tup, 0),
               current_setting('fsync'), current_setting('synchronous_commit')
        FROM (SELECT 1) one LEFT JOIN pg_stat_user_tables s ON s.relname = 'reminder'
        """
    ).fetchone()
    assert row is not None
    return Database._make(row)
