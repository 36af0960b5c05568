"""Work for people: the queue of call tasks, the dial that becomes a contact, and how each ended."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import starmap
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

from domain.channel import Channel
from domain.contact import EventKind
from storage.picture import Due
from storage.rows import Conn


class CallTask(NamedTuple):
    """One piece of work for a person, as the queue has it."""

    party_id: int
    call_task_id: int
    customer_id: int
    lender_id: str
    account_ids: list[int]
    kind: str
    reason: str
    message: str | None
    stage: str | None
    queued_at: datetime
    not_before: datetime
    expires_at: datetime | None
    state: str
    claimed_by: str | None
    contact_id: UUID | None
    inbox_id: int | None
    disposition: str | None


class Dial(NamedTuple):
    """The intent that a dial click writes."""

    contact_id: UUID
    intended_at: datetime
    actor: str
    address_id: int
    address_lookup: bytes
    purpose: str
    message: str | None
    locale: str | None
    rule: str
    pack: str
    packs: list[str]
    zones: list[str]
    window_ends: datetime | None
    stop_epoch: int
    release_hash: str
    inputs: Mapping[str, Any]
    facts_sealed: bytes | None
    account_ids: list[int]


class Earlier(NamedTuple):
    """A contact of before, in a line."""

    at: datetime
    channel: str
    message: str | None
    outcome: str | None


def claim(conn: Conn, *, agent: str, lease: timedelta) -> CallTask | None:
    """Take the next task of the queue for an agent, for as long as the lease (real time); None when nothing waits.

    Times that customers asked for come first, then what they wrote to us, then the oldest. A claim that ran out before
    anybody dialled is taken over; a paused lender's tasks wait.
    """
    row = conn.execute(
        """
        UPDATE call_task SET state = 'claimed', claimed_by = %s, lease_until = clock_timestamp() + %s
        WHERE (party_id, call_task_id) = (
            SELECT party_id, call_task_id FROM call_task t
            WHERE t.not_before <= business_now() AND (t.expires_at IS NULL OR t.expires_at > business_now())
              AND (t.state = 'queued'
                   OR t.state = 'claimed' AND t.contact_id IS NULL AND t.lease_until <= clock_timestamp())
              AND NOT EXISTS (SELECT 1 FROM pause WHERE scope IN ('*', t.lender_id))
            ORDER BY t.reason <> 'requested_callback', t.kind <> 'reply', t.not_before, t.call_task_id
            LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING call_task_id
        """,
        (agent, lease),
    ).fetchone()
    return task(conn, row[0]) if row else None


def claimed_by(conn: Conn, agent: str) -> CallTask | None:
    """The task that an agent has in hand, if any."""
    return _first(
        conn,
        """
        WHERE state = 'claimed' AND claimed_by = %s AND (contact_id IS NOT NULL OR lease_until > clock_timestamp())
        ORDER BY call_task_id LIMIT 1
        """,
        (agent,),
    )


def task(conn: Conn, call_task_id: int) -> CallTask | None:
    return _first(conn, "WHERE call_task_id = %s", (call_task_id,))


def lock_task(conn: Conn, given: CallTask) -> CallTask | None:
    """The task as it stands now, locked. Take the party's lock first."""
    return _first(conn, "WHERE party_id = %s AND call_task_id = %s FOR UPDATE", (given.party_id, given.call_task_id))


def tasks(conn: Conn, *, states: Collection[str], limit: int) -> list[CallTask]:
    """Tasks in these states, in the order in which they are wanted."""
    return _find(conn, "WHERE state = ANY(%s) ORDER BY not_before, call_task_id LIMIT %s", (list(states), limit))


_TASK: LiteralString = """
    SELECT party_id, call_task_id, customer_id, lender_id, account_ids, kind, reason, message, stage, queued_at,
           not_before, expires_at, state, claimed_by, contact_id, inbox_id, disposition
    FROM call_task
"""


def _first(conn: Conn, which: LiteralString, values: Sequence[Any]) -> CallTask | None:
    return next(iter(_find(conn, which, values)), None)


def _find(conn: Conn, which: LiteralString, values: Sequence[Any]) -> list[CallTask]:
    rows = conn.execute(
        _TASK + which,
        values,
    ).fetchall()
    return [CallTask._make(row) for row in rows]


def lock_party(conn: Conn, party_id: int) -> int:
    """Lock one party, waiting for whoever holds it; its stop epoch."""
    row = conn.execute("SELECT stop_epoch FROM party WHERE party_id = %s FOR NO KEY UPDATE", (party_id,)).fetchone()
    assert row is not None
    epoch: int = row[0]
    return epoch


def debts_of(conn: Conn, given: CallTask) -> list[Due]:
    """The debts that a task is about, as the judge's cases are made from them. No reminder belongs to them."""
    rows = conn.execute(
        """
        SELECT a.party_id, 0, a.account_id, a.ladder, '', coalesce(t.stage, ''), %s, 1, t.queued_at,
               coalesce(t.expires_at, '9999-01-01 00:00+00'), a.customer_id, a.external_ref, a.product,
               a.currency, a.balance_minor, a.due_on, a.state, a.as_of, c.locale, c.residence, c.zones,
               c.zone_confirmed_at, c.refused_channels, c.blocked_hours, c.household, c.name_sealed, k.master_key_id,
               k.wrapped_key, t.not_before
        FROM call_task t
        JOIN account a ON a.party_id = t.party_id AND a.account_id = ANY(t.account_ids)
        JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
        LEFT JOIN customer_key k ON k.party_id = c.party_id AND k.customer_id = c.customer_id
        WHERE t.party_id = %s AND t.call_task_id = %s
        ORDER BY a.due_on, a.account_id
        """,
        (Channel.CALL.value, given.party_id, given.call_task_id),
        binary=True,
    ).fetchall()
    return list(starmap(Due, rows))


def earlier_contacts(conn: Conn, party_id: int, *, before: datetime, limit: int = 3) -> list[Earlier]:
    """The last contacts of a party, newest first, folded."""
    rows = conn.execute(
        """
        SELECT c.intended_at, c.channel, c.message,
               (SELECT e.kind FROM contact_event e JOIN contact_event_rank r USING (kind)
                WHERE e.party_id = c.party_id AND e.contact_id = c.contact_id AND e.intended_at = c.intended_at
                ORDER BY r.rank DESC LIMIT 1)
        FROM contact c WHERE c.party_id = %s AND c.intended_at < %s
        ORDER BY c.intended_at DESC LIMIT %s
        """,
        (party_id, before, limit),
    ).fetchall()
    return [Earlier._make(row) for row in rows]


def put_back(conn: Conn, given: CallTask, *, not_before: datetime) -> None:
    """Back into the queue, for later."""
    conn.execute(
        """
        UPDATE call_task SET state = 'queued', claimed_by = NULL, lease_until = NULL, not_before = %s
        WHERE party_id = %s AND call_task_id = %s AND state = 'claimed' AND contact_id IS NULL
        """,
        (not_before, given.party_id, given.call_task_id),
    )


def cancel(conn: Conn, given: CallTask, *, reason: str) -> None:
    """End a task that must not be done; the reason stays with it."""
    conn.execute(
        """
        UPDATE call_task SET state = 'cancelled', reason = %s, ended_at = business_now()
        WHERE party_id = %s AND call_task_id = %s AND state IN ('queued', 'claimed')
        """,
        (reason, given.party_id, given.call_task_id),
    )


def expire(conn: Conn, given: CallTask) -> None:
    conn.execute(
        """
        UPDATE call_task SET state = 'expired', ended_at = business_now()
        WHERE party_id = %s AND call_task_id = %s AND state IN ('queued', 'claimed')
        """,
        (given.party_id, given.call_task_id),
    )


def write_dial(conn: Conn, given: CallTask, dial: Dial, *, agent: str, lease: timedelta) -> None:
    """Commit to the call: the contact, the debts it covers, that it was dialled, and the task in the agent's hands."""
    conn.execute(
        """
        INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, address_id,
                             address_lookup, purpose, message, locale, stage, rule, pack, packs, zones, window_ends,
                             stop_epoch, release_hash, inputs, facts_sealed, account_ids)
        VALUES (%s, %s, %s, %s, %s, %s, 'call', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            given.party_id, dial.contact_id, dial.intended_at, given.customer_id, given.lender_id, dial.actor,
            dial.address_id, dial.address_lookup, dial.purpose, dial.message, dial.locale, given.stage, dial.rule,
            dial.pack, dial.packs, dial.zones, dial.window_ends, dial.stop_epoch, dial.release_hash,
            Jsonb(dial.inputs, dumps=orjson.dumps), dial.facts_sealed, dial.account_ids,
        ),
    )  # fmt: skip
    add_event(conn, given.party_id, dial.contact_id, dial.intended_at, EventKind.DIALLED, code=None, by=agent)
    conn.execute(
        """
        UPDATE call_task SET state = 'claimed', claimed_by = %s, lease_until = clock_timestamp() + %s, contact_id = %s
        WHERE party_id = %s AND call_task_id = %s
        """,
        (agent, lease, dial.contact_id, given.party_id, given.call_task_id),
    )


def add_event(
    conn: Conn, party_id: int, contact_id: UUID, intended_at: datetime, kind: EventKind, *, code: str | None, by: str
) -> None:
    """What became of a call; corrections are added, never overwritten."""
    conn.execute(
        """
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, provider, code)
        VALUES (%s, %s, %s, %s, %s, business_now(), 'desk', %s)
        ON CONFLICT DO NOTHING
        """,
        (party_id, contact_id, intended_at, kind.value, f"{by}:{code or kind.value}", code),
    )


def contact_of(conn: Conn, given: CallTask) -> tuple[datetime, int | None] | None:
    """When the task's contact was intended, and its address."""
    row = conn.execute(
        "SELECT intended_at, address_id FROM contact WHERE party_id = %s AND contact_id = %s",
        (given.party_id, given.contact_id),
    ).fetchone()
    return (row[0], row[1]) if row else None


def close(conn: Conn, given: CallTask, *, disposition: str) -> None:
    """The work is done, and how it ended."""
    conn.execute(
        """
        UPDATE call_task SET state = 'done', disposition = %s, ended_at = business_now(), lease_until = NULL
        WHERE party_id = %s AND call_task_id = %s
        """,
        (disposition, given.party_id, given.call_task_id),
    )


def queue_again(conn: Conn, given: CallTask, *, kind: str, reason: str, not_before: datetime) -> int:
    """Another task about the same debts; its id."""
    row = conn.execute(
        """
        INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, message, stage, queued_at,
                               not_before, inbox_id, expires_at)
        SELECT party_id, customer_id, lender_id, account_ids, %s, %s, message, stage, business_now(), %s, inbox_id,
               CASE WHEN %s = 'call' AND expires_at > %s THEN expires_at
                    WHEN %s = 'call' THEN %s::timestamptz + interval '3 days' END
        FROM call_task WHERE party_id = %s AND call_task_id = %s RETURNING call_task_id
        """,
        (kind, reason, not_before, kind, not_before, kind, not_before, given.party_id, given.call_task_id),
    ).fetchone()
    assert row is not None
    made: int = row[0]
    return made


def retire_number(conn: Conn, party_id: int, address_id: int, *, reason: str) -> None:
    """Stop using a number for everybody of the party who has it."""
    conn.execute(
        """
        UPDATE address SET retired_at = business_now(), retired_reason = %s
        WHERE party_id = %s AND retired_at IS NULL
          AND lookup = (SELECT lookup FROM address WHERE party_id = %s AND address_id = %s)
        """,
        (reason, party_id, party_id, address_id),
    )


def refuse_channel(conn: Conn, party_id: int, customer_id: int, channel: Channel) -> None:
    """The customer does not wish to be contacted on this channel."""
    conn.execute(
        """
        UPDATE customer SET refused_channels = array_append(refused_channels, %s), updated_at = clock_timestamp()
        WHERE party_id = %s AND customer_id = %s AND NOT %s = ANY(refused_channels)
        """,
        (channel.value, party_id, customer_id, channel.value),
    )


def add_promise(
    conn: Conn, given: CallTask, *, account_id: int, amount_minor: int, promised_for: date, method: str | None
) -> None:
    conn.execute(
        """
        INSERT INTO promise (party_id, account_id, amount_minor, promised_for, method, contact_id, made_at, owed_minor)
        SELECT party_id, account_id, %s, %s, %s, %s, business_now(), balance_minor FROM account
        WHERE party_id = %s AND account_id = %s
        """,
        (amount_minor, promised_for, method, given.contact_id, given.party_id, account_id),
    )


def expire_tasks(conn: Conn) -> int:
    """End tasks whose time has passed, and give back what was claimed and never dialled; how many ended."""
    conn.execute(
        """
        UPDATE call_task SET state = 'queued', claimed_by = NULL, lease_until = NULL
        WHERE state = 'claimed' AND contact_id IS NULL AND lease_until <= clock_timestamp()
        """
    )
    return conn.execute(
        """
        UPDATE call_task SET state = 'expired', ended_at = business_now()
        WHERE state = 'queued' AND expires_at <= business_now()
        """
    ).rowcount


def close_forgotten(conn: Conn, *, disposition: str, after: timedelta) -> int:
    """Close calls whose ending nobody said for so long (business time, as their lease is long over); how many."""
    return conn.execute(
        """
        UPDATE call_task t SET state = 'done', disposition = %s, ended_at = business_now(), lease_until = NULL
        FROM contact c
        WHERE t.state = 'claimed' AND t.contact_id IS NOT NULL AND t.lease_until <= clock_timestamp()
          AND c.party_id = t.party_id AND c.contact_id = t.contact_id AND c.intended_at < business_now() - %s
        """,
        (disposition, after),
    ).rowcount
