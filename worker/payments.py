"""Payments and reversals, from a lender's file or one by one: what is paid is not reminded of any more."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from config.ladders import load_ladders
from config.profiles import RowFault
from domain.ladder import Ladder
from domain.money import BadMoney, parse_major
from storage import database, intake, payments, releases
from storage.payments import AccountRow, NewPayment, PaymentRow
from storage.rows import Conn
from worker.csv_file import CsvFile, Progress, Rejects, moment_of
from worker.entries import plan_entries

#: Without these a file is no payment file; `kind` and `reverses` may be absent when it holds payments only.
COLUMNS: Final = ("lender", "account", "payment_ref", "amount", "currency", "paid_at")

KINDS: Final = ("payment", "reversal")

#: A payment dated further ahead than this is a slip of the pen.
AHEAD: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came in, or (`kind` reversal) went back. `payment_ref` is the lender's own and unique with it.

    `amount_minor` is above zero for both kinds; `reverses` is the reference of the payment that a reversal takes back.
    """

    lender_id: str
    account_ref: str
    payment_ref: str
    amount_minor: int
    currency: str
    paid_at: datetime
    kind: str = "payment"
    reverses: str | None = None


class Refusal(NamedTuple):
    """A payment that was not taken: its place in the sequence, the column to look at, and why."""

    place: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """What payments did. `covered` are new ones that were in the balance already: its file is later."""

    new: int
    repeated: int
    covered: int
    accounts_paid: int
    accounts_reopened: int
    cancelled: int
    planned: int
    promises_kept: int
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class PaymentsReport:
    """What a file of payments did. `rejects` is the file that has the rejected rows."""

    rows: int
    rejected: int
    new: int
    repeated: int
    covered: int
    accounts_paid: int
    accounts_reopened: int
    cancelled: int
    planned: int
    promises_kept: int
    rejects: Path | None


def import_payments(
    conn_url: str,
    file: Path,
    *,
    ladders: Mapping[str, Ladder],
    rejects_path: Path | None,
    zone: str = "UTC",
    progress: Progress | None = None,
) -> PaymentsReport:
    """Take a file of payments in, in one transaction; the same file again changes nothing.

    `zone` is where times without an offset are read. Raises ShapeError, with nothing changed, for a file that is not
    one of payments; DatabaseDown when the ledger cannot be reached.
    """
    with CsvFile(file, progress=progress) as source, Rejects(rejects_path) as rejects:
        source.require(COLUMNS, promised_by="a file of payments")
        read, rows = _read(source, rejects, zone)
        with database.connect(conn_url, application_name="duly import-payments") as conn:
            now = intake.business_now(conn)
            recorded = record_payments(conn, [payment for _, payment in read], now=now, ladders=ladders)
            for refusal in recorded.refused:
                rejects.add(read[refusal.place][0], refusal.column, refusal.value, refusal.reason)
            report = PaymentsReport(
                rows=rows,
                rejected=rejects.count,
                new=recorded.new,
                repeated=recorded.repeated,
                covered=recorded.covered,
                accounts_paid=recorded.accounts_paid,
                accounts_reopened=recorded.accounts_reopened,
                cancelled=recorded.cancelled,
                planned=recorded.planned,
                promises_kept=recorded.promises_kept,
                rejects=rejects.path if rejects.count else None,
            )
            counts = {"new": report.new, "repeated": report.repeated, "covered": report.covered}
            intake.record(
                conn, kind="payments", profile="payments", file_sha256=source.sha256, as_of=None, rows_read=rows,
                rows_rejected=report.rejected, counts=counts,
            )  # fmt: skip
    return report


def record_payments(
    conn: Conn, given: Sequence[Payment], *, now: datetime, ladders: Mapping[str, Ladder] | None = None
) -> Recorded:
    """Write payments down, move balances, and stop or resume what hangs on them, in one transaction.

    A reference that is on record changes nothing. A payment from before the balance's as-of is in the balance already.
    What is owed no more is cancelled at once; what is owed again goes on where it stopped, by `ladders` (None: those of
    the live release). `now` is business time.
    """
    with conn.transaction():
        accounts = payments.accounts_of(conn, {(one.lender_id, one.account_ref) for one in given})
        payments.lock_parties(conn, {account.party_id for account in accounts.values()})
        clerk = _Clerk(accounts, payments.payments_of(conn, _refs(given)), now)
        rows = [row for index, one in enumerate(given) if (row := clerk.accept(index, one)) is not None]
        effects = payments.write_payments(conn, rows)
        paid = [(effect.party_id, effect.account_id) for effect in effects if effect.is_paid]
        reopened = [(effect.party_id, effect.account_id) for effect in effects if effect.has_reopened]
        cancelled = payments.cancel(conn, paid, reason="paid", at=now)
        kept = payments.settle_promises(conn, {(row.party_id, row.account_id) for row in rows}, at=now)
        planned = plan_entries(conn, reopened, ladders or _live_ladders(conn), now=now) if reopened else 0
    return Recorded(
        new=len(rows),
        repeated=clerk.repeated,
        covered=len(rows) - sum(effect.payments for effect in effects),
        accounts_paid=len(paid),
        accounts_reopened=len(reopened),
        cancelled=cancelled,
        planned=planned,
        promises_kept=kept,
        refused=tuple(clerk.refused),
    )


class _Clerk:
    """Accepts payments one after the other: a reversal may take back one that stands above it in the same file."""

    def __init__(
        self,
        accounts: Mapping[tuple[str, str], AccountRow],
        on_record: Mapping[tuple[str, str], PaymentRow],
        now: datetime,
    ) -> None:
        self._accounts, self._on_record, self._now = accounts, dict(on_record), now
        self.repeated = 0
        self.refused: list[Refusal] = []

    def accept(self, index: int, one: Payment) -> NewPayment | None:
        try:
            return self._accept(one)
        except RowFault as fault:
            self.refused.append(Refusal(index, fault.column, fault.value, fault.reason))
            return None

    def _accept(self, one: Payment) -> NewPayment | None:
        account = self._accounts.get((one.lender_id, one.account_ref))
        if account is None:
            raise RowFault("account", one.account_ref, f"{one.lender_id} has no such account here")
        if one.currency != account.currency:
            raise RowFault("currency", one.currency, f"the account is in {account.currency}")
        if one.amount_minor <= 0:
            raise RowFault("amount", str(one.amount_minor), "must be above zero, for a reversal too")
        if one.paid_at > self._now + AHEAD:
            raise RowFault("paid_at", one.paid_at.isoformat(), "lies in the future")
        row = PaymentRow(
            one.lender_id, one.payment_ref, account.account_id, one.kind, one.reverses, one.amount_minor, 0
        )
        there = self._on_record.get((one.lender_id, one.payment_ref))
        if there is not None:
            if there._replace(reversed_minor=0) != row:
                raise RowFault("payment_ref", one.payment_ref, "this reference is on record for something else")
            self.repeated += 1
            return None
        if one.kind == "reversal":
            self._take_back(one, account)
        self._on_record[one.lender_id, one.payment_ref] = row
        return NewPayment(
            account.party_id, account.account_id, one.lender_id, one.payment_ref, one.kind, one.reverses,
            one.amount_minor, one.paid_at,
        )  # fmt: skip

    def _take_back(self, one: Payment, account: AccountRow) -> None:
        if not one.reverses:
            raise RowFault("reverses", "", "a reversal names the payment_ref that it takes back")
        taken = self._on_record.get((one.lender_id, one.reverses))
        if taken is None or taken.kind != "payment" or taken.account_id != account.account_id:
            raise RowFault("reverses", one.reverses, "no such payment of this account is on record: import it first")
        total = taken.reversed_minor + one.amount_minor
        if total > taken.amount_minor:
            raise RowFault("amount", str(one.amount_minor), "more than is left of the payment that it takes back")
        self._on_record[one.lender_id, one.reverses] = taken._replace(reversed_minor=total)


def _refs(given: Sequence[Payment]) -> Iterator[tuple[str, str]]:
    for one in given:
        yield one.lender_id, one.payment_ref
        if one.reverses:
            yield one.lender_id, one.reverses


def _live_ladders(conn: Conn) -> Mapping[str, Ladder]:
    live = releases.live_hash(conn)
    return load_ladders(releases.fetch(conn, live).under("ladders")) if live else {}


def _read(source: CsvFile, rejects: Rejects, zone: str) -> tuple[list[tuple[int, Payment]], int]:
    """The payments with their lines, and how many rows there were."""
    read: list[tuple[int, Payment]] = []
    rows = 0
    for line in source.lines():
        rows += 1
        try:
            read.append((line.number, _payment(source.cells(line), zone)))
        except RowFault as fault:
            rejects.add(line.number, fault.column, fault.value, fault.reason)
    return read, rows


def _payment(cells: Mapping[str, str], zone: str) -> Payment:
    for column in COLUMNS:
        if not cells[column]:
            raise RowFault(column, "", "empty: it must be filled in")
    kind = cells.get("kind") or "payment"
    if kind not in KINDS:
        raise RowFault("kind", kind, f"neither {KINDS[0]} nor {KINDS[1]}")
    try:
        amount = parse_major(cells["amount"], cells["currency"])
    except BadMoney as error:
        column = "currency" if "currency" in str(error) else "amount"
        raise RowFault(column, cells[column], str(error)) from error
    return Payment(
        lender_id=cells["lender"],
        account_ref=cells["account"],
        payment_ref=cells["payment_ref"],
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        paid_at=moment_of(cells["paid_at"], zone, column="paid_at"),
        kind=kind,
        reverses=cells.get("reverses") or None,
    )
