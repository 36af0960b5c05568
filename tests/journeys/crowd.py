"""Many customers at once, by the set: alike, of one lender, all due at the same moment."""

from collections.abc import Sequence
from datetime import date, timedelta

from domain.bundle import Bundle
from domain.channel import REACHED_BY, Channel
from domain.lane import NEIGHBOURS, SHARDS
from storage.rows import Conn
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, the_bundle


def lenders_like(example: str, names: Sequence[str]) -> Bundle:
    """The package's bundle with more lenders, each a copy of one of its own."""
    bundle = the_bundle()
    path, text = next((path, text) for path, text in bundle.files.items() if path.endswith(f"lenders/{example}.toml"))
    more = {
        path.replace(f"{example}.toml", f"{name}.toml"): text.replace(f'id = "{example}"', f'id = "{name}"')
        for name in names
    }
    return Bundle({**bundle.files, **more})


def a_crowd(conn: Conn, keys: Keyring, lender: str, channel: Channel, count: int, *, to: str) -> range:
    """Customers of a lender with a first notice due now on the channel, all reached at `to`; their parties."""
    key, master, wrapped = keys.new_customer_key()
    row = conn.execute("SELECT coalesce(max(party_id), 0) + 1 FROM party").fetchone()
    first = row[0] if row else 1
    values = {
        "first": first, "last": first + count - 1, "lender": lender, "name": key.seal(b"Ana Example"), "master": master,
        "wrapped": wrapped, "channel": channel.value, "kind": REACHED_BY[channel].value, "to": key.seal(to.encode()),
        "country": "TW" if REACHED_BY[channel] == "phone" else None, "now": TUESDAY_MORNING,
        "shards": SHARDS, "neighbours": NEIGHBOURS,
        "long_ago": TUESDAY_MORNING - timedelta(days=400), "due_on": date(2026, 3, 2),
        "zones": ["Asia/Taipei"] if REACHED_BY[channel] == "phone" else [],
    }  # fmt: skip
    with conn.transaction():
        for statement in _STATEMENTS:
            conn.execute(statement, values)
    conn.execute("ANALYZE reminder")
    return range(first, first + count)


_STATEMENTS = (
    "INSERT INTO party (party_id) SELECT generate_series(%(first)s::bigint, %(last)s::bigint)",
    """
    INSERT INTO customer (party_id, lender_id, external_ref, locale, residence, zones, zone_confirmed_at, name_sealed,
                          row_hash)
    SELECT p, %(lender)s, 'K' || p, 'en', 'TW', '{Asia/Taipei}', %(now)s, %(name)s, ''
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) p
    """,
    """
    INSERT INTO customer_key SELECT party_id, customer_id, %(master)s, %(wrapped)s FROM customer
    WHERE party_id BETWEEN %(first)s AND %(last)s
    """,
    """
    INSERT INTO address (party_id, customer_id, channel, sealed, lookup, country, zones)
    SELECT party_id, customer_id, %(kind)s, %(to)s, sha256(party_id::text::bytea), %(country)s, %(zones)s FROM customer
    WHERE party_id BETWEEN %(first)s AND %(last)s
    """,
    """
    INSERT INTO consent (party_id, customer_id, channel, given_at, source)
    SELECT party_id, customer_id, %(channel)s, %(long_ago)s, 'tests' FROM customer
    WHERE party_id BETWEEN %(first)s AND %(last)s
    """,
    """
    INSERT INTO account (party_id, customer_id, lender_id, external_ref, product, currency, balance_minor, due_on,
                         state, ladder, as_of, row_hash)
    SELECT party_id, customer_id, lender_id, 'A' || party_id, 'card', 'TWD', 123400, %(due_on)s, 'open', 'standard',
           %(now)s, '' FROM customer WHERE party_id BETWEEN %(first)s AND %(last)s
    """,
    """
    INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for, due_at,
                          expires_at)
    SELECT party_id, account_id, lender_id, 'standard', 'first_notice', 'initial', %(channel)s,
           party_id / %(neighbours)s %% %(shards)s,
           %(now)s, %(now)s, %(now)s + interval '3 days'
    FROM account WHERE party_id BETWEEN %(first)s AND %(last)s
    """,
)
