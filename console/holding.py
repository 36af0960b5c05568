"""`duly hold`, `duly holds`, `duly release-hold`: stops that a person sets and ends, each with who and why."""

import getpass
from datetime import date, datetime
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.table import Table

from console.house import entered
from console.output import fail, print_json
from domain.days import ONE_DAY, day_start
from domain.hold import HoldKind
from storage import feedback, holds, lanes
from storage.feedback import NewHold
from storage.holds import NobodyFound, Standing, Whom
from storage.rows import Conn
from worker.cases import planning_zone

log = structlog.get_logger()

SCHEMA = 1

#: Set and ended by what happens, not by hand.
NOT_BY_HAND = frozenset({HoldKind.PROMISE})

KINDS = ", ".join(sorted(kind.value for kind in HoldKind if kind not in NOT_BY_HAND))

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]
Reference = Annotated[
    str, typer.Argument(metavar="ACCOUNT_OR_CUSTOMER", help="A reference, as the lender's file has it.")
]
LenderOption = Annotated[str | None, typer.Option("--lender", help="Whose, if several lenders have that reference.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who you are; your user name by default.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever reads it later. No personal data.")]


def hold_command(
    reference: Reference,
    reason: Reason,
    kind: Annotated[str, typer.Option("--kind", help=f"What it is: {KINDS}.")] = HoldKind.COMPLAINT.value,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="The last day it stands, where they live; without, until ended.")
    ] = None,
    lender: LenderOption = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Stop all contact about an account, or with a whole person, until a day or until somebody ends it."""
    chosen = _kind(kind)
    with entered() as spine:
        found = _found(spine.conn, reference, lender)
        now = lanes.business_now(spine.conn)
        ends_at = _end_of(until, found, now)
        who = by or getpass.getuser()
        with spine.conn.transaction():
            feedback.set_hold(
                spine.conn,
                NewHold(found.party_id, chosen, _one_line(reason), f"{who}, by hand", now, ends_at, found.account_id),
            )
            hold_id = holds.latest(spine.conn, found, chosen.value)
    log.info("hold_set", hold_id=hold_id, kind=chosen.value, by=who)
    if as_json:
        print_json({"schema": SCHEMA, "hold": hold_id, "kind": chosen, "until": ends_at})
    else:
        what = "account" if found.account_id is not None else "person"
        lasts = f"until {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else "until somebody ends it"
        Console().print(f"Hold {hold_id}: the {what} is not contacted, {lasts}. End it with `duly release-hold`.")


def holds_command(
    reference: Annotated[
        str | None, typer.Argument(metavar="[ACCOUNT_OR_CUSTOMER]", help="Whose; without it, everybody's.")
    ] = None,
    lender: LenderOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """The holds that stand: what they stop, who set them, why, and until when."""
    with entered() as spine:
        of = _found(spine.conn, reference, lender) if reference is not None else None
        rows = holds.standing(spine.conn, of, limit=limit)
    if as_json:
        print_json({"schema": SCHEMA, "holds": [row._asdict() for row in rows]})
    else:
        Console().print(_table(rows) if rows else "No hold stands.")


def release_hold_command(
    hold: Annotated[int, typer.Argument(metavar="HOLD", help="Its number, as `duly holds` has it.")],
    reason: Reason,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End a hold now. What waited for it is judged anew, like everything else."""
    who = by or getpass.getuser()
    with entered() as spine:
        party_id = holds.party_of(spine.conn, hold)
        is_ended = party_id is not None and feedback.end_hold(
            spine.conn, party_id, hold, by=f"{who}: {_one_line(reason)}"
        )
    if not is_ended:
        fail(f"no hold {hold} stands: `duly holds` lists them", code=1)
    log.info("hold_ended", hold_id=hold, by=who)
    if as_json:
        print_json({"schema": SCHEMA, "hold": hold, "ended": True})
    else:
        Console().print(f"Hold {hold} is ended.")


def _kind(text: str) -> HoldKind:
    kind = next((kind for kind in HoldKind if kind.value == text and kind not in NOT_BY_HAND), None)
    if kind is None:
        fail(f"--kind {text[:40]!r}: use one of {KINDS}", code=2)
    return kind


def _found(conn: Conn, reference: str, lender: str | None) -> Whom:
    try:
        return holds.whom(conn, reference, lender_id=lender)
    except NobodyFound as why:
        fail(str(why), code=1)


def _end_of(until: str | None, found: Whom, now: datetime) -> datetime | None:
    """The end of that day on the customer's clock."""
    if until is None:
        return None
    try:
        ends_at = day_start(date.fromisoformat(until) + ONE_DAY, planning_zone(found.zones))
    except (ValueError, OverflowError):
        fail(f"--until {until[:40]!r} is not a date: write it as 2026-03-01", code=2)
    if ends_at <= now:
        fail(f"--until {until}: that day is over for them (business time is {now:%Y-%m-%d %H:%M} UTC)", code=2)
    return ends_at


def _one_line(reason: str) -> str:
    """The reason as one line. Leaves when there is none."""
    line = " ".join(reason.split())[:200]
    if not line:
        fail("--reason is empty: say why, for whoever reads it later", code=2)
    return line


def _table(rows: list[Standing]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("hold", "lender", "accounts", "kind", "why", "set by", "since (UTC)", "until (UTC)"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(str, _cells(row)))
    return table


def _cells(row: Standing) -> tuple[Any, ...]:
    until = f"{row.ends_at:%Y-%m-%d %H:%M}" if row.ends_at else "somebody ends it"
    whose = f"{row.accounts} (the person)" if row.is_of_the_person else row.accounts
    return row.hold_id, row.lender_id, whose, row.kind, row.reason, row.source, f"{row.since:%Y-%m-%d %H:%M}", until
