"""Reads the providers of a channel out of `channels.toml`: their weights, and how fast each may be used."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from domain.channel import Channel
from domain.route import USUAL_WEIGHT, Limits, Rate, Route

#: A provider's name is a word in settings, logs and tables.
NAME = r"^[a-z][a-z0-9-]{0,30}$"

_RATE = re.compile(r"([1-9]\d{0,6})/(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}


def _read_rate(value: object) -> Rate:
    """`100/s`, `600/min` or `20/h`; a rate above one a second is kept second by second, never in bursts of a minute."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write it as "100/s", "600/min" or "20/h"')
    count, seconds = int(match.group(1)), _SECONDS[match.group(2)]
    if count >= seconds:
        return Rate(count // seconds, 1)
    return Rate(1, -(-seconds // count))  # rounded up: never faster than what was written


_Rate = Annotated[Any, BeforeValidator(_read_rate)]
_Sender = Annotated[str, Field(min_length=1, max_length=200)]
_Country = Annotated[str, Field(pattern="^[A-Za-z]{2}$")]


class RouteTable(BaseModel):
    """`[sms.providers.NAME]`. Without `kind` it is the channel's own provider."""

    model_config = ConfigDict(extra="forbid")

    kind: str | None = None
    weight: Annotated[int, Field(ge=1, le=1000)] = USUAL_WEIGHT
    limit: _Rate | None = None
    per_sender: _Rate | None = None
    senders: dict[_Sender, _Rate] = {}
    countries: dict[_Country, _Rate] = {}


class BadRoutes(ValueError):
    """Providers that cannot be used; the message names the key."""


def routes_of(channel: Channel, provider: str, tables: Mapping[str, RouteTable], kinds: str) -> tuple[Route, ...]:
    """A channel's providers, its own one first. `kinds` is the pattern of what adapters there are.

    Raises BadRoutes.
    """
    own = tables.get(provider, RouteTable())
    if own.kind not in (None, provider):
        raise BadRoutes(f"{channel}.providers.{provider}.kind: is {provider!r} by its name; leave it out")
    made = [_route(channel, provider, provider, own)]
    for name, table in tables.items():
        key = f"{channel}.providers.{name}"
        if name == provider:
            continue
        if not re.fullmatch(NAME, name):
            raise BadRoutes(f"{key}: name it in small letters, digits and hyphens, 31 at most")
        if table.kind is None or not re.fullmatch(kinds, table.kind):
            raise BadRoutes(f'{key}.kind: say what it is, such as kind = "{provider}"')
        made.append(_route(channel, name, table.kind, table))
    return tuple(made)


def _route(channel: Channel, name: str, kind: str, table: RouteTable) -> Route:
    return Route(
        name=name,
        kind=kind,
        channel=channel,
        weight=table.weight,
        limits=Limits(
            in_all=table.limit,
            per_sender=table.per_sender,
            senders=table.senders,
            countries={country.upper(): rate for country, rate in table.countries.items()},
        ),
    )
