"""What others did already: contacts of the old system and of agencies, written down as history and nothing more."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from psycopg.errors import LockNotAvailable

from storage.lanes import NoRoom
from storage.rows import Conn, transpose


class Whom(NamedTuple):
    """A customer with the accounts that a contact was about."""

    party_id: int
    customer_id: int
    account_ids: list[int]


class PastContactRow(NamedTuple):
    """A contact that happened elsewhere. `contact_id` is made from what the file says, so a repeat is seen."""

    party_id: int
    contact_id: UUID
    at: datetime
    customer_id: int
    lender_id: str
    actor: str
    channel: str
    purpose: str
    kind: str
    account_ids: list[int]


def whom_by_account(conn: Conn, refs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Whom]:
    """Whom a contact about an account was with, by (lender, account reference)."""
    rows = conn.execute(
        """
        SELECT a.lender_id, a.external_ref, a.party_id, a.customer_id, ARRAY[a.account_id]
        FROM unnest(%s::text[], %s::text[]) AS v(lender_id, ref)
        JOIN account a ON a.lender_id = v.lender_id AND a.external_ref = v.ref
        """,
        transpose(sorted(set(refs)), 2),
    )
    return {(row[0], row[1]): Whom._make(row[2:]) for row in rows}


def whom_by_customer(conn: Conn, refs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Whom]:
    """The same by (lender, customer reference): about all that the customer owes that lender."""
    rows = conn.execute(
        """
        SELECT c.lender_id, c.external_ref, c.party_id, c.customer_id,
               ARRAY(SELECT a.account_id FROM account a
                     WHERE a.party_id = c.party_id AND a.customer_id = c.customer_id ORDER BY a.account_id)
        FROM unnest(%s::text[], %s::text[]) AS v(lender_id, ref)
        JOIN customer c ON c.lender_id = v.lender_id AND c.external_ref = v.ref
        """,
        transpose(sorted(set(refs)), 2),
    )
    return {(row[0], row[1]): Whom._make(row[2:]) for row in rows}


def ensure_months(conn: Conn, months: Iterable[date]) -> None:
    """Make the partitions of months; in a transaction of its own, since it holds everybody up for a moment.

    Raises NoRoom, with none of them made, where somebody reads the ledger for long.
    """
    try:
        with conn.transaction():
            for month in sorted(set(months)):
                conn.execute("SELECT ensure_partitions(%s)", (month,))
    except LockNotAvailable:
        raise NoRoom from None


def write(conn: Conn, contacts: Sequence[PastContactRow]) -> int:
    """Write contacts down; how many were new. What is decided meanwhile about these parties is judged again.

    The parties must be locked. A repeat with another outcome adds the outcome: the highest rank is the contact's state.
    """
    if not contacts:
        return 0
    columns = transpose([row[:9] for row in contacts], 9)
    row = conn.execute(
        """
        WITH given AS (
            SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::timestamptz[], %s::bigint[], %s::text[], %s::text[],
                                 %s::text[], %s::text[], %s::text[], %s::text[])
                   AS v(party_id, contact_id, at, customer_id, lender_id, actor, channel, purpose, kind, accounts)
        ), made AS (
            INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, origin, actor, channel,
                                 purpose, rule, pack, account_ids)
            SELECT party_id, contact_id, at, customer_id, lender_id, 'imported', actor, channel, purpose, 'imported',
                   'imported', accounts::bigint[] FROM given
            ON CONFLICT DO NOTHING RETURNING party_id
        ), happened AS (
            INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at)
            SELECT party_id, contact_id, at, kind, 'imported', at FROM given ON CONFLICT DO NOTHING
        ), bumped AS (
            UPDATE party SET stop_epoch = stop_epoch + 1 WHERE party_id IN (SELECT party_id FROM made)
        )
        SELECT count(*) FROM made
        """,
        (*columns, ["{" + ",".join(map(str, contact.account_ids)) + "}" for contact in contacts]),
    ).fetchone()
    assert row is not None
    return int(row[0])
