"""Reads `config/channels.toml`, from the folder or out of a release, into frozen values."""

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.routes import BadRoutes, RouteTable, routes_of
from domain.channel import Channel
from domain.provider import ChannelsConfig, DkimUse, MailUse, ProviderUse
from domain.route import Routes

#: The file that comes with the package.
DEFAULT = Path(__file__).with_name("channels.toml")

_DOMAIN = re.compile(r"(?=.{4,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")

#: The local part leaves room for what a bounce has to name: 64 octets in all (RFC 5321, section 4.5.3.1.1).
_BOUNCE_ADDRESS = re.compile(r"[A-Za-z0-9._-]{1,12}@(.+)")
_SELECTOR = r"^[a-z0-9]([a-z0-9._-]{0,60}[a-z0-9])?$"

Seconds = Annotated[float, Field(gt=0, le=600)]
Count = Annotated[int, Field(ge=1, le=100_000)]


class BadChannels(ValueError):
    """A channels file that cannot be used; the message names the file and the key."""


class _Provider(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)

    provider: str
    deadline_seconds: Seconds
    connect_seconds: Seconds
    connections: Count
    providers: dict[str, RouteTable] = {}


class _Sms(_Provider):
    provider: Annotated[str, Field(pattern="^twilio$")]


class _Push(_Provider):
    provider: Annotated[str, Field(pattern="^fcm$")]


class _Dkim(BaseModel):
    model_config = ConfigDict(extra="forbid")

    domain: str
    selector: Annotated[str, Field(pattern=_SELECTOR)]


class _Email(_Provider):
    provider: Annotated[str, Field(pattern="^smtp$")]
    messages_per_connection: Count
    connection_age_seconds: Seconds
    message_id_domain: str
    bounce_address: str | None = None
    dkim: tuple[_Dkim, ...] = ()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sms: _Sms
    email: _Email
    push: _Push


def load_channels(path: Path = DEFAULT) -> ChannelsConfig:
    """The channels file as values. Raises BadChannels with a sentence that names the file and the key."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadChannels(f"{path}: cannot be read ({error.strerror}); give the path of a channels.toml") from error
    except UnicodeDecodeError as error:
        raise BadChannels(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    return parse_channels(text, name=str(path))


def parse_channels(text: str, *, name: str) -> ChannelsConfig:
    """The same for text out of a release. `name` is what errors call it."""
    try:
        file = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadChannels(f"{name}: is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadChannels(f"{name}: {key}: {first['msg']}") from error
    for key, table in (("sms", file.sms), ("email", file.email), ("push", file.push)):
        if table.connect_seconds >= table.deadline_seconds:
            raise BadChannels(f"{name}: {key}.connect_seconds: must be shorter than {key}.deadline_seconds")
    _check_mail(file.email, name)
    return ChannelsConfig(
        sms=_use(file.sms), email=_mail_use(file.email), push=_use(file.push), routes=_routes(file, name)
    )


def _routes(file: _File, name: str) -> Routes:
    """Every channel's providers. A provider's name is unique over all channels: it is what settings and tables say."""
    try:
        routes = {
            Channel.SMS: routes_of(Channel.SMS, file.sms.provider, file.sms.providers, "twilio"),
            Channel.EMAIL: routes_of(Channel.EMAIL, file.email.provider, file.email.providers, "smtp"),
            Channel.PUSH: routes_of(Channel.PUSH, file.push.provider, file.push.providers, "fcm|apns"),
        }
    except BadRoutes as error:
        raise BadChannels(f"{name}: {error}") from error
    seen: set[str] = set()
    for route in (route for several in routes.values() for route in several):
        if route.name in seen:
            raise BadChannels(f"{name}: {route.channel}.providers.{route.name}: another channel has that name")
        seen.add(route.name)
    return routes


def _check_mail(mail: _Email, name: str) -> None:
    if not _DOMAIN.fullmatch(mail.message_id_domain):
        raise BadChannels(f"{name}: email.message_id_domain: is not a domain name; write one such as mail.example.com")
    bounce = _BOUNCE_ADDRESS.fullmatch(mail.bounce_address) if mail.bounce_address is not None else None
    if mail.bounce_address is not None and (bounce is None or not _DOMAIN.fullmatch(bounce.group(1))):
        raise BadChannels(
            f"{name}: email.bounce_address: write a mailbox such as bounces@mail.example.com, at most 12 characters "
            "before the @"
        )
    seen: set[str] = set()
    for number, signed in enumerate(mail.dkim, start=1):
        if not _DOMAIN.fullmatch(signed.domain) or signed.domain in seen:
            raise BadChannels(f"{name}: email.dkim {number}: domain: write a domain name, and each only once")
        seen.add(signed.domain)


def _use(table: _Provider) -> ProviderUse:
    return ProviderUse(
        provider=table.provider,
        deadline=timedelta(seconds=table.deadline_seconds),
        connect_within=timedelta(seconds=table.connect_seconds),
        connections=table.connections,
    )


def _mail_use(table: _Email) -> MailUse:
    return MailUse(
        provider=table.provider,
        deadline=timedelta(seconds=table.deadline_seconds),
        connect_within=timedelta(seconds=table.connect_seconds),
        connections=table.connections,
        messages_per_connection=table.messages_per_connection,
        connection_age=timedelta(seconds=table.connection_age_seconds),
        message_id_domain=table.message_id_domain,
        bounce_address=table.bounce_address,
        dkim=tuple(DkimUse(signed.domain, signed.selector) for signed in table.dkim),
    )
