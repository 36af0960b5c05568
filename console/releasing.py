"""`duly release`: propose, check, approve, go live, take back; and see what changes, and what was when."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from config import settings as configuration
from config.from_git import read_at
from config.settings import Settings
from console.backtesting import backtest_command
from console.comparing import compare_command
from console.differing import draw, file_changes, rewordings
from console.house import bundle_of, enter, entered
from console.output import fail, print_json
from console.signing import As, Key, Why, now, signer_of
from domain.bundle import Bundle
from storage import releases, switches, users
from storage.releases import Happening, ReleaseRow
from storage.rows import Conn
from storage.switches import Switch
from worker import approvals
from worker.release_checks import examine
from worker.releases import compile_release

SCHEMA = 1

release_app = typer.Typer(no_args_is_help=True, help="Packs, ladders, lenders, channels and copy, as one version.")
release_app.command("backtest")(backtest_command)
release_app.command("compare")(compare_command)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]
Release = Annotated[str, typer.Argument(help="The start of a release's hash.")]
OrFolders = Annotated[str, typer.Argument(help="The start of a release's hash; without it, what the folders hold.")]
FromGit = Annotated[str | None, typer.Option(metavar="REV", help="Read a branch, tag or commit; no file is touched.")]
Repo = Annotated[Path, typer.Option(help="With --from-git: where the repository is.")]
ConfigIn = Annotated[str, typer.Option("--config", help="With --from-git: the folder of the reviewed files in it.")]
TemplatesIn = Annotated[str, typer.Option("--templates", help="With --from-git: the folder of the copy in it.")]
At = Annotated[str | None, typer.Option(metavar="TIME", help="When, like 2026-03-01T09:00+08:00; without it, now.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Then what is live now is live again by itself.")]


class Source(NamedTuple):
    """A bundle and where it came from, for the history."""

    bundle: Bundle
    place: dict[str, str]


# ------------------------------------------------------------------------------------------------------- look and check


@release_app.command()
def diff(
    release: OrFolders = "",
    to: Annotated[str, typer.Option(help="Compare with this release instead of the live one.")] = "",
    from_git: FromGit = None,
    repo: Repo = Path(),
    config: ConfigIn = "config",
    templates: TemplatesIn = "templates",
    as_json: AsJson = False,
) -> None:
    """What would change: file by file, and each text as its readers would see it, before and after."""
    with entered() as spine:
        after = _source(spine.conn, spine.settings, release, from_git, repo, config, templates).bundle
        base = releases.resolve(spine.conn, to) if to else releases.live_hash(spine.conn)
        before = releases.fetch(spine.conn, base) if base else Bundle({})
    changes, reworded = file_changes(before, after), rewordings(before, after)
    if as_json:
        print_json({
            "schema": SCHEMA, "before": base, "after": after.hash, "files": changes, "texts": reworded,
        })  # fmt: skip
        return
    console = Console(soft_wrap=True)
    console.print(f"{after.hash[:12]} against {base[:12] if base else 'nothing'}:", highlight=False)
    console.print(draw(changes, reworded) if changes else "Nothing changes.")


@release_app.command()
def check(
    release: OrFolders = "",
    from_git: FromGit = None,
    repo: Repo = Path(),
    config: ConfigIn = "config",
    templates: TemplatesIn = "templates",
) -> None:
    """Hold everything against the rules and against each other. A draft that passes may be approved."""
    settings = configuration.load()
    if not release:
        _tell_checked(_read(settings, from_git, repo, config, templates).bundle)
        return
    with enter(settings) as spine:
        found = releases.resolve(spine.conn, release)
        _tell_checked(releases.fetch(spine.conn, found))
        releases.mark_checked(spine.conn, found, by=settings.user or getpass.getuser())


def _tell_checked(bundle: Bundle) -> None:
    release, warnings = examine(bundle)
    console = Console(soft_wrap=True)
    for warning in warnings:
        console.print(str(warning), style="dim", highlight=False)
    console.print(
        f"Release {release.hash[:12]} is in order: {len(release.packs.packs)} packs, {len(release.ladders)} ladders, "
        f"{len(release.lenders)} lenders, {len(release.catalogue.messages)} messages, "
        f"{len(release.experiments)} experiments, {len(warnings)} warnings."
    )


# ------------------------------------------------------------------------------------------------------------- the life


@release_app.command()
def propose(
    release: Annotated[str, typer.Argument(help="A stored release, to put your name to it; else the folders.")] = "",
    from_git: FromGit = None,
    repo: Repo = Path(),
    config: ConfigIn = "config",
    templates: TemplatesIn = "templates",
    draft: Annotated[bool, typer.Option(help="Store it as it is, unchecked: it cannot be approved yet.")] = False,
    why: Why = "",
    as_: As = None,
    key: Key = None,
) -> None:
    """Store a release under your name, checked. Nothing changes for customers."""
    with entered() as spine:
        source = _source(spine.conn, spine.settings, release, from_git, repo, config, templates)
        if not draft:
            examine(source.bundle)
        signer = signer_of(spine.settings, as_, key)
        approvals.propose(spine.conn, source.bundle, signer, at=now(), why=why, draft=draft, **source.place)
        live = releases.live_hash(spine.conn)
        before = releases.fetch(spine.conn, live) if live else Bundle({})
    short = source.bundle.hash[:12]
    changed = len(file_changes(before, source.bundle))
    said = "stored as a draft" if draft else "proposed and checked"
    Console(soft_wrap=True).print(
        f"Release {short} is {said} by {signer.user}: {changed} files differ from what is live. Next: another person "
        f"looks (`duly release diff {short}`) and approves (`duly release approve {short}`).",
        highlight=False,
    )


@release_app.command()
def approve(release: Release, why: Why = "", as_: As = None, key: Key = None) -> None:
    """Put your name to exactly this content, as the second person. Nothing changes for customers yet."""
    with entered() as spine:
        found = releases.resolve(spine.conn, release)
        signer = signer_of(spine.settings, as_, key)
        examine(releases.fetch(spine.conn, found))
        approvals.approve(spine.conn, found, signer, at=now(), why=why)
    Console(soft_wrap=True).print(
        f"Release {found[:12]} is approved by {signer.user}. An operator makes it live: `duly release go-live "
        f"{found[:12]}`.",
        highlight=False,
    )


@release_app.command("go-live")
def go_live(
    release: Release, at: At = None, until: Until = None, why: Why = "", as_: As = None, key: Key = None
) -> None:
    """Make an approved release live: workers use it from their next batch on."""
    starts, ends = _time(at, "--at"), _time(until, "--until")
    with entered() as spine:
        found = releases.resolve(spine.conn, release)
        signer = signer_of(spine.settings, as_, key)
        compile_release(releases.fetch(spine.conn, found))
        admission = approvals.go_live(spine.conn, found, signer, at=now(), why=why, starts=starts, until=ends)
    names = f"proposed by {admission.proposer}, approved by {admission.approver}" if admission.proposer else "kept"
    when = f"goes live at {starts:%Y-%m-%d %H:%M} UTC" if starts else "is live"
    then = f", until {ends:%Y-%m-%d %H:%M} UTC" if ends else ""
    Console(soft_wrap=True).print(f"Release {found[:12]} {when}{then}: {names}.", highlight=False)


@release_app.command("publish")
def publish_command(
    why: Why = "",
    unapproved: Annotated[
        bool, typer.Option("--unapproved", help="With real providers: yes, though nobody approves it.")
    ] = False,
) -> None:
    """Check what the folders hold and make it live at once: only while no users are registered."""
    settings = configuration.load()
    if settings.is_live and not unapproved:
        fail(
            "with real providers a release takes two persons: register them (`duly users`), or say --unapproved, which "
            "stands in the history",
            code=1,
        )
    release, _ = examine(bundle_of(settings))
    with enter(settings) as spine, spine.conn.transaction():
        by = settings.user or getpass.getuser()
        releases.propose(spine.conn, bundle_of(settings), by=by)
        approvals.publish(spine.conn, release.hash, by=by, why=why)
    Console(soft_wrap=True).print(
        f"Release {release.hash[:12]} is live, approved by nobody: no users are registered.", highlight=False
    )


@release_app.command()
def rollback(
    release: Annotated[str, typer.Argument(help="A release that was live; without it, the one before.")] = "",
    why: Why = "",
    as_: As = None,
    key: Key = None,
) -> None:
    """Take back what is live: the release before it, or the one that is named, is live again at once."""
    with entered() as spine:
        conn, settings = spine.conn, spine.settings
        found = releases.resolve(conn, release) if release else approvals.previous(conn)
        compile_release(releases.fetch(conn, found))
        if users.has_users(conn):
            approvals.go_live(conn, found, signer_of(settings, as_, key), at=now(), why=why, kind="rolled_back")
        else:
            approvals.publish(conn, found, by=settings.user or getpass.getuser(), why=why, kind="rolled_back")
    Console().print(f"Release {found[:12]} is live again.", highlight=False)


@release_app.command()
def cancel(
    number: Annotated[int, typer.Argument(help="As `duly release history` lists it.")], as_: As = None, key: Key = None
) -> None:
    """Take back a go-live or an expiry that was scheduled."""
    with entered() as spine:
        if not approvals.cancel(spine.conn, number, signer_of(spine.settings, as_, key), at=now()):
            fail(f"nothing that waits has the number {number}: see `duly release history`", code=1)
    Console().print(f"{number} is cancelled.")


# ------------------------------------------------------------------------------------------------------------ the past


@release_app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many lines.")] = 30, as_json: AsJson = False
) -> None:
    """Which releases there are, who did what to them and why, and what is scheduled."""
    with entered() as spine:
        rows = releases.history(spine.conn, limit)
        told = releases.happenings(spine.conn, limit)
        waiting = switches.waiting(spine.conn)
    if as_json:
        print_json({
            "schema": SCHEMA,
            "releases": [row._asdict() for row in rows],
            "events": [each._asdict() for each in told],
            "scheduled": [each._asdict() for each in waiting],
        })  # fmt: skip
        return
    console = Console(soft_wrap=True)
    console.print(_releases_table(rows), "", _events_table(told))
    if waiting:
        console.print("", _waiting_table(waiting))


def _releases_table(rows: list[ReleaseRow]) -> Table:
    table = _table("release", "state", "by", "live since (UTC)", title="Releases")
    for row in rows:
        since = f"{row.live_at:%Y-%m-%d %H:%M:%S}" if row.live_at else ""
        table.add_row(row.release_hash[:12], row.state, row.proposed_by, since)
    return table


def _events_table(told: list[Happening]) -> Table:
    table = _table("when (UTC)", "release", "what", "by", "signed", "why", title="Who did what")
    for each in told:
        why = "; ".join(str(each.detail[key]) for key in ("why", "note", "commit", "starts") if key in each.detail)
        table.add_row(
            f"{each.at:%Y-%m-%d %H:%M:%S}", each.release_hash[:12], each.kind.replace("_", " "), each.by_whom,
            "yes" if each.is_signed else "", why,
        )  # fmt: skip
    return table


def _waiting_table(waiting: list[Switch]) -> Table:
    table = _table("number", "when (UTC)", "release", "what", "until", "by", "why", title="Scheduled")
    for each in waiting:
        until = f"{each.until:%Y-%m-%d %H:%M}" if each.until else ""
        table.add_row(
            str(each.release_switch_id), f"{each.at:%Y-%m-%d %H:%M}", each.release_hash[:12],
            each.kind.replace("_", " "), until, each.by_whom, each.why,
        )  # fmt: skip
    return table


def _table(*headings: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


# ----------------------------------------------------------------------------------------------------------- the source


def _source(
    conn: Conn, settings: Settings, release: str, from_git: str | None, repo: Path, config: str, templates: str
) -> Source:
    """A stored release, or what git or the folders hold."""
    if not release:
        return _read(settings, from_git, repo, config, templates)
    if from_git is not None:
        raise typer.BadParameter("name a stored release or --from-git, not both")
    found = releases.resolve(conn, release)
    return Source(releases.fetch(conn, found), {})


def _read(settings: Settings, from_git: str | None, repo: Path, config: str, templates: str) -> Source:
    if from_git is None:
        return Source(bundle_of(settings), {"source": "folders"})
    found = read_at(repo, from_git, config=config, templates=templates)
    return Source(found.bundle, {"source": "git", "revision": from_git, "commit": found.commit})


def _time(text: str | None, option: str) -> datetime | None:
    """An instant in UTC; one without a zone is refused, since nobody can tell which was meant."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option}: {text!r} is no time: write it as 2026-03-01T09:00+08:00") from None
    if at.tzinfo is None:
        raise typer.BadParameter(f"{option}: {text!r} has no zone: add it, as in 2026-03-01T09:00+08:00 or ...Z")
    return at.astimezone(UTC)
