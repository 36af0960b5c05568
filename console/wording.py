"""`duly templates` and `duly segments`: the editors' tools. They read the folder of copy, and change nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer
from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from config import settings as configuration
from config.bundle import read_bundle
from config.ladders import load_ladders
from config.lenders import load_lenders
from console import catalogue_page
from console.house import bundle_of, enter, entered
from console.output import fail, print_json
from console.phone import lines
from domain.channel import Channel
from domain.segments import Route, count
from messages import checks, preview, side_by_side
from messages.catalogue import Catalogue, Key
from messages.checks import Finding
from messages.fit import check_fit
from messages.manifest import suggest
from messages.preview import View
from messages.rules import Severity
from messages.source import read_folder, scan
from storage import ledger, releases
from storage.ledger import NoSuchAccount
from worker import engines
from worker.previewing import CannotShow, view_for
from worker.wiring import folders

#: The shape of our JSON; a change that could break a reader raises it.
SCHEMA = 1
#: As wide as a text message looks on a phone.
_PHONE_COLUMNS = 46
_SHEET_COLUMNS = 84
#: A longer line is no text message.
_LONGEST_LINE = 1024 * 1024

templates_app = typer.Typer(help="The words: check them, look at them.", no_args_is_help=True)

Folder = Annotated[Path | None, typer.Option("--folder", help="A folder of copy; without it, the one in use.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]


@templates_app.command("check")
def check_command(folder: Folder = None, as_json: AsJson = False) -> None:
    """Hold every branch of every message against the rules of humane copy. Exit 1 when there is an error."""
    findings = _findings(folder)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    if as_json:
        print_json({"schema": SCHEMA, "errors": errors, "findings": [_plain(finding) for finding in findings]})
    else:
        console = Console()
        for finding in findings:
            console.print(_line(finding), soft_wrap=True)
        console.print(f"{_number(errors, 'error')}, {_number(len(findings) - errors, 'warning')}.")
    if errors:
        raise typer.Exit(1)


@templates_app.command("preview")
def preview_command(
    message: Annotated[
        str | None, typer.Argument(help="A message, like first_notice; without it, all (--html).")
    ] = None,
    locale: Annotated[str | None, typer.Option(help="Like zh-Hant; without it, all.")] = None,
    channel: Annotated[Channel | None, typer.Option(help="Without it, all.")] = None,
    account: Annotated[
        str | None, typer.Option(metavar="REF", help="Draw it for a real account, as it stands: personal, for staff.")
    ] = None,
    lender: Annotated[str | None, typer.Option(help="With --account, if several lenders have that reference.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with everything side by side.")] = None,
    live: Annotated[
        str | None,
        typer.Option(help="With --html: what to compare with: a folder, or the start of a release's hash; 'none' for "
                          "nothing. Without it, the live release, if there is one."),
    ] = None,
    all_branches: Annotated[bool, typer.Option(help="Draw every text that the copy can become.")] = False,
    folder: Folder = None,
) -> None:  # fmt: skip
    """Draw a message as its reader will see it, with made-up facts or with a real account's."""
    if html is not None:
        if account is not None:
            raise typer.BadParameter("a page stays on the disk: draw a real account in the terminal, without --html")
        _write_page(html, message, folder, live)
        return
    if message is None:
        raise typer.BadParameter("name a message, or write a page of all with --html FILE")
    catalogue = Catalogue.from_files(_read(folder))
    keys = _chosen(catalogue, message, locale, channel)
    if account is not None:
        _draw_for(account, lender, catalogue, keys, locale)
        return
    for key in keys:
        shown = preview.views(catalogue, key)
        for each in shown if all_branches else shown[:1]:
            Console().print(_drawn(key, each))


def _draw_for(account: str, lender: str | None, catalogue: Catalogue, keys: list[Key], locale: str | None) -> None:
    """What is drawn goes to the terminal and nowhere else."""
    with entered() as spine:
        try:
            found = ledger.find_account(spine.conn, account, lender)
            for message, channel in dict.fromkeys(key[:2] for key in keys):
                at, shown = view_for(spine, bundle_of(spine.settings), catalogue, found, message, channel, locale)
                Console().print(_drawn((message, channel, at), shown))
        except (NoSuchAccount, CannotShow) as refused:
            fail(str(refused), code=1)


def _write_page(html: Path, only: str | None, folder: Path | None, live: str | None) -> None:
    files, faults = scan(folder or folders(configuration.load())[1])
    if only is not None and f"{only}/message.toml" not in files:
        known = {path.split("/")[0] for path in files if path.endswith("/message.toml")}
        raise typer.BadParameter(f"there is no message {only!r}. {suggest(only, known)}")
    name, before = _live(live)
    book = side_by_side.book(files, live=before, only=only, unread=faults)
    try:
        html.write_text(catalogue_page.draw(book, live_name=name), encoding="utf-8")
    except OSError as error:
        fail(f"{html}: cannot be written: {error.strerror}", code=1)
    Console().print(f"Written to {html}.")


def _live(wanted: str | None) -> tuple[str | None, dict[str, str] | None]:
    """The name and the files of what to compare with, or None twice."""
    if wanted == "none":
        return None, None
    if wanted is not None and Path(wanted).is_dir():
        return wanted, read_folder(Path(wanted))
    settings = configuration.load()
    if wanted is None and settings.database_url is None and not engines.was_started(settings):
        return None, None  # nothing was ever live here, and a look at words need not start a database
    with enter(settings) as spine:
        found = releases.resolve(spine.conn, wanted) if wanted else releases.live_hash(spine.conn)
        if found is None:
            return None, None
        name = f"release {found[:12]}" if wanted else f"what is live ({found[:12]})"
        return name, releases.fetch(spine.conn, found).under("templates")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _findings(folder: Path | None) -> list[Finding]:
    """What is wrong with the copy; with the copy in use, also how ladders and lenders fit it."""
    config_dir, in_use = folders(configuration.load())
    files, faults = scan(folder or in_use)
    unread = {fault.file for fault in faults}
    findings = [checks.as_finding(fault) for fault in faults]
    findings += (finding for finding in checks.check(files) if finding.file not in unread)
    catalogue, broken = checks.sound_part(files)
    if folder is None and catalogue is not None and not broken and not faults:
        ladders, lenders = (read_bundle(config_dir, in_use).under(name) for name in ("ladders", "lenders"))
        findings += check_fit(catalogue, load_ladders(ladders), load_lenders(lenders))
    return findings


def _read(folder: Path | None) -> dict[str, str]:
    """Raises CopyError: the command line tells it in a sentence."""
    return read_folder(folder or folders(configuration.load())[1])


def _chosen(catalogue: Catalogue, message: str, locale: str | None, channel: Channel | None) -> list[Key]:
    if message not in catalogue.messages:
        raise typer.BadParameter(f"there is no message {message!r}. {suggest(message, catalogue.messages)}")
    wanted = locale and catalogue.locale_for(message, channel or _any_channel(catalogue, message), locale)
    keys = [
        key
        for key in sorted(catalogue.templates)
        if key[0] == message and channel in (None, key[1]) and (locale is None or key[2] == wanted)
    ]
    if not keys:
        raise typer.BadParameter(f"{message} has no such copy: try another --channel or --locale")
    return keys


def _any_channel(catalogue: Catalogue, message: str) -> Channel:
    return next(key[1] for key in sorted(catalogue.templates) if key[0] == message)


def _drawn(key: Key, shown: View) -> Group:
    """One message as a bubble or a sheet, with what it costs beneath."""
    rendered = shown.rendered
    is_short = rendered.channel in (Channel.SMS, Channel.PUSH)
    title = f"{key[0]} · {key[1]} · {key[2]}"
    width = min(_PHONE_COLUMNS if is_short else _SHEET_COLUMNS, Console().width)
    body: RenderableType = Text("\n".join(lines(shown.reading, width - 4)))
    if rendered.channel is Channel.CALL:
        body = Markdown(shown.reading)
    elif rendered.subject:
        beside = [Text(f"{shown.preheader}\n", style="dim")] if shown.preheader else []
        body = Group(Text(rendered.subject, style="bold"), *beside, body)
    beneath = [preview.badge_of(shown.segments)] if shown.segments else []
    beneath.append(", ".join(shown.titles))
    panel = Panel(body, title=title, title_align="left", box=ROUNDED, width=width, padding=(0, 1))
    return Group(panel, Padding(Text(" · ".join(beneath), style="dim"), (0, 0, 1, 2)))


def _line(finding: Finding) -> Text:
    return Text(str(finding), style="" if finding.severity is Severity.ERROR else "dim")


def _plain(finding: Finding) -> dict[str, object]:
    return {name: getattr(finding, name) for name in ("rule", "severity", "file", "line", "problem", "suggestion")}


def segments_command(
    file: Annotated[Path | None, typer.Argument(help='JSON lines {"id", "text"}; without it, standard input.')] = None,
    route: Annotated[Route, typer.Option(help="Who carries it: cn counts every text in UTF-16 units.")] = Route.AUTO,
) -> None:
    """Count SMS segments: one JSON line in, one out. A bad line is answered with an error; then the exit code is 1."""
    try:
        with open(file, "rb") if file else sys.stdin.buffer as source:
            faults = _count_lines(source, sys.stdout.buffer, route)
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}", code=1)
    if faults:
        raise typer.Exit(1)


def _count_lines(source: BinaryIO, out: BinaryIO, route: Route) -> int:
    faults = 0
    for answer in _answers(source, route):
        faults += "error" in answer
        out.write(orjson.dumps(answer) + b"\n")
    out.flush()
    return faults


def _answers(source: BinaryIO, route: Route) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(source, start=1):
        if line.strip():
            yield _answer(line, number, route)


def _answer(line: bytes, number: int, route: Route) -> dict[str, Any]:
    if len(line) > _LONGEST_LINE:
        return {"id": None, "line": number, "error": "the line is longer than 1 MB: one text message a line"}
    try:
        given = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return {"id": None, "line": number, "error": 'not JSON: write {"id": ..., "text": "..."} on each line'}
    if not isinstance(given, dict):
        return {"id": None, "line": number, "error": 'not an object: write {"id": ..., "text": "..."}'}
    if not isinstance(given.get("text"), str):
        problem = "text is missing" if "text" not in given else "text must be a string"
        return {"id": given.get("id"), "line": number, "error": f'{problem}: write {{"id": ..., "text": "..."}}'}
    counted = count(given["text"], route)
    return {
        "id": given.get("id"),
        "encoding": counted.encoding,
        "units": counted.units,
        "segments": counted.segments,
    }
