"""`duly demo`: five weeks of a generated portfolio in a minute, and then what happened to whom, and why."""

import shutil
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from uuid import UUID

import orjson
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from config import settings as configuration
from config.settings import Settings
from console import running
from console.explaining import draw_report, draw_timeline
from console.filing import take_in
from console.house import enter
from simulator.portfolio import write_portfolio
from storage import ledger, rehearsal
from storage.rows import Conn
from worker import engines

#: The first day of the demonstration: a Sunday, so that the first Monday shows quiet hours and late entrants alike.
FIRST_DAY = date(2026, 3, 1)

#: Timelines want room, also where the output goes to a file.
WIDTH = 130

#: The portfolio is true at the end of the day before.
EVE = FIRST_DAY - timedelta(days=1)


class Sample(NamedTuple):
    """A message as the sandbox received it."""

    channel: str
    locale: str
    subject: str | None
    text: str


def run(settings: Settings, *, accounts: int, seed: int, weeks: int) -> None:
    """Import, live, show, and leave nothing running. Works in a home of its own, made anew each time."""
    console = Console(width=max(WIDTH, Console().width))
    began = monotonic()
    home = settings.home / "demo"
    settings = configuration.adopt(configuration.for_a_demonstration(settings, home))
    engines.stop(settings)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    try:
        _live(console, settings, accounts=accounts, seed=seed, weeks=weeks)
        _show(console, settings)
    finally:
        engines.stop(settings)
    console.print(f"\nAll of it took {monotonic() - began:.0f} s, and nothing is left running.")


def _live(console: Console, settings: Settings, *, accounts: int, seed: int, weeks: int) -> None:
    file = settings.home / "portfolio.csv"
    customers = write_portfolio(file, accounts=accounts, as_of=EVE, seed=seed)
    console.print(f"[bold]1.[/] A portfolio of {accounts:,} accounts of {customers:,} people, made up: {file}")
    report = take_in(settings, file, profile="demo", as_of=EVE, rejects=settings.home / "portfolio.rejects.csv")
    console.print(
        f"[bold]2.[/] Imported: {report.accounts_new:,} accounts sealed, {report.planned:,} first steps planned, "
        f"{report.rejected} rows rejected."
    )
    first = datetime.combine(FIRST_DAY, time(), tzinfo=UTC)
    span = running.Span(first, first + timedelta(days=7 * weeks), seed=seed)
    console.print(f"[bold]3.[/] The fleet (Celery, PostgreSQL, Valkey, sandbox providers) lives {weeks} weeks ...")
    done = running.rehearse(settings, span)
    console.print(f"   {done.moments} moments in {done.seconds:.0f} s.")


def _show(console: Console, settings: Settings) -> None:
    with enter(settings) as spine:
        conn = spine.conn
        console.print("\n[bold]What became of every reminder[/]")
        console.print(draw_report(conn))
        console.print("\n[bold]Three customers[/]")
        for account in ledger.telling_accounts(conn, 3):
            console.print(draw_timeline(conn, account.external_ref, account.lender_id))
        _show_promises(console, ledger.proofs(conn))
        outbox = settings.home / "outbox"
        _show_messages(console, outbox, _samples(conn, outbox / "messages.jsonl"))


def _show_promises(console: Console, proofs: dict[str, int]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for question, number in proofs.items():
        table.add_row(question, f"[{'green' if number == 0 else 'red'}]{number:,}[/]")
    console.print("\n[bold]Asked of the ledger[/] (all must be 0)")
    console.print(table)


def _show_messages(console: Console, outbox: Path, samples: Iterable[Sample]) -> None:
    console.print("\n[bold]What they read[/]")
    for sample in samples:
        body = Text.assemble((f"{sample.subject}\n", "bold") if sample.subject else "", sample.text.strip())
        title = f"{sample.channel}, to somebody who reads {sample.locale}"
        console.print(Panel(body, title=title, title_align="left", width=78))
    console.print(f"Everything sent is in {outbox}: open index.html, or read messages.jsonl and mail/*.eml")


#: What is shown of the outbox, and how much of it is looked through for that.
SHOWN = (
    ("sms", "en"),
    ("sms", "zh-Hant"),
    ("sms", "zh-Hans"),
    ("email", "en"),
    ("email", "zh-Hant"),
    ("push", "zh-Hans"),
)
LOOKED_THROUGH = 3000


def _samples(conn: Conn, messages: Path) -> list[Sample]:
    """One message of each kind that is shown, out of those the sandbox received first."""
    with messages.open("rb") as lines:
        received = {UUID(m["contact"]): m for m in map(orjson.loads, islice(lines, LOOKED_THROUGH)) if m["contact"]}
    if not received:
        return []
    found: dict[tuple[str, str], Sample] = {}
    for row in rehearsal.received(conn, list(received)):
        message = received[row.contact_id]
        key = message["channel"], row.locale
        found.setdefault(key, Sample(*key, message["subject"], message["text"]))
    return [found[key] for key in SHOWN if key in found]
