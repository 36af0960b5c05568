"""Adapters in front of a sandbox, on one loop."""

import asyncio
import socket
import ssl
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from channels.base import Adapter, Outbound
from channels.credentials import Credentials, sandbox_credentials
from channels.push import PushByPlatform
from channels.registry import build
from domain.channel import Channel
from domain.contact import new_contact_id
from domain.message import Rendered
from domain.provider import ChannelsConfig, MailUse, ProviderUse
from simulator.providers.world import World, running

TOO_LONG_SECONDS = 1.0


def _config(deadline: timedelta, connect_within: timedelta) -> ChannelsConfig:
    http = ProviderUse(provider="any", deadline=deadline, connect_within=connect_within, connections=8)
    mail = MailUse(
        provider="smtp",
        deadline=deadline,
        connect_within=connect_within,
        connections=4,
        messages_per_connection=50,
        connection_age=timedelta(minutes=5),
        message_id_domain="mail.lumen.test",
    )
    return ChannelsConfig(sms=http, email=mail, push=http)


#: Deadlines that no good send ever meets, however busy the machine.
STEADY = _config(timedelta(seconds=20), timedelta(seconds=10))

#: Deadlines for sends that are meant to meet them.
QUICK = _config(timedelta(seconds=0.6), timedelta(seconds=0.25))

#: A token as Apple gives them out. `apns` beside the channels is the other provider of push.
APNS = "apns"
APPLE_TOKEN = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"

GOOD_ADDRESS = {
    Channel.SMS: "+886912345678",
    Channel.EMAIL: "amy@home.test",
    Channel.PUSH: "token-of-amys-phone",
    APNS: APPLE_TOKEN,
}
SENDER = {Channel.SMS: "+15005550006", Channel.EMAIL: "Lumen <hi@lumen.test>", Channel.PUSH: "lumen", APNS: "lumen"}


def channel_of(way: str) -> Channel:
    return Channel.PUSH if way == APNS else Channel(way)


def an_outbound(way: str, **changes: object) -> Outbound:
    """A message that every provider of this way (a channel, or APNS) would take."""
    channel = channel_of(way)
    outbound = Outbound(
        contact_id=new_contact_id(datetime(2026, 3, 2, 9, 0, tzinfo=UTC)),
        party_id=7,
        channel=channel,
        to=GOOD_ADDRESS[way],
        sender=SENDER[way],
        rendered=Rendered(channel, "en", "Your payment is due on Friday.", subject="A short reminder"),
        valid_for=timedelta(hours=2),
        collapse_key="account-7",
    )
    return replace(outbound, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Rig:
    world: World
    credentials: Credentials
    adapters: Mapping[str, Adapter]

    def accepted(self, contact_id: uuid.UUID) -> int:
        """How often the sandbox accepted this contact: the judge."""
        return self.world.outbox.by_contact[str(contact_id)]


@asynccontextmanager
async def a_rig(
    folder: Path,
    *,
    credentials: Credentials | None = None,
    callback_base: str = "",
    config: ChannelsConfig = STEADY,
    smtp_tls: ssl.SSLContext | None = None,
    lifelike: bool = False,
    dkim_keys: Mapping[str, str] | None = None,
) -> AsyncIterator[Rig]:
    async with running(folder, callback_base=callback_base, smtp_tls=smtp_tls, lifelike=lifelike, seed=7) as world:
        own = sandbox_credentials(
            http_url=world.http_url,
            smtp_url=world.smtp_url,
            apns_url=world.apns_url,
            apns_trusted=world.apns_certificate.read_text(),
            dkim_keys=dkim_keys,
        )
        async with adapters_for(
            credentials or own, config=config, public_url=callback_base or "http://127.0.0.1:9"
        ) as adapters:
            yield Rig(world, credentials or own, adapters)


@asynccontextmanager
async def adapters_for(
    credentials: Credentials, *, config: ChannelsConfig = STEADY, public_url: str = "http://127.0.0.1:9"
) -> AsyncIterator[Mapping[str, Adapter]]:
    """By way of sending: where both providers of push are built, `push` is FCM alone and `apns` the other."""
    adapters: dict[str, Adapter] = dict(build(config, credentials, public_url=public_url))
    push = adapters.get(Channel.PUSH)
    both = {Channel.PUSH: push.fcm, APNS: push.apns} if isinstance(push, PushByPlatform) else {}
    try:
        yield {**adapters, **both}
    finally:
        for adapter in adapters.values():
            await adapter.aclose()


def a_closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def a_port_that_never_answers() -> AsyncIterator[int]:
    """A port whose queue of connections is full, so that a new one hangs (Linux drops its SYN)."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port: int = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            await asyncio.sleep(0.05)
            yield port
        finally:
            for filler in fillers:
                filler.close()


@asynccontextmanager
async def a_server_that(behaves: "Behaviour", *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server whose connections are handed to `behaves`; errors of its own end the connection only."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaves(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Behaviour:
    """Reads until `after` has come in, writes `answer`, then closes or, when `hangs`, stays."""

    def __init__(self, after: bytes, answer: bytes, *, hangs: bool = False) -> None:
        self._after = after
        self._answer = answer
        self.hangs = hangs

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._after:
            await reader.readuntil(self._after)
        writer.write(self._answer)
        await writer.drain()
        if self.hangs:
            await reader.read()


def a_self_signed_certificate(folder: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    path = folder / "self-signed.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@contextmanager
def a_world_apart(folder: Path, **options: object) -> Iterator[World]:
    """A sandbox on a loop and thread of its own, for what blocks while it sends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = running(folder, **options)  # type: ignore[arg-type]
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(_end(context), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(context: AbstractAsyncContextManager[World]) -> None:
    await context.__aexit__(None, None, None)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=2)
