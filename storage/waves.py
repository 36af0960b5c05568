"""Stamp a wave just before its first byte, and record what became of it.

The stamp is the batch's: its row names the contacts that may have left and have no answer yet, which are never more
than one wave (docs/decisions/0017). A reminder is told when it was stamped with its end.

`coalesce(r.state)` keeps these updates on the primary key, away from the partial indexes of what is planned: where
statistics are old the planner would walk all of that for each row of the wave (measured: 50 ms instead of 1). The same
of a batch's end and the partial index of the open ones.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg import Cursor
from psycopg.errors import UniqueViolation
from psycopg.pq import TransactionStatus

from domain.contact import EventKind
from domain.reminder import NewReminder, ReminderState
from storage import wire
from storage.batches import Asked, Record
from storage.intents import Intent
from storage.rows import Conn, transpose


class Result(Struct, frozen=True, gc=False):
    """What became of one contact of a wave. `state` PLANNED sends its reminders back to policy after `wait`."""

    party_id: int
    contact_id: UUID
    intended_at: datetime
    reminder_ids: tuple[int, ...]
    kind: EventKind
    state: ReminderState
    provider: str | None
    provider_ref: str | None
    code: str | None
    wait: timedelta = timedelta()
    costs_attempt: bool = True


#: How often a wave is asked about again because something was taken out of its batch meanwhile. One that finds no peace
#: is left to the sweep, unstamped.
STIRS: Final = 3


class Passage:
    """The way of a batch from wave to wave.

    Its turns share a cursor, which chooses the encoders of its parameters once: to choose them anew was a quarter of
    what a turn cost the worker (sampled: some 40 us of 180).
    """

    def __init__(self, batch_id: UUID, *, lease: timedelta) -> None:
        self.batch_id = batch_id
        self._lease = lease
        self._cursor: Cursor[Any] | None = None

    def turn(
        self, conn: Conn, *, record: Record, asked: Asked, number: int, again: bool = False
    ) -> Collection[UUID] | None:
        """Record the wave before and stamp the next just before its first byte, in one statement.

        The contacts that may go, or None when the lease is lost: what is recorded is recorded all the same. `asked` is
        the batch's `number`th wave, counted from 0: no wave is stamped twice. `record` tells with the ends the next
        steps of the accounts whose reminders end here; an account with an open step, or that owes nothing, keeps its
        peace. `again`: this worker asked before, and cannot know whether that was committed; it has sent nothing of the
        wave. Safe to repeat, and safe when a sweep already called them uncertain: what is known now wins, and one that
        was refused for good or for now has failed, since its account has gone on (`go_back`).

        The lease is renewed by the database's clock, and each contact is asked whether anything is paused, whether its
        window has closed, and whether the party's stop epoch is what was judged. Whoever takes something out of the
        batch holds its row (`storage/payments.py`, `cancel`): then this waits, stamps nothing and asks anew, so that it
        sees what was done.
        """
        batch_id, wave, size = self.batch_id, asked.parameters, len(asked.contact_ids)
        stamp = self._lease, number + 1, batch_id, number, number + again, batch_id, size
        for _ in range(1 + STIRS):
            parameters = *record.told, *record.ended, *record.following, *wave, *stamp
            has_lease, some = self._take(conn, parameters, again=again)
            if has_lease:
                return asked.contact_ids if some is None else set(some)
            record = record_of(batch_id, (), ())
        return None

    def _take(self, conn: Conn, parameters: Sequence[object], *, again: bool) -> tuple[int, list[UUID] | None]:
        if self._cursor is None or self._cursor.connection is not conn:
            self._cursor = conn.cursor(binary=True)
        row = None
        if not again and conn.info.transaction_status is TransactionStatus.IDLE:
            with suppress(UniqueViolation):  # nothing of it stands: it is done again, with a look before each row
                row = self._cursor.execute(_TURN, parameters).fetchone()
        if row is None:
            row = self._cursor.execute(_TURN_AGAIN, parameters).fetchone()
        assert row is not None
        return row[0], row[1]


def record_of(batch_id: UUID, results: Sequence[Result], following: Sequence[NewReminder]) -> Record:
    """What became of a wave, contact by contact."""
    return Record(_told(results), _ended(results, batch_id), _following(following, batch_id))


def _told(results: Sequence[Result]) -> tuple[object, ...]:
    columns = transpose(list(map(_TOLD, results)), 7)
    at, ats = wire.moment_column(columns[0])
    kind, kinds = wire.text_column(columns[1])
    provider, providers = wire.text_column(columns[2])
    code, codes = wire.text_column(columns[3])
    parties, contacts, refs = wire.int8_array(columns[4]), wire.uuid_array(columns[5]), wire.ref_array(columns[6])
    return at, kind, provider, code, parties, contacts, refs, ats, kinds, providers, codes


def _ended(results: Sequence[Result], batch_id: UUID) -> tuple[object, ...]:
    planned = ReminderState.PLANNED
    ended = [
        (r.state, r.code, r.party_id, reminder, r.contact_id)
        for r in results
        if r.state is not planned
        for reminder in r.reminder_ids
    ]
    columns = transpose(ended, 5)
    state, states = wire.text_column(columns[0])
    code, codes = wire.text_column(columns[1])
    parties, reminders = wire.int8_array(columns[2]), wire.int8_array(columns[3])
    return batch_id, state, code, parties, reminders, wire.uuid_array(columns[4]), states, codes


def _following(rows: Sequence[NewReminder], batch_id: UUID) -> tuple[object, ...]:
    columns = transpose(list(map(_FOLLOWING, rows)), 7)
    step, steps = wire.text_column(columns[0])
    stage, stages = wire.text_column(columns[1])
    channel, channels = wire.text_column(columns[2])
    due_at, dues = wire.moment_column(columns[3])
    expires_at, expiries = wire.moment_column(columns[4])
    parties, accounts = wire.int8_array(columns[5]), wire.int8_array(columns[6])
    shared, single = (step, stage, channel, due_at, expires_at), (steps, stages, channels, dues, expiries)
    return *shared, parties, accounts, *single, batch_id


_TOLD: Final = attrgetter("intended_at", "kind", "provider", "code", "party_id", "contact_id", "provider_ref")
_FOLLOWING: Final = attrgetter("step", "stage", "channel", "due_at", "expires_at", "party_id", "account_id")


def _turn(if_told: LiteralString, if_open: LiteralString) -> LiteralString:
    """The statement of a turn: what to do about an event that is there already, and about an account's open step."""
    # Each part sees the tables as they were before the statement; a next step is written after the end of the one
    # before it, whose row it joins. What is the same for all rows is asked once: a call of business_now() for each
    # would cost as much as its insert. Whether an account still owes is only asked where that may have changed since it
    # was judged: whoever settles one stirs the batch that has its reminder in hand (`cancel`).
    return f"""
    WITH moment AS MATERIALIZED (
        SELECT business_now() AS at
    ), told AS (
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, provider, provider_ref,
                                   code)
        SELECT v.party_id, v.contact_id, coalesce(v.intended_at, %s), coalesce(v.kind, %s), 'dispatch',
               (SELECT at FROM moment), coalesce(v.provider, %s), v.provider_ref, coalesce(v.code, %s)
        FROM unnest(%s, %s, %s, %s, %s, %s, %s)
             AS v(party_id, contact_id, provider_ref, intended_at, kind, provider, code)
        {if_told}
    ), ended AS (
        UPDATE reminder r SET state = v.state, reason = v.code, ended_at = (SELECT at FROM moment),
                              contact_id = v.contact_id,
                              stamped_at = coalesce(r.stamped_at, (SELECT stamped_at FROM batch WHERE batch_id = %s))
        FROM (SELECT party_id, reminder_id, contact_id, coalesce(state, %s) AS state, coalesce(code, %s) AS code
              FROM unnest(%s, %s, %s, %s, %s) AS u(party_id, reminder_id, contact_id, state, code)) v
        WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id
          AND (coalesce(r.state) = 'planned'
               OR coalesce(r.state) = 'uncertain' AND r.contact_id = v.contact_id AND v.state <> 'uncertain')
        RETURNING r.party_id, r.account_id, r.lender_id, r.ladder, r.shard
    ), planned AS (
        INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for, due_at,
                              expires_at)
        SELECT v.party_id, v.account_id, e.lender_id, e.ladder, v.step, v.stage, v.channel, e.shard, v.due_at, v.due_at,
               v.expires_at
        FROM (SELECT party_id, account_id, coalesce(step, %s) AS step, coalesce(stage, %s) AS stage,
                     coalesce(channel, %s) AS channel, coalesce(due_at, %s) AS due_at,
                     coalesce(expires_at, %s) AS expires_at
              FROM unnest(%s, %s, %s, %s, %s, %s, %s)
                   AS u(party_id, account_id, step, stage, channel, due_at, expires_at)) v
        JOIN ended e ON e.party_id = v.party_id AND e.account_id = v.account_id
        WHERE (SELECT ended_at IS NULL AND stirs = 0 FROM batch WHERE batch_id = %s)
           OR EXISTS (SELECT FROM account a WHERE a.party_id = e.party_id AND a.account_id = v.account_id
                      AND a.state = 'open' AND a.balance_minor > 0)
        {if_open}
    ), going AS (
        SELECT v.contact_id
        FROM (SELECT party_id, contact_id, epoch, coalesce(window_ends, %s) AS window_ends,
                     coalesce(lender_id, %s) AS lender_id
              FROM unnest(%s, %s, %s, %s, %s) AS u(party_id, contact_id, epoch, window_ends, lender_id)) v
        JOIN party p ON p.party_id = v.party_id AND p.stop_epoch = v.epoch AND p.party_id = ANY(%s)
        WHERE (v.window_ends IS NULL OR v.window_ends > (SELECT at FROM moment))
          AND (NOT (SELECT EXISTS (SELECT FROM pause))
               OR NOT EXISTS (SELECT 1 FROM pause WHERE scope IN ('*', v.lender_id)))
    ), stamped AS (
        UPDATE batch SET lease_until = clock_timestamp() + %s, stamped_at = clock_timestamp(), waves = %s,
                         wave = ARRAY(SELECT contact_id FROM going)
        WHERE batch_id = %s AND coalesce(ended_at) IS NULL AND lease_until > clock_timestamp() AND waves IN (%s, %s)
          AND stirs = (SELECT stirs FROM batch WHERE batch_id = %s)
        RETURNING wave
    )
    SELECT (SELECT count(*) FROM stamped), (SELECT wave FROM stamped WHERE cardinality(wave) < %s)
    """  # noqa: S608 - one of two constants inside another


#: As it nearly always goes: nothing of it is there yet, and the database need not look before each row.
_TURN: Final = _turn("", "")

#: Where something may be there: what is, stays. A next step is only left out for one that is open.
_TURN_AGAIN: Final = _turn(
    "ON CONFLICT DO NOTHING",
    "ON CONFLICT (party_id, account_id) WHERE state = 'planned' DO NOTHING",
)


def release_unstamped(conn: Conn, batch_id: UUID, intents: Sequence[Intent], *, code: str) -> int:
    """Give contacts that may not go any more back to policy, unsent; how many reminders that was.

    They are judged again when the batch is over. What is in its wave stays with it, and so does all of a batch that a
    sweep has ended.
    """
    if not intents:
        return 0
    rows = [(i.party_id, reminder_id, i.contact_id, i.intended_at) for i in intents for reminder_id in i.reminder_ids]
    return conn.execute(
        """
        WITH hand AS MATERIALIZED (
            SELECT wave FROM batch WHERE batch_id = %s AND coalesce(ended_at) IS NULL FOR NO KEY UPDATE
        ), back AS (
            UPDATE reminder r SET due_at = business_now(), reason = %s
            FROM unnest(%b::bigint[], %b::bigint[], %b::uuid[], %b::timestamptz[])
                 AS v(party_id, reminder_id, contact_id, intended_at), hand
            WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id AND coalesce(r.state) = 'planned'
              AND v.contact_id <> ALL (hand.wave)
            RETURNING v.party_id, v.contact_id, v.intended_at
        ), noted AS (
            INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, code)
            SELECT DISTINCT party_id, contact_id, intended_at, 'released', 'released', business_now(), %s FROM back
            ON CONFLICT DO NOTHING
        )
        SELECT contact_id FROM back
        """,
        (batch_id, code, *transpose(rows, 4), code),
    ).rowcount


def go_back(conn: Conn, results: Sequence[Result]) -> None:
    """Send the reminders of refused contacts back to policy, each after its wait and when the batch is over.

    Those that a sweep called uncertain meanwhile have failed: nothing has left, and the sweep has planned what follows.
    """
    if not results:
        return
    conn.execute(
        """
        WITH given AS MATERIALIZED (
            SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::uuid[], %b::interval[], %b::text[], %b::smallint[])
                          AS v(party_id, reminder_id, contact_id, wait, code, cost)
        ), back AS (
            UPDATE reminder r SET due_at = business_now() + v.wait, reason = v.code, attempt = r.attempt + v.cost
            FROM given v
            WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id AND coalesce(r.state) = 'planned'
        )
        UPDATE reminder r SET state = 'failed', reason = v.code FROM given v
        WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id AND r.contact_id = v.contact_id
          AND coalesce(r.state) = 'uncertain'
        """,
        transpose(
            [
                (r.party_id, reminder, r.contact_id, r.wait, r.code, int(r.costs_attempt))
                for r in results
                for reminder in r.reminder_ids
            ],
            6,
        ),
    )


def retire_addresses(conn: Conn, rows: Sequence[tuple[int, int, str]]) -> None:
    """Stop using addresses (party, address, reason) that their provider refused for good."""
    if not rows:
        return
    conn.execute(
        """
        UPDATE address a SET retired_at = business_now(), retired_reason = v.reason
        FROM unnest(%b::bigint[], %b::bigint[], %b::text[]) AS v(party_id, address_id, reason)
        WHERE a.party_id = v.party_id AND a.address_id = v.address_id AND a.retired_at IS NULL
        """,
        transpose(rows, 3),
    )
