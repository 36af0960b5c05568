"""Contacts of which nobody knows whether they arrived: whom to ask about them, what was found, and what stays open.

Real time throughout: providers know no other.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from domain.channel import Channel
from storage.rows import Conn

#: Nobody is asked about a contact that is older: providers do not list what is long gone.
ASKED_FOR: timedelta = timedelta(days=3)

#: Two attempts at one address so close together cannot be told apart by what a provider lists.
TOO_CLOSE: timedelta = timedelta(minutes=30)


class Question(NamedTuple):
    """An uncertain contact to ask its provider about. `stamped_at`: just before its first byte, real time."""

    party_id: int
    contact_id: UUID
    intended_at: datetime
    channel: str
    stamped_at: datetime
    address_lookup: bytes
    address_sealed: bytes
    master_key_id: str
    wrapped_key: bytes


class Open(NamedTuple):
    """An uncertain contact, for people; nothing personal. `age` in real time; `asked` counts look-ups."""

    contact_id: UUID
    lender_id: str
    account_ref: str
    channel: str
    provider: str | None
    code: str | None
    age: timedelta
    asked: int
    ask_at: datetime | None
    last_answer: str | None


def claim(conn: Conn, channels: Collection[Channel], waits: Sequence[timedelta], *, limit: int) -> list[Question]:
    """Take uncertain contacts whose provider is to be asked now, and set when it will be asked next.

    `waits` says how long after the stamp, and then after each look-up, the next one comes; nobody else takes them
    meanwhile.
    """
    if not channels or not waits:
        return []
    rows = conn.execute(
        """
        WITH unknown AS (
            SELECT DISTINCT ON (r.party_id, r.contact_id) r.party_id, r.contact_id, r.stamped_at
            FROM reminder r LEFT JOIN look_up l USING (party_id, contact_id)
            WHERE r.state = 'uncertain' AND r.stamped_at > clock_timestamp() - %(asked_for)s
              AND CASE WHEN l.contact_id IS NULL THEN r.stamped_at <= clock_timestamp() - (%(waits)s::interval[])[1]
                       ELSE l.ask_at <= clock_timestamp() END
              AND EXISTS (SELECT 1 FROM contact c WHERE c.party_id = r.party_id AND c.contact_id = r.contact_id
                          AND c.channel = ANY(%(channels)s))
            ORDER BY r.party_id, r.contact_id LIMIT %(limit)s
        ), claimed AS (
            INSERT INTO look_up (party_id, contact_id, asked, ask_at)
            SELECT party_id, contact_id, 1, clock_timestamp() + (%(waits)s::interval[])[2] FROM unknown
            ON CONFLICT (party_id, contact_id) DO UPDATE SET asked = look_up.asked + 1,
                ask_at = clock_timestamp() + (%(waits)s::interval[])[look_up.asked + 2]
            WHERE look_up.ask_at <= clock_timestamp()
            RETURNING party_id, contact_id
        )
        SELECT c.party_id, c.contact_id, c.intended_at, c.channel, u.stamped_at, c.address_lookup, a.sealed,
               k.master_key_id, k.wrapped_key
        FROM claimed q JOIN unknown u USING (party_id, contact_id)
        JOIN contact c USING (party_id, contact_id)
        JOIN address a ON a.party_id = c.party_id AND a.address_id = c.address_id
        JOIN customer_key k ON k.party_id = c.party_id AND k.customer_id = c.customer_id
        WHERE k.wrapped_key IS NOT NULL
        """,
        {
            "asked_for": ASKED_FOR, "waits": list(waits), "limit": limit,
            "channels": [channel.value for channel in channels],
        },
        binary=True,
    ).fetchall()  # fmt: skip
    return [Question._make(row) for row in rows]


def is_anothers(conn: Conn, question: Question, provider: str, provider_ref: str) -> bool:
    """Whether the message that was found is, or may be, of another contact to the same address.

    It is when another contact is known by its reference, and may be when another attempt at the address, of which
    nobody knows either, was made about then.
    """
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT 1 FROM address a JOIN contact_event e ON e.party_id = a.party_id
            WHERE a.lookup = %(lookup)s AND e.provider = %(provider)s AND e.provider_ref = %(ref)s
              AND e.contact_id <> %(contact)s
        ) OR EXISTS (
            SELECT 1 FROM address a
            JOIN (SELECT party_id, contact_id, stamped_at FROM reminder WHERE state = 'uncertain'
                  UNION ALL SELECT party_id, contact_id, stamped_at FROM intended WHERE is_stamped) u
              ON u.party_id = a.party_id AND u.contact_id <> %(contact)s
            JOIN contact c ON c.party_id = u.party_id AND c.contact_id = u.contact_id
            WHERE a.lookup = %(lookup)s AND c.address_lookup = a.lookup
              AND u.stamped_at
                  BETWEEN %(stamped)s::timestamptz - %(close)s AND %(stamped)s::timestamptz + %(close)s)
        """,
        {
            "lookup": question.address_lookup, "provider": provider, "ref": provider_ref,
            "contact": question.contact_id, "stamped": question.stamped_at, "close": TOO_CLOSE,
        },
    ).fetchone()  # fmt: skip
    assert row is not None
    return bool(row[0])


def answered(conn: Conn, question: Question, answer: str, *, is_final: bool = False) -> None:
    """Note what the last look-up brought; a final answer is the end of asking."""
    conn.execute(
        """
        UPDATE look_up SET last_answer = %s, ask_at = CASE WHEN %s THEN NULL ELSE ask_at END
        WHERE party_id = %s AND contact_id = %s
        """,
        (answer, is_final, question.party_id, question.contact_id),
    )


def open_contacts(conn: Conn, *, limit: int) -> list[Open]:
    """Contacts that are uncertain still, the oldest first."""
    rows = conn.execute(
        """
        SELECT c.contact_id, c.lender_id, string_agg(a.external_ref, ', ' ORDER BY a.external_ref), c.channel,
               max(e.provider), max(coalesce(e.code, r.reason)), clock_timestamp() - min(r.stamped_at),
               coalesce(max(l.asked), 0), max(l.ask_at), max(l.last_answer)
        FROM reminder r
        JOIN contact c ON c.party_id = r.party_id AND c.contact_id = r.contact_id
        JOIN account a ON a.party_id = r.party_id AND a.account_id = r.account_id
        LEFT JOIN contact_event e ON e.party_id = c.party_id AND e.contact_id = c.contact_id
                                 AND e.intended_at = c.intended_at AND e.kind = 'uncertain'
        LEFT JOIN look_up l ON l.party_id = c.party_id AND l.contact_id = c.contact_id
        WHERE r.state = 'uncertain'
        GROUP BY c.contact_id, c.lender_id, c.channel ORDER BY min(r.stamped_at), c.contact_id LIMIT %s
        """,
        (limit,),
    ).fetchall()
    return [Open._make(row) for row in rows]
