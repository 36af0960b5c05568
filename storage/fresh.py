"""New customers and debts: lines of text that COPY takes straight into their tables, without staging.

Lines are built here because psycopg's row by row adaptation costs two to five times as much as a join.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from psycopg import sql

from domain.reminder import NewReminder
from storage.rows import Conn

_TABLES: Final = {
    "party": ("party_id",),
    "customer": (
        "party_id", "customer_id", "lender_id", "external_ref", "locale", "residence", "zones", "zone_confirmed_at",
        "refused_channels", "household", "name_sealed", "row_hash",
    ),
    "customer_key": ("party_id", "customer_id", "master_key_id", "wrapped_key"),
    "address": (
        "party_id", "customer_id", "channel", "kind", "sealed", "lookup", "country", "zones", "priority",
    ),
    "consent": ("party_id", "customer_id", "channel", "given_at", "source"),
    "account": (
        "party_id", "account_id", "customer_id", "lender_id", "external_ref", "product", "currency", "balance_minor",
        "due_on", "state", "ladder", "as_of", "row_hash",
    ),
    "reminder": (
        "party_id", "account_id", "lender_id", "ladder", "step", "stage", "channel", "shard", "planned_for", "due_at",
        "expires_at",
    ),
}  # fmt: skip

#: What COPY's text format gives a meaning to.
_SPECIAL: Final = re.compile(r"[\\\t\n\r]")
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


class CustomerIds(NamedTuple):
    """Where a customer lives in the ledger."""

    party_id: int
    customer_id: int


class Fresh:
    """New rows by table, gathered for one COPY each. Values are checked already."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {table: [] for table in _TABLES}

    def add_customer(
        self,
        ids: CustomerIds,
        *,
        lender_id: str,
        external_ref: str,
        locale: str,
        residence: str | None,
        zones: Sequence[str],
        zone_confirmed_at: datetime | None,
        refused_channels: Sequence[str],
        household: str | None,
        name_sealed: bytes,
        row_hash: bytes,
        master_key_id: str,
        wrapped_key: bytes,
    ) -> None:
        """A customer with a party and a key of its own."""
        who = f"{ids.party_id}\t{ids.customer_id}"
        self._lines["party"].append(f"{ids.party_id}\n")
        self._lines["customer"].append(
            f"{who}\t{lender_id}\t{_text(external_ref)}\t{_text(locale)}\t{_text(residence)}\t{_array(zones)}\t"
            f"{_moment(zone_confirmed_at)}\t{_array(refused_channels)}\t{_text(household)}\t\\\\x{name_sealed.hex()}\t"
            f"\\\\x{row_hash.hex()}\n"
        )
        self._lines["customer_key"].append(f"{who}\t{_text(master_key_id)}\t\\\\x{wrapped_key.hex()}\n")

    def add_address(
        self,
        ids: CustomerIds,
        *,
        channel: str,
        kind: str,
        sealed: bytes,
        lookup: bytes,
        country: str | None,
        zones: Sequence[str],
        priority: int,
    ) -> None:
        self._lines["address"].append(
            f"{ids.party_id}\t{ids.customer_id}\t{channel}\t{kind}\t\\\\x{sealed.hex()}\t\\\\x{lookup.hex()}\t"
            f"{_text(country)}\t{_array(zones)}\t{priority}\n"
        )

    def add_consent(self, ids: CustomerIds, *, channel: str, given_at: datetime, source: str) -> None:
        self._lines["consent"].append(
            f"{ids.party_id}\t{ids.customer_id}\t{channel}\t{_moment(given_at)}\t{_text(source)}\n"
        )

    def add_account(
        self,
        ids: CustomerIds,
        account_id: int,
        *,
        lender_id: str,
        external_ref: str,
        product: str | None,
        currency: str,
        balance_minor: int,
        due_on: date,
        ladder: str,
        as_of: datetime,
        row_hash: bytes,
    ) -> None:
        """A debt; one of zero or less is paid already."""
        state = "open" if balance_minor > 0 else "paid"
        self._lines["account"].append(
            f"{ids.party_id}\t{account_id}\t{ids.customer_id}\t{lender_id}\t{_text(external_ref)}\t{_text(product)}\t"
            f"{currency}\t{balance_minor}\t{due_on.isoformat()}\t{state}\t{_text(ladder)}\t{_moment(as_of)}\t"
            f"\\\\x{row_hash.hex()}\n"
        )

    def add_reminder(self, row: NewReminder) -> None:
        self._lines["reminder"].append(
            f"{row.party_id}\t{row.account_id}\t{row.lender_id}\t{_text(row.ladder)}\t{_text(row.step)}\t{row.stage}\t"
            f"{row.channel.value}\t{row.shard}\t{_moment(row.due_at)}\t{_moment(row.due_at)}\t"
            f"{_moment(row.expires_at)}\n"
        )

    def write(self, conn: Conn) -> None:
        """COPY everything into its table, parents first."""
        for table, lines in self._lines.items():
            if lines:
                statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
                    sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, _TABLES[table]))
                )
                with conn.cursor() as cursor, cursor.copy(statement) as copy:
                    copy.write("".join(lines))


def new_ids(conn: Conn, *, customers: int, accounts: int) -> tuple[list[CustomerIds], list[int]]:
    """Numbers for that many new customers (each a party of its own) and accounts."""
    who = conn.execute(
        """
        SELECT nextval(pg_get_serial_sequence('party', 'party_id')),
               nextval(pg_get_serial_sequence('customer', 'customer_id')) FROM generate_series(1, %s)
        """,
        (customers,),
        binary=True,
    ).fetchall()
    what = conn.execute(
        "SELECT nextval(pg_get_serial_sequence('account', 'account_id')) FROM generate_series(1, %s)",
        (accounts,),
        binary=True,
    ).fetchall()
    return [CustomerIds._make(row) for row in who], [row[0] for row in what]


def _text(value: str | None) -> str:
    if value is None:
        return "\\N"
    return value if _SPECIAL.search(value) is None else _SPECIAL.sub(lambda found: _ESCAPES[found[0]], value)


def _moment(value: datetime | None) -> str:
    return "\\N" if value is None else value.isoformat()


def _array(values: Iterable[str]) -> str:
    """An array of plain names: zones and channels hold nothing that would need quotes."""
    return f"{{{','.join(values)}}}"
