"""`duly import-contacts`: what the old system and the agencies already did, so that caps do not start at zero."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from config.profiles import RowFault
from domain.channel import Channel
from domain.contact import EventKind
from domain.purpose import Actor, Purpose
from storage import database, intake, past_contacts, payments
from storage.past_contacts import PastContactRow, Whom
from storage.rows import Conn
from worker.csv_file import CsvFile, Progress, Rejects, moment_of

#: Besides these, `account` or `customer`; `purpose` when it was not a reminder.
COLUMNS: Final = ("lender", "at", "channel", "outcome", "actor")

#: What may have come of a contact, in the ledger's own words.
OUTCOMES: Final = frozenset(kind.value for kind in EventKind) - {EventKind.RELEASED.value}

#: A contact dated further ahead than this is a slip of the pen.
AHEAD: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class ContactsReport:
    """What a file of past contacts did. `rejects` is the file that has the rejected rows."""

    rows: int
    rejected: int
    new: int
    repeated: int
    rejects: Path | None


class _Told(NamedTuple):
    """One row: a contact with the reference it is found by."""

    line: int
    lender_id: str
    account_ref: str
    customer_ref: str
    at: datetime
    channel: str
    outcome: str
    actor: str
    purpose: str


def import_contacts(
    conn_url: str,
    file: Path,
    *,
    rejects_path: Path | None,
    zone: str = "UTC",
    progress: Progress | None = None,
) -> ContactsReport:
    """Take a file of past contacts in, in one transaction; the same file again changes nothing.

    `zone` is where times without an offset are read. Raises ShapeError, with nothing changed, for a file that is not
    one of contacts; DatabaseDown when the ledger cannot be reached.
    """
    with CsvFile(file, progress=progress) as source, Rejects(rejects_path) as rejects:
        source.require(COLUMNS, promised_by="a file of past contacts")
        if not {"account", "customer"} & set(source.header):
            source.require(["account"], promised_by="a file of past contacts (or else 'customer')")
        told, rows = _read(source, rejects, zone)
        with database.connect(conn_url, application_name="duly import-contacts") as conn:
            now = intake.business_now(conn)
            conn.commit()
            contacts = _placed(conn, told, rejects, now)
            conn.commit()
            past_contacts.ensure_months(conn, (contact.at.date().replace(day=1) for contact in contacts))
            payments.lock_parties(conn, {contact.party_id for contact in contacts})
            new = past_contacts.write(conn, contacts)
            report = ContactsReport(
                rows, rejects.count, new, len(contacts) - new, rejects.path if rejects.count else None
            )
            intake.record(
                conn, kind="contacts", profile="contacts", file_sha256=source.sha256, as_of=None, rows_read=rows,
                rows_rejected=report.rejected, counts={"new": report.new, "repeated": report.repeated},
            )  # fmt: skip
    return report


def _read(source: CsvFile, rejects: Rejects, zone: str) -> tuple[list[_Told], int]:
    told: list[_Told] = []
    rows = 0
    for line in source.lines():
        rows += 1
        try:
            told.append(_told(line.number, source.cells(line), zone))
        except RowFault as fault:
            rejects.add(line.number, fault.column, fault.value, fault.reason)
    return told, rows


def _told(line: int, cells: Mapping[str, str], zone: str) -> _Told:
    for column in COLUMNS:
        if not cells[column]:
            raise RowFault(column, "", "empty: it must be filled in")
    account, customer = cells.get("account", ""), cells.get("customer", "")
    if not account and not customer:
        raise RowFault("account", "", "empty, and so is customer: one of them must be filled in")
    return _Told(
        line=line,
        lender_id=cells["lender"],
        account_ref=account,
        customer_ref=customer,
        at=moment_of(cells["at"], zone, column="at"),
        channel=_one_of(cells["channel"], frozenset(Channel) - {Channel.NULL}, "channel"),
        outcome=_one_of(cells["outcome"], OUTCOMES, "outcome"),
        actor=_one_of(cells["actor"], frozenset(Actor), "actor"),
        purpose=_one_of(cells.get("purpose") or Purpose.REMINDER, frozenset(Purpose), "purpose"),
    )


def _one_of(value: str, words: frozenset[str], column: str) -> str:
    if value not in words:
        raise RowFault(column, value, f"none of {', '.join(sorted(words))}")
    return str(value)


def _placed(conn: Conn, told: list[_Told], rejects: Rejects, now: datetime) -> list[PastContactRow]:
    """The contacts with the party of each; those of nobody we know are rejected."""
    by_account = past_contacts.whom_by_account(
        conn, {(one.lender_id, one.account_ref) for one in told if one.account_ref}
    )
    by_customer = past_contacts.whom_by_customer(
        conn, {(one.lender_id, one.customer_ref) for one in told if not one.account_ref}
    )
    placed: dict[tuple[UUID, str], PastContactRow] = {}
    for one in told:
        column, ref, known = (
            ("account", one.account_ref, by_account) if one.account_ref else ("customer", one.customer_ref, by_customer)
        )
        whom = known.get((one.lender_id, ref))
        if whom is None:
            rejects.add(one.line, column, ref, f"{one.lender_id} has none such here")
        elif one.at > now + AHEAD:
            rejects.add(one.line, "at", one.at.isoformat(), "lies in the future")
        else:
            row = _row(one, f"{column}:{ref}", whom)
            placed.setdefault((row.contact_id, row.kind), row)
    return list(placed.values())


def _row(one: _Told, ref: str, whom: Whom) -> PastContactRow:
    return PastContactRow(
        party_id=whom.party_id,
        contact_id=_contact_id(one, ref),
        at=one.at,
        customer_id=whom.customer_id,
        lender_id=one.lender_id,
        actor=one.actor,
        channel=one.channel,
        purpose=one.purpose,
        kind=one.outcome,
        account_ids=whom.account_ids,
    )


def _contact_id(one: _Told, ref: str) -> UUID:
    """A UUID of version 7's layout whose noise is a hash of what the file says: the same contact, the same id."""
    said = "\n".join((one.lender_id, ref, one.at.isoformat(), one.channel, one.actor, one.purpose))
    noise = int.from_bytes(hashlib.blake2b(said.encode(), digest_size=10, person=b"duly contact").digest(), "big")
    milliseconds = int(one.at.timestamp() * 1000)
    value = (milliseconds << 80) | (0x7 << 76) | ((noise >> 68 & 0xFFF) << 64) | (0b10 << 62) | (noise & (1 << 62) - 1)
    return UUID(int=value)
