"""All sandbox providers on one event loop: one port each for HTTP, SMTP, APNs and IMAP, one outbox."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from channels.credentials import SANDBOX_TOKEN
from simulator.providers.apns import ApnsSandbox, tls_for
from simulator.providers.callbacks import Callbacks
from simulator.providers.control import Control
from simulator.providers.faults import Faults
from simulator.providers.fcm import FcmSandbox
from simulator.providers.imap import LONGEST_LINE, ImapSandbox, Mailbox
from simulator.providers.outbox import Outbox
from simulator.providers.smtp import Relay
from simulator.providers.twilio import TwilioSandbox

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

HOST = "127.0.0.1"
BACKLOG = 1_024
SHUTDOWN_SECONDS = 0.2  # for answers under way; a stalled one is cut off


@dataclass(frozen=True, slots=True)
class World:
    """A running sandbox."""

    http_url: str
    smtp_url: str
    outbox: Outbox
    faults: Faults
    callbacks: Callbacks
    apns_url: str
    apns_certificate: Path
    imap_url: str
    mailbox: Mailbox


@asynccontextmanager
async def running(
    folder: Path,
    *,
    host: str = HOST,
    http_port: int = 0,
    smtp_port: int = 0,
    apns_port: int = 0,
    imap_port: int = 0,
    callback_base: str = "",
    seed: int = 0,
    lifelike: bool = False,
    smtp_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[World]:
    """A sandbox that answers for as long as the context lasts, on loopback by default; port 0 means any free one.

    Callbacks go to addresses under `callback_base` and nowhere else; without it there are none.
    """
    outbox, faults, callbacks = Outbox(folder), Faults(seed), Callbacks(SANDBOX_TOKEN)
    twilio = TwilioSandbox(outbox, faults, callbacks, callback_base=callback_base, seed=seed, lifelike=lifelike)
    fcm = FcmSandbox(outbox, faults)
    mailbox = Mailbox()
    control = Control(outbox, faults, callbacks, twilio, mailbox)
    http = web.Server(_dispatch(twilio, fcm, control), access_log=None)
    loop = asyncio.get_running_loop()
    http_server = await loop.create_server(http, host, http_port, backlog=BACKLOG)
    smtp_server = await loop.create_server(
        lambda: Relay(outbox, faults, smtp_tls, mailbox.put), host, smtp_port, backlog=BACKLOG
    )
    apns_tls, apns_certificate = tls_for(host, folder)
    apns_server = await loop.create_server(
        lambda: ApnsSandbox(outbox, faults), host, apns_port, backlog=BACKLOG, ssl=apns_tls
    )
    imap_server = await asyncio.start_server(ImapSandbox(mailbox), host, imap_port, limit=LONGEST_LINE)
    callbacks.start()
    try:
        yield World(
            http_url=f"http://{host}:{_port(http_server)}",
            smtp_url=f"smtp://{host}:{_port(smtp_server)}",
            outbox=outbox,
            faults=faults,
            callbacks=callbacks,
            apns_url=f"https://{host}:{_port(apns_server)}",
            apns_certificate=apns_certificate,
            imap_url=f"imap://sandbox:sandbox@{host}:{_port(imap_server)}/INBOX",
            mailbox=mailbox,
        )
    finally:
        for server in (http_server, smtp_server, apns_server, imap_server):
            server.close()
        await http.shutdown(timeout=SHUTDOWN_SECONDS)
        await callbacks.stop()
        control.write_index()
        outbox.close()


def _dispatch(twilio: TwilioSandbox, fcm: FcmSandbox, control: Control) -> Handler:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/2010-04-01/"):
            return await twilio.handle(request)
        if path.startswith("/v1/projects/"):
            return await fcm.handle(request)
        if path == "/token":
            return await fcm.handle_token(request)
        return await control.handle(request)

    return handle


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port
