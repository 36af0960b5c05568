"""Providers as they stand: weights and breakers as versioned rows, and the answers that they are judged by.

Moves are made by compare-and-set on a row's version, so that of many workers that see the same evidence one writes it
down. Times are business time but for `recorded_at`, by which answers before and after a move are told apart.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString, NamedTuple

from storage.rows import Conn, transpose


class Named(NamedTuple):
    """A provider that the live release names."""

    provider: str
    channel: str
    weight: int


class Standing(NamedTuple):
    """A provider's row, and the answers since its state began and since its weight moved, within the windows."""

    provider: str
    channel: str
    configured: int
    weight: int
    weighed_at: datetime
    state: str
    since: datetime
    retry_at: datetime | None
    openings: int
    prober: str | None
    code: str | None
    fingerprint: str | None
    version: int
    good: int
    failed: int
    failed_code: str | None
    weighed_good: int
    weighed_slow: int
    weighed_failed: int


class Answers(NamedTuple):
    """What one worker saw of a provider since it last said so."""

    provider: str
    good: int
    slow: int
    failed: int
    code: str | None


class Turned(NamedTuple):
    """A breaker's next state. `fingerprint` is kept while the credentials are refused."""

    state: str
    retry_at: datetime | None
    openings: int
    code: str | None
    fingerprint: str | None = None


class Change(NamedTuple):
    """One row of a provider's history."""

    provider: str
    version: int
    at: datetime
    by_whom: str
    weight: int
    state: str
    reason: str


def register(conn: Conn, named: Sequence[Named], *, by: str) -> None:
    """Make the providers of the live release known; those that it names no more are retired.

    A provider whose configured weight changed begins anew at it.
    """
    conn.execute(
        """
        WITH named AS (
            SELECT * FROM unnest(%b::text[], %b::text[], %b::smallint[]) AS n(provider, channel, weight)
        ), made AS (
            INSERT INTO provider AS p (provider, channel, configured, weight, weighed_at, since)
            SELECT provider, channel, weight, weight, business_now(), business_now() FROM named
            ON CONFLICT (provider) DO UPDATE SET
                channel = excluded.channel, configured = excluded.configured, weight = excluded.weight,
                weighed_at = excluded.weighed_at, weighed_from = clock_timestamp(), retired_at = NULL,
                version = p.version + 1
            WHERE p.configured <> excluded.configured OR p.channel <> excluded.channel OR p.retired_at IS NOT NULL
            RETURNING p.provider, p.version, p.weight, p.state
        ), gone AS (
            UPDATE provider p SET retired_at = business_now(), version = version + 1
            WHERE retired_at IS NULL AND NOT EXISTS (SELECT 1 FROM named n WHERE n.provider = p.provider)
            RETURNING p.provider, p.version, p.weight, p.state
        )
        INSERT INTO provider_change (provider, version, at, by_whom, weight, state, reason)
        SELECT provider, version, business_now(), %b, weight, state, 'configured' FROM made
        UNION ALL
        SELECT provider, version, business_now(), %b, weight, state, 'not named any more' FROM gone
        """,
        (*transpose(named, 3), by, by),
    )


def note(conn: Conn, answers: Sequence[Answers]) -> None:
    """Write down what was seen."""
    conn.execute(
        """
        INSERT INTO provider_answer (provider, at, good, slow, failed, code)
        SELECT v.provider, business_now(), v.good, v.slow, v.failed, v.code
        FROM unnest(%b::text[], %b::int[], %b::int[], %b::int[], %b::text[]) AS v(provider, good, slow, failed, code)
        """,
        transpose(answers, 5),
    )


def standings(conn: Conn, *, window: timedelta, weighing: timedelta) -> list[Standing]:
    """Every provider that is not retired. `window` and `weighing` say how far back answers count for each judgement."""
    rows = conn.execute(_STANDINGS, {"window": window, "weighing": weighing})
    return [Standing._make(row) for row in rows]


_STANDINGS: LiteralString = """
    SELECT p.provider, p.channel, p.configured, p.weight, p.weighed_at, p.state, p.since, p.retry_at, p.openings,
           p.prober, p.code, p.fingerprint, p.version, coalesce(s.good, 0), coalesce(s.failed, 0), s.code,
           coalesce(s.weighed_good, 0), coalesce(s.weighed_slow, 0), coalesce(s.weighed_failed, 0)
    FROM provider p, LATERAL (
        SELECT sum(a.good) FILTER (WHERE a.recorded_at > p.answers_from AND a.at > business_now() - %(window)s) AS good,
               sum(a.failed) FILTER (WHERE a.recorded_at > p.answers_from AND a.at > business_now() - %(window)s)
                   AS failed,
               max(a.code) FILTER (WHERE a.recorded_at > p.answers_from AND a.at > business_now() - %(window)s) AS code,
               sum(a.good) FILTER (WHERE a.recorded_at > p.weighed_from) AS weighed_good,
               sum(a.slow) FILTER (WHERE a.recorded_at > p.weighed_from) AS weighed_slow,
               sum(a.failed) FILTER (WHERE a.recorded_at > p.weighed_from) AS weighed_failed
        FROM provider_answer a
        WHERE a.provider = p.provider AND a.recorded_at > now() - %(weighing)s AND a.at > business_now() - %(weighing)s
    ) s
    WHERE p.retired_at IS NULL ORDER BY p.channel, p.provider
"""


def turn(conn: Conn, before: Standing, after: Turned, *, by: str, reason: str) -> bool:
    """Turn a breaker; False if somebody was faster."""
    return _moved(
        conn,
        """
        UPDATE provider SET state = %b, since = business_now(), retry_at = %b, openings = %b, code = %b,
                            fingerprint = %b, prober = NULL, answers_from = clock_timestamp(), version = version + 1
        WHERE provider = %b AND version = %b RETURNING provider, version, weight, state
        """,
        (*after, before.provider, before.version),
        by=by,
        reason=reason,
    )


def weigh(conn: Conn, provider: str, version: int, weight: int, *, by: str, reason: str) -> bool:
    """Move a weight; False if somebody was faster."""
    return _moved(
        conn,
        """
        UPDATE provider SET weight = %b, weighed_at = business_now(), weighed_from = clock_timestamp(),
                            version = version + 1
        WHERE provider = %b AND version = %b RETURNING provider, version, weight, state
        """,
        (weight, provider, version),
        by=by,
        reason=reason,
    )


def _moved(conn: Conn, update: LiteralString, values: Sequence[object], *, by: str, reason: str) -> bool:
    statement: LiteralString = f"""
        WITH moved AS ({update})
        INSERT INTO provider_change (provider, version, at, by_whom, weight, state, reason)
        SELECT provider, version, business_now(), %b, weight, state, %b FROM moved
    """  # noqa: S608 - one constant inside another
    return bool(conn.execute(statement, (*values, by, reason)).rowcount)


def claim_probe(conn: Conn, provider: str, *, by: str, lasts: timedelta) -> bool:
    """Take it upon this worker to try a provider whose cool-down is over; False if another does. Waits for nobody."""
    return bool(
        conn.execute(
            """
            UPDATE provider SET state = 'half_open', prober = %s, retry_at = business_now() + %s,
                                since = least(since, business_now())
            WHERE provider = (SELECT provider FROM provider WHERE provider = %s AND state IN ('open', 'half_open')
                              AND (retry_at <= business_now() OR since > business_now()) FOR UPDATE SKIP LOCKED)
            """,
            (by, lasts, provider),
        ).rowcount
    )


def recall(conn: Conn, channel: str, *, within: timedelta) -> int:
    """Have the reminders judged at once that wait for the channel's provider; how many. For whoever mended it."""
    return conn.execute(
        """
        UPDATE reminder SET due_at = business_now()
        WHERE state = 'planned' AND channel = %s AND due_at > business_now() AND due_at <= business_now() + %s
          AND (reason IN ('provider_stopped', 'duly.provider_stopped')
               OR reason IN (SELECT code FROM provider WHERE channel = %s))
        """,
        (channel, within, channel),
    ).rowcount


def changes(conn: Conn, provider: str | None = None, *, limit: int = 50) -> list[Change]:
    """The latest changes first."""
    rows = conn.execute(
        """
        SELECT provider, version, at, by_whom, weight, state, reason FROM provider_change
        WHERE %b::text IS NULL OR provider = %b ORDER BY recorded_at DESC, version DESC LIMIT %b
        """,
        (provider, provider, limit),
    )
    return [Change._make(row) for row in rows]


class Fleet(NamedTuple):
    """Workers that send under limits. `all_share` is False when one of them cannot reach the shared count."""

    workers: int
    all_share: bool


def seen_sending(conn: Conn, worker: str, *, is_sharing: bool, lasts: timedelta) -> Fleet:
    """Say that this worker sends under limits, and hear who else does."""
    row = conn.execute(
        """
        WITH me AS (
            INSERT INTO sender_seen (worker, seen_at, is_sharing) VALUES (%s, clock_timestamp(), %s)
            ON CONFLICT (worker) DO UPDATE SET seen_at = excluded.seen_at, is_sharing = excluded.is_sharing
        )
        SELECT count(*) + 1, coalesce(bool_and(is_sharing), true) FROM sender_seen
        WHERE worker <> %s AND seen_at > clock_timestamp() - %s
        """,
        (worker, is_sharing, worker, lasts),
    ).fetchone()
    assert row is not None
    return Fleet(row[0], row[1])


def forget(conn: Conn, *, answers_older_than: timedelta) -> None:
    """Drop answers and workers of the past."""
    conn.execute("DELETE FROM provider_answer WHERE recorded_at < clock_timestamp() - %s", (answers_older_than,))
    conn.execute("DELETE FROM sender_seen WHERE seen_at < clock_timestamp() - %s", (answers_older_than,))
