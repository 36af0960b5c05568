"""Payments and reversals in the ledger, what they stop, and what they set going again."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from storage.rows import Conn, transpose
from storage.sweeps import UNANSWERED


class AccountRow(NamedTuple):
    """An account as payments see it."""

    lender_id: str
    account_ref: str
    party_id: int
    account_id: int
    currency: str


class PaymentRow(NamedTuple):
    """A payment or reversal on record, with what has been taken back of it so far."""

    lender_id: str
    ref: str
    account_id: int
    kind: str
    reverses: str | None
    amount_minor: int
    reversed_minor: int


class NewPayment(NamedTuple):
    """A payment or reversal to write down; `amount_minor` is above zero for both."""

    party_id: int
    account_id: int
    lender_id: str
    ref: str
    kind: str
    reverses: str | None
    amount_minor: int
    paid_at: datetime


class Effect(NamedTuple):
    """What payments did to one account. `payments` counts those that moved its balance."""

    party_id: int
    account_id: int
    payments: int
    is_paid: bool
    has_reopened: bool


class ToPlan(NamedTuple):
    """An account that owes and has no open reminder, with the last of its steps that was not cancelled or missed."""

    party_id: int
    account_id: int
    lender_id: str
    ladder: str
    due_on: date
    balance_minor: int
    currency: str
    zones: list[str]
    reachable: list[str]
    last_ladder: str | None
    last_step: str | None
    last_planned_for: datetime | None


def accounts_of(conn: Conn, refs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], AccountRow]:
    """The accounts of (lender, reference) pairs; those that the ledger does not know are missing."""
    rows = conn.execute(
        """
        SELECT a.lender_id, a.external_ref, a.party_id, a.account_id, a.currency
        FROM unnest(%s::text[], %s::text[]) AS v(lender_id, ref)
        JOIN account a ON a.lender_id = v.lender_id AND a.external_ref = v.ref
        """,
        transpose(sorted(set(refs)), 2),
    )
    return {(row[0], row[1]): AccountRow._make(row) for row in rows}


def lock_parties(conn: Conn, parties: Iterable[int]) -> None:
    """Lock parties in party order, so that two writers never wait for each other in a circle."""
    conn.execute(
        "SELECT 1 FROM party WHERE party_id = ANY(%s) ORDER BY party_id FOR NO KEY UPDATE", (sorted(set(parties)),)
    )


def payments_of(conn: Conn, refs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], PaymentRow]:
    """What is on record under (lender, payment reference) pairs. Read it under the lock of the parties."""
    rows = conn.execute(
        """
        SELECT p.lender_id, p.external_ref, p.account_id, p.kind, p.reverses, p.amount_minor,
               coalesce((SELECT sum(r.amount_minor)::bigint FROM payment r
                         WHERE r.party_id = p.party_id AND r.account_id = p.account_id AND r.kind = 'reversal'
                           AND r.reverses = p.external_ref), 0)
        FROM unnest(%s::text[], %s::text[]) AS v(lender_id, ref)
        JOIN payment p ON p.lender_id = v.lender_id AND p.external_ref = v.ref
        """,
        transpose(sorted(set(refs)), 2),
    )
    return {(row[0], row[1]): PaymentRow._make(row) for row in rows}


def write_payments(conn: Conn, payments: Sequence[NewPayment]) -> list[Effect]:
    """Write payments down and move the balances by those newer than the balance; what that did, by account.

    The parties must be locked. A reference already on record changes nothing. A balance that a file gave as of a later
    moment has a payment in it already.
    """
    if not payments:
        return []
    rows = conn.execute(
        """
        WITH paid AS (
            INSERT INTO payment (party_id, account_id, lender_id, external_ref, kind, reverses, amount_minor, paid_at)
            SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
                                 %s::bigint[], %s::timestamptz[])
            ON CONFLICT (lender_id, external_ref) DO NOTHING
            RETURNING party_id, account_id, kind, amount_minor, paid_at
        ), moved AS (
            SELECT a.party_id, a.account_id, a.state,
                   sum(CASE p.kind WHEN 'payment' THEN -p.amount_minor ELSE p.amount_minor END)::bigint AS delta,
                   count(*)::int AS payments
            FROM paid p JOIN account a USING (party_id, account_id)
            WHERE p.paid_at >= a.as_of GROUP BY a.party_id, a.account_id, a.state
        ), written AS (
            UPDATE account a SET balance_minor = a.balance_minor + m.delta, updated_at = clock_timestamp(),
                state = CASE WHEN a.state = 'recalled' THEN a.state
                             WHEN a.balance_minor + m.delta > 0 THEN 'open' ELSE 'paid' END
            FROM moved m WHERE a.party_id = m.party_id AND a.account_id = m.account_id
            RETURNING a.party_id, a.account_id, m.payments, a.state = 'paid' AND m.state = 'open',
                      a.state = 'open' AND m.state = 'paid'
        ), bumped AS (
            UPDATE party SET stop_epoch = stop_epoch + 1 WHERE party_id IN (SELECT party_id FROM moved)
        )
        SELECT * FROM written
        """,
        transpose(payments, 8),
    ).fetchall()
    return [Effect._make(row) for row in rows]


def cancel(conn: Conn, accounts: Iterable[tuple[int, int]], *, reason: str, at: datetime) -> int:
    """Cancel what is open for accounts (party, account) and has not left yet; how many reminders that was.

    A contact whose reminder was taken out of a worker's hands never happened: it is released, so that no cap counts it.
    The parties must be locked, and their stop epochs bumped in the same transaction. What is already stamped runs its
    course. Calls that wait for somebody are cancelled when nothing they are about is owed any more.
    """
    parties, ids = transpose(sorted(set(accounts)), 2)
    if not parties:
        return 0
    conn.execute(_STIR, (parties, ids))
    row = conn.execute(_CANCEL, (parties, ids, reason, at, at, reason)).fetchone()
    assert row is not None
    conn.execute(
        """
        UPDATE call_task t SET state = 'cancelled', ended_at = %s
        WHERE t.party_id = ANY(%s) AND t.state = 'queued' AND t.kind IN ('call', 'specialist')
          AND NOT EXISTS (SELECT 1 FROM account a WHERE a.party_id = t.party_id AND a.account_id = ANY(t.account_ids)
                          AND a.state = 'open')
        """,
        (at, parties),
    )
    return int(row[0])


# A batch out of which something is taken is locked first: the worker that is about to stamp its next wave waits, sees
# that the batch was stirred, and asks anew (storage/waves.py). So nothing that is stamped is cancelled, and the other
# way round.
_STIR: Final = """
    UPDATE batch SET stirs = stirs + 1 WHERE batch_id = ANY (ARRAY(
        SELECT b.batch_id FROM batch b WHERE b.batch_id IN (
            SELECT i.batch_id FROM unnest(%s::bigint[], %s::bigint[]) AS v(party_id, account_id)
            JOIN reminder r ON r.party_id = v.party_id AND r.account_id = v.account_id
            JOIN intended i ON i.party_id = r.party_id AND i.reminder_id = r.reminder_id
            WHERE r.state = 'planned')
        ORDER BY b.batch_id FOR NO KEY UPDATE))
"""

_CANCEL: Final = f"""
    WITH waiting AS MATERIALIZED (
        SELECT r.party_id, r.reminder_id, i.contact_id, i.is_stamped, {UNANSWERED} AS is_unanswered
        FROM unnest(%s::bigint[], %s::bigint[]) AS v(party_id, account_id)
        JOIN reminder r ON r.party_id = v.party_id AND r.account_id = v.account_id
        LEFT JOIN intended i ON i.party_id = r.party_id AND i.reminder_id = r.reminder_id
        WHERE r.state = 'planned'
    ), gone AS (
        UPDATE reminder r SET state = 'cancelled', reason = %s, ended_at = %s,
                              contact_id = CASE WHEN o.is_unanswered THEN o.contact_id END
        FROM waiting o
        WHERE r.party_id = o.party_id AND r.reminder_id = o.reminder_id AND coalesce(r.state) = 'planned'
          AND NOT (o.is_unanswered AND coalesce(o.is_stamped, false))
        RETURNING r.party_id, r.contact_id
    ), released AS (
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, code)
        SELECT DISTINCT c.party_id, c.contact_id, c.intended_at, 'released', 'released', %s::timestamptz, %s
        FROM gone g JOIN contact c ON c.party_id = g.party_id AND c.contact_id = g.contact_id
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) FROM gone
"""  # noqa: S608 - one constant inside another


def settle_promises(conn: Conn, accounts: Iterable[tuple[int, int]], *, at: datetime) -> int:
    """Close the promises that payments have kept, and the holds that waited for them; how many were kept.

    A promise is kept by payments made since it was given, on or before its day where the customer lives; later it is
    kept late. Reversed payments do not count.
    """
    parties, ids = transpose(sorted(set(accounts)), 2)
    if not parties:
        return 0
    row = conn.execute(
        """
        WITH standing AS (
            SELECT p.party_id, p.promise_id, p.account_id, p.amount_minor, p.promised_for, p.made_at,
                   coalesce(c.zones[1], 'UTC') AS zone
            FROM unnest(%s::bigint[], %s::bigint[]) AS v(party_id, account_id)
            JOIN promise p ON p.party_id = v.party_id AND p.account_id = v.account_id
            JOIN account a ON a.party_id = p.party_id AND a.account_id = p.account_id
            JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
            WHERE p.state IN ('open', 'partly_kept', 'broken')
        ), paid AS (
            SELECT s.party_id, s.promise_id, s.account_id, s.amount_minor,
                   sum(m.left_minor) FILTER (WHERE (m.paid_at AT TIME ZONE s.zone)::date <= s.promised_for) AS in_time,
                   sum(m.left_minor) AS at_all
            FROM standing s JOIN LATERAL (
                SELECT q.paid_at, q.amount_minor - coalesce((
                    SELECT sum(r.amount_minor) FROM payment r
                    WHERE r.party_id = q.party_id AND r.account_id = q.account_id AND r.kind = 'reversal'
                      AND r.reverses = q.external_ref), 0) AS left_minor
                FROM payment q
                WHERE q.party_id = s.party_id AND q.account_id = s.account_id AND q.kind = 'payment'
                  AND q.paid_at >= s.made_at) m ON true
            GROUP BY s.party_id, s.promise_id, s.account_id, s.amount_minor
        ), kept AS (
            UPDATE promise p SET settled_at = %s,
                state = CASE WHEN coalesce(k.in_time, 0) >= k.amount_minor THEN 'kept' ELSE 'kept_late' END
            FROM paid k
            WHERE p.party_id = k.party_id AND p.promise_id = k.promise_id AND k.at_all >= k.amount_minor
            RETURNING p.party_id, p.account_id
        ), let_go AS (
            UPDATE hold h SET released_at = %s, released_by = 'payment'
            FROM kept WHERE h.party_id = kept.party_id AND h.account_id = kept.account_id AND h.kind = 'promise'
              AND h.released_at IS NULL
        )
        SELECT count(*) FROM kept
        """,
        (parties, ids, at, at),
    ).fetchone()
    assert row is not None
    return int(row[0])


def to_plan(conn: Conn, accounts: Iterable[tuple[int, int]]) -> list[ToPlan]:
    """Those of the accounts (party, account) that owe something and have no open reminder."""
    parties, ids = transpose(sorted(set(accounts)), 2)
    if not parties:
        return []
    rows = conn.execute(
        """
        SELECT a.party_id, a.account_id, a.lender_id, a.ladder, a.due_on, a.balance_minor, a.currency, c.zones,
               ARRAY(SELECT DISTINCT d.channel FROM address d WHERE d.party_id = c.party_id
                     AND d.customer_id = c.customer_id AND d.retired_at IS NULL),
               last.ladder, last.step, last.planned_for
        FROM unnest(%s::bigint[], %s::bigint[]) AS v(party_id, account_id)
        JOIN account a ON a.party_id = v.party_id AND a.account_id = v.account_id
        JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
        LEFT JOIN LATERAL (
            SELECT r.ladder, r.step, r.planned_for FROM reminder r
            WHERE r.party_id = a.party_id AND r.account_id = a.account_id
              AND r.state NOT IN ('planned', 'cancelled', 'expired')
            ORDER BY r.reminder_id DESC LIMIT 1) last ON true
        WHERE a.state = 'open' AND a.balance_minor > 0
          AND NOT EXISTS (SELECT 1 FROM reminder o WHERE o.party_id = a.party_id AND o.account_id = a.account_id
                          AND o.state = 'planned')
        ORDER BY a.party_id, a.account_id
        """,
        (parties, ids),
        binary=True,
    ).fetchall()
    return [ToPlan._make(row) for row in rows]
