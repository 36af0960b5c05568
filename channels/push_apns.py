"""Push through APNs: aioapns on a few HTTP/2 connections, a background notification without content.

What aioapns 4.0 leaves to its caller is done here: where it connects to, one provider token for all connections, a
bound on what is under way, deadlines, and which failures came before anything was sent. It would repeat a message by
itself after a lost connection, so its pool is used and not its `APNs` class.
"""

import asyncio
import logging
import ssl
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

from aioapns import NotificationRequest, PushType
from aioapns.common import NotificationResult
from aioapns.connection import (
    APNsBaseClientProtocol,
    APNsKeyConnectionPool,
    APNsTLSClientProtocol,
    JWTAuthorizationHeaderProvider,
)
from aioapns.exceptions import ConnectionClosed
from aioapns.exceptions import ConnectionError as NoConnection
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from h2.exceptions import FlowControlError, NoAvailableStreamIDError, ProtocolError

from channels.apns_errors import ApnsAnswer, refusal
from channels.base import ChannelError, Misconfigured, Outbound, OutcomeUnknown, Receipt, Rejected, TryLater
from channels.credentials import ApnsCredentials, BadCredentials
from channels.push_tokens import is_apns_token
from domain.channel import Channel
from domain.provider import ProviderUse

#: apns-collapse-id has at most 64 bytes (developer.apple.com, "Sending notification requests to APNs").
LONGEST_COLLAPSE_KEY = 64

#: APNs keeps a notification for up to 30 days (same page, apns-expiration).
LONGEST_LIFE = timedelta(days=30)

#: Connections to APNs, whatever channels.toml allows: each carries up to 1,000 requests at a time.
MOST_CONNECTIONS = 4

#: Requests under way at a time. aioapns waits in a loop of 10 ms when its connections are full: ours never are.
MOST_UNDER_WAY = 500

logging.getLogger("aioapns").setLevel(logging.CRITICAL)  # it logs what we translate, device tokens not excluded


#: How long connections may take to close.
GOOD_BYE_SECONDS: Final = 1.0


class ApnsPush:
    """One app, by its bundle id."""

    name = "apns"
    channel = Channel.PUSH
    folds_repeats = True

    def __init__(self, use: ProviderUse, credentials: ApnsCredentials, *, is_sandbox: bool) -> None:
        self.is_sandbox = is_sandbox
        self._use = use
        self._pool = _Pool(credentials, connections=min(use.connections, MOST_CONNECTIONS))
        self._places = asyncio.Semaphore(MOST_UNDER_WAY)
        self._under_way: set[asyncio.Task[NotificationResult]] = set()

    async def send(self, outbound: Outbound) -> Receipt:
        if not is_apns_token(outbound.to):
            raise Rejected("bad token", True)
        try:
            async with asyncio.timeout(self._use.deadline.total_seconds()) as deadline, self._places:
                connection = await self._connection()
                answer = await self._exchange(connection, _request(outbound), deadline)
        except TimeoutError as error:
            raise TryLater("busy") from error  # waiting for a place, or for a connection
        if not answer.is_successful:
            raise refusal(ApnsAnswer(str(answer.status), answer.description))
        return Receipt(self.name, answer.notification_id)

    async def aclose(self) -> None:
        self._pool.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=1.0)
        for task in self._under_way:
            task.cancel()
        await self._pool.gone()

    async def _connection(self) -> APNsBaseClientProtocol:
        """A connection that is open. Whatever goes wrong here, nothing has been sent."""
        try:
            async with asyncio.timeout(self._use.connect_within.total_seconds()):
                connection = await self._pool.acquire()
        except TimeoutError as error:
            raise TryLater("connect") from error
        except NoConnection as error:
            raise _no_connection(error.__context__) from error
        if connection.transport is None or connection.transport.is_closing():
            raise TryLater("connection closing")
        return connection

    async def _exchange(
        self, connection: APNsBaseClientProtocol, request: NotificationRequest, deadline: asyncio.Timeout
    ) -> NotificationResult:
        """One request and its answer. Nobody may cancel it: aioapns would lose the connection, with all that is on it,
        to the late answer of a request that was given up."""
        exchange = asyncio.create_task(connection.send_notification(request))
        self._under_way.add(exchange)
        exchange.add_done_callback(self._forget)
        ends = deadline.when()
        patience = None if ends is None else ends - asyncio.get_running_loop().time()
        deadline.reschedule(None)
        await asyncio.wait({exchange}, timeout=patience)
        if not exchange.done():
            raise OutcomeUnknown("timeout")
        try:
            return exchange.result()
        except (FlowControlError, NoAvailableStreamIDError, ProtocolError) as error:
            connection.close()
            raise TryLater("connection full") from error  # the request was not finished, so it was not taken
        except ConnectionClosed as error:
            raise OutcomeUnknown("connection lost") from error

    def _forget(self, exchange: "asyncio.Task[NotificationResult]") -> None:
        self._under_way.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # seen: nobody may wait for it any more


def payload(outbound: Outbound) -> dict[str, Any]:
    """What the phone gets: the contact's id, and a nudge to fetch the rest once it is unlocked."""
    return {"aps": {"content-available": 1}, "contact": str(outbound.contact_id)}


def _request(outbound: Outbound) -> NotificationRequest:
    """Background notifications go out at priority 5 (same page). The apns-id is the contact's own id."""
    return NotificationRequest(
        device_token=outbound.to,
        message=payload(outbound),
        notification_id=str(outbound.contact_id),
        time_to_live=int(max(timedelta(), min(outbound.still_valid_for, LONGEST_LIFE)).total_seconds()),
        priority=5,
        collapse_key=outbound.collapse_key[:LONGEST_COLLAPSE_KEY] or str(outbound.contact_id),
        push_type=PushType.BACKGROUND,
    )


def _no_connection(why: BaseException | None) -> ChannelError:
    if isinstance(why, ssl.SSLCertVerificationError):
        return Misconfigured("tls certificate")
    return TryLater("tls" if isinstance(why, ssl.SSLError) else "connect")


class _Pool(APNsKeyConnectionPool):
    """aioapns' pool, to any host, with one provider token for all connections: Apple refuses many fresh ones."""

    def __init__(self, credentials: ApnsCredentials, *, connections: int) -> None:
        _check_key(credentials.key)
        context = ssl.create_default_context(cadata=credentials.trusted)
        context.set_alpn_protocols(["h2"])
        super().__init__(
            key=credentials.key,
            key_id=credentials.key_id,
            team_id=credentials.team_id,
            topic=credentials.topic,
            max_connections=connections,
            max_connection_attempts=1,
            ssl_context=context,
        )
        where = {"APNS_SERVER": credentials.host, "APNS_PORT": credentials.port}
        self.protocol_class = type("ApnsConnection", (_Connection,), where)
        self._token = JWTAuthorizationHeaderProvider(
            key=credentials.key, key_id=credentials.key_id, team_id=credentials.team_id
        )

    async def create_connection(self) -> APNsBaseClientProtocol:
        factory = partial(
            self.protocol_class,
            self.apns_topic or "",
            self.loop,
            self.discard_connection,  # type: ignore[arg-type]  # aioapns asks for one that never returns
            self._token,
        )
        return await self._create_connection(factory)

    async def gone(self) -> None:
        """Wait until what was closed is gone: TLS says good-bye first. Who does not answer to that is cut off."""
        try:
            async with asyncio.timeout(GOOD_BYE_SECONDS):
                while self.connections:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            for connection in self.connections:
                if connection.transport is not None:
                    connection.transport.abort()

    def discard_connection(self, connection: APNsBaseClientProtocol) -> None:
        """A connection may be lost before it was ever listed."""
        with suppress(ValueError):
            super().discard_connection(connection)


class _Connection(APNsTLSClientProtocol):
    """An answer that is no JSON ends the connection, quietly: its requests come out as unknown."""

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except (ProtocolError, ValueError, KeyError, AttributeError):
            self.close()


def _check_key(text: str) -> None:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise BadCredentials("the APNs key cannot be read: give the .p8 file that Apple issued") from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise BadCredentials("the APNs key is not a P-256 key: give the .p8 file that Apple issued")
