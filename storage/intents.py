"""What a drain writes before anything leaves: contacts, answers, tasks for people, next steps."""

import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from msgspec import Struct

from domain.reminder import NewReminder, ReminderState
from storage import history, wire
from storage.rows import Conn, copy_in, transpose


class Intent(Struct, frozen=True, gc=False):
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
    packs: tuple[str, ...]
    zones: tuple[str, ...]
    window_ends: datetime | None
    stop_epoch: int
    release_hash: str
    inputs: Mapping[str, Any]
    facts_sealed: bytes
    account_ids: tuple[int, ...]  # the debts that it covers; the next three say of each what it finishes
    reminder_ids: tuple[int, ...]
    steps: tuple[str, ...]
    stages: tuple[str, ...]


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


def write_contacts(conn: Conn, rows: Sequence[Intent]) -> None:
    """The contacts, with the debts that each covers."""
    wire.copy_rows(conn, "contact", _CONTACT, map(_contact_row, rows))


def _contact_row(i: Intent) -> tuple[bytes, ...]:
    """The fields of one contact as _CONTACT lists them."""
    stages = None if i.stages.count(i.stage) == len(i.stages) else i.stages
    facts = history.facts_of(i.channel, i.purpose, i.actor, i.lender_id, i.address_lookup, i.account_ids)
    entry, inputs = history.entry_of(i.intended_at, i.contact_id, facts), wire.jsonb(i.inputs)
    return (
        _numbers(
            8, i.party_id, 16, i.contact_id.int.to_bytes(16), 8, wire.microseconds(i.intended_at), 8, i.customer_id,
            8, i.stop_epoch,
        ),
        _words(
            i.lender_id, i.actor, i.channel, i.purpose, i.message, i.locale, i.stage, i.rule, i.pack, i.release_hash,
            i.packs, i.zones, i.steps, stages,
        ),
        wire.int8(i.address_id), wire.raw(i.address_lookup), wire.moment(i.window_ends),
        wire.int8s(i.account_ids), wire.int8s(i.reminder_ids),
        _length(len(inputs)), inputs, _length(len(i.facts_sealed)), i.facts_sealed, _length(len(entry)), entry,
    )  # fmt: skip


_length: Final = wire.length

#: Five fields of a fixed width, each after its length: bigint, uuid, timestamptz, bigint, bigint.
_numbers: Final = struct.Struct(">iqi16siqiqiq").pack


@lru_cache(maxsize=1 << 12)
def _words(*fields: str | tuple[str, ...] | None) -> bytes:
    """The fields that are words, one after the other: what is said to one customer is said to many."""
    return b"".join([wire.words(each) if isinstance(each, tuple) else wire.text(each) for each in fields])


_CONTACT = (
    "party_id", "contact_id", "intended_at", "customer_id", "stop_epoch",
    "lender_id", "actor", "channel", "purpose", "message", "locale", "stage", "rule", "pack", "release_hash",
    "packs", "zones", "steps", "stages",
    "address_id", "address_lookup", "window_ends", "account_ids", "reminder_ids", "inputs", "facts_sealed", "entry",
)  # fmt: skip

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
    return conn.execute(
        """
        INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for, due_at,
                              expires_at)
        SELECT v.party_id, v.account_id, v.lender_id, v.ladder, v.step, v.stage, v.channel, v.shard, v.due_at, v.due_at,
               v.expires_at
        FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
             AS v(party_id, account_id, step, stage, channel, due_at, expires_at, lender_id, ladder, shard)
        JOIN account a ON a.party_id = v.party_id AND a.account_id = v.account_id
        WHERE a.state = 'open' AND a.balance_minor > 0
        ON CONFLICT (party_id, account_id) WHERE state = 'planned' DO NOTHING
        """,
        (
            wire.int8_array([r.party_id for r in rows]),
            wire.int8_array([r.account_id for r in rows]),
            wire.text_array([r.step for r in rows]),
            wire.text_array([r.stage for r in rows]),
            wire.text_array([r.channel for r in rows]),
            wire.moment_array([r.due_at for r in rows]),
            wire.moment_array([r.expires_at for r in rows]),
            wire.text_array([r.lender_id for r in rows]),
            wire.text_array([r.ladder for r in rows]),
            wire.int2_array([r.shard for r in rows]),
        ),
    ).rowcount
