"""`duly release`: check what the folders hold, publish it, look at what was live, go back."""

import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from config import settings as configuration
from console.house import bundle_of, enter, publish
from console.output import print_json
from storage import releases
from worker.releases import compile_release

release_app = typer.Typer(no_args_is_help=True, help="Packs, ladders, lenders, channels and copy, as one version.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]


@release_app.command()
def check() -> None:
    """Read everything in the folders and hold it against each other; nothing is stored."""
    release = compile_release(bundle_of(configuration.load()))
    Console().print(
        f"Release {release.hash[:12]} is in order: {len(release.packs.packs)} packs, {len(release.ladders)} ladders, "
        f"{len(release.lenders)} lenders, {len(release.catalogue.messages)} messages."
    )


@release_app.command("publish")
def publish_command() -> None:
    """Check what the folders hold and make it live: workers use it from their next batch on."""
    settings = configuration.load()
    bundle = bundle_of(settings)
    with enter(settings) as spine:
        publish(spine.conn, bundle, by=getpass.getuser())
    Console().print(f"Release {bundle.hash[:12]} is live.")


@release_app.command()
def rollback(release: Annotated[str, typer.Argument(help="The start of the hash of a release that was live.")]) -> None:
    """Make an earlier release live again."""
    with enter(configuration.load()) as spine:
        found = releases.resolve(spine.conn, release)
        compile_release(releases.fetch(spine.conn, found))
        releases.go_live(spine.conn, found, by=getpass.getuser())
    Console().print(f"Release {found[:12]} is live again.")


@release_app.command()
def history(as_json: AsJson = False) -> None:
    """The releases of this database, the newest first."""
    with enter(configuration.load()) as spine:
        rows = releases.history(spine.conn)
    if as_json:
        print_json({"schema": 1, "releases": [row._asdict() for row in rows]})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("release", "state", "by", "live since"):
        table.add_column(heading)
    for row in rows:
        since = f"{row.live_at:%Y-%m-%d %H:%M:%S}" if row.live_at else ""
        table.add_row(row.release_hash[:12], row.state, row.proposed_by, since)
    Console().print(table)


@release_app.command()
def diff(release: Annotated[str, typer.Argument(help="The start of a hash.")] = "") -> None:
    """Which files the folders hold otherwise than a release (the live one by default)."""
    settings = configuration.load()
    with enter(settings) as spine:
        found = releases.resolve(spine.conn, release) if release else releases.live_hash(spine.conn)
        theirs = dict(releases.fetch(spine.conn, found).files) if found else {}
    ours = bundle_of(settings).files
    console = Console()
    for path in sorted({*ours, *theirs}):
        if ours.get(path) != theirs.get(path):
            mark = "added" if path not in theirs else "removed" if path not in ours else "changed"
            console.print(f"{mark:8} {path}", highlight=False)
