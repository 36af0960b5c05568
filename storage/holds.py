"""Holds as people set and see them: by the references of the lender's files, never by name or number."""

from datetime import datetime
from typing import NamedTuple

from storage.rows import Conn


class NobodyFound(LookupError):
    """No account and no customer of that reference, or more than one; the message says what to give."""


class Whom(NamedTuple):
    """Whom a hold is for. `account_id` None: the whole person. The first zone is where their days begin."""

    party_id: int
    account_id: int | None
    lender_id: str
    zones: list[str]


class Standing(NamedTuple):
    """A hold that stands. `accounts` are the references it stops; of a person's, all of theirs."""

    hold_id: int
    lender_id: str
    accounts: str
    is_of_the_person: bool
    kind: str
    reason: str
    source: str
    since: datetime
    ends_at: datetime | None


def whom(conn: Conn, reference: str, *, lender_id: str | None) -> Whom:
    """The account of that reference, else the customer; a lender where several have it. Raises NobodyFound."""
    rows = conn.execute(
        """
        SELECT a.party_id, a.account_id, a.lender_id, c.zones
        FROM account a JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
        WHERE a.external_ref = %(ref)s AND a.lender_id = coalesce(%(lender)s, a.lender_id)
        UNION ALL
        SELECT c.party_id, NULL, c.lender_id, c.zones FROM customer c
        WHERE c.external_ref = %(ref)s AND c.lender_id = coalesce(%(lender)s, c.lender_id)
        ORDER BY 3, 2 NULLS LAST LIMIT 20
        """,
        {"ref": reference, "lender": lender_id},
    ).fetchall()
    found = [Whom._make(row) for row in rows]
    if not found:
        raise NobodyFound("no account and no customer has that reference: give it as the lender's file does")
    lenders = sorted({each.lender_id for each in found})
    if len(lenders) > 1:
        raise NobodyFound(f"several lenders have that reference: add --lender {' or '.join(lenders)}")
    return found[0]


def standing(conn: Conn, of: Whom | None, *, limit: int) -> list[Standing]:
    """The holds that stand, of everybody or of one person, the latest first."""
    rows = conn.execute(
        """
        SELECT h.hold_id, min(a.lender_id), string_agg(a.external_ref, ', ' ORDER BY a.external_ref),
               h.account_id IS NULL, h.kind, h.reason, h.source, h.since, h.ends_at
        FROM hold h
        JOIN account a ON a.party_id = h.party_id AND a.account_id = coalesce(h.account_id, a.account_id)
        WHERE h.released_at IS NULL AND (h.ends_at IS NULL OR h.ends_at > business_now())
          AND h.party_id = coalesce(%(party)s::bigint, h.party_id)
          AND (h.account_id IS NULL OR h.account_id = coalesce(%(account)s::bigint, h.account_id))
        GROUP BY h.party_id, h.hold_id ORDER BY h.since DESC, h.hold_id DESC LIMIT %(limit)s
        """,
        {"party": of.party_id if of else None, "account": of.account_id if of else None, "limit": limit},
    ).fetchall()
    return [Standing._make(row) for row in rows]


def party_of(conn: Conn, hold_id: int) -> int | None:
    """The party of a hold that stands; None when there is none of that number, or it has ended."""
    row = conn.execute("SELECT party_id FROM hold WHERE hold_id = %s AND released_at IS NULL", (hold_id,)).fetchone()
    return row[0] if row else None


def latest(conn: Conn, of: Whom, kind: str) -> int:
    """The number of the standing hold of that kind that a person or an account has; it must have one."""
    row = conn.execute(
        """
        SELECT hold_id FROM hold
        WHERE party_id = %s AND account_id IS NOT DISTINCT FROM %s AND kind = %s AND released_at IS NULL
        ORDER BY hold_id DESC LIMIT 1
        """,
        (of.party_id, of.account_id, kind),
    ).fetchone()
    assert row is not None
    return int(row[0])
