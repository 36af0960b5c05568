"""A relay: aiosmtpd's SMTP on our loop, which accepts everything unless a fault says otherwise."""

import asyncio
import logging
import quopri
import re
import ssl
from base64 import b64decode
from collections.abc import Callable
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from simulator.providers.faults import FaultKind, FaultRule, Faults
from simulator.providers.outbox import Outbox
from simulator.providers.reports import ReportKind, report

#: A login with this password is refused; any other is taken.
WRONG_PASSWORD = "wrong"  # noqa: S105  # the one that does not open anything

LARGEST_MAIL_BYTES = 10 * 1024 * 1024

#: The report that each fault brings.
REPORTS = {
    FaultKind.BOUNCE_HARD: ReportKind.HARD_BOUNCE,
    FaultKind.BOUNCE_SOFT: ReportKind.SOFT_BOUNCE,
    FaultKind.COMPLAINT: ReportKind.COMPLAINT,
}

_UUID = re.compile(rb"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})[.@]")

logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd logs every line it reads, addresses and all


class Relay(SMTP):
    """One connection."""

    def __init__(
        self,
        outbox: Outbox,
        faults: Faults,
        tls: ssl.SSLContext | None = None,
        put: Callable[[bytes], None] | None = None,
    ) -> None:
        """`put` takes the bounces and complaints that faults ask for."""
        self._put = put
        self._outbox = outbox
        self._faults = faults
        super().__init__(
            self,
            hostname="sandbox.invalid",
            ident="duly sandbox",
            enable_SMTPUTF8=True,
            data_size_limit=LARGEST_MAIL_BYTES,
            auth_require_tls=False,
            authenticator=_login,
            tls_context=tls,
            loop=asyncio.get_running_loop(),
        )

    async def handle_MAIL(  # aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._struck("mail", address)
        if answer is None:
            envelope.mail_from = address
        return answer or "250 2.1.0 Ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._struck("rcpt", address)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 2.1.5 Ok"

    async def smtp_DATA(self, arg: str) -> None:
        to = self.envelope.rcpt_tos[0] if self.envelope and self.envelope.rcpt_tos else ""
        answer = await self._struck("data", to)
        if answer is None:
            await super().smtp_DATA(arg)
        else:
            await self.push(answer)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        to = envelope.rcpt_tos[0]
        fault = self._faults.strike("email", to)
        answer = await self._before(fault) if fault else None
        if answer is not None:
            return answer
        content = envelope.original_content or b""
        head, _, _ = content.partition(b"\r\n\r\n")
        contact = _UUID.search(_field(head, b"Message-ID"))
        accepted = await self._outbox.accept(
            "email",
            to=to,
            text=plain_text(content),
            ref=_field(head, b"Message-ID").decode("ascii", "replace"),
            sender=envelope.mail_from or "",
            subject=_decoded(_field(head, b"Subject")),
            contact=contact.group(1).decode() if contact else None,
            mail=content,
        )
        self._report_later(to, content, envelope.mail_from or "")
        after = await self._after(fault) if fault else None
        return after or f"250 2.0.0 Ok: queued as {accepted.seq:X}"

    def _report_later(self, to: str, content: bytes, envelope_sender: str) -> None:
        fault = self._faults.strike_later("email", to)
        if fault is not None and self._put is not None:
            self._put(report(REPORTS[fault.kind], content, envelope_sender=envelope_sender, recipient=to))

    async def _struck(self, stage: str, address: str) -> str | None:
        fault = self._faults.strike("email", address, stage)
        return await self._before(fault) if fault else None

    async def _before(self, fault: FaultRule) -> str | None:
        """The answer of a fault that keeps the message from being accepted; None to go on."""
        match fault.kind:
            case FaultKind.REFUSE:
                return f"{fault.code or '550 5.1.1'} the sandbox was told to refuse"
            case FaultKind.ERROR_BEFORE:
                return "451 4.3.0 local error"
            case FaultKind.DROP_BEFORE:
                return self._drop()
            case FaultKind.STALL_BEFORE:
                await asyncio.sleep(fault.seconds)
        return None

    async def _after(self, fault: FaultRule) -> str | None:
        match fault.kind:
            case FaultKind.STALL_AFTER:
                await asyncio.sleep(fault.seconds)
            case FaultKind.DROP_AFTER:
                return self._drop()
            case FaultKind.GARBAGE_AFTER:
                return "well, who knows"
            case FaultKind.HALF_AFTER:
                return self._half()
        return None

    def _drop(self) -> str:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        raise ConnectionResetError("dropped, as told")

    def _half(self) -> str:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.write(b"250-2.0")
            self.transport.close()
        raise ConnectionResetError("dropped half way, as told")


def _login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: LoginPassword) -> AuthResult:
    is_good = login.password != WRONG_PASSWORD.encode()
    return AuthResult(success=is_good, handled=False)


def plain_text(content: bytes) -> str:
    """The first text part, decoded. Good for what we send ourselves; a mail of another shape comes out raw."""
    head, _, body = content.partition(b"\r\n\r\n")
    boundary = re.search(rb'boundary="?([^"\r\n;]+)', _field(head, b"Content-Type"))
    if boundary:
        part = body.partition(b"--" + boundary.group(1) + b"\r\n")[2].partition(b"\r\n--" + boundary.group(1))[0]
        head, _, body = part.partition(b"\r\n\r\n")
    match _field(head, b"Content-Transfer-Encoding").strip().lower():
        case b"base64":
            body = b64decode(body)
        case b"quoted-printable":
            body = quopri.decodestring(body)
    return body.decode("utf-8", "replace").replace("\r\n", "\n").strip()


def _field(head: bytes, name: bytes) -> bytes:
    """A header's value, unfolded; empty when it is not there."""
    found = re.search(rb"(?im)^" + name + rb":[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", head)
    return re.sub(rb"\r\n(?=[ \t])", b"", found.group(1)).strip() if found else b""


def _decoded(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text
