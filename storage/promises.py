"""Promises to pay whose day is over, held against what was paid and what is owed now."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from storage.rows import Conn, transpose


class Due(NamedTuple):
    """A promise that is to be settled: its day and its grace are over where the customer lives."""

    party_id: int
    promise_id: int


def due(conn: Conn, *, grace: timedelta, limit: int) -> list[Due]:
    """Open promises whose day and grace have passed on the customer's clock, by business time; the oldest first."""
    rows = conn.execute(
        """
        SELECT p.party_id, p.promise_id
        FROM promise p
        JOIN account a ON a.party_id = p.party_id AND a.account_id = p.account_id
        JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
        WHERE p.state = 'open' AND p.promised_for <= (business_now() + interval '1 day')::date
          AND ((p.promised_for + 1)::timestamp + %s) AT TIME ZONE coalesce(c.zones[1], 'UTC') <= business_now()
        ORDER BY p.promised_for, p.party_id, p.promise_id LIMIT %s
        """,
        (grace, limit),
    ).fetchall()
    return [Due._make(row) for row in rows]


def settle(conn: Conn, promises: Sequence[Due]) -> dict[str, int]:
    """Say of each what became of it: kept, partly_kept or broken; how many of each. The parties must be locked.

    Kept is what was paid since the promise was given, without what was reversed, or what the balance fell by where a
    balance file told of it and no payment did. The hold that waited for a promise ends with it; nothing else does.
    """
    rows = conn.execute(
        """
        WITH standing AS (
            SELECT p.party_id, p.promise_id, p.account_id, p.amount_minor,
                   greatest(
                       coalesce((SELECT sum(CASE q.kind WHEN 'payment' THEN q.amount_minor ELSE -q.amount_minor END)
                                 FROM payment q
                                 WHERE q.party_id = p.party_id AND q.account_id = p.account_id
                                   AND (q.kind = 'payment' AND q.paid_at >= p.made_at
                                        OR q.kind = 'reversal' AND EXISTS (
                                            SELECT 1 FROM payment o WHERE o.party_id = q.party_id
                                              AND o.account_id = q.account_id AND o.external_ref = q.reverses
                                              AND o.kind = 'payment' AND o.paid_at >= p.made_at))), 0),
                       coalesce(p.owed_minor - a.balance_minor, 0),
                       CASE WHEN a.state = 'paid' THEN p.amount_minor ELSE 0 END) AS paid_minor
            FROM unnest(%s::bigint[], %s::bigint[]) AS v(party_id, promise_id)
            JOIN promise p ON p.party_id = v.party_id AND p.promise_id = v.promise_id AND p.state = 'open'
            JOIN account a ON a.party_id = p.party_id AND a.account_id = p.account_id
        ), settled AS (
            UPDATE promise p SET settled_at = business_now(),
                state = CASE WHEN s.paid_minor >= s.amount_minor THEN 'kept' WHEN s.paid_minor > 0 THEN 'partly_kept'
                             ELSE 'broken' END
            FROM standing s WHERE p.party_id = s.party_id AND p.promise_id = s.promise_id
            RETURNING p.party_id, p.account_id, p.state
        ), let_go AS (
            UPDATE hold h SET released_at = business_now(), released_by = 'promise settled'
            FROM settled s
            WHERE h.party_id = s.party_id AND h.account_id = s.account_id AND h.kind = 'promise'
              AND h.released_at IS NULL
              AND NOT EXISTS (SELECT 1 FROM promise o WHERE o.party_id = s.party_id AND o.account_id = s.account_id
                              AND o.state = 'open' AND o.promise_id <> ALL(%s::bigint[]))
        )
        SELECT state, count(*) FROM settled GROUP BY state
        """,
        (*transpose(promises, 2), [each.promise_id for each in promises]),
    ).fetchall()
    return dict(rows)
