"""`duly release backtest`: what a proposed release would have changed, before anybody lives with it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from console.house import NoRelease, bundle_of, entered
from console.output import print_json
from storage import lanes, releases
from worker.backtest import Backtest, World, run
from worker.releases import compile_release

SCHEMA = 1

#: What a replay cannot know: told with every result.
CANNOT_KNOW = (
    "How people would have answered: whoever is contacted sooner may pay sooner, whoever is left alone may not.",
    "Steps that were never due: reminders are those that the ledger asked about, at the times when they came up; a "
    "ladder with other steps or days changes more than is seen here.",
    "Customers as they were: zones, wishes and addresses are those of today; consents, holds and payments those of "
    "the time.",
    "Outages and refusals of providers: a contact is taken as made when it is allowed.",
)

_PEOPLE = {
    "more": "contacted more often", "fewer": "contacted less often", "other_times": "as often, at other times",
    "same": "no difference",
}  # fmt: skip


def backtest_command(
    release: Annotated[
        str, typer.Argument(help="The start of a release's hash; without it, what the folders hold.")
    ] = "",
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days back, of business time.")] = 30,
    fail_on_violation: Annotated[
        bool, typer.Option("--strict", help="Exit 1 if a contact would break a rule of the live release.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")] = False,
) -> None:
    """Replay the ledger's decisions under a release: whom it would contact more or less, and what it would break."""
    with entered() as spine:
        conn = spine.conn
        live = releases.live_hash(conn)
        if live is None:
            raise NoRelease("no release is live: there is nothing to compare with")
        bundle = releases.fetch(conn, releases.resolve(conn, release)) if release else bundle_of(spine.settings)
        until = lanes.business_now(conn)
        ours, theirs = compile_release(releases.fetch(conn, live)), compile_release(bundle)
        with _bar() as progress:
            found = run(conn, ours, theirs, since=until - timedelta(days=days), until=until, progress=progress)
    if as_json:
        print_json({"schema": SCHEMA, "live": live, "proposed": bundle.hash, **_plain(found)})
    else:
        Console(width=max(110, Console().width)).print(_drawn(found, live, bundle.hash))
    if fail_on_violation and found.breaking:
        raise typer.Exit(1)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    columns = TextColumn("parties"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, total: bar.update(task, completed=done, total=total)


# --------------------------------------------------------------------------------------------------------- as a screen


def _drawn(found: Backtest, live: str, proposed: str) -> Group:
    parts: list[RenderableType] = [
        Text(f"{proposed[:12]} beside {live[:12]}, which is live: {found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}"),
        Text(
            f"{found.reminders:,} reminders of {found.parties:,} parties were judged; replayed in "
            f"{found.seconds:.0f} s. The replay of the live release ends {found.agreeing:,} of them as the ledger did "
            f"({_share(found.agreeing, found.reminders)}): {found.live.number:,} contacts, in truth "
            f"{found.recorded:,}."
        ),
        "",
        _two("Contacts", found.live.contacts, found.proposed.contacts, ("lender", "stage", "channel")),
        "",
        _people(found),
        "",
        _two("What became of reminders", found.live.ends, found.proposed.ends, ("end",)),
        "",
        _two("Why not, or not yet", found.live.refusals, found.proposed.refusals, ("verdict", "rule")),
        "",
        _weeks(found),
        "",
        _violations(found),
        "",
        Text("What a replay cannot know", style="bold"),
    ]
    return Group(*parts, *(Text(f"- {line}", style="dim") for line in CANNOT_KNOW))


def _two(title: str, before: Mapping[Any, int], after: Mapping[Any, int], headings: tuple[str, ...]) -> Table:
    """Counts under both releases, and the difference, by whatever the keys say."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    for heading in ("live", "proposed", "difference"):
        table.add_column(heading, justify="right")
    for key in sorted({*before, *after}):
        words = key if isinstance(key, tuple) else (key,)
        table.add_row(*words, *_counts(before.get(key, 0), after.get(key, 0)))
    both = sum(before.values()), sum(after.values())
    table.add_row("[bold]all[/]", *[""] * (len(headings) - 1), *_counts(*both))
    return table


def _counts(before: int, after: int) -> tuple[str, str, str]:
    return f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else ""


def _people(found: Backtest) -> Table:
    table = Table(title="People", title_justify="left", box=None, pad_edge=False, show_header=False)
    for key, said in _PEOPLE.items():
        table.add_row(said, f"{found.people[key]:,}", _share(found.people[key], found.parties))
    return table


def _weeks(found: Backtest) -> Table:
    """How many people had so many contacts in their worst seven days."""
    title = "Worst weeks: most contacts of a person in 7 days"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("contacts", "people, live", "people, proposed", "difference"):
        table.add_column(heading, justify="right")
    before, after = found.live.worst_weeks, found.proposed.worst_weeks
    for number in sorted({*before, *after}):
        table.add_row(str(number), *_counts(before[number], after[number]))
    return table


def _violations(found: Backtest) -> RenderableType:
    if not found.breaking:
        return Text("No contact under the proposed release would break a rule of the live one.", style="green")
    title = f"{found.breaking:,} contacts under the proposed release would break rules of the live one"
    table = Table(title=Text(title, style="red"), title_justify="left", box=None, pad_edge=False)
    for heading in ("rule", "contacts", "for example"):
        table.add_column(heading, justify="right" if heading == "contacts" else "left")
    for rule, number in found.broken.most_common():
        told = "; ".join(f"party {e.party}, {e.channel}, {e.at:%Y-%m-%d %H:%M} UTC" for e in found.examples[rule])
        table.add_row(rule, f"{number:,}", told)
    return table


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


# ---------------------------------------------------------------------------------------------------------- for scripts


def _plain(found: Backtest) -> dict[str, object]:
    return {
        "since": found.since,
        "until": found.until,
        "seconds": round(found.seconds, 3),
        "parties": found.parties,
        "reminders": found.reminders,
        "agreeing": found.agreeing,
        "recorded_contacts": found.recorded,
        "people": {key: found.people[key] for key in _PEOPLE},
        "under_live": _world(found.live),
        "under_proposed": _world(found.proposed),
        "breaking_contacts": found.breaking,
        "broken_rules": dict(found.broken.most_common()),
        "examples": found.examples,
        "cannot_know": CANNOT_KNOW,
    }


def _world(world: World) -> dict[str, object]:
    return {
        "contacts": world.number,
        "by_lender_stage_channel": [
            {"lender": lender, "stage": stage, "channel": channel, "contacts": number}
            for (lender, stage, channel), number in sorted(world.contacts.items())
        ],
        "refusals": [
            {"verdict": verdict, "rule": rule, "reminders": number}
            for (verdict, rule), number in sorted(world.refusals.items())
        ],
        "ends": dict(world.ends),
        "worst_weeks": {str(number): people for number, people in sorted(world.worst_weeks.items())},
    }
