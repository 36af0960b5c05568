"""The physical limit: the rows and bytes of a drain as bare SQL and Python in a loop, with nothing decided.

It reads what a drain reads, opens and seals with the same cipher, renders with Jinja's own compiled template, and
writes the same rows into the same tables with as many commits, encoded as cheaply as we know how. What a row holds
beside its own ids is copied, as bytes, from one that a drain wrote before. Takes a line of JSON for each round on its
input, and answers with one.
"""

import base64
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import jinja2
import psycopg
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg.sql import SQL, Identifier

from domain.contact import new_contact_ids
from storage import history, wire
from storage.columns import ids, numbers

Conn = psycopg.Connection[Any]
Fields = Mapping[str, bytes | None]
Row = tuple[Any, ...]
Letter = tuple[UUID, bytes]

LOOKBACK = timedelta(days=32)
LEASE = timedelta(seconds=120)

#: What the null ladder plans next, and for how long it holds true.
STEP_AFTER = timedelta(days=1)
STEP_LASTS = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Example:
    """Rows that a drain wrote, field by field as the database sends them, and the facts that were sealed."""

    contact: Fields
    event: Fields
    reminder: Fields
    facts: bytes


@dataclass(slots=True)
class Bare:
    conn: Conn
    master: AESGCM
    template: jinja2.Template
    values: Mapping[str, str]
    batch: int
    wave: int
    example: Example | None = None

    def drain(self, now: datetime, shards: Sequence[int]) -> int:
        """All that is due in the shards, a batch at a time; how many were sent."""
        self.example = self.example or _example(self.conn, self.master)
        sent = 0
        for shard in shards:
            while count := self._batch(self.example, now, shard):
                sent += count
        return sent

    def _batch(self, example: Example, now: datetime, shard: int) -> int:
        conn, batch_id = self.conn, uuid4()
        with conn.transaction():
            epochs = dict(conn.execute(_LOCK, (shard, now, self.batch)).fetchall())
            if not epochs:
                return 0
            due = self._read(list(epochs), now)
            letters = self._letters(due, example.facts, now)
            _write_contacts(conn, example, due, letters, epochs, now)
            sheet = _Sheet(due, letters)
            held = sheet.parties, sheet.reminders, sheet.contacts
            every = [each.cut(0, len(due)) for each in held]
            conn.execute(
                _OPEN, (batch_id, f"bench:null:{shard}", f"worker@bare:{os.getpid()}", LEASE, len(due), *every)
            )
        for start in range(0, len(due), self.wave):
            recorded = _record(example, sheet, max(0, start - self.wave), start, now, batch_id)
            wave = sheet.contacts.cut(start, start + self.wave)
            conn.execute(_TURN, (*recorded, LEASE, wave, batch_id))
        last = (len(due) - 1) // self.wave * self.wave
        with conn.pipeline(), conn.transaction():
            recorded = _record(example, sheet, last, len(due), now, batch_id)
            conn.execute(_TURN, (*recorded, LEASE, sheet.contacts.cut(0, 0), batch_id))
            conn.execute(_CLOSE, (batch_id,))
        return len(due)

    def _read(self, parties: Sequence[int], now: datetime) -> list[Row]:
        who, since = wire.int8_array(parties), now - LOOKBACK
        with self.conn.pipeline():
            self.conn.execute("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
            cursors = [self.conn.cursor(binary=True) for _ in range(5)]
            cursors[0].execute(_DUE, (who, now))
            cursors[1].execute("SELECT * FROM consent WHERE party_id = ANY(%s)", (who,))
            cursors[2].execute("SELECT * FROM hold WHERE party_id = ANY(%s) AND released_at IS NULL", (who,))
            cursors[3].execute(history.READ, (who, since))
            cursors[4].execute(history.TELLING, (who, since))
            due, *_ = [cursor.fetchall() for cursor in cursors]
        return due

    def _letters(self, due: Sequence[Row], facts: bytes, now: datetime) -> list[Letter]:
        """Each customer's words, and the facts sealed: the contact's id and the sealed bytes."""
        letters = []
        chance = os.urandom(12 * len(due))
        for number, (row, contact_id) in enumerate(zip(due, new_contact_ids(now, len(due)), strict=True)):
            wrapped, name, phone = row[5:8]
            key = AESGCM(self.master.decrypt(wrapped[:12], wrapped[12:], None))
            key.decrypt(name[:12], name[12:], None)
            key.decrypt(phone[:12], phone[12:], None)
            self.template.render(self.values)
            nonce = chance[12 * number : 12 * number + 12]
            letters.append((contact_id, nonce + key.encrypt(nonce, facts, None)))
        return letters


# ------------------------------------------------------------------------------------------------------------- writing

#: What each contact has of its own, in this order; the rest is the example's.
_OWN = (
    "party_id", "contact_id", "intended_at", "customer_id", "address_id", "address_lookup", "account_ids",
    "reminder_ids", "stop_epoch", "facts_sealed", "entry",
)  # fmt: skip


def _write_contacts(
    conn: Conn,
    example: Example,
    due: Sequence[Row],
    letters: Sequence[Letter],
    epochs: Mapping[int, int],
    now: datetime,
) -> None:
    same = {name: value for name, value in example.contact.items() if name not in _OWN}
    same["window_ends"] = _later(example.contact, "window_ends", now)
    rest = [b"".join(map(wire.raw, same.values()))]
    at = wire.moment(now)
    wire.copy_rows(
        conn,
        "contact",
        (*_OWN, *same),
        (
            (
                wire.int8(row[0]), wire.uuid(contact_id), at, wire.int8(row[3]), wire.int8(row[8]), wire.raw(row[9]),
                wire.int8s((row[2],)), wire.int8s((row[1],)), wire.int8(epochs[row[0]]), wire.raw(sealed),
                wire.raw(history.entry_of(now, contact_id, _facts_of(row))), *rest,
            )
            for row, (contact_id, sealed) in zip(due, letters, strict=True)
        ),
    )  # fmt: skip


def _facts_of(row: Row) -> bytes:
    return history.facts_of("null", "reminder", "creditor", "bench", row[9], (row[2],))


class _Sheet:
    """The columns of a batch, encoded once: each wave cuts its own piece, as the fleet's do."""

    def __init__(self, due: Sequence[Row], letters: Sequence[Letter]) -> None:
        self.parties, self.reminders = numbers([row[0] for row in due]), numbers([row[1] for row in due])
        self.accounts, self.shards = numbers([row[2] for row in due]), [row[4] for row in due]
        self.contacts = ids([contact_id for contact_id, _ in letters])


def _record(example: Example, sheet: _Sheet, start: int, end: int, now: datetime, batch_id: UUID) -> tuple[object, ...]:
    """The parameters of what is written about a wave that was sent: its events, its ends, and what follows."""
    parties, contacts = sheet.parties.cut(start, end), sheet.contacts.cut(start, end)
    event, following, comes = example.event, example.reminder, now + STEP_AFTER
    return (
        now, *_texts(event, "kind", "dedupe_key", "provider"), now, parties, contacts,
        now, batch_id, parties, sheet.reminders.cut(start, end), contacts,
        *_texts(following, "lender_id", "ladder", "step", "stage", "channel"), comes, comes, comes + STEP_LASTS,
        parties, sheet.accounts.cut(start, end), wire.int2_array(sheet.shards[start:end]),
    )  # fmt: skip


def _texts(fields: Fields, *names: str) -> list[str]:
    return [(fields[name] or b"").decode() for name in names]


def _later(fields: Fields, name: str, now: datetime) -> bytes:
    """The example's moment, as far from now as it was from its own."""
    there, then = (int.from_bytes(fields[each] or b"", "big", signed=True) for each in (name, "intended_at"))
    return (wire.microseconds(now) + there - then).to_bytes(8, "big", signed=True)


# ------------------------------------------------------------------------------------------------------------- the SQL

_LOCK: LiteralString = """
    SELECT p.party_id, p.stop_epoch FROM party p WHERE p.party_id = ANY (ARRAY(
        SELECT r.party_id FROM reminder r WHERE r.state = 'planned' AND r.lender_id = 'bench' AND r.channel = 'null'
          AND r.shard = %s AND r.due_at <= %s ORDER BY r.due_at LIMIT %s))
    ORDER BY p.party_id FOR NO KEY UPDATE SKIP LOCKED
"""

_DUE: LiteralString = """
    SELECT r.party_id, r.reminder_id, r.account_id, a.customer_id, r.shard, k.wrapped_key, c.name_sealed, d.sealed,
           d.address_id, d.lookup, a.external_ref, a.product, a.currency, a.balance_minor, a.due_on, a.state, a.as_of,
           c.locale, c.residence, c.zones, c.zone_confirmed_at, c.refused_channels, c.blocked_hours, d.kind, d.country
    FROM reminder r
    JOIN account a ON a.party_id = r.party_id AND a.account_id = r.account_id
    JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
    JOIN customer_key k ON k.party_id = c.party_id AND k.customer_id = c.customer_id
    JOIN address d ON d.party_id = c.party_id AND d.customer_id = c.customer_id AND d.channel = 'phone'
    WHERE r.party_id = ANY(%s) AND r.state = 'planned' AND r.due_at <= %s
"""

_OPEN: LiteralString = """
    INSERT INTO batch (batch_id, lane, worker, lease_until, size, parties, reminders, contacts)
    VALUES (%s, %s, %s, clock_timestamp() + %s, %s, %s, %s, %s)
"""

#: Written one after the other in one statement, and so in one transaction.
_TURN: LiteralString = """
    WITH told AS (
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, provider, at, provider_ref)
        SELECT v.party_id, v.contact_id, %s, %s, %s, %s, %s, encode(uuid_send(v.contact_id), 'hex')
        FROM unnest(%s, %s) AS v(party_id, contact_id)
    ), ended AS (
        UPDATE reminder r SET state = 'sent', reason = NULL, ended_at = %s, contact_id = v.contact_id,
                              stamped_at = (SELECT stamped_at FROM batch WHERE batch_id = %s)
        FROM unnest(%s, %s, %s) AS v(party_id, reminder_id, contact_id)
        WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id
        RETURNING r.party_id, r.account_id
    ), planned AS (
        INSERT INTO reminder (lender_id, ladder, step, stage, channel, planned_for, due_at, expires_at, party_id,
                              account_id, shard)
        SELECT %s, %s, %s, %s, %s, %s::timestamptz, %s::timestamptz, %s::timestamptz, v.*
        FROM unnest(%s, %s, %s) AS v(party_id, account_id, shard) JOIN ended USING (party_id, account_id)
    )
    UPDATE batch SET lease_until = clock_timestamp() + %s, stamped_at = clock_timestamp(), waves = waves + 1, wave = %s
    WHERE batch_id = %s
"""

_CLOSE: LiteralString = """
    UPDATE batch SET ended_at = clock_timestamp(), ended_how = 'finished', parties = '{}', reminders = '{}',
                     contacts = '{}'
    WHERE batch_id = %s
"""


# --------------------------------------------------------------------------------------------------------- the example


def _example(conn: Conn, master: AESGCM) -> Example:
    """What a drain wrote last, row by row."""
    contact = _last(conn, "contact", SQL("origin = 'duly'"), "intended_at")
    party = int.from_bytes(contact["party_id"] or b"", "big")
    own = SQL("party_id = {}").format(party)
    wrapped = _last(conn, "customer_key", own, "customer_id")["wrapped_key"] or b""
    sealed = contact["facts_sealed"] or b""
    return Example(
        contact=contact,
        event=_last(conn, "contact_event", SQL("kind = 'sent' AND {}").format(own), "intended_at"),
        reminder=_last(conn, "reminder", own, "reminder_id"),
        facts=AESGCM(master.decrypt(wrapped[:12], wrapped[12:], None)).decrypt(sealed[:12], sealed[12:], None),
    )


def _last(conn: Conn, table: str, where: Any, order: str) -> Fields:
    """The fields of the last such row, as the database sends them."""
    query = SQL("SELECT * FROM {} WHERE {} ORDER BY {} DESC LIMIT 1")
    cursor = conn.cursor(binary=True)
    result = cursor.execute(query.format(Identifier(table), where, Identifier(order))).pgresult
    assert result is not None
    if result.ntuples == 0:
        raise SystemExit(f"bench: no drain has written a {table} yet that the bare loop could copy")
    return {(result.fname(n) or b"").decode(): result.get_value(0, n) for n in range(result.nfields)}


def master_of(key_file: Path) -> AESGCM:
    """The cipher that wraps customers' keys, out of a home's key file."""
    entry = next(line for line in key_file.read_text().splitlines() if line.startswith("master_keys = "))
    key = base64.b64decode(entry.partition(" = ")[2].partition(":")[2])
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"duly customer keys").derive(key))


def main() -> None:
    given = json.loads(sys.stdin.readline())
    options = "-c TimeZone=UTC -c enable_seqscan=off"
    with psycopg.connect(given["url"], autocommit=True, application_name="bench", options=options) as conn:
        bare = Bare(
            conn, master_of(Path(given["keys"])), jinja2.Template(given["template"]), given["values"], given["batch"],
            given["wave"],
        )  # fmt: skip
        _say({"ready": True})
        for line in sys.stdin:
            order = json.loads(line)
            began = time.perf_counter()
            sent = bare.drain(datetime.fromisoformat(order["now"]), order["shards"])
            _say({"sent": sent, "seconds": time.perf_counter() - began})


def _say(words: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
