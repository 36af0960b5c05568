"""`duly show`: the exact words of one contact again, for as long as the customer's key exists."""

from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from console.house import entered
from console.output import fail, print_json
from storage import ledger
from storage.ledger import Found
from worker.showing import Likeness, Shown, show

SCHEMA = 1

_SAID = {
    Likeness.PROVEN: "byte for byte what was sent, by the hash written then",
    Likeness.UNPROVEN: "rendered again; this contact is from before hashes were written, so nothing proves it",
    Likeness.CHANGED: "NOT as it was sent: this version of duly writes the same facts otherwise",
    Likeness.ERASED: "erased: the customer's key is destroyed, nobody can show these words again",
    Likeness.UNREADABLE: "cannot be shown: its release or its facts cannot be read; the log says why",
}


def show_command(
    contact: Annotated[str, typer.Argument(help="A contact's id, as `duly explain --json` has it.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")] = False,
) -> None:
    """Show a contact's words as they left, from its release and its sealed facts. Personal: shown when asked for."""
    try:
        contact_id = UUID(contact)
    except ValueError:
        fail(f"{contact[:40]!r} is no contact id: `duly explain ACCOUNT --json` has them", code=2)
    with entered() as spine:
        found = ledger.contact(spine.conn, contact_id)
        if found is None:
            fail("no contact has that id: `duly explain ACCOUNT --json` has them", code=1)
        shown = show(spine, found.sealed) if found.sealed else Shown(contact_id, Likeness.UNREADABLE)
    if as_json:
        print_json({"schema": SCHEMA, **_plain(found, shown)})
    else:
        Console().print(_drawn(found, shown))
    if shown.rendered is None:
        raise typer.Exit(1)


def _plain(found: Found, shown: Shown) -> dict[str, object]:
    rendered = shown.rendered
    words = {"subject": rendered.subject, "text": rendered.text, "html": rendered.html} if rendered else None
    return {**{k: v for k, v in found._asdict().items() if k != "sealed"}, "likeness": shown.likeness, "words": words}


def _drawn(found: Found, shown: Shown) -> Panel:
    experiment = found.experiment
    about = [
        f"{found.intended_at:%Y-%m-%d %H:%M:%S} UTC, {found.channel}, {found.state or 'intended'}",
        f"{found.message or 'no message'} of release {(found.release_hash or 'unknown')[:12]}",
        *([f"experiment {experiment['id']}: {experiment['arm']}"] if experiment else []),
        _SAID[shown.likeness],
    ]
    body = Text("\n".join(about), style="dim")
    if shown.rendered is not None:
        subject = f"{shown.rendered.subject}\n" if shown.rendered.subject else ""
        body = Text.assemble(body, "\n\n", (subject, "bold"), shown.rendered.text or "(an HTML page: see --json)")
    return Panel(body, title=str(found.contact_id), title_align="left")
