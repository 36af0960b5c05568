"""The physical limit: the rows and bytes of a drain as bare SQL and Python in a loop, with nothing decided.

It reads what a drain reads, opens and seals with the same cipher, renders with Jinja's own compiled template, and
writes the same rows into the same tables with as many commits. What a row holds beside its own ids is copied from one
that a drain wrote before. Takes a line of JSON for each round on its input, and answers with one.
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
import orjson
import psycopg
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

Conn = psycopg.Connection[Any]

BATCH = 500
LOOKBACK = timedelta(days=32)
LEASE = timedelta(seconds=120)


@dataclass(frozen=True, slots=True)
class Example:
    """What is the same on all rows of a round, taken from rows that a drain wrote."""

    contact: Mapping[str, Any]
    link: Mapping[str, Any]
    event: Mapping[str, Any]
    reminder: Mapping[str, Any]
    window: timedelta
    step_after: timedelta
    step_lasts: timedelta
    facts: bytes


@dataclass(slots=True)
class Bare:
    conn: Conn
    master: AESGCM
    template: jinja2.Template
    values: Mapping[str, str]
    wave: int
    example: Example | None = None

    def drain(self, now: datetime, shards: Sequence[int]) -> int:
        """All that is due in the shards, a batch at a time; how many were sent."""
        sent = 0
        for shard in shards:
            while count := self._batch(now, shard):
                sent += count
        return sent

    def _batch(self, now: datetime, shard: int) -> int:
        conn, batch_id = self.conn, uuid4()
        with conn.transaction():
            locked = dict(conn.execute(_LOCK, (shard, now, BATCH)).fetchall())
            if not locked:
                return 0
            due = self._read(list(locked), now)
            self.example = self.example or _example(conn, self.master)
            letters = self._write(due)
            self._intend(batch_id, due, letters, locked, now, shard)
        for start in range(0, len(due), self.wave):
            before = slice(max(0, start - self.wave), start)
            with conn.pipeline(), conn.transaction():
                self._record(due[before], letters[before], now)
                self._stamp(batch_id, due[start : start + self.wave])
        last = slice((len(due) - 1) // self.wave * self.wave, len(due))
        with conn.pipeline(), conn.transaction():
            self._record(due[last], letters[last], now)
            conn.execute(
                "UPDATE batch SET ended_at = clock_timestamp(), ended_how = 'finished' WHERE batch_id = %s", (batch_id,)
            )
        return len(due)

    def _read(self, who: list[int], now: datetime) -> list[tuple[Any, ...]]:
        with self.conn.pipeline():
            cursors = [self.conn.cursor(binary=True) for _ in range(4)]
            cursors[0].execute(_DUE, (who, now))
            cursors[1].execute("SELECT * FROM consent WHERE party_id = ANY(%s)", (who,))
            cursors[2].execute("SELECT * FROM hold WHERE party_id = ANY(%s) AND released_at IS NULL", (who,))
            cursors[3].execute(_HISTORY, (who, now - LOOKBACK, who, now - LOOKBACK))
            due, *_ = [cursor.fetchall() for cursor in cursors]
        return due

    def _write(self, due: Sequence[tuple[Any, ...]]) -> list[tuple[UUID, bytes]]:
        """Each customer's words, and the facts sealed: the contact's id and the sealed bytes."""
        assert self.example is not None
        letters = []
        for row in due:
            wrapped, name, phone = row[5:8]
            key = AESGCM(self.master.decrypt(wrapped[:12], wrapped[12:], None))
            key.decrypt(name[:12], name[12:], None)
            key.decrypt(phone[:12], phone[12:], None)
            self.template.render(self.values)
            nonce = os.urandom(12)
            letters.append((uuid4(), nonce + key.encrypt(nonce, self.example.facts, None)))
        return letters

    def _intend(
        self, batch_id: UUID, due: Sequence[tuple[Any, ...]], letters: Sequence[tuple[UUID, bytes]],
        epochs: Mapping[int, int], now: datetime, shard: int,
    ) -> None:  # fmt: skip
        example = self.example
        assert example is not None
        self.conn.execute(
            """
            INSERT INTO batch (batch_id, lane, worker, lease_until, size)
            VALUES (%s, %s, %s, clock_timestamp() + %s, %s)
            """,
            (batch_id, f"bench:null:{shard}", f"worker@bare:{os.getpid()}", LEASE, len(due)),
        )
        same, closes = example.contact, now + example.window
        own = {"party_id", "contact_id", "intended_at", "customer_id", "address_id", "address_lookup", "window_ends",
               "account_ids", "stop_epoch", "facts_sealed"}  # fmt: skip
        columns = [*sorted(own), *(name for name in same if name not in own)]
        rest = [
            Jsonb(same[name], dumps=orjson.dumps) if name == "inputs" else same[name] for name in columns[len(own) :]
        ]
        _copy(
            self.conn, "contact", columns,
            (
                [[row[2]], row[8], row[9], contact_id, row[3], sealed, now, row[0], epochs[row[0]], closes, *rest]
                for row, (contact_id, sealed) in zip(due, letters, strict=True)
            ),
        )  # fmt: skip
        _copy(
            self.conn, "contact_account",
            ["party_id", "contact_id", "account_id", "intended_at", "reminder_id", "step", "stage"],
            ((row[0], contact_id, row[2], now, row[1], example.link["step"], example.link["stage"])
             for row, (contact_id, _) in zip(due, letters, strict=True)),
        )  # fmt: skip
        self.conn.execute(
            """
            UPDATE reminder r SET state = 'intended', contact_id = v.contact_id, batch_id = %s, judged_epoch = 0,
                                  stamped_at = NULL, reason = NULL
            FROM unnest(%b::bigint[], %b::bigint[], %b::uuid[]) AS v(party_id, reminder_id, contact_id)
            WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id
            """,
            (batch_id, [row[0] for row in due], [row[1] for row in due], [contact_id for contact_id, _ in letters]),
        )

    def _stamp(self, batch_id: UUID, due: Sequence[tuple[Any, ...]]) -> None:
        self.conn.execute(
            "UPDATE batch SET lease_until = clock_timestamp() + %s WHERE batch_id = %s", (LEASE, batch_id)
        )
        self.conn.execute(
            """
            UPDATE reminder r SET stamped_at = clock_timestamp()
            FROM unnest(%b::bigint[], %b::bigint[]) AS v(party_id, reminder_id)
            WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id
            """,
            ([row[0] for row in due], [row[1] for row in due]),
        )

    def _record(self, due: Sequence[tuple[Any, ...]], letters: Sequence[tuple[UUID, bytes]], now: datetime) -> None:
        if not due:
            return
        example = self.example
        assert example is not None
        parties, reminders = [row[0] for row in due], [row[1] for row in due]
        self.conn.execute(
            """
            INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, provider, provider_ref)
            SELECT v.*, %s, %s, %s, %s, v.contact_id::text
            FROM unnest(%b::bigint[], %b::uuid[], %b::timestamptz[]) AS v(party_id, contact_id, intended_at)
            """,
            (example.event["kind"], example.event["dedupe_key"], now, example.event["provider"], parties,
             [contact_id for contact_id, _ in letters], [now] * len(due)),
        )  # fmt: skip
        self.conn.execute(
            """
            UPDATE reminder r SET state = 'sent', ended_at = %s
            FROM unnest(%b::bigint[], %b::bigint[]) AS v(party_id, reminder_id)
            WHERE r.party_id = v.party_id AND r.reminder_id = v.reminder_id
            """,
            (now, parties, reminders),
        )
        following, comes = example.reminder, now + example.step_after
        self.conn.execute(
            """
            INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for,
                                  due_at, expires_at)
            SELECT v.party_id, v.account_id, %s, %s, %s, %s, %s, v.shard, %s, %s, %s
            FROM unnest(%b::bigint[], %b::bigint[], %b::smallint[]) AS v(party_id, account_id, shard)
            """,
            (*(following[name] for name in ("lender_id", "ladder", "step", "stage", "channel")), comes, comes,
             comes + example.step_lasts, parties, [row[2] for row in due], [row[4] for row in due]),
        )  # fmt: skip


_RENEW: LiteralString = "UPDATE batch SET lease_until = clock_timestamp() + %s WHERE batch_id = %s"
_CLOSE: LiteralString = "UPDATE batch SET ended_at = clock_timestamp(), ended_how = 'finished' WHERE batch_id = %s"

_LOCK: LiteralString = """
    SELECT p.party_id, p.stop_epoch FROM party p WHERE p.party_id IN (
        SELECT r.party_id FROM reminder r WHERE r.state = 'planned' AND r.lender_id = 'bench' AND r.channel = 'null'
          AND r.shard = %s AND r.due_at <= %s ORDER BY r.due_at LIMIT %s)
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

_HISTORY: LiteralString = """
    SELECT c.party_id, c.intended_at, c.channel, f.rank, c.account_ids, c.address_lookup, c.purpose, c.actor,
           c.lender_id
    FROM contact c LEFT JOIN (
        SELECT e.contact_id, max(r.rank) AS rank FROM contact_event e JOIN contact_event_rank r USING (kind)
        WHERE e.party_id = ANY(%s) AND e.intended_at >= %s GROUP BY e.contact_id) f ON f.contact_id = c.contact_id
    WHERE c.party_id = ANY(%s) AND c.intended_at >= %s
"""


def _copy(conn: Conn, table: str, columns: Sequence[str], rows: Any) -> None:
    types = _types(conn, table)
    statement = SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        Identifier(table), SQL(", ").join(map(Identifier, columns))
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([types[name] for name in columns])
        for row in rows:
            copy.write_row(row)


_known_types: dict[str, dict[str, str]] = {}


def _types(conn: Conn, table: str) -> dict[str, str]:
    if table not in _known_types:
        rows = conn.execute(
            "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
            "AND NOT attisdropped AND attgenerated = ''",
            (table,),
        )
        _known_types[table] = dict(rows.fetchall())
    return _known_types[table]


def _example(conn: Conn, master: AESGCM) -> Example:
    """What a drain wrote last, row by row."""
    contact = _last(conn, "contact", "origin = 'duly'", "intended_at")
    party = contact["party_id"]
    reminder = _last(conn, "reminder", f"party_id = {party}", "reminder_id")
    key = _last(conn, "customer_key", f"party_id = {party}", "customer_id")["wrapped_key"]
    sealed = contact["facts_sealed"]
    opened = AESGCM(master.decrypt(key[:12], key[12:], None))
    since = contact["intended_at"]
    return Example(
        contact=contact,
        link=_last(conn, "contact_account", f"party_id = {party} AND step IS NOT NULL", "intended_at"),
        event=_last(conn, "contact_event", f"party_id = {party} AND kind = 'sent'", "intended_at"),
        reminder=reminder,
        window=contact["window_ends"] - since,
        step_after=timedelta(days=1),
        step_lasts=timedelta(days=3),
        facts=opened.decrypt(sealed[:12], sealed[12:], None),
    )


def _last(conn: Conn, table: str, where: str, order: str) -> dict[str, Any]:
    cursor = conn.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY {order} DESC LIMIT 1")
    row = cursor.fetchone()
    assert row is not None
    columns = [column.name for column in cursor.description or ()]
    generated = set(columns) - set(_types(conn, table))
    return {name: value for name, value in zip(columns, row, strict=True) if name not in generated}


def master_of(key_file: Path) -> AESGCM:
    """The cipher that wraps customers' keys, out of a home's key file."""
    entry = next(line for line in key_file.read_text().splitlines() if line.startswith("master_keys = "))
    key = base64.b64decode(entry.partition(" = ")[2].partition(":")[2])
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"duly customer keys").derive(key))


def main() -> None:
    given = json.loads(sys.stdin.readline())
    with psycopg.connect(
        given["url"], autocommit=True, application_name="bench bare", options="-c TimeZone=UTC"
    ) as conn:
        bare = Bare(
            conn, master_of(Path(given["keys"])), jinja2.Template(given["template"]), given["values"], given["wave"]
        )
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
