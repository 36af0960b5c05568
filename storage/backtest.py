"""What a back-test reads: every reminder that was judged in a span of time, and all that the judge knew of its people.

By chunks of parties, so that a ledger of any size passes through a small memory. Business times.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from storage.rows import Conn

#: Parties read at a time: a few thousand rows of each kind.
CHUNK = 1000


class Asked(NamedTuple):
    """A reminder that was judged in the span: when first, and how it ended if it did."""

    party_id: int
    reminder_id: int
    account_id: int
    ladder: str
    step: str
    stage: str
    expires_at: datetime
    state: str
    ended_at: datetime | None
    first_at: datetime


class Debt(NamedTuple):
    """An account with its customer, as the ledger has them now."""

    party_id: int
    account_id: int
    customer_id: int
    lender_id: str
    currency: str
    balance_minor: int
    due_on: date
    state: str
    locale: str
    residence: str | None
    zones: list[str]
    zone_confirmed_at: datetime | None
    refused_channels: list[str]
    blocked_hours: list[dict[str, Any]]
    household: str | None


class Reach(NamedTuple):
    party_id: int
    customer_id: int
    channel: str
    kind: str
    lookup: bytes
    country: str | None
    zones: list[str]
    retired_at: datetime | None


class Consented(NamedTuple):
    party_id: int
    customer_id: int
    channel: str
    lookup: bytes | None
    purpose: str
    given_at: datetime
    withdrawn_at: datetime | None


class Held(NamedTuple):
    party_id: int
    account_id: int | None
    kind: str
    since: datetime
    ends_at: datetime | None
    released_at: datetime | None


class Paid(NamedTuple):
    """`amount_minor` is negative for a reversal."""

    party_id: int
    account_id: int
    amount_minor: int
    paid_at: datetime


class Made(NamedTuple):
    """A contact that was made. `reminders` is empty for one that no reminder led to: imported, a call, a reply."""

    party_id: int
    customer_id: int
    at: datetime
    lender_id: str
    channel: str
    stage: str | None
    purpose: str
    actor: str
    account_ids: list[int]
    lookup: bytes | None
    outcome: str | None
    reminders: list[int]


class Chunk(NamedTuple):
    """Everything about some parties, each list in order of party."""

    asked: list[Asked]
    debts: list[Debt]
    reaches: list[Reach]
    consents: list[Consented]
    holds: list[Held]
    payments: list[Paid]
    made: list[Made]


def parties(conn: Conn, since: datetime, until: datetime) -> list[int]:
    """Everybody about whom something was decided in the span."""
    rows = conn.execute(_PARTIES, {"since": since, "until": until}, binary=True).fetchall()
    return [row[0] for row in rows]


def chunks(conn: Conn, who: Sequence[int], since: datetime, until: datetime, *, lookback: timedelta) -> Iterator[Chunk]:
    """Everything that a replay needs, chunk by chunk. Contacts are read from `lookback` before the span."""
    for start in range(0, len(who), CHUNK):
        values = {"who": list(who[start : start + CHUNK]), "since": since, "until": until, "far": since - lookback}

        def ask(query: LiteralString, values: dict[str, Any] = values) -> list[Any]:
            return conn.execute(query, values, binary=True).fetchall()

        yield Chunk(
            [Asked._make(row) for row in ask(_ASKED)],
            [Debt._make(row) for row in ask(_DEBTS)],
            [Reach._make(row) for row in ask(_REACHES)],
            [Consented._make(row) for row in ask(_CONSENTS)],
            [Held._make(row) for row in ask(_HOLDS)],
            [Paid._make(row) for row in ask(_PAYMENTS)],
            [Made._make(row) for row in ask(_MADE)],
        )


_PARTIES: LiteralString = """
    SELECT party_id FROM decision WHERE at >= %(since)s AND at < %(until)s
    UNION
    SELECT party_id FROM contact WHERE intended_at >= %(since)s AND intended_at < %(until)s AND origin = 'duly'
    ORDER BY party_id
"""

_ASKED: LiteralString = """
    SELECT r.party_id, r.reminder_id, r.account_id, r.ladder, r.step, r.stage, r.expires_at,
           CASE WHEN r.reminder_id IN (SELECT reminders_in_hand('')) THEN 'intended' ELSE r.state END, r.ended_at,
           q.first_at
    FROM (
        SELECT party_id, reminder_id, min(at) AS first_at FROM (
            SELECT d.party_id, d.reminder_id, d.at FROM decision d
            WHERE d.party_id = ANY(%(who)s) AND d.at >= %(since)s AND d.at < %(until)s
            UNION ALL
            SELECT c.party_id, c.reminder_id, c.intended_at FROM contact_account c
            WHERE c.party_id = ANY(%(who)s) AND c.intended_at >= %(since)s AND c.intended_at < %(until)s
              AND c.reminder_id IS NOT NULL
        ) judged GROUP BY party_id, reminder_id
    ) q JOIN reminder r ON r.party_id = q.party_id AND r.reminder_id = q.reminder_id
    ORDER BY r.party_id, q.first_at, r.reminder_id
"""

_DEBTS: LiteralString = """
    SELECT a.party_id, a.account_id, a.customer_id, a.lender_id, a.currency, a.balance_minor, a.due_on, a.state,
           c.locale, c.residence, c.zones, c.zone_confirmed_at, c.refused_channels, c.blocked_hours, c.household
    FROM account a JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
    WHERE a.party_id = ANY(%(who)s) ORDER BY a.party_id, a.account_id
"""

_REACHES: LiteralString = """
    SELECT party_id, customer_id, channel, kind, lookup, country, zones, retired_at FROM address
    WHERE party_id = ANY(%(who)s) ORDER BY party_id, priority, address_id
"""

_CONSENTS: LiteralString = """
    SELECT party_id, customer_id, channel, lookup, purpose, given_at, withdrawn_at FROM consent
    WHERE party_id = ANY(%(who)s) ORDER BY party_id, consent_id
"""

_HOLDS: LiteralString = """
    SELECT party_id, account_id, kind, since, ends_at, released_at FROM hold
    WHERE party_id = ANY(%(who)s) ORDER BY party_id, hold_id
"""

_PAYMENTS: LiteralString = """
    SELECT party_id, account_id, CASE kind WHEN 'reversal' THEN -amount_minor ELSE amount_minor END, paid_at
    FROM payment WHERE party_id = ANY(%(who)s) ORDER BY party_id, paid_at
"""

_MADE: LiteralString = """
    SELECT c.party_id, c.customer_id, c.intended_at, c.lender_id, c.channel, c.stage, c.purpose, c.actor,
           c.account_ids, c.address_lookup, k.outcome, coalesce(a.reminders, '{}')
    FROM contact c
    LEFT JOIN (
        SELECT e.contact_id, max(r.rank) AS rank FROM contact_event e JOIN contact_event_rank r USING (kind)
        WHERE e.party_id = ANY(%(who)s) AND e.intended_at >= %(far)s GROUP BY e.contact_id
    ) f ON f.contact_id = c.contact_id
    LEFT JOIN contact_event_rank k ON k.rank = f.rank
    LEFT JOIN (
        SELECT contact_id, array_agg(reminder_id) AS reminders FROM contact_account
        WHERE party_id = ANY(%(who)s) AND intended_at >= %(since)s AND reminder_id IS NOT NULL GROUP BY contact_id
    ) a ON a.contact_id = c.contact_id
    WHERE c.party_id = ANY(%(who)s) AND c.intended_at >= %(far)s AND c.intended_at < %(until)s
    ORDER BY c.party_id, c.intended_at, c.contact_id
"""


def one_look(conn: Conn) -> None:
    """Let the transaction that has just begun read one state of the ledger, and write nothing."""
    conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
