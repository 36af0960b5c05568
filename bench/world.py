"""The rows that are measured on: customers through the real import, and copies of one of them by the million.

A copy has ids, references and look-up hashes of its own; what is sealed is the same bytes under the same key, which
opens for it as well as for the one it was copied from.
"""

import csv
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

from holidays import country_holidays
from psycopg.sql import SQL, Composed, Identifier

from bench.rig import Rig
from config.profiles import load_profile
from console.house import bundle_of, publish
from domain.lane import NEIGHBOURS, SHARDS
from storage import lanes
from storage.rows import Conn
from worker.intake import import_accounts
from worker.wiring import folders

#: A Tuesday; rounds are four days apart, which the weekly and monthly caps of the baseline allow.
FIRST_DAY = date(2026, 3, 3)
DAYS_APART = 4

#: 10:30 in Taipei: after the ladder's hour, inside the window of every weekday and Saturday.
HOUR = (2, 30)

#: Contacts of the past that each customer is judged with, and how far the judge looks back for them.
HISTORY = 10
IN_SIGHT = timedelta(days=32)

HOLIDAYS = country_holidays("TW")

#: Rows that one statement copies.
CHUNK = 100_000


def move_in(rig: Rig, customers: int, *, history: int = HISTORY) -> None:
    """A release goes live, and so many customers come in through the real import, each with contacts of the past."""
    release = publish(rig.conn, bundle_of(rig.settings), by="bench")
    file = rig.settings.home / "bench.csv"
    _write_csv(file, customers)
    profiles = folders(rig.settings)[0] / "profiles"
    import_accounts(
        rig.spine.database_url,
        file,
        load_profile({path.name: path.read_text(encoding="utf-8") for path in profiles.glob("*.toml")}, "demo"),
        as_of=FIRST_DAY - timedelta(days=10),
        full=False,
        keyring=rig.spine.keyring,
        lenders=release.lenders,
        ladders=release.ladders,
        rejects_path=rig.settings.home / "rejects.csv",
    )
    for months in (-2, 0):
        lanes.ensure_partitions(rig.conn, moment(FIRST_DAY) + timedelta(days=31 * months))
    for age in list(range(DAYS_APART, IN_SIGHT.days, DAYS_APART))[:history]:
        remember(rig.conn, moment(FIRST_DAY) - timedelta(days=age))
    tidy(rig.conn)


def _write_csv(file: Path, customers: int) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(
            ("lender", "customer_ref", "name", "phone", "email", "push_token", "locale", "residence", "zone",
             "zone_confirmed_on", "account_ref", "product", "currency", "balance", "due_on", "consents", "consented_on")
        )  # fmt: skip
        for n in range(customers):
            writer.writerow(
                ("bench", f"B{n}", "Ana Example", f"+8869{n:08d}", f"b{n}@bench.example", "", "en", "TW",
                 "Asia/Taipei", "2026-01-01", f"BA{n}", "card", "TWD", "1234.00", "2026-02-20", "sms null",
                 "2025-01-01")
            )  # fmt: skip


def remember(conn: Conn, at: datetime, *, after_party: int = 0) -> None:
    """One delivered contact of the past with everybody behind that party."""
    conn.execute(
        """
        WITH made AS (
            INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, origin, actor, channel,
                                 purpose, rule, pack, account_ids, address_lookup)
            SELECT a.party_id, gen_random_uuid(), %s::timestamptz, a.customer_id, a.lender_id, 'imported', 'creditor',
                   'sms', 'reminder', 'imported', 'imported', ARRAY[a.account_id], d.lookup
            FROM account a JOIN address d ON d.party_id = a.party_id AND d.channel = 'phone'
            WHERE a.party_id > %s
            RETURNING party_id, contact_id, intended_at
        )
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at)
        SELECT party_id, contact_id, intended_at, 'delivered', 'bench', intended_at FROM made
        """,
        (at, after_party),
    )


def remember_alike(conn: Conn, *, after_party: int) -> None:
    """Give everybody behind that party the past of the first."""
    for (at,) in conn.execute(
        "SELECT intended_at FROM contact WHERE party_id = (SELECT min(party_id) FROM party) ORDER BY 1"
    ).fetchall():
        remember(conn, at, after_party=after_party)


def fill_up_history(conn: Conn, at: datetime, history: int) -> None:
    """Everybody has so many contacts in the days that the judge looks back.

    They are what the month's cap allows (the rounds before this one, mostly), and the rest a day before its month.
    """
    there = _one(
        conn,
        "SELECT count(*) FROM contact WHERE party_id = (SELECT min(party_id) FROM party) AND intended_at >= %s",
        (at - IN_SIGHT,),
    )[0]
    for number in range(history - there):
        remember(conn, at - IN_SIGHT + timedelta(days=1, minutes=-number - 1))


# -------------------------------------------------------------------------------------------------------------- copies

#: What a copy has of its own, in the order in which the tables are filled. The rest is taken over from the original.
_OWN: dict[str, Mapping[str, LiteralString]] = {
    "party": {"party_id": "n"},
    "customer": {"party_id": "n", "customer_id": "n", "external_ref": "'S' || lpad(n::text, 10, '0')"},
    "customer_key": {"party_id": "n", "customer_id": "n"},
    "address": {"party_id": "n", "customer_id": "n", "lookup": "decode(md5(t.channel || n), 'hex')"},
    "consent": {
        "party_id": "n",
        "customer_id": "n",
        "lookup": "CASE WHEN t.lookup IS NOT NULL THEN decode(md5('phone' || n), 'hex') END",
    },
    "account": {
        "party_id": "n",
        "account_id": "n",
        "customer_id": "n",
        "external_ref": "'SA' || lpad(n::text, 10, '0')",
    },
    "reminder": {
        "party_id": "n",
        "reminder_id": "n",
        "account_id": "n",
        "shard": "(n / {neighbours} %% {shards})::smallint",
    },
}


def copies(
    conn: Conn, upto: int, *, due_at: LiteralString = "t.due_at", told: Callable[[int], None] = lambda _: None
) -> None:
    """Copy the first customer until there are `upto` in all; `told` hears how many there are by now.

    `due_at` says in SQL when the step of customer `n` comes due, `t` being the original's.
    """
    first, last = _one(conn, "SELECT min(party_id), max(party_id) FROM party")
    # No triggers: each row's original has passed the foreign keys.
    conn.execute("SET session_replication_role = replica")
    conn.execute("SET synchronous_commit = off")
    while last < upto:
        until = min(last + CHUNK, upto)
        with conn.transaction():
            for table, own in (_OWN | {"reminder": {**_OWN["reminder"], "due_at": due_at}}).items():
                conn.execute(_copy(conn, table, own), {"first": first, "since": last + 1, "until": until})
        last = until
        told(last)
    _advance_sequences(conn)
    conn.execute("RESET synchronous_commit")
    conn.execute("RESET session_replication_role")


def _copy(conn: Conn, table: str, own: Mapping[str, LiteralString]) -> Composed:
    columns = [
        row[0]
        for row in conn.execute(
            """
            SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
              AND attgenerated = '' ORDER BY attnum
            """,
            (table,),
        )
    ]
    sharing = {"shards": SHARDS, "neighbours": NEIGHBOURS}
    values = [
        SQL(own[name].format(**sharing)) if name in own else SQL("t.{}").format(Identifier(name)) for name in columns
    ]
    where = SQL("t.state = 'planned' AND ") if table == "reminder" else SQL("")
    return SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} "
        "FROM {} t, generate_series(%(since)s::bigint, %(until)s::bigint) n "
        "WHERE {}t.party_id = %(first)s::bigint ORDER BY n"
    ).format(
        Identifier(table), SQL(", ").join(map(Identifier, columns)), SQL(", ").join(values), Identifier(table), where
    )


def _advance_sequences(conn: Conn) -> None:
    for table, column in (
        ("party", "party_id"), ("customer", "customer_id"), ("account", "account_id"), ("reminder", "reminder_id"),
    ):  # fmt: skip
        conn.execute(
            SQL("SELECT setval(pg_get_serial_sequence(%s, %s), (SELECT max({}) FROM {}))").format(
                Identifier(column), Identifier(table)
            ),
            (table, column),
        )


# -------------------------------------------------------------------------------------------------------------- rounds


def round_day(number: int) -> date:
    """The day of a round: four days or a little more after the one before, never a Sunday or a holiday."""
    day = FIRST_DAY
    for _ in range(number):
        day += timedelta(days=DAYS_APART)
        while not is_open(day):
            day += timedelta(days=1)
    return day


def is_open(day: date) -> bool:
    """Whether the packs of the bench's customers let anything leave on that day."""
    return day.weekday() != 6 and day not in HOLIDAYS


def moment(day: date) -> datetime:
    """Half past ten in Taipei on that day."""
    return datetime(day.year, day.month, day.day, *HOUR, tzinfo=UTC)


def come_due(conn: Conn, day: date, *, history: int = HISTORY) -> datetime:
    """Everybody's next step comes due on that day, all at once; then the database is given a moment's rest."""
    at = moment(day)
    lanes.ensure_partitions(conn, at)
    fill_up_history(conn, at, history)
    conn.execute(
        "UPDATE reminder SET due_at = %s, planned_for = %s, expires_at = %s WHERE state = 'planned'",
        (at, at, at + timedelta(days=2)),
    )
    tidy(conn)
    lanes.step_clock(conn, at)
    return at


def sent_at(conn: Conn, at: datetime) -> int:
    """How many contacts of ours were sent that were intended at that instant of business time."""
    return int(
        _one(
            conn,
            """
            SELECT count(*) FROM contact c JOIN contact_event e USING (party_id, contact_id, intended_at)
            WHERE c.intended_at = %s AND c.channel = 'null' AND e.kind = 'sent'
            """,
            (at,),
        )[0]
    )


def flow_from(conn: Conn, at: datetime) -> timedelta:
    """Let business time flow from an instant, as fast as real time; the shift between the two."""
    lanes.step_clock(conn, None)
    shift: timedelta = at - _one(conn, "SELECT clock_timestamp()")[0]
    conn.execute(
        SQL(
            "CREATE OR REPLACE FUNCTION business_now() RETURNS timestamptz STABLE LANGUAGE sql AS "
            "$$ SELECT coalesce((SELECT stepped_at FROM clock), clock_timestamp() + make_interval(secs => {})) $$"
        ).format(shift.total_seconds())
    )
    return shift


def tidy(conn: Conn) -> None:
    """Statistics and visibility as after a night's rest, and nothing left for a checkpoint to do."""
    conn.execute("VACUUM ANALYZE")
    conn.execute("CHECKPOINT")


def _one(conn: Conn, query: LiteralString, parameters: tuple[object, ...] = ()) -> tuple[Any, ...]:
    row = conn.execute(query, parameters).fetchone()
    assert row is not None
    return tuple(row)
