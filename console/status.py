"""`duly status`: how the fleet stands, at one glance; the worst first.

Exit codes: 0 nothing is red, 1 the database cannot be asked, 2 wrong usage or settings, 3 something is red.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.alarms import Alarm, Colour, alarms, counted, span
from console.house import entered
from console.output import print_json
from console.pulse import Pulse, by_label, providers, series, stage_times, take_pulse
from storage.standing import LaneLag
from worker import engines
from worker.metrics import REFUSED, REMINDERS, SWEEPS, SendResult
from worker.reporting import RECENT_MINUTES
from worker.retention import Keeping, keeping

#: 2: what is counted is bounded, and alarms, providers, stages, database and broker are told.
SCHEMA: Final = 2

#: The exit code when something is red.
SOMETHING_IS_RED: Final = 3

#: Lanes beyond this many, the latest first, are only in the JSON.
LANES_SHOWN: Final = 20

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]


def status_command(as_json: AsJson = False) -> None:
    """How the fleet stands: what is late, in hand, uncertain or paused, and whether what it uses is well.

    Exits 3 when something is red: people are not reached, or might be wronged, until somebody acts.
    """
    with entered() as spine:
        pulse = take_pulse(spine.conn, spine.settings, engines.ensure(spine.settings).broker_url)
        now, days = pulse.standing.business_now, spine.settings.keep_ledger_days
        pulse = replace(pulse, keeping=keeping(spine.conn, days, now=now))
    found = alarms(pulse)
    if as_json:
        print_json(plain(pulse, found))
    else:
        Console().print(draw(pulse, found))
    if any(alarm.colour is Colour.RED for alarm in found):
        raise typer.Exit(SOMETHING_IS_RED)


# --------------------------------------------------------------------------------------------------------- for scripts


def plain(pulse: Pulse, found: Iterable[Alarm]) -> dict[str, Any]:
    """The pulse as JSON. Spans of time in seconds; `recent_minutes` is what "recent" means."""
    stands = {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in pulse.standing._asdict().items()
    }
    return {
        "schema": SCHEMA,
        "alarms": [{"colour": a.colour, "subject": a.subject, "seen": a.seen, "remedy": a.remedy} for a in found],
        **stands,
        "paused": [{"scope": scope, "reason": reason} for scope, reason in pulse.standing.paused],
        "lanes": [{**lane._asdict(), "lag": lane.lag.total_seconds()} for lane in pulse.standing.lanes],
        "call_tasks": [each._asdict() for each in pulse.standing.call_tasks],
        "recent_minutes": RECENT_MINUTES,
        "providers": [
            {"provider": each.provider, "channel": each.channel, "recent": dict(each.results)}
            for each in providers(pulse.recent)
        ],
        "breakers": [
            {**each._asdict(), "lasts": each.lasts.total_seconds()} for each in pulse.standing.breakers
        ],
        "stages": [
            {"stage": each.stage, "batches": each.batches, "seconds": each.seconds}
            for each in stage_times(pulse.recent)
        ],
        "reminders": _outcomes(pulse),
        "sweeps": by_label(pulse.totals, SWEEPS),
        "refused_messages": by_label(pulse.totals, REFUSED),
        "processes": [
            {**process._asdict(), "silent_for": process.silent_for.total_seconds()} for process in pulse.processes
        ],
        "ledger": _kept(pulse.keeping),
        "database": {
            name: value.total_seconds() if isinstance(value, timedelta) else value
            for name, value in pulse.database._asdict().items()
        },
        "broker": {
            "up": pulse.broker.is_up, "place": pulse.broker.place, "version": pulse.broker.version,
            "connections": pulse.broker.connections, "memory_bytes": pulse.broker.memory_bytes,
            "queues": pulse.broker.queues, "unacked": pulse.broker.unacked, "trouble": pulse.broker.trouble,
        },
    }  # fmt: skip


def _kept(kept: Keeping | None) -> dict[str, Any] | None:
    if kept is None:
        return None
    return {**asdict(kept), "held_by": kept.held_by._asdict() if kept.held_by is not None else None}


def _outcomes(pulse: Pulse) -> dict[str, int]:
    """What reminders came to, since counting began."""
    outcomes: Counter[str] = Counter()
    for (_, _, outcome), _, number in series(pulse.totals, REMINDERS):
        outcomes[outcome] += round(number)
    return dict(outcomes)


# ---------------------------------------------------------------------------------------------------------- for people


def draw(pulse: Pulse, found: list[Alarm]) -> Group:
    """The pulse as a screen."""
    shown: list[RenderableType] = [_verdict(found)]
    for title, table in (
        (None, _alarms_table(found)),
        (None, _facts_table(pulse)),
        ("Lanes", _lanes_table(pulse.standing.lanes)),
        (f"Providers, last {RECENT_MINUTES} minutes", _providers_table(pulse)),
        (f"Where the time of the last {RECENT_MINUTES} minutes went", _stages_table(pulse)),
    ):
        if table.row_count:
            shown += ["", *([Text(title, style="bold")] if title else []), table]
    return Group(*shown)


def _verdict(found: list[Alarm]) -> Text:
    numbers = Counter(alarm.colour for alarm in found)
    if not numbers:
        return Text("All is well.", style="green")
    return Text(", ".join(f"{numbers[colour]} {colour}" for colour in Colour if numbers[colour]), style="bold")


def _alarms_table(found: list[Alarm]) -> Table:
    table = _table("", "subject", "what was seen", "what to do")
    styles = {Colour.RED: "bold red", Colour.AMBER: "yellow"}
    for alarm in found:
        table.add_row(
            Text(alarm.colour, styles[alarm.colour]), Text(alarm.subject), Text(alarm.seen), Text(alarm.remedy)
        )
    return table


def _facts_table(pulse: Pulse) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _facts(pulse):
        table.add_row(f"[bold]{name}[/]", Text(value))
    return table


def _facts(pulse: Pulse) -> list[tuple[str, str]]:
    stands = pulse.standing
    clock = "stepped" if stands.stepped_at else "real"
    people = _listed((f"{each.name} {each.state}", each.number) for each in stands.call_tasks)
    return [
        ("business time", f"{stands.business_now:%Y-%m-%d %H:%M:%S} UTC ({clock} clock)"),
        ("release", stands.release_hash[:12] if stands.release_hash else "none is live: nothing is sent"),
        ("paused", ", ".join(f"{scope} ({reason})" for scope, reason in stands.paused) or "nothing"),
        ("workers", _workers(pulse)),
        ("planned", f"{stands.planned:,} reminders"),
        ("ended", _listed(_outcomes(pulse).items()) or "nothing yet"),
        ("batches in hand", _in_hand(pulse)),
        ("uncertain", f"{counted(stands.uncertain)}, {counted(stands.uncertain_today)} of the last 24 hours"),
        ("inbox", _inbox(pulse)),
        ("for people", people or "nothing"),
        ("sweeps", _listed(by_label(pulse.totals, SWEEPS).items()) or "none"),
        ("refused messages", _listed(by_label(pulse.totals, REFUSED).items()) or "none"),
        ("ledger", _ledger(pulse.keeping)),
        ("database", _database(pulse)),
        ("broker", _broker(pulse)),
    ]


def _workers(pulse: Pulse) -> str:
    living = [process for process in pulse.living if process.role == "worker"]
    if not living:
        return "none was heard within the minute"
    releases = Counter(process.release_hash[:12] if process.release_hash else "none yet" for process in living)
    largest = max(process.memory_bytes for process in living)
    told = ", ".join(f"{number} on {release}" for release, number in releases.items())
    return f"{len(living)} processes ({told}), the largest with {_bytes(largest)}"


def _in_hand(pulse: Pulse) -> str:
    stands = pulse.standing
    oldest = f", the oldest for {span(stands.oldest_lease)}" if stands.oldest_lease is not None else ""
    late = f", {stands.overdue_leases} past their lease" if stands.overdue_leases else ""
    return f"{stands.open_batches}{oldest}{late}"


def _inbox(pulse: Pulse) -> str:
    stands = pulse.standing
    waits = f", the first for {span(stands.inbox_waits)}" if stands.inbox_waits is not None else ""
    return f"{counted(stands.inbox_waiting)} to fold{waits}, {counted(stands.inbox_early)} to look at again"


def _ledger(kept: Keeping | None) -> str:
    if kept is None or kept.first is None:
        return "has no months yet"
    least = kept.bounds.least
    how_long = "everything is kept" if kept.days is None else f"{kept.days:,} days are kept"
    asked = f"; {least.rule} {least.what}" if least is not None else ""
    exceeded = "".join(f"; exceeded where it applies: {most.rule} {most.what}" for most in kept.exceeded)
    return f"from {kept.first:%Y-%m} on, {how_long}{asked}{exceeded}"


def _database(pulse: Pulse) -> str:
    seen = pulse.database
    replicas = f", {seen.replicas} replicas" if seen.replicas else ""
    behind = f" {span(seen.replay_lag)} behind" if seen.replay_lag is not None else ""
    return (
        f"PostgreSQL {seen.version}, schema {seen.schema}, {seen.connections} of {seen.max_connections} connections, "
        f"{seen.waiting_for_locks} waiting for locks, {_bytes(seen.size_bytes)}{replicas}{behind}"
    )


def _broker(pulse: Pulse) -> str:
    seen = pulse.broker
    if not seen.is_up:
        return f"{seen.place}: does not answer ({seen.trouble})"
    waiting = _listed((queue, number) for queue, number in seen.queues.items() if number) or "nothing waits"
    held = f", {seen.unacked} taken and not acknowledged" if seen.unacked else ""
    memory = f", {_bytes(seen.memory_bytes)}" if seen.memory_bytes else ""
    return f"{seen.place} {seen.version or ''}: {waiting}{held}{memory}"


def _lanes_table(lanes: list[LaneLag]) -> Table:
    table = _table("lender", "channel", "first due (UTC)", "late by", "due")
    for lane in sorted(lanes, key=lambda lane: lane.first_due)[:LANES_SHOWN]:
        late, due = (span(lane.lag), counted(lane.due)) if lane.lag else ("", "")
        table.add_row(lane.lender_id, lane.channel, f"{lane.first_due:%Y-%m-%d %H:%M}", late, due)
    return table


def _providers_table(pulse: Pulse) -> Table:
    table = _table("provider", "channel", "breaker", "weight", "answers")
    answered = {(each.provider, each.channel): each.results for each in providers(pulse.recent)}
    breakers = {(each.provider, each.channel): each for each in pulse.standing.breakers}
    for who in sorted(answered.keys() | breakers.keys()):
        breaker, results = breakers.get(who), answered.get(who, {})
        state = Text(breaker.state, "" if breaker.state == "closed" else "bold red") if breaker else ""
        weight = f"{breaker.weight} of {breaker.configured}" if breaker else ""
        answers = _listed((result, results[result]) for result in SendResult if results.get(result))
        table.add_row(*who, state, weight, answers or "none")
    return table


def _stages_table(pulse: Pulse) -> Table:
    table = _table("stage", "ms a batch", "share")
    times = stage_times(pulse.recent)
    total = sum(each.seconds for each in times) or 1.0
    for each in times:
        table.add_row(
            each.stage, f"{1000 * each.seconds / max(each.batches, 1):,.1f}", f"{100 * each.seconds / total:.0f} %"
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts)


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
