"""A lender's file against the ledger: what it changes is staged by COPY and merged by a handful of statements.

What is new goes straight in (`storage/fresh.py`), in the same transaction.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from psycopg.types.json import Jsonb

from storage.fresh import CustomerIds
from storage.payments import lock_parties
from storage.rows import Conn, copy_in, transpose

#: "duly" and a number: one file is taken in at a time, whoever runs the command.
INTAKE_LOCK: Final = 0x64756C7901


class StagedCustomer(NamedTuple):
    """A customer of whom the file says something else than before."""

    lender_id: str
    external_ref: str
    locale: str
    residence: str | None
    zones: list[str]
    zone_confirmed_at: datetime | None
    refused_channels: list[str]
    household: str | None
    name_sealed: bytes
    row_hash: bytes


class StagedAddress(NamedTuple):
    """One address of a staged customer."""

    lender_id: str
    customer_ref: str
    channel: str
    kind: str
    sealed: bytes
    lookup: bytes
    country: str | None
    zones: list[str]
    priority: int


class StagedConsent(NamedTuple):
    """A consent of a staged customer, for every address of the channel."""

    lender_id: str
    customer_ref: str
    channel: str
    given_at: datetime


class StagedAccount(NamedTuple):
    """A known debt that is changed, or stated anew as of a later day."""

    lender_id: str
    external_ref: str
    product: str | None
    currency: str
    balance_minor: int
    due_on: date
    ladder: str
    row_hash: bytes


@dataclass(slots=True)
class Staged:
    """One chunk on its way beside the ledger. `seen` are all its accounts, changed or not: (lender, reference)."""

    customers: list[StagedCustomer] = field(default_factory=list)
    addresses: list[StagedAddress] = field(default_factory=list)
    consents: list[StagedConsent] = field(default_factory=list)
    accounts: list[StagedAccount] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)


class KnownCustomer(NamedTuple):
    """What the ledger has of a customer; `wrapped_key` is None once the customer was erased."""

    ids: CustomerIds
    row_hash: bytes
    master_key_id: str | None
    wrapped_key: bytes | None


class KnownAccount(NamedTuple):
    """What the ledger has of an account."""

    customer_ref: str
    currency: str
    state: str
    as_of: datetime
    row_hash: bytes


class Merged(NamedTuple):
    """What a merge did, in numbers, and the accounts (party, account) to plan for and to cancel for, by reason."""

    customers_changed: int
    accounts_changed: int
    accounts_restated: int
    to_plan: list[tuple[int, int]]
    to_cancel: dict[str, list[tuple[int, int]]]


_CUSTOMER = {
    "lender_id": "text", "external_ref": "text", "locale": "text", "residence": "text", "zones": "text[]",
    "zone_confirmed_at": "timestamptz", "refused_channels": "text[]", "household": "text", "name_sealed": "bytea",
    "row_hash": "bytea",
}  # fmt: skip

_ADDRESS = {
    "lender_id": "text", "customer_ref": "text", "channel": "text", "kind": "text", "sealed": "bytea",
    "lookup": "bytea", "country": "text", "zones": "text[]", "priority": "int2",
}  # fmt: skip

_CONSENT = {"lender_id": "text", "customer_ref": "text", "channel": "text", "given_at": "timestamptz"}

_ACCOUNT = {
    "lender_id": "text", "external_ref": "text", "product": "text", "currency": "text",
    "balance_minor": "int8", "due_on": "date", "ladder": "text", "row_hash": "bytea",
}  # fmt: skip

_SEEN = {"lender_id": "text", "external_ref": "text"}

_STAGED: Final[Mapping[str, Mapping[str, str]]] = {
    "staged_customer": _CUSTOMER,
    "staged_address": _ADDRESS,
    "staged_consent": _CONSENT,
    "staged_account": _ACCOUNT,
    "seen_account": _SEEN,
}


def begin(conn: Conn) -> datetime:
    """Wait for any other file, make the staging tables of this transaction, and read business time."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (INTAKE_LOCK,))
    for table, columns in _STAGED.items():
        listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        conn.execute(f"CREATE TEMP TABLE {table} ({listed}) ON COMMIT DROP".encode())  # names of our own, above
    return business_now(conn)


def business_now(conn: Conn) -> datetime:
    """What time it is in the ledger's world."""
    row = conn.execute("SELECT business_now()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


def known_customers(conn: Conn, refs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], KnownCustomer]:
    """What the ledger has of customers by (lender, reference)."""
    rows = conn.execute(
        """
        SELECT c.lender_id, c.external_ref, c.party_id, c.customer_id, c.row_hash, k.master_key_id, k.wrapped_key
        FROM unnest(%s::text[], %s::text[]) AS v(lender_id, ref)
        JOIN customer c ON c.lender_id = v.lender_id AND c.external_ref = v.ref
        LEFT JOIN customer_key k ON k.party_id = c.party_id AND k.customer_id = c.customer_id
        """,
        transpose(list(refs), 2),
        binary=True,
    )
    return {(row[0], row[1]): KnownCustomer(CustomerIds(row[2], row[3]), *row[4:]) for row in rows}


def known_accounts(conn: Conn, refs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], KnownAccount]:
    """What the ledger has of accounts by (lender, reference)."""
    rows = conn.execute(
        """
        SELECT a.lender_id, a.external_ref, c.external_ref, a.currency, a.state, a.as_of, a.row_hash
        FROM unnest(%s::text[], %s::text[]) AS v(lender_id, ref)
        JOIN account a ON a.lender_id = v.lender_id AND a.external_ref = v.ref
        JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
        """,
        transpose(list(refs), 2),
        binary=True,
    )
    return {(row[0], row[1]): KnownAccount._make(row[2:]) for row in rows}


def stage(conn: Conn, staged: Staged) -> None:
    """Put one chunk of a file beside the ledger."""
    copy_in(conn, "staged_customer", _CUSTOMER, staged.customers)
    copy_in(conn, "staged_address", _ADDRESS, staged.addresses)
    copy_in(conn, "staged_consent", _CONSENT, staged.consents)
    copy_in(conn, "staged_account", _ACCOUNT, staged.accounts)
    copy_in(conn, "seen_account", _SEEN, staged.seen)


def merge(conn: Conn, *, as_of: datetime, source: str) -> Merged:
    """Take everything staged into the ledger, under the locks of the parties it touches."""
    conn.execute("ANALYZE staged_customer, staged_address, staged_consent, staged_account, seen_account")
    conn.execute(_LOCK_TOUCHED)
    changed_customers = conn.execute(_CHANGE_CUSTOMERS).rowcount
    conn.execute(_RETIRE_ADDRESSES, {"as_of": as_of})
    conn.execute(_UPSERT_ADDRESSES)
    conn.execute(_WITHDRAW_CONSENTS, {"as_of": as_of, "source": source})
    conn.execute(_UPSERT_CONSENTS, {"source": source})
    moved = conn.execute(_CHANGE_ACCOUNTS, {"as_of": as_of}).fetchall()
    conn.execute(_BUMP_CHANGED_CUSTOMERS)
    _bump(conn, {party for party, _, *differs in moved if any(differs)})
    to_plan: list[tuple[int, int]] = []
    paid: list[tuple[int, int]] = []
    due_moved: list[tuple[int, int]] = []
    for party, account, _, has_moved, is_now_paid, has_reopened in moved:
        if is_now_paid:
            paid.append((party, account))
        elif has_moved:
            due_moved.append((party, account))
        if not is_now_paid and (has_moved or has_reopened):
            to_plan.append((party, account))
    changed = sum(1 for row in moved if any(row[2:]))
    return Merged(
        customers_changed=changed_customers,
        accounts_changed=changed,
        accounts_restated=len(moved) - changed,
        to_plan=to_plan,
        to_cancel={"paid": paid, "due_date_changed": due_moved},
    )


def recall_missing(conn: Conn, lenders: Iterable[str]) -> list[tuple[int, int]]:
    """Close the accounts of lenders that the file no longer has; which (party, account) they were."""
    names = sorted(lenders)
    missing = conn.execute(
        """
        SELECT a.party_id, a.account_id FROM account a
        WHERE a.lender_id = ANY(%s) AND a.state <> 'recalled'
          AND NOT EXISTS (SELECT 1 FROM seen_account s
                          WHERE s.lender_id = a.lender_id AND s.external_ref = a.external_ref)
        ORDER BY a.party_id, a.account_id
        """,
        (names,),
    ).fetchall()
    accounts = [(party, account) for party, account in missing]
    parties = sorted({party for party, _ in accounts})
    lock_parties(conn, parties)
    _bump(conn, parties)
    conn.execute(
        """
        UPDATE account a SET state = 'recalled', updated_at = clock_timestamp()
        FROM unnest(%s::bigint[], %s::bigint[]) AS v(party_id, account_id)
        WHERE a.party_id = v.party_id AND a.account_id = v.account_id
        """,
        transpose(accounts, 2),
    )
    return accounts


def add_lenders(conn: Conn, lenders: Collection[str]) -> None:
    """Make lenders known to the ledger."""
    if not lenders:
        return
    conn.execute("INSERT INTO lender (lender_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (sorted(lenders),))


def record(
    conn: Conn,
    *,
    kind: str,
    profile: str,
    file_sha256: str,
    as_of: datetime | None,
    rows_read: int,
    rows_rejected: int,
    counts: Mapping[str, Any],
) -> int:
    """Note that a file was taken in; its number."""
    row = conn.execute(
        """
        INSERT INTO intake (kind, profile, file_sha256, as_of, rows_read, rows_rejected, counts)
        VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING intake_id
        """,
        (kind, profile, file_sha256, as_of, rows_read, rows_rejected, Jsonb(dict(counts))),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _bump(conn: Conn, parties: Iterable[int]) -> None:
    conn.execute("UPDATE party SET stop_epoch = stop_epoch + 1 WHERE party_id = ANY(%s)", (sorted(parties),))


# Everybody of whom something may change, in party order.
_LOCK_TOUCHED: Final = """
    SELECT 1 FROM party WHERE party_id IN (
        SELECT c.party_id FROM staged_customer s
        JOIN customer c ON c.lender_id = s.lender_id AND c.external_ref = s.external_ref
        UNION
        SELECT a.party_id FROM staged_account s
        JOIN account a ON a.lender_id = s.lender_id AND a.external_ref = s.external_ref)
    ORDER BY party_id FOR NO KEY UPDATE
"""

# What a customer told us (a refused channel) stays, whatever the lender's file forgets.
_CHANGE_CUSTOMERS: Final = """
    UPDATE customer c SET locale = s.locale, residence = s.residence, zones = s.zones,
        zone_confirmed_at = s.zone_confirmed_at, household = s.household, name_sealed = s.name_sealed,
        refused_channels = ARRAY(SELECT DISTINCT unnest(c.refused_channels || s.refused_channels)),
        row_hash = s.row_hash, updated_at = clock_timestamp()
    FROM staged_customer s
    WHERE c.lender_id = s.lender_id AND c.external_ref = s.external_ref
"""

_BUMP_CHANGED_CUSTOMERS: Final = """
    UPDATE party SET stop_epoch = stop_epoch + 1 WHERE party_id IN (
        SELECT c.party_id FROM staged_customer s
        JOIN customer c ON c.lender_id = s.lender_id AND c.external_ref = s.external_ref)
"""

_RETIRE_ADDRESSES: Final = """
    UPDATE address d SET retired_at = %(as_of)s, retired_reason = 'left_the_file'
    FROM staged_customer s JOIN customer c ON c.lender_id = s.lender_id AND c.external_ref = s.external_ref
    WHERE d.party_id = c.party_id AND d.customer_id = c.customer_id AND d.retired_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM staged_address t WHERE t.lender_id = s.lender_id
                      AND t.customer_ref = s.external_ref AND t.channel = d.channel AND t.lookup = d.lookup)
"""

# An address that was retired for another reason (it bounced, its owner said stop) stays retired.
_UPSERT_ADDRESSES: Final = """
    INSERT INTO address (party_id, customer_id, channel, kind, sealed, lookup, country, zones, priority)
    SELECT c.party_id, c.customer_id, t.channel, t.kind, t.sealed, t.lookup, t.country, t.zones, t.priority
    FROM staged_address t JOIN customer c ON c.lender_id = t.lender_id AND c.external_ref = t.customer_ref
    ORDER BY c.party_id, t.priority
    ON CONFLICT (party_id, customer_id, channel, lookup) DO UPDATE SET
        kind = excluded.kind, country = excluded.country, zones = excluded.zones, priority = excluded.priority,
        retired_at = CASE WHEN address.retired_reason = 'left_the_file' THEN NULL ELSE address.retired_at END,
        retired_reason = CASE WHEN address.retired_reason = 'left_the_file' THEN NULL ELSE address.retired_reason END
"""

# Only what a file once said is taken back by a file.
_WITHDRAW_CONSENTS: Final = """
    UPDATE consent k SET withdrawn_at = %(as_of)s
    FROM staged_customer s JOIN customer c ON c.lender_id = s.lender_id AND c.external_ref = s.external_ref
    WHERE k.party_id = c.party_id AND k.customer_id = c.customer_id
      AND k.source = %(source)s AND k.lookup IS NULL AND k.withdrawn_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM staged_consent t WHERE t.lender_id = s.lender_id
                      AND t.customer_ref = s.external_ref AND t.channel = k.channel)
"""

# A consent that was withdrawn comes back only by one that was given after.
_UPSERT_CONSENTS: Final = """
    INSERT INTO consent (party_id, customer_id, channel, given_at, source)
    SELECT c.party_id, c.customer_id, t.channel, t.given_at, %(source)s
    FROM staged_consent t JOIN customer c ON c.lender_id = t.lender_id AND c.external_ref = t.customer_ref
    ORDER BY c.party_id
    ON CONFLICT (party_id, customer_id, channel, purpose, lookup) DO UPDATE SET
        given_at = excluded.given_at, withdrawn_at = NULL, source = excluded.source
    WHERE consent.withdrawn_at IS NOT NULL AND excluded.given_at > consent.withdrawn_at
"""

# The balance as the file gives it, less what was paid after the moment it was true. The ladder is chosen anew only with
# a new due date: a debt does not change its treatment half-way. What differs comes back as four claims per account.
_CHANGE_ACCOUNTS: Final = """
    WITH fresh AS (
        SELECT a.party_id, a.account_id, s.product, s.due_on, s.ladder, s.row_hash,
               s.balance_minor - coalesce((
                   SELECT sum(CASE p.kind WHEN 'payment' THEN p.amount_minor ELSE -p.amount_minor END)::bigint
                   FROM payment p WHERE p.party_id = a.party_id AND p.account_id = a.account_id
                     AND p.paid_at >= %(as_of)s), 0) AS balance_minor,
               a.balance_minor AS old_balance, a.due_on AS old_due_on, a.state AS old_state
        FROM staged_account s JOIN account a ON a.lender_id = s.lender_id AND a.external_ref = s.external_ref
    )
    UPDATE account a SET product = f.product, balance_minor = f.balance_minor, due_on = f.due_on,
        state = CASE WHEN f.balance_minor > 0 THEN 'open' ELSE 'paid' END,
        ladder = CASE WHEN f.due_on <> f.old_due_on THEN f.ladder ELSE a.ladder END,
        as_of = %(as_of)s, row_hash = f.row_hash, updated_at = clock_timestamp()
    FROM fresh f WHERE a.party_id = f.party_id AND a.account_id = f.account_id
    RETURNING a.party_id, a.account_id, f.balance_minor <> f.old_balance OR a.product IS DISTINCT FROM f.product,
              f.due_on <> f.old_due_on,
              f.balance_minor <= 0 AND f.old_state = 'open',
              f.balance_minor > 0 AND f.old_state <> 'open'
"""
