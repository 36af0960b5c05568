"""People with something due, by the hundred: whom the storm falls upon.

Most are alone with one debt and a phone. One in ten has two debts that one message covers, and one in ten shares a
party with somebody on another channel, so that two workers reach for the same last slot of the day.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from domain.channel import AddressChannel, Channel
from domain.lane import shard_of
from storage.rows import Conn, copy_in
from storage.sealing import Keyring

LENDER = "lantern"

_CUSTOMER = {
    "party_id": "int8", "customer_id": "int8", "lender_id": "text", "external_ref": "text", "locale": "text",
    "residence": "text", "zones": "text[]", "zone_confirmed_at": "timestamptz", "name_sealed": "bytea",
    "row_hash": "bytea",
}  # fmt: skip
_KEY = {"party_id": "int8", "customer_id": "int8", "master_key_id": "text", "wrapped_key": "bytea"}
_ADDRESS = {
    "party_id": "int8", "customer_id": "int8", "channel": "text", "sealed": "bytea", "lookup": "bytea",
    "country": "text", "zones": "text[]",
}  # fmt: skip
_CONSENT = {
    "party_id": "int8", "customer_id": "int8", "channel": "text", "given_at": "timestamptz", "source": "text",
}  # fmt: skip
_ACCOUNT = {
    "party_id": "int8", "account_id": "int8", "customer_id": "int8", "lender_id": "text", "external_ref": "text",
    "product": "text", "currency": "text", "balance_minor": "int8", "due_on": "date", "state": "text", "ladder": "text",
    "as_of": "timestamptz", "row_hash": "bytea",
}  # fmt: skip
_REMINDER = {
    "party_id": "int8", "account_id": "int8", "lender_id": "text", "ladder": "text", "step": "text", "stage": "text",
    "channel": "text", "shard": "int2", "planned_for": "timestamptz", "due_at": "timestamptz",
    "expires_at": "timestamptz",
}  # fmt: skip


class Planted(NamedTuple):
    """One customer with reminders due."""

    party_id: int
    customer_id: int
    account_refs: tuple[str, ...]
    phone: str


class Wanted(NamedTuple):
    """What to plant: the party's first customer or a second one, by which channel, how many debts."""

    channel: Channel
    debts: int = 1
    joins: bool = False  # the party of the one before
    ref: str = ""  # how the accounts' references begin


def a_mixture(dice: Random, number: int) -> list[Wanted]:
    """So many people as a lender has them."""
    wanted: list[Wanted] = []
    while len(wanted) < number:
        draw = dice.random()
        if draw < 0.1 and len(wanted) + 2 <= number:
            wanted += [Wanted(Channel.SMS), Wanted(Channel.EMAIL, joins=True)]
        elif draw < 0.2:
            wanted.append(Wanted(Channel.SMS, debts=2))
        else:
            wanted.append(Wanted(Channel.EMAIL if draw < 0.35 else Channel.SMS))
    return wanted


def plant(conn: Conn, keyring: Keyring, wanted: Sequence[Wanted], *, now: datetime) -> list[Planted]:
    """Make them, each with a first notice due now, in one transaction."""
    with conn.transaction():
        parties = _new_ids(conn, "party", "party_id", sum(not each.joins for each in wanted))
        customers = _new_ids(conn, "customer", "customer_id", len(wanted))
        accounts = _new_ids(conn, "account", "account_id", sum(each.debts for each in wanted))
        rows = _Rows(keyring, now)
        planted = []
        for each in wanted:
            party = planted[-1].party_id if each.joins else parties.pop()
            planted.append(rows.add(each, party, customers.pop(), [accounts.pop() for _ in range(each.debts)]))
        copy_in(conn, "party", {"party_id": "int8"}, [(party,) for party in sorted({one.party_id for one in planted})])
        copy_in(conn, "customer", _CUSTOMER, rows.customers)
        copy_in(conn, "customer_key", _KEY, rows.keys)
        copy_in(conn, "address", _ADDRESS, rows.addresses)
        copy_in(conn, "consent", _CONSENT, rows.consents)
        copy_in(conn, "account", _ACCOUNT, rows.accounts)
        copy_in(conn, "reminder", _REMINDER, rows.reminders)
    return planted


def _new_ids(conn: Conn, table: str, column: str, number: int) -> list[int]:
    """Ascending when popped."""
    rows = conn.execute(
        "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)", (table, column, number)
    ).fetchall()
    return sorted((row[0] for row in rows), reverse=True)


class _Rows:
    """Rows by table."""

    def __init__(self, keyring: Keyring, now: datetime) -> None:
        self._keyring = keyring
        self._now = now
        self.customers: list[tuple[object, ...]] = []
        self.keys: list[tuple[object, ...]] = []
        self.addresses: list[tuple[object, ...]] = []
        self.consents: list[tuple[object, ...]] = []
        self.accounts: list[tuple[object, ...]] = []
        self.reminders: list[tuple[object, ...]] = []

    def add(self, wanted: Wanted, party: int, customer: int, accounts: Sequence[int]) -> Planted:
        now = self._now
        yesterday = now - timedelta(days=1)
        key, master, wrapped = self._keyring.new_customer_key()
        ref = f"C{customer}"
        phone, mail = f"+8869{customer:08d}", f"customer-{customer}@mail.example"
        self.customers.append(
            (
                party,
                customer,
                LENDER,
                ref,
                "en",
                "TW",
                ["Asia/Taipei"],
                now - timedelta(days=30),
                key.seal(ref.encode()),
                b"",
            )
        )
        self.keys.append((party, customer, master, wrapped))
        for kind, clear, country in (
            (AddressChannel.PHONE, phone, "TW"), (AddressChannel.EMAIL, mail, None),
        ):  # fmt: skip
            zones = ["Asia/Taipei"] if country else []
            sealed, lookup = key.seal(clear.encode()), self._keyring.lookup(kind, clear)
            if kind == AddressChannel.PHONE and wanted.channel is Channel.EMAIL:
                continue  # reached by mail alone
            self.addresses.append((party, customer, kind.value, sealed, lookup, country, zones))
        for channel in (Channel.SMS, Channel.EMAIL):
            self.consents.append((party, customer, channel.value, now - timedelta(days=400), "tests"))
        refs = tuple(f"{wanted.ref}A{account}" for account in accounts)
        for account, account_ref in zip(accounts, refs, strict=True):
            self.accounts.append(
                (party, account, customer, LENDER, account_ref, "card", "TWD", 123_400, yesterday.date(),
                 "open", "standard", yesterday, b"")
            )  # fmt: skip
            self.reminders.append(
                (party, account, LENDER, "standard", "first_notice", "initial", wanted.channel.value, shard_of(party),
                 now, now, now + timedelta(days=3))
            )  # fmt: skip
        return Planted(party, customer, refs, phone)
