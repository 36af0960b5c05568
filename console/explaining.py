"""`duly explain`: why an account was or was not contacted, and what became of every reminder."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from console.house import entered
from console.output import fail, print_json
from domain.money import Money
from storage import ledger, retention
from storage.ledger import Account, Entry, NoSuchAccount, Outcome, Sealed
from storage.rows import Conn
from worker.cases import planning_zone
from worker.showing import Likeness, Shown, show
from worker.wiring import Spine

SCHEMA = 1

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]

#: The ways in which a reminder ends, in the order of the report's columns; `held` counts every wait on the way.
ENDS = ("sent", "handed", "suppressed", "expired", "cancelled", "failed", "uncertain", "held")


def explain_command(
    account: Annotated[str, typer.Argument(help="The account's reference, as the lender's file has it.")],
    lender: Annotated[str | None, typer.Option(help="Whose account, if several lenders have that reference.")] = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show the words that were sent: personal, so only when asked for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Why an account was or was not contacted, entry by entry, on the customer's clock."""
    with entered() as spine:
        try:
            found = ledger.find_account(spine.conn, account, lender)
        except NoSuchAccount as unknown:
            fail(str(unknown), code=1)
        entries = ledger.timeline(spine.conn, found)
        forgotten = retention.mark(spine.conn)
        words = _words(spine, ledger.sealed_words(spine.conn, found)) if reveal else {}
    if as_json:
        before = forgotten.before if forgotten is not None else None
        print_json({**_plain_timeline(found, entries, words), "forgotten_before": before})
    else:
        Console().print(_timeline_table(found, entries, words))
        if forgotten is not None:
            Console().print(f"What was before {forgotten.before} is kept no longer.")


def draw_timeline(conn: Conn, account_ref: str, lender_id: str) -> Table:
    """One account's timeline as a table. Raises NoSuchAccount."""
    account = ledger.find_account(conn, account_ref, lender_id)
    return _timeline_table(account, ledger.timeline(conn, account), {})


def _timeline_table(account: Account, entries: Iterable[Entry], words: Mapping[UUID, str]) -> Table:
    zone = planning_zone(account.zones)
    owes = Money(account.balance_minor, account.currency)
    table = Table(
        title=f"Account {account.external_ref} ({account.lender_id}): {account.state}, owes {owes.major:,} "
        f"{account.currency}, due {account.due_on}; times in {zone}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("when", "", "what", "channel", "step", "why", "until"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        shown = words.get(entry.contact_id) if entry.contact_id and entry.kind == "contact" else None
        table.add_row(
            _local(entry.at, zone),
            entry.kind,
            Text(f"{entry.what}\n{shown}" if shown else entry.what, style=_STYLES.get(entry.what, "")),
            entry.channel or "",
            entry.step or entry.stage or "",
            Text(_why(entry)),
            _local(entry.until, zone) if entry.until else "",
        )
    return table


_STYLES = {
    "sent": "green", "delivered": "green", "read": "green", "hold": "yellow", "suppress": "yellow",
    "uncertain": "red", "failed": "red",
}  # fmt: skip


def _why(entry: Entry) -> str:
    rule = f"{entry.rule} ({entry.pack})" if entry.rule and entry.pack else entry.rule
    return ", ".join(part for part in (rule, entry.code) if part)


def _local(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


def _plain_timeline(account: Account, entries: Iterable[Entry], words: Mapping[UUID, str]) -> dict[str, Any]:
    zone = planning_zone(account.zones)
    plain = []
    for entry in entries:
        row = {**entry._asdict(), "local": entry.at.astimezone(ZoneInfo(zone)).isoformat()}
        if entry.contact_id is not None and entry.contact_id in words and entry.kind == "contact":
            row["words"] = words[entry.contact_id]
        plain.append(row)
    header = {k: v for k, v in account._asdict().items() if k not in ("party_id", "customer_id", "account_id")}
    return {"schema": SCHEMA, "account": header, "zone": zone, "entries": plain}


def _words(spine: Spine, contacts: Iterable[Sealed]) -> dict[UUID, str]:
    """The words of contacts as they were sent, from their sealed facts and the release of their day."""
    return {each.contact_id: _told(show(spine, each)) for each in contacts}


def _told(shown: Shown) -> str:
    match shown.likeness:
        case Likeness.ERASED:
            return "[erased]"
        case Likeness.CHANGED if shown.rendered is not None:
            return f"[not as it was sent: this version of duly writes it so] {shown.rendered.text}"
        case _:
            return "[cannot be shown]" if shown.rendered is None else shown.rendered.text


# ----------------------------------------------------------------------------------------------------------- the report


def draw_report(conn: Conn, since: datetime | None = None, until: datetime | None = None) -> Group:
    """What became of every reminder, by channel and stage, and the reasons behind it."""
    outcomes = ledger.report(conn, since, until)
    return Group(_ends_table(outcomes), "", _reasons_table(outcomes))


def _ends_table(outcomes: Iterable[Outcome]) -> Table:
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in outcomes:
        counts[each.channel, each.stage][each.verdict] += each.number
    table = Table(box=None, pad_edge=False)
    table.add_column("channel")
    table.add_column("stage")
    for end in ENDS:
        table.add_column(end, justify="right")
    for (channel, stage), ends in counts.items():
        table.add_row(channel, stage, *(f"{ends[end]:,}" if ends[end] else "" for end in ENDS))
    totals = {end: sum(ends[end] for ends in counts.values()) for end in ENDS}
    table.add_row("[bold]all[/]", "", *(f"[bold]{totals[end]:,}[/]" if totals[end] else "" for end in ENDS))
    return table


def _reasons_table(outcomes: Iterable[Outcome]) -> Table:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for each in outcomes:
        if each.rule is not None:
            counts[each.verdict, each.rule] += each.number
    table = Table(box=None, pad_edge=False)
    for heading in ("verdict", "rule", "times"):
        table.add_column(heading, justify="right" if heading == "times" else "left")
    for (verdict, rule), number in sorted(counts.items(), key=lambda item: (ENDS.index(item[0][0]), -item[1])):
        table.add_row(verdict, rule, f"{number:,}")
    return table
