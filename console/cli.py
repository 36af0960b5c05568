"""`duly`: the command line. Each verb is a thin function around the spine; errors become one sentence and an exit code.

Exit codes: 0 done, 1 the job failed, 2 wrong usage or wrong settings.
"""

import sys
from datetime import UTC, date, datetime, time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from config import settings as configuration
from config.files import ConfigError
from config.settings import BadSettings, Settings
from console import demonstration, filing, running
from console.auditing import audit_command
from console.calling import calls_app
from console.carriers import providers_app
from console.doctor import Finding, examine
from console.explaining import explain_command
from console.fleet import FleetFailed, end_fleet
from console.holding import hold_command, holds_command, release_hold_command
from console.house import NoRelease, enter
from console.judging import judge_command, policies_app, zones_command
from console.open_questions import poisonous_command, uncertain_command
from console.output import fail, print_json
from console.releasing import release_app
from console.sandboxing import sandbox_app
from console.showing import show_command
from console.signing import WhoAreYou
from console.staff_sending import send_test_command
from console.status import status_command
from console.stepping import ClockRefused
from console.users import users_app
from console.wording import segments_command, templates_app
from messages.catalogue import CopyError
from policy.packs import PackError
from storage import lanes, schema
from storage.database import DatabaseDown
from storage.releases import NoSuchRelease, TamperedRelease
from storage.rows import Conn
from storage.schema import NewerSchema, SchemaMissing
from storage.sealing import KeyringError
from storage.users import NoSuchUser, UserTaken
from worker import engines, logs
from worker.approvals import NotApproved, NotYourPart
from worker.csv_file import ShapeError
from worker.daemons import EngineFailed
from worker.releases import BadRelease, NoneStands
from worker.signatures import BadKey
from worker.wiring import NoProviders

#: What a person can mend: told in a sentence, without a trace.
FAILURES = (
    EngineFailed, DatabaseDown, NewerSchema, SchemaMissing, FleetFailed, NoRelease, NoProviders, ShapeError,
    ConfigError, BadRelease, PackError, CopyError, KeyringError, TamperedRelease, NoneStands, NotApproved, NotYourPart,
    BadKey, UserTaken,
)  # fmt: skip
MISUSES = (BadSettings, ClockRefused, NoSuchRelease, NoSuchUser, WhoAreYou)

app = typer.Typer(
    name="duly",
    help="Repayment reminders that are due, sent duly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(calls_app, name="calls")
app.add_typer(providers_app, name="providers")
app.add_typer(release_app, name="release")
app.add_typer(users_app, name="users")
app.add_typer(policies_app, name="policies")
app.add_typer(templates_app, name="templates")
app.add_typer(sandbox_app, name="sandbox")
app.command("audit")(audit_command)
app.command("explain")(explain_command)
app.command("show")(show_command)
app.command("status")(status_command)
app.command("uncertain")(uncertain_command)
app.command("poisonous")(poisonous_command)
app.command("hold")(hold_command)
app.command("holds")(holds_command)
app.command("release-hold")(release_hold_command)
app.command("judge")(judge_command)
app.command("zones")(zones_command)
app.command("segments")(segments_command)
app.command("send-test")(send_test_command)
app.command("import")(filing.import_command)
app.command("import-payments")(filing.import_payments_command)
app.command("import-contacts")(filing.import_contacts_command)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]
Lender = Annotated[str, typer.Argument(help="A lender's id; without it, everyone.")]


@app.command()
def up(
    start: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="Live on the stepped clock from this day on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="... to the end of this day, then end.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What the sandbox's people do depends on it.")] = 1,
    people: Annotated[bool, typer.Option(help="Whether the sandbox's people pay and reply.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run the whole system: sandbox, console, beat and workers. Ctrl-C ends it in order."""
    settings = _settings()
    if (start is None) != (until is None):
        raise typer.BadParameter("--from and --until go together: they put the run on the stepped clock")
    if start is None or until is None:
        running.serve(settings)
    else:
        running.rehearse(settings, running.Span(_day(start), _day(until), seed=seed, people=people), as_json=as_json)


@app.command()
def down() -> None:
    """End the fleet and the embedded engines of this home, in order, also what a killed `duly up` left."""
    settings = _settings()
    ended = end_fleet(settings)
    stopped = [*([f"{ended} processes of a fleet"] if ended else []), *engines.stop(settings)]
    Console().print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


@app.command()
def migrate() -> None:
    """Bring the database's schema up to this version."""
    applied = schema.migrate(engines.ensure(_settings()).database_url)
    Console().print(f"Applied: {', '.join(applied)}." if applied else "The schema is up to date.")


@app.command()
def pause(
    lender: Lender = "*",
    reason: Annotated[str, typer.Option(help="Why: shown by `duly status`.")] = "by hand",
    as_json: AsJson = False,
) -> None:
    """Stop sending, everywhere, with the next wave; what is planned stays planned."""
    with enter(_settings()) as spine:
        _require_lender(spine.conn, lender)
        fresh = lanes.pause(spine.conn, lender, reason=reason, by="console")
    said = "Paused" if fresh else "Was paused already"
    _tell_pause(lender, said, is_paused=True, changed=fresh, as_json=as_json)


@app.command()
def resume(lender: Lender = "*", as_json: AsJson = False) -> None:
    """Let sending go on. What expired meanwhile is not sent late."""
    with enter(_settings()) as spine:
        _require_lender(spine.conn, lender)
        was_paused = lanes.resume(spine.conn, lender)
    said = "Resumed" if was_paused else "Was not paused"
    _tell_pause(lender, said, is_paused=False, changed=was_paused, as_json=as_json)


def _tell_pause(lender: str, said: str, *, is_paused: bool, changed: bool, as_json: bool) -> None:
    if as_json:
        print_json({"schema": 1, "scope": lender, "paused": is_paused, "changed": changed})
    else:
        Console().print(f"{said}: {'everyone' if lender == '*' else lender}.")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look at engines, clock, time zones, keys, files and providers; exit 1 if anything is wrong."""
    findings = examine(_settings(), real_now=lambda: datetime.now(UTC))
    is_well = all(finding.is_well for finding in findings)
    if as_json:
        print_json({"schema": 1, "well": is_well, "findings": [_plain(finding) for finding in findings]})
    else:
        Console().print(_drawn(findings))
    if not is_well:
        raise typer.Exit(1)


def _plain(finding: Finding) -> dict[str, object]:
    return {
        "subject": finding.subject, "well": finding.is_well, "detail": finding.detail, "remedy": finding.remedy,
    }  # fmt: skip


def _drawn(findings: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "subject", "what was seen", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = "[green]well[/]" if finding.is_well else "[red]ill[/]"
        table.add_row(mark, finding.subject, finding.detail, finding.remedy or "")
    return table


@app.command()
def demo(
    accounts: Annotated[int, typer.Option(min=1, help="How many accounts the generated portfolio holds.")] = 3000,
    seed: Annotated[int, typer.Option(help="The portfolio and its people depend on it.")] = 1,
    weeks: Annotated[int, typer.Option(min=1, max=26, help="How long the fleet lives, in business time.")] = 5,
) -> None:
    """Live five weeks in a minute: a generated portfolio, the true fleet, the sandbox's people; then what happened."""
    demonstration.run(_settings(), accounts=accounts, seed=seed, weeks=weeks)


def _settings() -> Settings:
    settings = configuration.load()
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return settings


def _day(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(), tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write it as 2026-03-01") from None


def _require_lender(conn: Conn, lender: str) -> None:
    if lender != "*" and not lanes.has_lender(conn, lender):
        raise typer.BadParameter(f"there is no lender {lender!r}: `duly status` lists them")


def main() -> None:
    """The entry point: known failures end in a sentence on standard error."""
    try:
        app()
    except MISUSES as error:
        fail(str(error), code=2)
    except FAILURES as error:
        fail(str(error), code=1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
