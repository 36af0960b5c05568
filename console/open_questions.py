"""`duly uncertain`: contacts of which nobody knows whether they arrived, for people to look at."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from console.house import entered
from console.output import print_json
from storage import uncertain
from storage.uncertain import Open

SCHEMA = 1


def uncertain_command(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")] = False,
) -> None:
    """Contacts that left and were never answered for. They count against the caps and are never sent again."""
    with entered() as spine:
        rows = uncertain.open_contacts(spine.conn, limit=limit)
    if as_json:
        print_json({"schema": SCHEMA, "uncertain": [{**row._asdict(), "age": row.age.total_seconds()} for row in rows]})
    else:
        Console().print(_table(rows) if rows else "Nothing is uncertain.")


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
