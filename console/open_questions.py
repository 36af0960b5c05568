"""`duly uncertain` and `duly poisonous`: what the fleet could not settle by itself, for people to look at."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from console.house import entered
from console.output import print_json
from storage import suspects, uncertain
from storage.suspects import Stuck
from storage.uncertain import Open

SCHEMA = 1


Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]


def uncertain_command(limit: Limit = 100, as_json: AsJson = False) -> None:
    """Contacts that left and were never answered for. They count against the caps and are never sent again."""
    with entered() as spine:
        rows = uncertain.open_contacts(spine.conn, limit=limit)
    if as_json:
        print_json({"schema": SCHEMA, "uncertain": [{**row._asdict(), "age": row.age.total_seconds()} for row in rows]})
    else:
        Console().print(_table(rows) if rows else "Nothing is uncertain.")


def poisonous_command(limit: Limit = 100, as_json: AsJson = False) -> None:
    """Accounts that nobody could decide about: their step ended as failed, or they are under suspicion."""
    with entered() as spine:
        rows = suspects.stuck(spine.conn, limit=limit)
    if as_json:
        print_json({"schema": SCHEMA, "poisonous": [row._asdict() for row in rows]})
    else:
        Console().print(_stuck_table(rows) if rows else "Nobody is under suspicion.")


def _stuck_table(rows: list[Stuck]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("lender", "account", "step", "state", "lost", "why", "at (UTC)"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            row.lender_id,
            row.account_ref,
            row.step,
            row.state,
            str(row.losses),
            row.why or "",
            f"{row.at:%Y-%m-%d %H:%M}",
        )
    return table


def _table(rows: list[Open]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("contact", "lender", "account", "channel", "provider", "why", "age", "asked", "last answer"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        again = f", again {row.ask_at:%H:%M} UTC" if row.ask_at else ""
        table.add_row(
            str(row.contact_id), row.lender_id, row.account_ref, row.channel, row.provider or "", row.code or "",
            _age(row.age), f"{row.asked}{again}", row.last_answer or "",
        )  # fmt: skip
    return table


def _age(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    return f"{int(age.total_seconds() // 60)} min" if hours < 2 else f"{hours} h"
