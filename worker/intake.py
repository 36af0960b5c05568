"""A lender's file of accounts into the ledger: read, checked, sealed, merged and planned in one transaction.

The file's as-of date is the end of that day in the profile's zone: what was paid before that moment is in its balances,
what was paid after it is taken off them.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from config.lenders import check_ladders
from config.profiles import Profile
from domain.ladder import Ladder, Owed, first_step
from domain.lender import Lender
from storage import database, intake, payments
from storage.fresh import CustomerIds, Fresh, new_ids
from storage.intake import KnownAccount, KnownCustomer, Merged
from storage.rows import Conn
from storage.sealing import Keyring
from worker.accounts_file import CHUNK, AccountsFile, Debt, Taken
from worker.cases import planning_zone
from worker.csv_file import CsvFile, Progress, Rejects
from worker.entries import plan_entries
from worker.planner import reminder_for

#: A file as of today is taken in before the day is over; one from further ahead belongs to a rehearsal.
SLACK: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What an import did. `rejects` is the file that has the rejected rows; `notes` are sentences for the operator."""

    as_of: datetime
    rows: int
    rejected: int
    customers_new: int
    customers_changed: int
    accounts_new: int
    accounts_changed: int
    accounts_unchanged: int
    accounts_stale: int
    accounts_recalled: int
    planned: int
    cancelled: int
    rejects: Path | None
    notes: tuple[str, ...]


def import_accounts(
    conn_url: str,
    file: Path,
    profile: Profile,
    *,
    as_of: date,
    full: bool,
    keyring: Keyring,
    lenders: Mapping[str, Lender],
    ladders: Mapping[str, Ladder],
    rejects_path: Path | None,
    progress: Progress | None = None,
) -> IntakeReport:
    """Take a file in as of the end of a day; the same file again changes nothing.

    Rows that cannot be taken go to `rejects_path`. `full` says that the file holds all accounts of its lenders: those
    that are missing are closed as recalled. Raises ShapeError, with nothing changed, for a file that is not what the
    profile promises; DatabaseDown when the ledger cannot be reached.
    """
    check_ladders(lenders, ladders)
    with CsvFile(file, delimiter=profile.delimiter, progress=progress) as source, Rejects(rejects_path) as rejects:
        source.require([column.header for column in profile.columns], promised_by=f"profile {profile.id!r}")
        accounts = AccountsFile(profile, as_of, source, rejects, keyring, lenders)
        with (
            database.connect(conn_url, application_name="duly import") as conn,
            database.connect(conn_url, application_name="duly import, reading", autocommit=True) as reading,
        ):
            return _Intake(conn, reading, accounts, keyring, ladders).take_in(full=full)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Rows come and go by the hundred thousand and make no cycles: looking for some took a fifth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def planning_moment(as_of: datetime, now: datetime) -> datetime:
    """The moment to plan first steps from: the file's, or now for a file as of today."""
    return now if now < as_of <= now + SLACK else as_of


class _Where(NamedTuple):
    """Where a chunk's customers live, known and new, and the numbers of its new accounts."""

    customers: Mapping[tuple[str, str], CustomerIds]
    accounts: Mapping[tuple[str, str], int]


class _Intake:
    """One file on its way into the ledger.

    Everything is written by one transaction on `conn`. `reading` sees the ledger as it was before the file: what the
    file itself has brought so far is remembered here, so that a chunk need not wait for the one before it.
    """

    def __init__(
        self, conn: Conn, reading: Conn, source: AccountsFile, keyring: Keyring, ladders: Mapping[str, Ladder]
    ) -> None:
        self._conn, self._reading = conn, reading
        self._source, self._keyring, self._ladders = source, keyring, ladders
        self._as_of = source.as_of_moment
        self._said_by = f"profile:{source.profile.id}"
        self._lenders: set[str] = set()
        self._made: dict[tuple[str, str], CustomerIds] = {}
        self._new_customers = self._new_accounts = self._unchanged = self._stale = self._planned = 0

    def take_in(self, *, full: bool) -> IntakeReport:
        conn = self._conn
        now = intake.begin(conn)
        self._moment = planning_moment(self._as_of, now)
        self._read()
        merged = intake.merge(conn, as_of=self._as_of, source=self._said_by)
        cancelled = sum(payments.cancel(conn, which, reason=why, at=now) for why, which in merged.to_cancel.items())
        recalled, notes = self._recall() if full else ([], ())
        cancelled += payments.cancel(conn, recalled, reason="recalled", at=now)
        for start in range(0, len(merged.to_plan), CHUNK):
            self._planned += plan_entries(conn, merged.to_plan[start : start + CHUNK], self._ladders, now=self._moment)
        report = self._report(merged, len(recalled), cancelled=cancelled, notes=notes)
        self._record(report)
        return report

    def _read(self) -> None:
        """Take the file in by the chunk: while the database writes one, the next is read, checked and sealed."""
        with ThreadPoolExecutor(1, thread_name_prefix="intake-writer") as writer:
            writing: Future[None] | None = None
            for rows in self._source.chunks():
                sorted_out = self._sorted_out(rows)
                if writing is not None:
                    writing.result()
                writing = writer.submit(self._write, *sorted_out)
            if writing is not None:
                writing.result()

    def _sorted_out(self, rows: Sequence[Taken]) -> tuple[set[str], Fresh, intake.Staged]:
        """What a chunk of rows has that is new (its lenders, its customers and debts), and what it changes."""
        customers = intake.known_customers(self._reading, {row.key for row in rows})
        accounts = intake.known_accounts(
            self._reading, {(row.customer.lender_id, debt.ref) for row in rows for debt, _ in row.accounts}
        )
        changed, fresh = intake.Staged(), Fresh()
        changed.seen += [(row.customer.lender_id, debt.ref) for row in rows for debt, _ in row.accounts]
        admitted = [row for row in rows if self._source.admits(row, customers.get(row.key), accounts)]
        where = self._numbers(admitted, customers, accounts)
        for row in admitted:
            known = customers.get(row.key)
            if not self._source.is_again(row):
                if known is None:
                    self._add_customer(fresh, row, where.customers[row.key])
                elif known.row_hash != row.customer_hash:
                    self._stage_customer(changed, row, known)
            for debt, row_hash in row.accounts:
                ref = row.customer.lender_id, debt.ref
                if ref in where.accounts:
                    self._add_account(fresh, row, debt, row_hash, where)
                else:
                    self._stage_account(changed, ref, debt, row_hash, accounts[ref])
        changed.seen += self._source.faulty_accounts()
        lenders = {row.customer.lender_id for row in admitted} - self._lenders
        self._lenders |= lenders
        return lenders, fresh, changed

    def _write(self, lenders: set[str], fresh: Fresh, changed: intake.Staged) -> None:
        intake.add_lenders(self._conn, lenders)
        fresh.write(self._conn)
        intake.stage(self._conn, changed)

    def _numbers(
        self,
        rows: Sequence[Taken],
        customers: Mapping[tuple[str, str], KnownCustomer],
        accounts: Mapping[tuple[str, str], KnownAccount],
    ) -> "_Where":
        """Numbers for all that is new in a chunk, beside those of the customers that are known."""
        new_customers = list(
            dict.fromkeys(row.key for row in rows if row.key not in customers and row.key not in self._made)
        )
        refs = ((row.customer.lender_id, debt.ref) for row in rows for debt, _ in row.accounts)
        new_accounts = [ref for ref in refs if ref not in accounts]
        people, debts = new_ids(self._reading, customers=len(new_customers), accounts=len(new_accounts))
        self._new_customers += len(new_customers)
        self._new_accounts += len(new_accounts)
        self._made.update(zip(new_customers, people, strict=True))
        return _Where(
            {row.key: customers[row.key].ids if row.key in customers else self._made[row.key] for row in rows},
            dict(zip(new_accounts, debts, strict=True)),
        )

    def _add_customer(self, fresh: Fresh, row: Taken, ids: CustomerIds) -> None:
        customer = row.customer
        key, master_key_id, wrapped = self._keyring.new_customer_key()
        fresh.add_customer(
            ids,
            lender_id=customer.lender_id,
            external_ref=customer.ref,
            locale=customer.locale,
            residence=customer.residence,
            zones=customer.zones,
            zone_confirmed_at=_start_of(customer.zone_confirmed_on),
            refused_channels=customer.refused,
            household=customer.household,
            name_sealed=key.seal(customer.name.encode()),
            row_hash=row.customer_hash,
            master_key_id=master_key_id,
            wrapped_key=wrapped,
        )
        for priority, address in enumerate(row.addresses):
            fresh.add_address(
                ids,
                channel=address.channel.value,
                kind=address.kind,
                sealed=key.seal(address.value.encode()),
                lookup=self._keyring.lookup(address.channel, address.normalised),
                country=address.country,
                zones=address.zones,
                priority=priority,
            )
        given_at = _start_of(customer.consented_on)
        if given_at is not None:
            for channel in customer.consents:
                fresh.add_consent(ids, channel=channel, given_at=given_at, source=self._said_by)

    def _add_account(self, fresh: Fresh, row: Taken, debt: Debt, row_hash: bytes, where: "_Where") -> None:
        """A new debt, with its first step when it owes anything."""
        ids = where.customers[row.key]
        lender_id = row.customer.lender_id
        account_id = where.accounts[lender_id, debt.ref]
        fresh.add_account(
            ids,
            account_id,
            lender_id=lender_id,
            external_ref=debt.ref,
            product=debt.product,
            currency=debt.currency,
            balance_minor=debt.balance_minor,
            due_on=debt.due_on,
            ladder=debt.ladder,
            as_of=self._as_of,
            row_hash=row_hash,
        )
        owed = Owed(debt.due_on, debt.balance_minor, debt.currency, planning_zone(row.customer.zones))
        step = first_step(self._ladders[debt.ladder], owed, now=self._moment)
        if step is not None:
            self._planned += 1
            fresh.add_reminder(
                reminder_for(
                    step,
                    party_id=ids.party_id,
                    account_id=account_id,
                    lender_id=lender_id,
                    ladder=debt.ladder,
                    reachable={address.channel for address in row.addresses},
                )
            )

    def _stage_customer(self, changed: intake.Staged, row: Taken, known: KnownCustomer) -> None:
        assert known.master_key_id is not None  # the source does not admit customers that were erased
        assert known.wrapped_key is not None
        customer = row.customer
        key = self._keyring.open_customer_key(known.master_key_id, known.wrapped_key)
        changed.customers.append(
            intake.StagedCustomer(
                lender_id=customer.lender_id,
                external_ref=customer.ref,
                locale=customer.locale,
                residence=customer.residence,
                zones=list(customer.zones),
                zone_confirmed_at=_start_of(customer.zone_confirmed_on),
                refused_channels=list(customer.refused),
                household=customer.household,
                name_sealed=key.seal(customer.name.encode()),
                row_hash=row.customer_hash,
            )
        )
        changed.addresses.extend(
            intake.StagedAddress(
                lender_id=customer.lender_id,
                customer_ref=customer.ref,
                channel=address.channel.value,
                kind=address.kind,
                sealed=key.seal(address.value.encode()),
                lookup=self._keyring.lookup(address.channel, address.normalised),
                country=address.country,
                zones=list(address.zones),
                priority=priority,
            )
            for priority, address in enumerate(row.addresses)
        )
        given_at = _start_of(customer.consented_on)
        if given_at is not None:
            changed.consents.extend(
                intake.StagedConsent(customer.lender_id, customer.ref, channel, given_at)
                for channel in customer.consents
            )

    def _stage_account(
        self, changed: intake.Staged, ref: tuple[str, str], debt: Debt, row_hash: bytes, known: KnownAccount
    ) -> None:
        if known.as_of > self._as_of:
            self._stale += 1
            return
        if known.row_hash == row_hash and known.as_of == self._as_of and known.state != "recalled":
            self._unchanged += 1
            return
        changed.accounts.append(
            intake.StagedAccount(
                lender_id=ref[0],
                external_ref=debt.ref,
                product=debt.product,
                currency=debt.currency,
                balance_minor=debt.balance_minor,
                due_on=debt.due_on,
                ladder=debt.ladder,
                row_hash=row_hash,
            )
        )

    def _recall(self) -> tuple[list[tuple[int, int]], tuple[str, ...]]:
        """Close what the file no longer has, unless rows of it cannot be told from what is missing."""
        unattributed = self._source.unattributed
        if unattributed:
            return [], (
                f"{unattributed} rejected rows name no account that can be read, so no account was recalled: "
                "correct them and import the file again",
            )
        return intake.recall_missing(self._conn, self._lenders), ()

    def _report(self, merged: Merged, recalled: int, *, cancelled: int, notes: tuple[str, ...]) -> IntakeReport:
        rejects = self._source.rejects
        return IntakeReport(
            as_of=self._as_of,
            rows=self._source.rows,
            rejected=rejects.count,
            customers_new=self._new_customers,
            customers_changed=merged.customers_changed,
            accounts_new=self._new_accounts,
            accounts_changed=merged.accounts_changed,
            accounts_unchanged=self._unchanged + merged.accounts_restated,
            accounts_stale=self._stale,
            accounts_recalled=recalled,
            planned=self._planned,
            cancelled=cancelled,
            rejects=rejects.path if rejects.count else None,
            notes=(*self._source.notes(), *notes),
        )

    def _record(self, report: IntakeReport) -> None:
        intake.record(
            self._conn,
            kind="accounts",
            profile=self._source.profile.id,
            file_sha256=self._source.sha256,
            as_of=report.as_of,
            rows_read=report.rows,
            rows_rejected=report.rejected,
            counts={name: getattr(report, name) for name in _COUNTS},
        )


_COUNTS: Final = (
    "customers_new", "customers_changed", "accounts_new", "accounts_changed", "accounts_unchanged", "accounts_stale",
    "accounts_recalled", "planned", "cancelled",
)  # fmt: skip


def _start_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), tzinfo=UTC)
