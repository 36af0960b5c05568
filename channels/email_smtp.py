"""E-mail through a relay: aiosmtplib on a small pool of kept-alive connections, with the phase of a send known.

aiosmtplib runs one transaction at a time per connection and does not pipeline, so a pool is what makes it fast. Up to
the final dot a failure means that nothing was sent; from the dot to the relay's answer it may have been (RFC 5321,
sections 4.2.5 and 6.1).
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import aiosmtplib

from channels.base import ChannelError, HeldBack, Misconfigured, Outbound, OutcomeUnknown, Receipt, Rejected, TryLater
from channels.bounces import return_path
from channels.credentials import Security, SmtpCredentials
from channels.dkim import DkimSigners
from channels.mime import compose, message_id, sender_mailbox, wire_address
from channels.smtp_errors import Stage, refusal
from domain.channel import Channel
from domain.provider import MailUse

#: A connection that rested longer is replaced, not probed: a dead one would cost a message its whole deadline.
LONGEST_REST_SECONDS = 30.0

#: A message that finds no connection free for so long goes back to be judged again: a pause must be felt soon.
PLACE_WITHIN = timedelta(seconds=1)

#: A relay gets this long to answer QUIT when we close.
QUIT_SECONDS = 1.0

_FINAL_DOT = b".\r\n"


@dataclass(slots=True)
class _Line:
    """One connection. Times are of the monotonic clock."""

    client: aiosmtplib.SMTP
    opened: float
    rested_since: float
    carried: int = 0


@dataclass(slots=True)
class _Attempt:
    """One message on its way: how far it has come decides what a failure means."""

    sender: str
    to: str
    content: bytes
    stage: Stage = Stage.CONNECT


class SmtpEmail:
    """One relay. Its Message-IDs are ours, so a bounce names its contact."""

    name = "smtp"
    channel = Channel.EMAIL
    folds_repeats = False  # relays do not fold by Message-ID

    def __init__(
        self, use: MailUse, credentials: SmtpCredentials, *, is_sandbox: bool, signers: DkimSigners | None = None
    ) -> None:
        self.is_sandbox = is_sandbox
        self._signers = signers or DkimSigners()
        self._use = use
        self._credentials = credentials
        self._tls = None if credentials.security is Security.NONE else ssl.create_default_context()
        self._places = asyncio.Semaphore(use.connections)
        self._idle: list[_Line] = []

    async def send(self, outbound: Outbound) -> Receipt:
        sender = sender_mailbox(outbound.sender)
        to = wire_address(outbound.to)
        message = compose(outbound, to, sender, self._use.message_id_domain)
        signer = self._signers.for_address(sender.address) if self._signers else None
        if signer is not None:  # in a thread: RSA lets go of the interpreter while it computes
            message = await asyncio.to_thread(signer.sign, message)
        bounce_to = return_path(self._use.bounce_address, outbound.contact_id, outbound.party_id)
        attempt = _Attempt(bounce_to or sender.address, to, _dot_stuffed(message))
        try:
            async with asyncio.timeout(self._use.deadline.total_seconds()), self._place():
                await self._carry(attempt)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise _translated(attempt.stage, error) from error
        return Receipt(self.name, message_id(outbound.contact_id, outbound.party_id, self._use.message_id_domain))

    async def aclose(self) -> None:
        lines, self._idle = self._idle, []
        for line in lines:
            with contextlib.suppress(aiosmtplib.SMTPException, TimeoutError, OSError):
                await line.client.quit(timeout=QUIT_SECONDS)
            line.client.close()

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """A connection's worth of room. Raises HeldBack when there is none soon."""
        try:
            async with asyncio.timeout(PLACE_WITHIN.total_seconds()):
                await self._places.acquire()
        except TimeoutError:
            raise HeldBack("relay_busy", PLACE_WITHIN) from None
        try:
            yield
        finally:
            self._places.release()

    async def _carry(self, attempt: _Attempt) -> None:
        """The transaction on a line that has taken MAIL; the line rests afterwards, unless anything was odd."""
        line = await self._line_after_mail(attempt)
        try:
            await self._recipient_and_content(line.client, attempt)
        except Rejected:
            # A refused recipient leaves the line in good order once the envelope is reset.
            if await _is_reset(line.client):
                self._rest(line)
            raise
        except BaseException:
            line.client.close()
            raise
        line.carried += 1
        self._rest(line)

    async def _line_after_mail(self, attempt: _Attempt) -> _Line:
        """MAIL probes a rested connection: nothing of the message has left us yet, so a dead one is replaced."""
        while line := self._rested_line():
            try:
                await self._mail(line.client, attempt)
                return line
            except OSError:  # aiosmtplib's disconnections are OSErrors
                line.client.close()
            except BaseException as error:
                line.client.close()
                if not (isinstance(error, TryLater) and error.code.startswith("421")):
                    raise
        line = await self._open(attempt)
        try:
            await self._mail(line.client, attempt)
        except BaseException:
            line.client.close()
            raise
        return line

    async def _mail(self, client: aiosmtplib.SMTP, attempt: _Attempt) -> None:
        attempt.stage = Stage.MAIL
        options = [b"SIZE=%d" % (len(attempt.content) - len(_FINAL_DOT))] if client.supports_extension("size") else []
        if not attempt.to.isascii():
            if not client.supports_extension("smtputf8"):
                raise Rejected("no smtputf8")
            options.append(b"SMTPUTF8")
        command = b"FROM:<" + attempt.sender.encode() + b">"
        _must_be(2, attempt.stage, await client.execute_command(b"MAIL", command, *options, timeout=None))

    async def _recipient_and_content(self, client: aiosmtplib.SMTP, attempt: _Attempt) -> None:
        attempt.stage = Stage.RCPT
        command = b"TO:<" + attempt.to.encode() + b">"
        _must_be(2, attempt.stage, await client.execute_command(b"RCPT", command, timeout=None))
        attempt.stage = Stage.DATA
        _must_be(3, attempt.stage, await client.execute_command(b"DATA", timeout=None))
        if client.protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        client.protocol.write(attempt.content)
        attempt.stage = Stage.CONTENT
        _must_be(2, attempt.stage, await client.protocol.read_response(timeout=None))

    async def _open(self, attempt: _Attempt) -> _Line:
        attempt.stage = Stage.CONNECT
        at = self._credentials
        client = aiosmtplib.SMTP(
            hostname=at.host,
            port=at.port,
            use_tls=at.security is Security.TLS,
            start_tls=at.security is Security.STARTTLS,
            tls_context=self._tls,
            local_hostname=self._use.message_id_domain,
            timeout=None,
        )
        try:
            async with asyncio.timeout(self._use.connect_within.total_seconds()):
                await client.connect()
                attempt.stage = Stage.LOGIN
                if client.is_ehlo_or_helo_needed:
                    await client.ehlo()
                if at.username is not None:
                    await client.login(at.username, at.password or "")
        except BaseException:
            client.close()
            raise
        now = time.monotonic()
        return _Line(client, opened=now, rested_since=now)

    def _rested_line(self) -> _Line | None:
        """The connection that rested last, if it is still fit to be used."""
        now = time.monotonic()
        while self._idle:
            line = self._idle.pop()
            if line.client.is_connected and now - line.rested_since < LONGEST_REST_SECONDS:
                return line
            line.client.close()
        return None

    def _rest(self, line: _Line) -> None:
        now = time.monotonic()
        is_spent = (
            line.carried >= self._use.messages_per_connection
            or now - line.opened >= self._use.connection_age.total_seconds()
        )
        if is_spent or not line.client.is_connected:
            line.client.close()
            return
        line.rested_since = now
        self._idle.append(line)


async def _is_reset(client: aiosmtplib.SMTP) -> bool:
    try:
        await client.rset(timeout=QUIT_SECONDS)
    except (aiosmtplib.SMTPException, OSError):
        client.close()
        return False
    except BaseException:
        client.close()
        raise
    return True


def _must_be(first_digit: int, stage: Stage, reply: aiosmtplib.SMTPResponse) -> None:
    """RFC 5321, section 4.2.1: the first digit is what a client must go by."""
    if reply.code // 100 != first_digit:
        raise refusal(stage, reply.code, reply.message)


def _dot_stuffed(content: bytes) -> bytes:
    """RFC 5321, section 4.5.2, with the final dot. `content` has CRLF line ends and begins with a header."""
    return content.replace(b"\r\n.", b"\r\n..") + _FINAL_DOT


def _translated(stage: Stage, error: Exception) -> ChannelError:
    """What went wrong, as one of the four; most specific first."""
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return Misconfigured("tls certificate")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return refusal(stage, error.code, error.message)
    if stage is Stage.CONTENT:
        return OutcomeUnknown("timeout" if isinstance(error, TimeoutError) else "connection lost")
    if isinstance(error, TimeoutError):
        return TryLater("timeout")
    if isinstance(error, OSError):  # aiosmtplib's connection errors are OSErrors too
        return TryLater("connect" if stage is Stage.CONNECT else "connection lost")
    return Misconfigured("relay lacks starttls or login") if stage <= Stage.LOGIN else TryLater("connection lost")
