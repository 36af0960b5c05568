"""`duly import`, `import-payments`, `import-contacts`: a lender's files into the ledger, with a progress bar."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import available_timezones

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from config import settings as configuration
from config.profiles import Profile, load_profile
from config.settings import Settings
from console.house import enter, live_release
from console.output import print_json
from worker import logs
from worker.csv_file import Progress as Heard
from worker.intake import IntakeReport, import_accounts
from worker.past_contacts import ContactsReport, import_contacts
from worker.payments import PaymentsReport, import_payments
from worker.wiring import folders

File = Annotated[Path, typer.Argument(metavar="FILE", help="A UTF-8 CSV file with a header.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 if any row was rejected.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]
Zone = Annotated[str, typer.Option("--zone", help="Where times without an offset are read.")]
RejectsFile = Annotated[
    Path | None, typer.Option("--rejects", metavar="FILE", help="Where rejected rows go; beside the file by default.")
]


def import_command(
    file: File,
    profile: Annotated[str, typer.Option(metavar="NAME", help="One of config/profiles/.")],
    as_of: Annotated[str, typer.Option("--as-of", metavar="DATE", help="The day at whose end the file was true.")],
    full: Annotated[
        bool, typer.Option("--full", help="The file holds all accounts: the missing are recalled.")
    ] = False,
    strict: Strict = False,
    rejects: RejectsFile = None,
    as_json: AsJson = False,
) -> None:
    """Take in a lender's accounts. The same file again changes nothing; a changed row updates."""
    settings = _settings()
    report = take_in(settings, file, profile=profile, as_of=_day(as_of), full=full, rejects=rejects, quiet=as_json)
    if as_json:
        print_json({"schema": 1, **asdict(report)})
    else:
        Console().print(_told(report), highlight=False)
    _leave(report.rejected, strict=strict)


def take_in(
    settings: Settings,
    file: Path,
    *,
    profile: str,
    as_of: date,
    full: bool = False,
    rejects: Path | None = None,
    quiet: bool = False,
) -> IntakeReport:
    """Import a file of accounts under the live release, with a progress bar unless `quiet`."""
    with enter(settings) as spine:
        release = live_release(spine)
        with _bar(file, quiet=quiet) as heard:
            return import_accounts(
                spine.database_url,
                file,
                _profile(settings, profile),
                as_of=as_of,
                full=full,
                keyring=spine.keyring,
                lenders=release.lenders,
                ladders=release.ladders,
                rejects_path=rejects or rejects_beside(file),
                progress=heard,
            )


def import_payments_command(
    file: File, zone: Zone = "UTC", strict: Strict = False, rejects: RejectsFile = None, as_json: AsJson = False
) -> None:
    """Take in payments and reversals: a paid account's open reminder is cancelled at once."""
    with enter(_settings()) as spine:
        release = live_release(spine)
        with _bar(file, quiet=as_json) as heard:
            report = import_payments(
                spine.database_url, file, ladders=release.ladders, rejects_path=rejects or rejects_beside(file),
                zone=_known(zone), progress=heard,
            )  # fmt: skip
    _tell(report, strict=strict, as_json=as_json)


def import_contacts_command(
    file: File, zone: Zone = "UTC", strict: Strict = False, rejects: RejectsFile = None, as_json: AsJson = False
) -> None:
    """Take in what others did already (the old system, agencies), so that caps do not start at zero."""
    with enter(_settings()) as spine:
        live_release(spine)
        with _bar(file, quiet=as_json) as heard:
            report = import_contacts(
                spine.database_url, file, rejects_path=rejects or rejects_beside(file), zone=_known(zone),
                progress=heard,
            )  # fmt: skip
    _tell(report, strict=strict, as_json=as_json)


def _tell(report: PaymentsReport | ContactsReport, *, strict: bool, as_json: bool) -> None:
    if as_json:
        print_json({"schema": 1, **asdict(report)})
    else:
        counts = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in _counts(asdict(report)))
        Console().print(counts + (f" (see {report.rejects})" if report.rejects else ""), highlight=False)
    _leave(report.rejected, strict=strict)


def _counts(report: Mapping[str, object]) -> list[tuple[str, int]]:
    return [(name, value) for name, value in report.items() if isinstance(value, int)]


def _known(zone: str) -> str:
    if zone not in available_timezones():
        raise typer.BadParameter(f"{zone!r} is no time zone: write one such as Asia/Taipei")
    return zone


def rejects_beside(file: Path) -> Path:
    """`accounts.csv` rejects into `accounts.rejects.csv` in the working folder: the file's own may be read-only."""
    return Path.cwd() / f"{file.stem}.rejects.csv"


def _profile(settings: Settings, name: str) -> Profile:
    folder = folders(settings)[0] / "profiles"
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))}
    return load_profile(files, name)


def _told(report: IntakeReport) -> str:
    lines = [
        f"{report.rows:,} rows as of {report.as_of:%Y-%m-%d %H:%M} UTC, {report.rejected:,} rejected"
        + (f" (see {report.rejects})" if report.rejects else ""),
        f"customers: {report.customers_new:,} new, {report.customers_changed:,} changed",
        f"accounts: {report.accounts_new:,} new, {report.accounts_changed:,} changed, {report.accounts_unchanged:,} as "
        f"before, {report.accounts_stale:,} older than what is known, {report.accounts_recalled:,} recalled",
        f"reminders: {report.planned:,} planned, {report.cancelled:,} cancelled",
        *report.notes,
    ]
    return "\n".join(lines)


def _leave(rejected: int, *, strict: bool) -> None:
    if strict and rejected:
        raise typer.Exit(1)


def _settings() -> Settings:
    settings = configuration.load()
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return settings


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a day, not an instant
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write it as 2026-03-01") from None


@contextmanager
def _bar(file: Path, *, quiet: bool) -> Iterator[Heard | None]:
    """A bar over the bytes read; none when a script is listening."""
    if quiet:
        yield None
        return
    columns = TextColumn(file.name), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
