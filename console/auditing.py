"""`duly audit`: the ledger against the packs, worked out a second time by one that does not trust the judge."""

from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from console.house import entered
from console.output import print_json
from worker.auditing import Audit, audit_ledger

#: The exit code of an audit that found a violation.
VIOLATED = 3

#: Violations shown to a person; `--json` has up to a thousand.
MOST_SHOWN = 20

#: Rules whose near misses are shown to a person.
MOST_NEAR = 5


def audit_command(
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Audit contacts from this day on (UTC). Older ones still count.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="... to the end of this day (UTC).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")] = False,
) -> None:
    """Was every contact allowed when it was handed over? Reads the ledger without the judge; exit 3 on a violation."""
    begins, ends = _day(since, time.min), _day(until, time.max)
    with entered() as spine:
        found = audit_ledger(spine.conn, begins, ends)
    if as_json:
        print_json(_plain(found))
    else:
        _draw(found, Console())
    if found.violations:
        raise typer.Exit(VIOLATED)


def _day(text: str | None, at: time) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), at, tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write it as 2026-03-01") from None


def _plain(found: Audit) -> dict[str, Any]:
    return {
        "schema": 1,
        "contacts": found.contacts,
        "seconds": round(found.seconds, 3),
        "violations": found.violations,
        "violating_contacts": found.violating_contacts,
        "listed": [each._asdict() for each in found.listed],
        "near_misses": [each._asdict() for each in found.near_misses],
        "checked": [each._asdict() for each in found.checked],
        "not_audited": [each._asdict() for each in found.not_audited],
        "people": found.people._asdict(),
    }


def _draw(found: Audit, console: Console) -> None:
    rate = found.contacts / found.seconds if found.seconds else 0.0
    console.print(f"{found.contacts:,} contacts audited in {found.seconds:.1f} s ({rate:,.0f}/s).")
    people = found.people
    console.print(
        f"{people.people:,} people: median {people.median:g} contacts, 95% at most {people.p95:g}, most {people.most}; "
        f"worst week {people.worst_week}."
    )
    console.print(_rules(found))
    for nearly in found.near_misses[:MOST_NEAR]:
        examples = ", ".join(str(each) for each in nearly.examples)
        console.print(f"Near {nearly.rule}, for example: {examples}", soft_wrap=True)
    if found.not_audited:
        console.print(f"Not audited: {', '.join(each.rule for each in found.not_audited)}.", soft_wrap=True)
    if not found.violations:
        console.print("[green]No violation.[/]")
        return
    console.print(f"[red]{found.violations:,} violations, of {found.violating_contacts:,} contacts.[/]")
    for each in found.listed[:MOST_SHOWN]:
        about = ", ".join(each.accounts) or "no account"
        line = (
            f"{each.contact_id}  {each.channel}  {each.lender}: {about}  {each.local} {each.zone or 'no zone'}  "
            f"{each.rule} ({each.pack}): {each.why}"
        )
        console.print(escape(line), soft_wrap=True)
    if found.violations > MOST_SHOWN:
        console.print(f"... and {found.violations - MOST_SHOWN:,} more: `duly audit --json` lists a thousand.")


def _rules(found: Audit) -> Table:
    near = {(each.rule, each.pack): each.number for each in found.near_misses}
    table = Table(box=None, pad_edge=False)
    table.add_column("rule")
    for heading in ("checked", "violations", "near"):
        table.add_column(heading, justify="right")
    for each in found.checked:
        table.add_row(
            each.rule,
            f"{each.checked:,}",
            f"[red]{each.violations:,}[/]" if each.violations else "0",
            f"{near.get((each.rule, each.pack), 0):,}",
        )
    return table
