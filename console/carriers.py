"""`duly providers`: who carries each channel, with what weight and why; and trying a stopped one again."""

import getpass
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from channels.breaker import REMEDIES, WINDOW, State
from channels.choosing import WINDOW as WEIGHING
from config.channels import parse_channels
from console.house import entered
from console.output import fail, print_json
from domain.route import Route
from storage import providers, releases
from storage.providers import Change, Standing
from storage.rows import Conn
from worker.provider_health import try_again

SCHEMA: Final = 1

providers_app = typer.Typer(help="The providers of each channel: weights, breakers, rates, and why.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]
Name = Annotated[str, typer.Argument(help="A provider's name, as `duly providers` lists it.")]
Why = Annotated[str, typer.Option("--why", help="For the record.")]

_STYLES: Final = {State.CLOSED: "green", State.MISCONFIGURED: "bold red"}


@providers_app.callback(invoke_without_command=True)
def list_command(context: typer.Context, as_json: AsJson = False) -> None:
    """How every provider stands: its weight now and configured, its breaker, its rates, and why it stands so."""
    if context.invoked_subcommand is not None:
        return
    with entered() as spine:
        standings = _standings(spine.conn)
        routes = _routes(spine.conn)
        reasons = {each.provider: _last_change(spine.conn, each.provider) for each in standings}
    if as_json:
        print_json(
            {"schema": SCHEMA, "providers": [_plain(each, routes, reasons[each.provider]) for each in standings]}
        )
    elif not standings:
        Console().print("No provider is known yet: the first worker that sends makes them known.")
    else:
        Console().print(_drawn(standings, routes, reasons))


@providers_app.command("history")
def history_command(
    name: Annotated[str | None, typer.Argument(help="One provider; without it, all of them.")] = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="How many rows, the latest first.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Every move of a weight and every turn of a breaker: when, by whom, why."""
    with entered() as spine:
        if name is not None:
            _standing(spine.conn, name)
        rows = providers.changes(spine.conn, name, limit=most)
    if as_json:
        print_json({"schema": SCHEMA, "changes": [row._asdict() for row in rows]})
        return
    table = _table("when", "provider", "weight", "state", "by", "why")
    for row in rows:
        when = f"{row.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            *(Text(word) for word in (when, row.provider, str(row.weight), row.state, row.by_whom, row.reason))
        )
    Console().print(table)


@providers_app.command("reset")
def reset_command(name: Name, why: Why = "by hand", as_json: AsJson = False) -> None:
    """Try a stopped provider again now, with a few messages; what waits for it is judged again."""
    with entered() as spine:
        standing = _standing(spine.conn, name)
        is_stopped = standing.state != State.CLOSED
        changed = is_stopped and try_again(spine.conn, standing, by=getpass.getuser(), reason=f"reset: {why}")
    _tell(name, "is tried again" if changed else "was not stopped", changed=changed, as_json=as_json)


@providers_app.command("weigh")
def weigh_command(
    name: Name,
    weight: Annotated[int, typer.Argument(min=1, max=1000, help="Only its share of the channel's sum matters.")],
    why: Why = "by hand",
    as_json: AsJson = False,
) -> None:
    """Give a provider another weight for now; it moves back towards the configured one by itself."""
    with entered() as spine:
        before = _standing(spine.conn, name)
        changed = before.weight != weight and providers.weigh(
            spine.conn, name, before.version, weight, by=getpass.getuser(), reason=f"set: {why}"
        )
    _tell(name, f"has weight {weight}" if changed else "keeps its weight", changed=changed, as_json=as_json)


def _tell(name: str, said: str, *, changed: bool, as_json: bool) -> None:
    if as_json:
        print_json({"schema": SCHEMA, "provider": name, "changed": changed})
    else:
        Console().print(f"{name} {said}.")


def _standings(conn: Conn) -> list[Standing]:
    return providers.standings(conn, window=WINDOW, weighing=WEIGHING)


def _standing(conn: Conn, name: str) -> Standing:
    found = {each.provider: each for each in _standings(conn)}
    if name not in found:
        fail(f"there is no provider {name!r}: there are {', '.join(found) or 'none yet'}", code=2)
    return found[name]


def _last_change(conn: Conn, name: str) -> Change | None:
    return next(iter(providers.changes(conn, name, limit=1)), None)


def _routes(conn: Conn) -> Mapping[str, Route]:
    """What the live release says of each provider."""
    live = releases.live_hash(conn)
    if live is None:
        return {}
    config = parse_channels(releases.fetch(conn, live).files["channels.toml"], name="channels.toml")
    return {route.name: route for several in config.routes.values() for route in several}


def _rates(route: Route | None) -> list[str]:
    if route is None:
        return []
    limits = route.limits
    named = [("in all", limits.in_all), ("per sender", limits.per_sender), *limits.senders.items()]
    return [f"{name} {rate}" for name, rate in (*named, *limits.countries.items()) if rate is not None]


def _plain(each: Standing, routes: Mapping[str, Route], change: Change | None) -> dict[str, Any]:
    return {
        "provider": each.provider, "channel": each.channel, "weight": each.weight, "configured": each.configured,
        "state": each.state, "since": each.since, "retry_at": each.retry_at, "code": each.code,
        "remedy": REMEDIES[State(each.state)], "rates": _rates(routes.get(each.provider)),
        "answers": {"good": each.weighed_good, "slow": each.weighed_slow, "failed": each.weighed_failed},
        "last_change": change._asdict() if change else None,
    }  # fmt: skip


def _drawn(standings: list[Standing], routes: Mapping[str, Route], reasons: Mapping[str, Change | None]) -> Table:
    table = _table("channel", "provider", "weight", "state", "tried again", "rates", "why", "what to do")
    for each in standings:
        change = reasons[each.provider]
        weight = str(each.weight) if each.weight == each.configured else f"{each.weight} (of {each.configured})"
        table.add_row(
            each.channel,
            each.provider,
            weight,
            Text(each.state, style=_STYLES.get(State(each.state), "yellow")),
            _moment(each.retry_at) if each.state != State.CLOSED else "",
            Text(", ".join(_rates(routes.get(each.provider))) or "none"),
            Text(f"{change.reason} ({change.by_whom})" if change else ""),
            Text(REMEDIES[State(each.state)]),
        )
    return table


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else "not by itself"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
