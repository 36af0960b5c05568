"""Where providers call us: read, store, answer. An answer means that it is committed.

Callbacks come by the thousand a second, so they are taken here, in front of the web application: through it one costs
several times as much CPU. Everything else is passed on.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from twilio.request_validator import HMAC_SHA1

from channels.base import BadCallback, BadSignature, InboundMessage, ProviderEvent, RawCallback
from channels.callbacks import parse_twilio_inbound, parse_twilio_status
from channels.reports import parse_report
from console.intake import Intake, StorageDown
from domain.channel import Channel
from storage.inbox import Arrival
from storage.sealing import Keyring
from worker.arrivals import sealed_event, sealed_message
from worker.metrics import CALLBACKS_REFUSED, TALLY

log = structlog.get_logger()

Said = TypeVar("Said")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Nothing that we are called with comes near this; a forwarded bounce quotes a mail of ours.
LARGEST_BODY_BYTES: Final = 64 * 1024

#: Who sends slower than this holds a connection for nothing.
BODY_SECONDS: Final = 10.0

#: An answer to an inbound message that says nothing.
EMPTY_TWIML: Final = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'

#: How long a provider is asked to wait when we cannot store. Seconds.
COME_AGAIN: Final = b"5"

_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_XML: Final = (b"content-type", b"text/xml; charset=utf-8")


class TooLarge(Exception):
    """A body that nobody who means well would send."""


class Gone(Exception):
    """The caller hung up before its body was whole."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class _Route:
    """Who calls there, how what they say is read, and what they get once it is stored."""

    source: str
    read: Callable[[RawCallback], Sequence[Arrival]]
    answer: _Answer


class Callbacks:
    """The routes in front of `behind`. `refused` counts by source and reason what was turned away."""

    def __init__(
        self,
        behind: Application,
        keyring: Keyring,
        *,
        twilio_token: str | None,
        twilio_algorithm: str = HMAC_SHA1,
        public_url: str | None,
        report_secret: str | None,
        refused: Counter[str],
        other_twilio_tokens: Sequence[str] = (),
    ) -> None:
        self.intake: Intake | None = None
        self.refused = refused
        self._behind = behind
        self._keyring = keyring
        self._twilio_tokens = (*((twilio_token,) if twilio_token else ()), *other_twilio_tokens)
        self._twilio_algorithm = twilio_algorithm
        self._public_url = public_url.rstrip("/") if public_url else None
        self._report_secret = report_secret
        stored = _Answer(204)
        self._routes: Mapping[str, _Route] = {
            "/callbacks/twilio/status": _Route("twilio", self._status, stored),
            "/callbacks/twilio/inbound": _Route("twilio", self._inbound, _Answer(200, EMPTY_TWIML, (_XML,))),
            "/callbacks/email": _Route("email", partial(self._report, Channel.EMAIL), stored),
            "/callbacks/push": _Route("push", partial(self._report, Channel.PUSH), stored),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._behind(scope, receive, send)
            return
        if scope["method"] != "POST":
            await _give(send, _Answer(405, b"POST only", ((b"allow", b"POST"), _TEXT)))
            return
        try:
            answer = await self._take(route, scope, receive)
        except Gone:
            return
        await _give(send, answer)

    async def _take(self, route: _Route, scope: Scope, receive: Receive) -> _Answer:
        try:
            body = await read_body(receive)
            arrivals = route.read(self._raw(scope, body))
        except TooLarge:
            return self._refuse(route, "too large", 413)
        except TimeoutError:
            return self._refuse(route, "too slow", 408)
        except BadCallback as bad:
            return self._refuse(route, str(bad), 403 if "sign" in str(bad) else 400)
        if self.intake is None:
            return _come_again()
        try:
            await self.intake.store(arrivals)
        except StorageDown:
            return _come_again()
        return route.answer

    def _raw(self, scope: Scope, body: bytes) -> RawCallback:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return RawCallback(self._url_of(scope, headers), headers, body)

    def _url_of(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """The URL as the provider called it, byte for byte: that is what it signed. Proxies change it; we know it."""
        base = self._public_url or f"{scope['scheme']}://{headers.get('host', '')}"
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        return f"{base}{path}?{query}" if query else f"{base}{path}"

    def _status(self, raw: RawCallback) -> list[Arrival]:
        event = self._signed(lambda token: parse_twilio_status(raw, auth_token=token, algorithm=self._twilio_algorithm))
        return [sealed_event(self._keyring, event)]

    def _inbound(self, raw: RawCallback) -> list[Arrival]:
        message = self._signed(
            lambda token: parse_twilio_inbound(raw, auth_token=token, algorithm=self._twilio_algorithm)
        )
        return [sealed_message(self._keyring, message)]

    def _report(self, channel: Channel, raw: RawCallback) -> list[Arrival]:
        if self._report_secret is None:
            raise BadCallback("no signature can be checked: DULY_CALLBACK_SECRET is not set")
        return [self._sealed(said) for said in parse_report(raw, channel, secret=self._report_secret, now=time.time())]

    def _sealed(self, said: ProviderEvent | InboundMessage) -> Arrival:
        if isinstance(said, ProviderEvent):
            return sealed_event(self._keyring, said)
        return sealed_message(self._keyring, said)

    def _signed(self, read: Callable[[str], Said]) -> Said:
        """What was said, by whichever of our accounts. Raises BadCallback."""
        if not self._twilio_tokens:
            raise BadCallback("no signature can be checked: DULY_TWILIO_AUTH_TOKEN is not set")
        for token in self._twilio_tokens[:-1]:
            with suppress(BadSignature):
                return read(token)
        return read(self._twilio_tokens[-1])

    def _refuse(self, route: _Route, why: str, status: int) -> _Answer:
        self.refused[f"{route.source}: {why}"] += 1
        TALLY.count(CALLBACKS_REFUSED, (route.source, why))
        log.warning("callback_refused", source=route.source, why=why, status=status)
        return _Answer(status)


async def read_body(receive: Receive) -> bytes:
    """The body, read no further than LARGEST_BODY_BYTES whatever its header says.

    Raises TooLarge, Gone or TimeoutError.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False):
        if len(body) > LARGEST_BODY_BYTES:
            raise TooLarge
        return body
    whole = bytearray(body)
    async with asyncio.timeout(BODY_SECONDS):
        while message.get("more_body", False):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            whole += message.get("body", b"")
            if len(whole) > LARGEST_BODY_BYTES:
                raise TooLarge
    if message["type"] == "http.disconnect":
        raise Gone
    return bytes(whole)


def _come_again() -> _Answer:
    return _Answer(503, b"", ((b"retry-after", COME_AGAIN),))


async def _give(send: Send, answer: _Answer) -> None:
    headers = answer.headers
    if answer.status != 204:
        headers = (*headers, (b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
