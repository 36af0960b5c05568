"""Who carries each channel in this process: an adapter for every provider that has credentials, and what it shows."""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from channels.base import Adapter
from channels.credentials import (
    BadCredentials,
    Credentials,
    FcmCredentials,
    TwilioCredentials,
    live_credentials,
    parse_smtp_url,
)
from channels.registry import build
from channels.several import Member, Several, Watch
from domain.channel import Channel
from domain.provider import ChannelsConfig
from domain.route import Route, Routes

#: An answer that takes longer than this share of the deadline is a slow one.
SLOW = 0.5

APPLE = "apns"


@dataclass(frozen=True, slots=True)
class Carriers:
    """The adapters of every channel, and what is seen of each provider."""

    adapters: Mapping[Channel, Adapter]
    watches: Mapping[str, Watch]


def with_apple(routes: Routes) -> Routes:
    """Push has Apple's own provider beside Firebase's, written down or not: which of them depends on the token."""
    push = routes.get(Channel.PUSH, ())
    if not push or any(route.kind == APPLE for route in push):
        return routes
    return {**routes, Channel.PUSH: (*push, Route(APPLE, APPLE, Channel.PUSH))}


def build_all(
    config: ChannelsConfig, routes: Routes, credentials: Credentials, urls: Mapping[str, str], *, public_url: str
) -> Carriers:
    """Adapters for every channel that somebody can carry. Call it on the event loop that will send.

    `urls` say where the providers are that channels.toml adds to a channel's own. Raises BadCredentials.
    """
    adapters = dict(build(config, _none(credentials), public_url=public_url))
    watches: dict[str, Watch] = {}
    for channel, several in routes.items():
        members: dict[str, Member] = {}
        for route in several:
            own = credentials_for(route, several, credentials, urls)
            if own is None:
                continue
            adapter = build(config, own, public_url=public_url)[channel]
            if route.name != route.kind:
                adapter.name = route.name
            watch = watches[route.name] = Watch(slow_seconds=deadline(config, channel).total_seconds() * SLOW)
            members[route.name] = Member(adapter, watch)
        if members:
            adapters[channel] = Several(channel, members, {route.name: route.kind for route in several})
    return Carriers(adapters, watches)


def deadline(config: ChannelsConfig, channel: Channel) -> timedelta:
    """How long one send may take on a channel."""
    match channel:
        case Channel.EMAIL:
            return config.email.deadline
        case Channel.PUSH:
            return config.push.deadline
        case _:
            return config.sms.deadline


def credentials_for(
    route: Route, several: tuple[Route, ...], credentials: Credentials, urls: Mapping[str, str]
) -> Credentials | None:
    """What one provider logs in with, and nothing else; None when nothing was given for it.

    The first of a kind has the usual settings, in the sandbox all of them; any other needs its own URL.
    """
    usual = _only(route.kind, credentials)
    url = urls.get(route.name)
    if url is not None:
        return _at(route, url, usual)
    is_first = next(each for each in several if each.kind == route.kind) is route
    return usual if usual is not None and (is_first or credentials.is_sandbox) else None


def fingerprints(
    routes: Routes, credentials: Credentials, urls: Mapping[str, str], keyed_hash: Callable[[bytes], bytes]
) -> dict[str, str]:
    """A keyed hash of each provider's log-in, by provider: equal as long as nobody changes it."""
    found: dict[str, str] = {}
    for several in routes.values():
        for route in several:
            own = credentials_for(route, several, credentials, urls)
            if own is not None:
                found[route.name] = keyed_hash(clear_form(own)).hex()[:32]
    return found


def clear_form(own: Credentials) -> bytes:
    """All that makes these credentials what they are: to be hashed under a key, and for nothing else."""
    if own.is_sandbox:  # its keys are made anew in every process
        urls = [part.base_url for part in (own.twilio, own.fcm) if part is not None]
        return repr((urls, own.smtp and astuple(own.smtp))).encode()
    return repr(astuple(own)).encode()


def _none(credentials: Credentials) -> Credentials:
    return replace(credentials, twilio=None, smtp=None, fcm=None, apns=None)


def _only(kind: str, credentials: Credentials) -> Credentials | None:
    part = getattr(credentials, kind)
    return None if part is None else replace(_none(credentials), **{kind: part})


def _at(route: Route, url: str, usual: Credentials | None) -> Credentials:
    is_sandbox = usual is not None and usual.is_sandbox
    given = usual or live_credentials()
    match route.kind:
        case "smtp":
            return replace(given, smtp=parse_smtp_url(url))
        case "twilio" if is_sandbox and given.twilio is not None:
            return replace(given, twilio=replace(given.twilio, base_url=url.rstrip("/")))
        case "twilio":
            return replace(given, twilio=_twilio_at(route, url))
        case "fcm" if is_sandbox and given.fcm is not None:
            account = {**given.fcm.service_account, "token_uri": f"{url.rstrip('/')}/token"}
            return replace(given, fcm=FcmCredentials(account, url.rstrip("/")))
        case "fcm":
            return replace(given, fcm=_fcm_at(route, url))
        case _:
            raise BadCredentials(f"DULY_PROVIDER_URLS: {route.name}: a second {route.kind} is not supported")


def _twilio_at(route: Route, url: str) -> TwilioCredentials:
    parts = urlsplit(url)
    if parts.scheme != "twilio" or not (parts.username and parts.password and parts.hostname):
        raise BadCredentials(
            f"DULY_PROVIDER_URLS: {route.name}: write {route.name}=twilio://ACCOUNT_SID:AUTH_TOKEN@api.twilio.com"
        )
    return TwilioCredentials(unquote(parts.username), unquote(parts.password), f"https://{parts.hostname}")


def _fcm_at(route: Route, url: str) -> FcmCredentials:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "fcm" or not path.is_absolute():
        raise BadCredentials(
            f"DULY_PROVIDER_URLS: {route.name}: write {route.name}=fcm:///path/of/service-account.json"
        )
    try:
        account = live_credentials(fcm_service_account=path.read_text(encoding="utf-8")).fcm
    except OSError as error:
        raise BadCredentials(f"DULY_PROVIDER_URLS: {route.name}: cannot read {path}: {error.strerror}") from error
    assert account is not None
    return account
