"""What is older than the ledger is kept: whole months, a partition at a time, and the reminders that ended before them.

People, debts, payments, holds, consents and keys stay. A month goes with its contacts first: an event without its
contact tells nothing, but a contact without its events would tell a lie.
"""

import re
from datetime import UTC, date, datetime, time
from typing import Final, LiteralString, NamedTuple

from psycopg import sql
from psycopg.errors import LockNotAvailable

from storage.rows import Conn

#: What goes by the month, in the order in which it goes, with the column that says when it was. What a database does
#: not have (any more) is passed over.
BY_MONTH: Final[dict[str, LiteralString]] = {"contact": "intended_at", "contact_event": "intended_at", "decision": "at"}

#: Dropping a partition takes a lock on its table for a moment, and on itself. Whoever waits for a lock makes everybody
#: wait who comes later: no longer than this, twice. An autovacuum makes way after a second (deadlock_timeout).
LOCK_TIMEOUT: Final[LiteralString] = "1500ms"

#: Rows that go in one transaction.
ROWS: Final = 5_000


class Mark(NamedTuple):
    """How far the ledger was forgotten: nothing is promised to be there before that day (UTC).

    `block`: from there on the reminders are still to be looked through; None when they are done.
    """

    before: date
    block: int | None = None


class Month(NamedTuple):
    """The partition of one month."""

    name: str
    first: date


class Need(NamedTuple):
    """Work that is open and needs what was written since then."""

    what: str
    since: datetime


# -------------------------------------------------------------------------------------------------- what is still there


def mark(conn: Conn) -> Mark | None:
    """How far the ledger was forgotten; None when nothing of it ever was.

    It stands as the comment of the table `contact`: who looks at the table should know, and so should a copy of it.
    """
    row = conn.execute("SELECT obj_description(to_regclass('contact'), 'pg_class')").fetchone()
    found = _MARK.match(row[0]) if row and row[0] else None
    if found is None:
        return None
    return Mark(date.fromisoformat(found[1]), None if found[2] is None else int(found[2]))


_MARK: Final = re.compile(r"Forgotten before (\d{4}-\d\d-\d\d)(?:, reminders from block (\d+) on not yet)?\.")


def set_mark(conn: Conn, to: Mark) -> bool:
    """Write down how far the ledger is forgotten, before it is; false where somebody else holds the table."""
    rest = "" if to.block is None else f", reminders from block {to.block} on not yet"
    text = f"Forgotten before {to.before}{rest}."
    return _without_waiting(conn, sql.SQL("COMMENT ON TABLE contact IS {}").format(text))


def first_month(conn: Conn) -> date | None:
    """The first month that the ledger has room for; None where it has none."""
    row = conn.execute(
        """
        SELECT to_date(min(right(c.relname, 7)), 'YYYY_MM') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass('contact') AND c.relname ~ '_[0-9]{4}_[0-9]{2}$'
        """
    ).fetchone()
    return row[0] if row else None


def months_before(conn: Conn, day: date) -> list[Month]:
    """The months of all tables that lie wholly before a day, the first of them first, contacts before the rest."""
    rows = conn.execute(
        """
        SELECT c.relname, to_date(right(c.relname, 7), 'YYYY_MM')
        FROM unnest(%s::text[]) WITH ORDINALITY AS parent(name, nth)
        JOIN pg_inherits i ON i.inhparent = to_regclass(parent.name)
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relname ~ '_[0-9]{4}_[0-9]{2}$'
        WHERE to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= %s::date
        ORDER BY 2, parent.nth
        """,
        (list(BY_MONTH), day),
    ).fetchall()
    return [Month._make(row) for row in rows]


def needs(conn: Conn) -> Need | None:
    """The open work that goes back the furthest.

    A planned reminder needs no more than the judge looks back; neither does an uncertain contact that nobody is asked
    about any more.
    """
    row = conn.execute(
        """
        SELECT what, since FROM (
            SELECT 'a call task that is open', min(queued_at) FROM call_task WHERE state IN ('queued', 'claimed')
            UNION ALL
            SELECT 'a promise that is open', min(made_at) FROM promise WHERE state = 'open'
            UNION ALL
            SELECT 'a contact in the hands of a worker', min(c.intended_at)
            FROM intended i JOIN contact c ON c.party_id = i.party_id AND c.contact_id = i.contact_id
            UNION ALL
            SELECT 'an uncertain contact whose provider is asked', min(c.intended_at)
            FROM look_up l JOIN contact c ON c.party_id = l.party_id AND c.contact_id = l.contact_id
            WHERE l.ask_at IS NOT NULL
        ) AS work(what, since) WHERE since IS NOT NULL ORDER BY since LIMIT 1
        """
    ).fetchone()
    return Need._make(row) if row else None


# ------------------------------------------------------------------------------------------------------------ what goes


def drop(conn: Conn, month: Month) -> bool:
    """Drop one month of one table, in a transaction of its own; false where somebody else holds it. Safe to repeat."""
    return _without_waiting(conn, sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(month.name)))


def _without_waiting(conn: Conn, statement: sql.Composed) -> bool:
    try:
        with conn.transaction():
            conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
            conn.execute(statement)
    except LockNotAvailable:
        return False
    return True


def forget_unforeseen(conn: Conn, day: date, *, limit: int = ROWS) -> int:
    """Delete a few of the rows from before a day that no month had room for; how many, 0 when there are no more."""
    for table, column in BY_MONTH.items():
        other = f"{table}_other"
        if not _exists(conn, other):
            continue
        gone = conn.execute(
            sql.SQL("DELETE FROM {other} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {other} WHERE {at} < %s LIMIT %s))")
            .format(other=sql.Identifier(other), at=sql.Identifier(column)),
            (_begins(day), limit),
        ).rowcount  # fmt: skip
        if gone:
            return gone
    return 0


def _exists(conn: Conn, table: str) -> bool:
    return conn.execute("SELECT 1 WHERE to_regclass(%s) IS NOT NULL", (table,)).fetchone() is not None


def reminder_blocks(conn: Conn) -> int:
    """How many blocks the table of reminders has."""
    row = conn.execute(
        "SELECT (pg_relation_size('reminder') / current_setting('block_size')::bigint)::bigint"
    ).fetchone()
    assert row is not None
    return int(row[0])


def forget_reminders(conn: Conn, day: date, *, block: int, beyond: int) -> int:
    """Delete the reminders from one block to another that ended before a day; how many.

    The last step that an account took stays, whenever it was: it says where the account stands on its ladder, for the
    day on which it owes again. By blocks, since no index knows when a reminder ended, and none is worth its price.
    """
    return conn.execute(
        """
        DELETE FROM reminder r
        WHERE r.ctid >= %(first)s::tid AND r.ctid < %(beyond)s::tid
          AND r.ended_at < %(before)s AND r.state <> 'planned'
          AND (r.state IN ('cancelled', 'expired') OR EXISTS (
               SELECT 1 FROM reminder n
               WHERE n.party_id = r.party_id AND n.account_id = r.account_id AND n.reminder_id > r.reminder_id
                 AND n.state NOT IN ('planned', 'cancelled', 'expired')))
        """,
        {"first": f"({block},0)", "beyond": f"({beyond},0)", "before": _begins(day)},
    ).rowcount


def forget_look_ups(conn: Conn) -> int:
    """Delete the notes of whom a provider was asked about, where the contact is gone; how many. There are few."""
    return conn.execute(
        """
        DELETE FROM look_up l WHERE l.ask_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM contact c WHERE c.party_id = l.party_id AND c.contact_id = l.contact_id)
        """
    ).rowcount


def _begins(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
