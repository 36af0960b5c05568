"""Builders with good defaults, so that a test shows only what matters to it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from psycopg import Connection
from psycopg.types.json import Jsonb

from config.bundle import read_bundle
from domain.bundle import Bundle
from domain.channel import AddressChannel, Channel
from domain.contact import ContactId, new_contact_id
from domain.lane import shard_of
from storage import lanes, releases
from storage.sealing import Keyring

HOUSE = Path(__file__).resolve().parent.parent

#: A Tuesday, 10:00 in Taipei: inside every window, no holiday.
TUESDAY_MORNING = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)

ALL_CHANNELS = (Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.NULL)


def the_bundle() -> Bundle:
    """The configuration and copy that come with the package."""
    return read_bundle(HOUSE / "config", HOUSE / "templates")


def a_small_bundle() -> Bundle:
    """One message, one ladder and one lender under two packs: compiled and checked in a moment."""
    kept = ("policies/baseline.toml", "policies/tw.toml", "templates/_shared/", "templates/first_notice/",
            "templates/specialist/", "channels.toml", "ladders/null.toml", "lenders/bench.toml")  # fmt: skip
    slow = re.compile(r"/(email|push|call)\.zh-")
    files = {path: text for path, text in the_bundle().files.items() if path.startswith(kept) and not slow.search(path)}
    alone = {path: re.sub(r"(?m)^follows = .*\n", "", files[path]) for path in files if path.endswith("/message.toml")}
    return Bundle({**files, **alone})


def a_live_release(conn: Connection, bundle: Bundle | None = None) -> str:
    """Make a bundle live (the package's own by default) and have its lenders and partitions there; its hash."""
    bundle = bundle or the_bundle()
    releases.propose(conn, bundle, by="tests")
    releases.go_live(conn, bundle.hash, by="tests")
    for path in bundle.under("lenders"):
        a_lender(conn, path.removesuffix(".toml"))
    lanes.ensure_partitions(conn, TUESDAY_MORNING)
    return bundle.hash


def a_lender(conn: Connection, lender: str) -> str:
    conn.execute("INSERT INTO lender (lender_id) VALUES (%s) ON CONFLICT DO NOTHING", (lender,))
    return lender


@dataclass(frozen=True)
class MadeCustomer:
    party_id: int
    customer_id: int
    ref: str
    phone: str
    email: str


def a_customer(
    conn: Connection,
    keyring: Keyring,
    number: int = 1,
    *,
    lender: str = "lantern",
    locale: str = "en",
    residence: str | None = "TW",
    zones: Iterable[str] = ("Asia/Taipei",),
    reached_by: Iterable[AddressChannel] = (AddressChannel.PHONE, AddressChannel.EMAIL),
    consents: Iterable[Channel] = ALL_CHANNELS,
    phone: str | None = None,
    party_id: int | None = None,
) -> MadeCustomer:
    """A customer of one party, reachable by phone and mail, who agreed to reminders on every channel."""
    phone = phone or f"+8869{10000000 + number:08d}"
    email = f"customer-{number}@mail.example"
    if party_id is None:
        party_id = conn.execute("INSERT INTO party DEFAULT VALUES RETURNING party_id").fetchone()[0]
    key, master_id, wrapped = keyring.new_customer_key()
    ref = f"C{number}"
    customer_id = conn.execute(
        """
        INSERT INTO customer (party_id, lender_id, external_ref, locale, residence, zones, zone_confirmed_at,
                              name_sealed, row_hash)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, '') RETURNING customer_id
        """,
        (party_id, lender, ref, locale, residence, list(zones), TUESDAY_MORNING - timedelta(days=30),
         key.seal(f"Ana Example {number}".encode())),
    ).fetchone()[0]  # fmt: skip
    conn.execute("INSERT INTO customer_key VALUES (%s, %s, %s, %s)", (party_id, customer_id, master_id, wrapped))
    clear = {AddressChannel.PHONE: phone, AddressChannel.EMAIL: email, AddressChannel.PUSH: f"token-{number:020d}"}
    for kind in reached_by:
        conn.execute(
            """
            INSERT INTO address (party_id, customer_id, channel, sealed, lookup, country, zones)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            """,
            (party_id, customer_id, kind, key.seal(clear[kind].encode()), keyring.lookup(kind, clear[kind]),
             "TW" if kind == AddressChannel.PHONE else None,
             ["Asia/Taipei"] if kind == AddressChannel.PHONE else []),
        )  # fmt: skip
    for channel in consents:
        conn.execute(
            "INSERT INTO consent (party_id, customer_id, channel, given_at, source) VALUES (%s, %s, %s, %s, 'tests')",
            (party_id, customer_id, channel, TUESDAY_MORNING - timedelta(days=400)),
        )
    return MadeCustomer(party_id, customer_id, ref, phone, email)


def an_account(
    conn: Connection,
    customer: MadeCustomer,
    number: int = 1,
    *,
    lender: str = "lantern",
    balance_minor: int = 123_400,
    currency: str = "TWD",
    due_on: date = date(2026, 3, 2),
    ladder: str = "standard",
    state: str = "open",
) -> int:
    """A debt that fell due on Monday; its id."""
    return conn.execute(
        """
        INSERT INTO account (party_id, customer_id, lender_id, external_ref, product, currency, balance_minor, due_on,
                             state, ladder, as_of, row_hash)
        VALUES (%s, %s, %s, %s, 'card', %s, %s, %s, %s, %s, %s, '') RETURNING account_id
        """,
        (customer.party_id, customer.customer_id, lender, f"A{customer.ref[1:]}-{number}", currency, balance_minor,
         due_on, state, ladder, TUESDAY_MORNING - timedelta(days=1)),
    ).fetchone()[0]  # fmt: skip


def a_reminder(
    conn: Connection,
    customer: MadeCustomer,
    account_id: int,
    *,
    lender: str = "lantern",
    ladder: str = "standard",
    step: str = "first_notice",
    stage: str = "initial",
    channel: Channel = Channel.SMS,
    due_at: datetime = TUESDAY_MORNING,
    expires_after: timedelta = timedelta(days=3),
) -> int:
    """A planned step of the account, due on Tuesday morning; its id."""
    return conn.execute(
        """
        INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for, due_at,
                              expires_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING reminder_id
        """,
        (customer.party_id, account_id, lender, ladder, step, stage, channel, shard_of(customer.party_id), due_at,
         due_at, due_at + expires_after),
    ).fetchone()[0]  # fmt: skip


def a_contact(
    conn: Connection,
    customer: MadeCustomer,
    account_id: int,
    at: datetime,
    *,
    channel: Channel = Channel.SMS,
    kind: str = "sent",
    lender: str = "lantern",
    release: str | None = None,
) -> ContactId:
    """A contact that was made on time and came to an event of that kind; its id. Its month must be there, or none."""
    contact_id = new_contact_id(at)
    conn.execute(
        """
        INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, purpose, rule,
                             pack, packs, zones, account_ids, release_hash, inputs)
        VALUES (%s, %s, %s, %s, %s, 'creditor', %s, 'reminder', 'planted', 'tests', '{baseline,tw}', '{Asia/Taipei}',
                %s, %s, %s)
        """,
        (customer.party_id, contact_id, at, customer.customer_id, lender, channel, [account_id], release,
         Jsonb({"zone_confirmed": True, "residence": "TW", "number_country": "TW", "days_past_due": [20]})),
    )  # fmt: skip
    conn.execute(
        """
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at)
        VALUES (%s, %s, %s, %s, 'dispatch', %s)
        """,
        (customer.party_id, contact_id, at, kind, at),
    )
    return contact_id
