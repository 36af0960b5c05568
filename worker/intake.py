"""A lender's file of accounts into the ledger: read, checked, sealed, merged and planned in one transaction.

The file's as-of date is the end of that day in the profile's zone: what was paid before that moment is in its balances,
what was paid after it is taken off them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

from config.lenders import check_ladders
from config.profiles import Profile, RowFault
from domain.ladder import Ladder
from domain.lender import Lender
from storage import database, intake, payments
from storage.intake import KnownAccount, KnownCustomer, Merged
from storage.rows import Conn
from storage.sealing import CustomerKey, Keyring
from worker.accounts_file import CHUNK, AccountsFile, Taken
from worker.csv_file import CsvFile, Progress, Rejects
from worker.entries import plan_entries

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
        with database.connect(conn_url, application_name="duly import") as conn:
            return _Intake(conn, accounts, keyring, ladders).take_in(full=full)


def planning_moment(as_of: datetime, now: datetime) -> datetime:
    """The moment to plan first steps from: the file's, or now for a file as of today."""
    return now if now < as_of <= now + SLACK else as_of


class _Intake:
    """One file on its way into the ledger."""

    def __init__(self, conn: Conn, source: AccountsFile, keyring: Keyring, ladders: Mapping[str, Ladder]) -> None:
        self._conn, self._source, self._keyring, self._ladders = conn, source, keyring, ladders
        self._as_of = source.as_of_moment
        self._lenders: set[str] = set()
        self._unchanged = self._stale = 0

    def take_in(self, *, full: bool) -> IntakeReport:
        conn = self._conn
        now = intake.begin(conn)
        for rows in self._source.chunks():
            self._stage(rows)
        intake.add_lenders(conn, self._lenders)
        merged = intake.merge(conn, as_of=self._as_of, source=f"profile:{self._source.profile.id}")
        cancelled = sum(payments.cancel(conn, which, reason=why, at=now) for why, which in merged.to_cancel.items())
        recalled, notes = self._recall() if full else ([], ())
        cancelled += payments.cancel(conn, recalled, reason="recalled", at=now)
        moment = planning_moment(self._as_of, now)
        planned = sum(
            plan_entries(conn, merged.to_plan[start : start + CHUNK], self._ladders, now=moment)
            for start in range(0, len(merged.to_plan), CHUNK)
        )
        report = self._report(merged, len(recalled), planned=planned, cancelled=cancelled, notes=notes)
        self._record(report)
        return report

    def _stage(self, rows: Sequence[Taken]) -> None:
        """Put beside the ledger what is new or different in a chunk of rows."""
        customers = intake.known_customers(self._conn, {row.key for row in rows})
        accounts = intake.known_accounts(
            self._conn, {(row.customer.lender_id, debt.ref) for row in rows for debt, _ in row.accounts}
        )
        staged = intake.Staged()
        for row in rows:
            self._lenders.add(row.customer.lender_id)
            staged.seen += [(row.customer.lender_id, debt.ref) for debt, _ in row.accounts]
            try:
                self._source.admit(row, customers.get(row.key), accounts)
            except RowFault as fault:
                self._source.reject(row.line, fault)
                continue
            self._stage_customer(staged, row, customers.get(row.key))
            self._stage_accounts(staged, row, accounts)
        staged.seen += self._source.faulty_accounts()
        intake.stage(self._conn, staged)

    def _stage_customer(self, staged: intake.Staged, row: Taken, known: KnownCustomer | None) -> None:
        if self._source.is_again(row) or (known is not None and known.row_hash == row.customer_hash):
            return
        customer = row.customer
        key, master_key_id, wrapped = self._key(known)
        staged.customers.append(
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
                master_key_id=master_key_id,
                wrapped_key=wrapped,
            )
        )
        staged.addresses.extend(
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
            staged.consents.extend(
                intake.StagedConsent(customer.lender_id, customer.ref, channel, given_at)
                for channel in customer.consents
            )

    def _key(self, known: KnownCustomer | None) -> tuple[CustomerKey, str | None, bytes | None]:
        """The customer's key; for a new customer also what to store of it."""
        if known is None or known.master_key_id is None or known.wrapped_key is None:
            return self._keyring.new_customer_key()
        return self._keyring.open_customer_key(known.master_key_id, known.wrapped_key), None, None

    def _stage_accounts(
        self, staged: intake.Staged, row: Taken, accounts: Mapping[tuple[str, str], KnownAccount]
    ) -> None:
        for debt, row_hash in row.accounts:
            known = accounts.get((row.customer.lender_id, debt.ref))
            if known is not None and known.as_of > self._as_of:
                self._stale += 1
                continue
            if known is not None and self._says_nothing_new(known, row_hash):
                self._unchanged += 1
                continue
            staged.accounts.append(
                intake.StagedAccount(
                    lender_id=row.customer.lender_id,
                    external_ref=debt.ref,
                    customer_ref=row.customer.ref,
                    product=debt.product,
                    currency=debt.currency,
                    balance_minor=debt.balance_minor,
                    due_on=debt.due_on,
                    ladder=debt.ladder,
                    row_hash=row_hash,
                )
            )

    def _says_nothing_new(self, known: KnownAccount, row_hash: bytes) -> bool:
        return known.row_hash == row_hash and known.as_of == self._as_of and known.state != "recalled"

    def _recall(self) -> tuple[list[tuple[int, int]], tuple[str, ...]]:
        """Close what the file no longer has, unless rows of it cannot be told from what is missing."""
        unattributed = self._source.unattributed
        if unattributed:
            return [], (
                f"{unattributed} rejected rows name no account that can be read, so no account was recalled: "
                "correct them and import the file again",
            )
        return intake.recall_missing(self._conn, self._lenders), ()

    def _report(
        self, merged: Merged, recalled: int, *, planned: int, cancelled: int, notes: tuple[str, ...]
    ) -> IntakeReport:
        rejects = self._source.rejects
        return IntakeReport(
            as_of=self._as_of,
            rows=self._source.rows,
            rejected=rejects.count,
            customers_new=merged.customers_new,
            customers_changed=merged.customers_changed,
            accounts_new=merged.accounts_new,
            accounts_changed=merged.accounts_changed,
            accounts_unchanged=self._unchanged + merged.accounts_restated,
            accounts_stale=self._stale,
            accounts_recalled=recalled,
            planned=planned,
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
