"""What a drain writes before anything leaves: contacts, answers, tasks for people, next steps."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

from domain.lane import Lane
from domain.reminder import NewReminder, ReminderState
from storage.rows import Conn, copy_in, transpose


class Intent(NamedTuple):
    """A contact to commit, with the reminders that it finishes."""

    party_id: int
    contact_id: UUID
    intended_at: datetime
    customer_id: int
    lender_id: str
    actor: str
    channel: str
    address_id: int | None
    address_lookup: bytes | None
    purpose: str
    message: str
    locale: str
    stage: str
    rule: str
    pack: str
    packs: list[str]
    zones: list[str]
    window_ends: datetime | None
    stop_epoch: int
    release_hash: str
    inputs: Mapping[str, Any]
    facts_sealed: bytes
    accounts: tuple["IntentAccount", ...]


class IntentAccount(NamedTuple):
    account_id: int
    reminder_id: int
    step: str
    stage: str


class Postponed(NamedTuple):
    """A reminder that stays planned: judged again at `due_at`, perhaps in another lane."""

    party_id: int
    reminder_id: int
    due_at: datetime
    reason: str
    channel: str


class Ended(NamedTuple):
    """A reminder that ends without a message."""

    party_id: int
    reminder_id: int
    state: ReminderState
    reason: str


class Answer(NamedTuple):
    """A judgement that was not yes, for the record."""

    party_id: int
    at: datetime
    reminder_id: int
    account_id: int
    lender_id: str
    channel: str
    step: str
    stage: str
    verdict: str
    rule: str
    pack: str
    until: datetime | None
    release_hash: str | None


class Task(NamedTuple):
    """Work for a person."""

    party_id: int
    customer_id: int
    lender_id: str
    account_ids: list[int]
    kind: str
    reason: str
    message: str
    stage: str
    queued_at: datetime
    not_before: datetime
    expires_at: datetime | None


def open_batch(conn: Conn, batch_id: UUID, lane: Lane, *, worker: str, lease: timedelta, size: int) -> None:
    """Write down who holds this batch, and until when (database clock)."""
    conn.execute(
        """
        INSERT INTO batch (batch_id, lane, worker, lease_until, size)
        VALUES (%s, %s, %s, clock_timestamp() + %s, %s)
        """,
        (batch_id, str(lane), worker, lease, size),
    )


def write_intents(conn: Conn, batch_id: UUID, intents: Sequence[Intent]) -> None:
    """Commit-to-contact: the contacts, the debts each covers, and their reminders into the batch's hands."""
    copy_in(
        conn,
        "contact",
        _CONTACT,
        (
            (*i[:20], Jsonb(i.inputs, dumps=orjson.dumps), i.facts_sealed, [a.account_id for a in i.accounts])
            for i in intents
        ),
    )
    copy_in(
        conn,
        "contact_account",
        _CONTACT_ACCOUNT,
        (
            (i.party_id, i.contact_id, a.account_id, i.intended_at, a.reminder_id, a.step, a.stage)
            for i in intents
            for a in i.accounts
        ),
    )
    rows = [(i.party_id, a.reminder_id, i.contact_id, i.stop_epoch) for i in intents for a in i.accounts]
    conn.execute(
        """
        UPDATE reminder r SET state = 'intended', contact_id = v.contact_id, batch_id = %s, judged_epoch = v.epoch,
                              stamped_at = NULL, reason = NULL
        FROM unnest(%b::bigint[], %b::bigint[], %b::uuid[], %b::bigint[]) AS v(party_id, reminder_id, contact_id, epoch)
        WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id AND r.state = 'planned'
        """,
        (batch_id, *transpose(rows, 4)),
    )


_CONTACT = {
    "party_id": "int8", "contact_id": "uuid", "intended_at": "timestamptz", "customer_id": "int8", "lender_id": "text",
    "actor": "text", "channel": "text", "address_id": "int8", "address_lookup": "bytea", "purpose": "text",
    "message": "text", "locale": "text", "stage": "text", "rule": "text", "pack": "text", "packs": "text[]",
    "zones": "text[]", "window_ends": "timestamptz", "stop_epoch": "int8", "release_hash": "text", "inputs": "jsonb",
    "facts_sealed": "bytea", "account_ids": "int8[]",
}  # fmt: skip

_CONTACT_ACCOUNT = {
    "party_id": "int8", "contact_id": "uuid", "account_id": "int8", "intended_at": "timestamptz",
    "reminder_id": "int8", "step": "text", "stage": "text",
}  # fmt: skip

_DECISION = {
    "party_id": "int8", "at": "timestamptz", "reminder_id": "int8", "account_id": "int8", "lender_id": "text",
    "channel": "text", "step": "text", "stage": "text", "verdict": "text", "rule": "text", "pack": "text",
    "until": "timestamptz", "release_hash": "text",
}  # fmt: skip

_TASK = {
    "party_id": "int8", "customer_id": "int8", "lender_id": "text", "account_ids": "int8[]", "kind": "text",
    "reason": "text", "message": "text", "stage": "text", "queued_at": "timestamptz", "not_before": "timestamptz",
    "expires_at": "timestamptz",
}  # fmt: skip


def write_answers(conn: Conn, answers: Sequence[Answer]) -> None:
    """Put every "not now" and "never" on record."""
    copy_in(conn, "decision", _DECISION, answers)


def write_tasks(conn: Conn, tasks: Sequence[Task]) -> None:
    """Queue work for people."""
    copy_in(conn, "call_task", _TASK, tasks)


def postpone(conn: Conn, rows: Sequence[Postponed]) -> None:
    """Judge these again later."""
    if not rows:
        return
    conn.execute(
        """
        UPDATE reminder r SET due_at = v.due_at, reason = v.reason, channel = v.channel
        FROM unnest(%b::bigint[], %b::bigint[], %b::timestamptz[], %b::text[], %b::text[])
             AS v(party_id, reminder_id, due_at, reason, channel)
        WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id AND r.state = 'planned'
        """,
        transpose(rows, 5),
    )


def end(conn: Conn, rows: Sequence[Ended], *, at: datetime) -> None:
    """End planned reminders without a message; `at` is business time."""
    if not rows:
        return
    conn.execute(
        """
        UPDATE reminder r SET state = v.state, reason = v.reason, ended_at = %s
        FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::text[]) AS v(party_id, reminder_id, state, reason)
        WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id AND r.state = 'planned'
        """,
        (at, *transpose([(r.party_id, r.reminder_id, r.state.value, r.reason) for r in rows], 4)),
    )


def plan(conn: Conn, rows: Sequence[NewReminder]) -> int:
    """Write down next steps; how many were new. An account with one open, or that owes nothing, keeps its peace."""
    if not rows:
        return 0
    columns = [
        (r.party_id, r.account_id, r.lender_id, r.ladder, r.step, r.stage, r.channel.value, r.shard, r.planned_for,
         r.due_at, r.expires_at)
        for r in rows
    ]  # fmt: skip
    return conn.execute(
        """
        INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for, due_at,
                              expires_at)
        SELECT v.* FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
                               %b::smallint[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[])
               AS v(party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for, due_at,
                    expires_at)
        JOIN account a ON a.party_id = v.party_id AND a.account_id = v.account_id
        WHERE a.state = 'open' AND a.balance_minor > 0
        ON CONFLICT (party_id, account_id) WHERE state IN ('planned', 'intended') DO NOTHING
        """,
        transpose(columns, 11),
    ).rowcount
