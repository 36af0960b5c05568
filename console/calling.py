"""`duly calls`: the call desk. The next call is judged when it is dialled; how it ended decides what follows."""

import getpass
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from console.house import entered
from console.output import fail, print_json
from domain.disposition import DISPOSITIONS
from storage import calls
from storage.calls import CallTask
from worker.calls import InHand, NotNow, NotYours, Offer, dial, next_call
from worker.endings import BadEnding, Ended, Ending, end_call

SCHEMA = 1

calls_app = typer.Typer(no_args_is_help=True, help="The call desk: who is to be called, and how it ended.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]
Agent = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Who you are; your user name by default.")]
TaskNumber = Annotated[int, typer.Argument(metavar="TASK", help="The number of the task.")]


@calls_app.command("next")
def next_command(agent: Agent = None, as_json: AsJson = False) -> None:
    """Take the next task. A call is judged now and dialled; a reply, or a specialist's case, is to be read first."""
    with entered() as spine:
        try:
            offer = next_call(spine, agent=agent or getpass.getuser())
        except InHand as in_hand:
            fail(str(in_hand), code=1)
    if as_json:
        print_json({"schema": SCHEMA, "task": _plain_offer(offer) if offer else None})
    elif offer is None:
        Console().print("Nobody may be called now.")
    else:
        _draw(offer)


@calls_app.command("dial")
def dial_command(task: TaskNumber, agent: Agent = None, as_json: AsJson = False) -> None:
    """Dial for a task that you have read; judged now, like every contact."""
    with entered() as spine:
        try:
            answer = dial(spine, task, agent=agent or getpass.getuser())
        except NotYours as why:
            fail(str(why), code=1)
    if isinstance(answer, NotNow):
        because, until = answer.verdict.because, getattr(answer.verdict, "until", None)
        if as_json:
            print_json({"schema": SCHEMA, "task": None, "rule": because.rule, "until": until})
        else:
            when = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until a person says otherwise"
            Console(stderr=True).print(f"Not now: {because.rule} ({because.source}), {when}.")
        raise typer.Exit(1)
    if as_json:
        print_json({"schema": SCHEMA, "task": _plain_offer(answer)})
    else:
        _draw(answer)


@calls_app.command("done")
def done_command(
    task: TaskNumber,
    disposition: Annotated[str, typer.Option(help="How it ended; `duly calls endings` lists what there is.")],
    promise_date: Annotated[str | None, typer.Option(metavar="DATE", help="The day of a promise.")] = None,
    amount: Annotated[str | None, typer.Option(help="What was promised, as people say it: 1,200.50.")] = None,
    account: Annotated[str | None, typer.Option(help="Which account a promise is for, if there are several.")] = None,
    method: Annotated[str | None, typer.Option(help="How they will pay.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="'DATE TIME'", help="When they asked to be called, on their own clock.")
    ] = None,
    agent: Agent = None,
    as_json: AsJson = False,
) -> None:
    """Say how a task ended. What follows (holds, promises, another task) is done at once."""
    with entered() as spine:
        try:
            ending = Ending(
                disposition,
                promised_for=_time("--promise-date", promise_date).date() if promise_date else None,
                amount=amount,
                account=account,
                method=method,
                call_back_at=_time("--at", at) if at else None,
            )
            ended = end_call(spine.conn, task, ending, agent=agent or getpass.getuser())
        except BadEnding as why:
            fail(str(why), code=2)
    if as_json:
        print_json({"schema": SCHEMA, **_plain_ended(ended, disposition)})
    else:
        Console().print(_sentence(ended, disposition))


@calls_app.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50, as_json: AsJson = False
) -> None:
    """What waits for a person, and what is in somebody's hands."""
    with entered() as spine:
        rows = calls.tasks(spine.conn, states=("queued", "claimed"), limit=limit)
    if as_json:
        print_json({"schema": SCHEMA, "tasks": [_plain_task(row) for row in rows]})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("task", "kind", "lender", "stage", "why", "not before (UTC)", "state", "agent"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            str(row.call_task_id), row.kind, row.lender_id, row.stage or "", row.reason,
            f"{row.not_before:%Y-%m-%d %H:%M}", "dialled" if row.contact_id else row.state, row.claimed_by or "",
        )  # fmt: skip
    Console().print(table)


@calls_app.command("endings")
def endings_command(as_json: AsJson = False) -> None:
    """The dispositions: how a call can end, and what follows."""
    if as_json:
        print_json({"schema": SCHEMA, "dispositions": {code: each.means for code, each in DISPOSITIONS.items()}})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("disposition", "means", "counts as", "hold", "then"):
        table.add_column(heading)
    for code, each in DISPOSITIONS.items():
        lasts = f", {each.hold_for.days} days" if each.hold_for else ", until a person ends it"
        table.add_row(
            code, each.means, each.event.value, f"{each.hold.value}{lasts}" if each.hold else "",
            ", ".join(sorted(then.value for then in each.then)),
        )  # fmt: skip
    Console().print(table)


# -------------------------------------------------------------------------------------------------------------- screens


def _draw(offer: Offer) -> None:
    screen = Console()
    task = offer.task
    screen.print(f"[bold]Task {task.call_task_id}[/] ({task.kind}, {task.lender_id}): {task.reason}")
    if offer.phone is not None and offer.because is not None:
        ends = f", until {_local(offer.window_ends, offer.zone)}" if offer.window_ends else ""
        screen.print(f"Dialled: [bold]{offer.phone}[/]. Allowed by {offer.because.rule} ({offer.because.pack}){ends}.")
    else:
        screen.print(f"Not dialled. Read first; then `duly calls dial {task.call_task_id}` if a call is right.")
    for each in offer.earlier:
        what = f"{each.channel} {each.message or ''}".strip()
        screen.print(f"  {_local(each.at, offer.zone)}  {what}: {each.outcome or 'intended'}", highlight=False)
    if offer.wrote is not None:
        screen.print("\nThey wrote:")
        screen.print(offer.wrote, markup=False)
    if offer.script is not None:
        screen.print()
        screen.print(Markdown(offer.script))
    screen.print(
        f"\nEnd it with `duly calls done {task.call_task_id} --disposition ...`; `duly calls endings` lists them."
    )


def _local(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} {zone}"


def _plain_task(task: CallTask) -> dict[str, Any]:
    return {key: value for key, value in task._asdict().items() if key not in ("party_id", "customer_id")}


def _plain_offer(offer: Offer) -> dict[str, Any]:
    return {
        **_plain_task(offer.task),
        "dialled": offer.phone is not None,
        "zone": offer.zone,
        "rule": offer.because.rule if offer.because else None,
        "pack": offer.because.pack if offer.because else None,
        "window_ends": offer.window_ends,
        "earlier": [each._asdict() for each in offer.earlier],
        "phone": offer.phone,
        "wrote": offer.wrote,
        "script": offer.script,
    }


def _plain_ended(ended: Ended, disposition: str) -> dict[str, Any]:
    return {
        "task": ended.task.call_task_id,
        "disposition": disposition,
        "hold": ended.hold,
        "hold_until": ended.hold_until,
        "next_task": ended.next_task,
    }


def _sentence(ended: Ended, disposition: str) -> str:
    parts = [f"Task {ended.task.call_task_id} ended: {disposition}."]
    if ended.hold is not None:
        until = f"until {ended.hold_until:%Y-%m-%d %H:%M} UTC" if ended.hold_until else "until a person ends it"
        parts.append(f"Nothing is sent while the hold ({ended.hold.value}) stands, {until}.")
    if ended.next_task is not None:
        parts.append(f"Task {ended.next_task} follows.")
    return " ".join(parts)


def _time(option: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as error:
        raise BadEnding(f"{option} {text!r} cannot be read: write 2026-03-04, or '2026-03-04 10:30'") from error
