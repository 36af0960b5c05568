"""`duly release compare`: champion beside challenger, by what followed within a week of each contact."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from console.house import entered
from console.output import print_json
from storage import experiments
from storage.experiments import Arm

SCHEMA = 1

_HEADINGS = ("experiment", "arm", "message", "people", "contacts", "reached", "replied", "paid", "said stop", "held")


def compare_command(
    experiment: Annotated[str | None, typer.Argument(help="An experiment's id; without it, all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")] = False,
) -> None:
    """Champion beside challenger: contacts, and what followed each of them within seven days."""
    with entered() as spine:
        arms = experiments.arms(spine.conn, experiment)
    if as_json:
        print_json({"schema": SCHEMA, "arms": [arm._asdict() for arm in arms]})
    elif not arms:
        Console().print("No contact was part of an experiment.")
    else:
        Console(width=max(110, Console().width)).print(_table(arms))


def _table(arms: list[Arm]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in _HEADINGS[:3] else "right")
    for arm in arms:
        parts = (arm.reached, arm.replied, arm.paid, arm.stopped, arm.held)
        told = (f"{part:,} ({part / arm.contacts:.1%})" for part in parts)
        table.add_row(arm.experiment, arm.arm, arm.message, f"{arm.people:,}", f"{arm.contacts:,}", *told)
    return table
