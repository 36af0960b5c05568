"""What the sandbox's population must know of a contact to react to it. For rehearsals only: nothing else reads this."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple
from uuid import UUID

from storage.rows import Conn


class Received(NamedTuple):
    """A contact as the customer's life sees it. `nth` counts the messages they have had; money in minor units."""

    contact_id: UUID
    intended_at: datetime
    customer_ref: str
    locale: str
    nth: int
    lender_id: str
    account_ref: str
    currency: str
    balance_minor: int
    due_on: date


def received(conn: Conn, contacts: Sequence[UUID]) -> list[Received]:
    """One row per contact and debt that it covered, in the order of customers and accounts."""
    rows = conn.execute(
        """
        SELECT c.contact_id, c.intended_at, p.external_ref, c.locale,
               (SELECT count(*) FROM contact e WHERE e.party_id = c.party_id AND e.customer_id = c.customer_id
                AND e.intended_at <= c.intended_at AND e.origin = 'duly'),
               c.lender_id, a.external_ref, a.currency, a.balance_minor, a.due_on
        FROM contact c
        JOIN customer p ON p.party_id = c.party_id AND p.customer_id = c.customer_id
        JOIN account a ON a.party_id = c.party_id AND a.account_id = ANY(c.account_ids)
        WHERE c.contact_id = ANY(%s) AND c.intended_at BETWEEN %s AND %s
        ORDER BY p.lender_id, p.external_ref, c.contact_id, a.external_ref
        """,
        (list(contacts), *_span(contacts)),
        binary=True,
    ).fetchall()
    return [Received._make(row) for row in rows]


def _span(contacts: Sequence[UUID]) -> tuple[datetime, datetime]:
    """The time that the ids (UUIDv7) themselves carry, so that only their month's partition is read."""
    stamps = [contact.int >> 80 for contact in contacts]
    first, last = min(stamps) / 1000, (max(stamps) + 1) / 1000
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
