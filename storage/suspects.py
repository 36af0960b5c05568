"""Who was in the hands of a process when it died, and what becomes of a party that does it again and again.

Real time and the database's clock throughout. The notes are written outside the batch's transaction, by a connection of
their own: a transaction that is rolled back takes its traces with it.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from storage.rows import Conn, transpose
from storage.wire import int8_array

#: How often a party must have been lost before it is ended, and how often of these alone.
LOSSES_TO_END = 3
LOSSES_ALONE_TO_END = 2

#: The reason of a reminder that was put off because deciding about it failed, and of one that ended for it.
STUMBLED = "duly.stumbled"
POISONOUS = "poisonous"


class Suspect(NamedTuple):
    """How often processes died, or decisions failed, with this party in hand, and how long ago the last time was."""

    party_id: int
    losses: int
    ago: timedelta


class Hand(NamedTuple):
    """A process that has parties in hand."""

    worker: str
    pid: int


def take_up(
    conn: Conn, worker: str, *, place: str, pid: int, lane: str, parties: Sequence[int], lease: timedelta
) -> list[Suspect]:
    """Note whom this process decides about from now on, instead of whom it did before; the suspects among them."""
    rows = conn.execute(
        """
        WITH noted AS (
            INSERT INTO in_hand (worker, place, pid, lane, parties, lease_until, of_server)
            VALUES (%s, %s, %s, %s, %s, clock_timestamp() + %s, pg_postmaster_start_time())
            ON CONFLICT (worker) DO UPDATE SET lane = excluded.lane, parties = excluded.parties,
                lease_until = excluded.lease_until, of_server = excluded.of_server
            RETURNING parties
        )
        SELECT s.party_id, s.losses, clock_timestamp() - s.last_at FROM suspect s, noted n
        WHERE s.losses > 0 AND s.party_id = ANY(n.parties)
        """,
        (worker, place, pid, lane, int8_array(parties), lease),
    ).fetchall()
    return [Suspect._make(row) for row in rows]


def put_down(conn: Conn, worker: str) -> None:
    """This process has nobody in hand any more."""
    conn.execute("DELETE FROM in_hand WHERE worker = %s", (worker,))


def clear(conn: Conn, parties: Collection[int]) -> None:
    """These were decided about and nothing happened: they are suspects no more."""
    conn.execute("DELETE FROM suspect WHERE party_id = ANY(%s)", (list(parties),))


def hands_at(conn: Conn, place: str) -> list[Hand]:
    """The processes of one place that have somebody in hand: whoever is there can tell which of them live."""
    return [
        Hand._make(row)
        for row in conn.execute("SELECT worker, pid FROM in_hand WHERE place = %s ORDER BY worker", (place,))
    ]


def overdue_hands(conn: Conn) -> list[str]:
    """The processes anywhere whose time is over, by the database's clock, and that hold no batch either."""
    rows = conn.execute(
        """
        SELECT h.worker FROM in_hand h
        WHERE h.lease_until <= clock_timestamp()
          AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.ended_at IS NULL AND b.lease_until > clock_timestamp()
                          AND starts_with(h.worker, b.worker || '#'))
        """
    ).fetchall()
    return [row[0] for row in rows]


def lose(conn: Conn, workers: Collection[str], *, why: str) -> int:
    """These processes are no more: whom they had in hand is suspect; how many parties. Counted once for each process.

    A process that the database's own restart cut off is nobody's fault.
    """
    if not workers:
        return 0
    return conn.execute(
        """
        WITH gone AS (
            DELETE FROM in_hand WHERE worker = ANY(%s) RETURNING parties, of_server
        )
        INSERT INTO suspect (party_id, losses, losses_alone, why)
        SELECT party_id, count(*), count(*) FILTER (WHERE cardinality(parties) = 1), %s
        FROM gone, unnest(parties) AS party_id WHERE of_server = pg_postmaster_start_time()
        GROUP BY party_id ORDER BY party_id
        ON CONFLICT (party_id) DO UPDATE SET losses = suspect.losses + excluded.losses,
            losses_alone = suspect.losses_alone + excluded.losses_alone, why = excluded.why,
            last_at = clock_timestamp()
        """,
        (list(workers), why),
    ).rowcount


def accuse(conn: Conn, parties: Iterable[tuple[int, str]]) -> None:
    """Deciding about exactly these parties failed, for this reason each."""
    conn.execute(
        """
        INSERT INTO suspect (party_id, losses, losses_alone, why)
        SELECT v.party_id, 1, 1, v.why FROM unnest(%s::bigint[], %s::text[]) AS v(party_id, why) ORDER BY v.party_id
        ON CONFLICT (party_id) DO UPDATE SET losses = suspect.losses + 1, losses_alone = suspect.losses_alone + 1,
            why = excluded.why, last_at = clock_timestamp()
        """,
        transpose(sorted(parties), 2),
    )


def put_off(conn: Conn, reminders: Sequence[tuple[int, int]], *, wait: timedelta) -> None:
    """Judge these reminders (party, reminder) again later: this time it failed."""
    conn.execute(
        """
        UPDATE reminder r SET due_at = business_now() + %s, reason = %s
        FROM unnest(%b::bigint[], %b::bigint[]) AS v(party_id, reminder_id)
        WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id AND r.state = 'planned'
        """,
        (wait, STUMBLED, *transpose(reminders, 2)),
    )


def end_poisonous(conn: Conn) -> list[tuple[int, int]]:
    """End what nobody survives: reminders (party, reminder) of parties that were lost too often, also alone.

    Only while others are served: where every batch fails the fault is ours, and nobody is ended for it. Why it was is
    kept, and the account's next step is decided about like anybody's.
    """
    return conn.execute(
        """
        WITH guilty AS (
            SELECT s.party_id FROM suspect s
            WHERE s.losses >= %s AND s.losses_alone >= %s
              AND EXISTS (SELECT 1 FROM batch b WHERE b.ended_how = 'finished' AND b.ended_at > s.since)
            ORDER BY s.party_id FOR UPDATE OF s SKIP LOCKED
        ), ended AS (
            UPDATE reminder r SET state = 'failed', reason = %s, ended_at = business_now()
            FROM guilty g
            WHERE r.party_id = g.party_id AND r.state = 'planned' AND (r.due_at <= business_now() OR r.reason = %s)
              AND r.reminder_id NOT IN (SELECT reminders_in_hand(''))
            RETURNING r.party_id, r.reminder_id
        ), sentenced AS (
            UPDATE suspect s SET losses = 0, losses_alone = 0, last_at = clock_timestamp()
            FROM guilty g WHERE s.party_id = g.party_id
        )
        SELECT party_id, reminder_id FROM ended ORDER BY party_id, reminder_id
        """,
        (LOSSES_TO_END, LOSSES_ALONE_TO_END, POISONOUS, STUMBLED),
    ).fetchall()


class Stuck(NamedTuple):
    """An account that nobody could decide about, for people; nothing personal. `state` is ended or suspect."""

    lender_id: str
    account_ref: str
    step: str
    state: str
    losses: int
    why: str | None
    at: datetime


def stuck(conn: Conn, *, limit: int) -> list[Stuck]:
    """Reminders that ended as poisonous, and those of parties under suspicion; the latest first."""
    rows = conn.execute(
        """
        SELECT r.lender_id, a.external_ref, r.step, CASE r.state WHEN 'failed' THEN 'ended' ELSE 'suspect' END,
               coalesce(s.losses, 0), s.why, coalesce(s.last_at, r.ended_at)
        FROM reminder r
        JOIN account a ON a.party_id = r.party_id AND a.account_id = r.account_id
        LEFT JOIN suspect s ON s.party_id = r.party_id
        WHERE r.state = 'failed' AND r.reason = %s OR r.state = 'planned' AND s.losses > 0
        ORDER BY 7 DESC, 2 LIMIT %s
        """,
        (POISONOUS, limit),
    ).fetchall()
    return [Stuck._make(row) for row in rows]


def forget_old(conn: Conn) -> int:
    """Drop suspicions that nothing has happened to for a week."""
    return conn.execute("DELETE FROM suspect WHERE last_at < clock_timestamp() - interval '7 days'").rowcount
