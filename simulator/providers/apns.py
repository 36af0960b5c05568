"""APNs over HTTP/2, as far as we use it: a server by `h2` on our loop, over TLS.

Emulated after developer.apple.com, "Sending notification requests to APNs" (headers, path), "Handling notification
responses from APNs" (statuses, reasons) and "Establishing a token-based connection to APNs". Tokens that begin with
`dead`, `bad0` or `0ff` are refused accordingly: that is ours, Apple has no magic tokens.
"""

import asyncio
import json
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from channels.credentials import SANDBOX_TEAM, SANDBOX_TOPIC
from simulator.providers.faults import FaultKind, FaultRule, Faults
from simulator.providers.outbox import Outbox

LARGEST_PAYLOAD_BYTES = 4_096  # "Generating a remote notification"
LONGEST_COLLAPSE_ID_BYTES = 64
TOKEN_LIFE_SECONDS = 3_600  # a provider token older than an hour is refused
CERTIFICATE_DAYS = 3_650

#: Reason: status ("Handling notification responses from APNs").
REASONS: Mapping[str, int] = {
    "BadCollapseId": 400,
    "BadDeviceToken": 400,
    "BadExpirationDate": 400,
    "BadPriority": 400,
    "BadTopic": 400,
    "DeviceTokenNotForTopic": 400,
    "InvalidPushType": 400,
    "MissingTopic": 400,
    "PayloadEmpty": 400,
    "ExpiredProviderToken": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "Shutdown": 503,
}

MAGIC = {"dead": "Unregistered", "bad0": "BadDeviceToken", "0ff": "DeviceTokenNotForTopic"}

_PATH = re.compile(r"/3/device/([0-9a-fA-F]{64,200})")
_COUNT = re.compile(r"[0-9]{1,11}")


class ApnsSandbox(asyncio.Protocol):
    """One connection of a provider, with any number of requests on it."""

    def __init__(self, outbox: Outbox, faults: Faults) -> None:
        self._outbox = outbox
        self._faults = faults
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        for task in self._answers:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._close()
            return
        for event in events:
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                headers = {str(name): str(value) for name, value in event.headers or ()}
                self._requests[event.stream_id or 0] = (headers, bytearray())
            case DataReceived():
                self._requests[event.stream_id or 0][1].extend(event.data or b"")
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            case StreamEnded():
                headers, body = self._requests.pop(event.stream_id or 0)
                task = asyncio.create_task(self._answer(event.stream_id or 0, headers, bytes(body)))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
            case StreamReset():
                self._requests.pop(event.stream_id or 0, None)

    async def _answer(self, stream: int, headers: Mapping[str, str], body: bytes) -> None:
        """One request from its checks to its answer, through the fault that it meets."""
        reason = complaint(headers, body)
        token = headers.get(":path", "").rpartition("/")[2]
        fault = self._faults.strike("apns", token) if reason is None else None
        if fault is not None and await self._before(fault, stream, headers):
            return
        if reason is not None:
            self._respond(stream, headers, REASONS[reason], {"reason": reason, **_when(reason)})
            return
        payload = json.loads(body)
        await self._outbox.accept(
            "push", to=token, text=json.dumps(payload, ensure_ascii=False), ref=headers["apns-id"],
            contact=payload.get("contact"), sender=headers.get("apns-topic", ""),
        )  # fmt: skip
        if fault is None or not await self._after(fault, stream, headers):
            self._respond(stream, headers, 200, None)

    async def _before(self, fault: FaultRule, stream: int, headers: Mapping[str, str]) -> bool:
        """Carry out a fault that comes before acceptance; true when that was the answer."""
        match fault.kind:
            case FaultKind.REFUSE:
                reason = fault.code or "BadDeviceToken"
                self._respond(stream, headers, REASONS.get(reason, 400), {"reason": reason, **_when(reason)})
            case FaultKind.ERROR_BEFORE:
                self._respond(stream, headers, 500, {"reason": "InternalServerError"})
            case FaultKind.DROP_BEFORE:
                self._close()
            case FaultKind.STALL_BEFORE:
                await asyncio.sleep(fault.seconds)
                return False
            case _:
                return False
        return True

    async def _after(self, fault: FaultRule, stream: int, headers: Mapping[str, str]) -> bool:
        match fault.kind:
            case FaultKind.STALL_AFTER:
                await asyncio.sleep(fault.seconds)
                return False
            case FaultKind.ERROR_AFTER:
                self._respond(stream, headers, 500, {"reason": "InternalServerError"})
            case FaultKind.DROP_AFTER:
                self._close()
            case FaultKind.GARBAGE_AFTER:
                self._send(stream, headers, 400, b"<!doctype html><title>It works</title>")
            case FaultKind.HALF_AFTER:
                self._h2.send_headers(stream, _head(headers, 400))
                self._h2.send_data(stream, b'{"rea')
                self._flush()
                self._close()
            case FaultKind.GOING_AWAY:
                self._h2.close_connection(ErrorCodes.NO_ERROR, additional_data=b'{"reason":"Shutdown"}')
                self._flush()
                self._close()
            case _:
                return False
        return True

    def _respond(self, stream: int, headers: Mapping[str, str], status: int, body: Mapping[str, object] | None) -> None:
        self._send(stream, headers, status, json.dumps(body).encode() if body else b"")

    def _send(self, stream: int, headers: Mapping[str, str], status: int, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._h2.send_headers(stream, _head(headers, status), end_stream=not body)
        if body:
            self._h2.send_data(stream, body, end_stream=True)
        self._flush()

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._h2.data_to_send())

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _head(headers: Mapping[str, str], status: int) -> list[tuple[str, str]]:
    return [(":status", str(status)), ("apns-id", headers.get("apns-id", ""))]


def complaint(headers: Mapping[str, str], body: bytes) -> str | None:
    """The reason for which APNs would refuse a request; None when it is good."""
    if headers.get(":method") != "POST":
        return "MethodNotAllowed"
    path = _PATH.fullmatch(headers.get(":path", ""))
    if path is None:
        return "BadPath"
    for prefix, reason in MAGIC.items():
        if path.group(1).startswith(prefix):
            return reason
    return _token_complaint(headers.get("authorization", "")) or _header_complaint(headers) or _body_complaint(body)


def _token_complaint(authorization: str) -> str | None:
    """The token's shape, team and age. Whose key signed it is not checked: the sandbox knows no team's keys."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return "MissingProviderToken"
    try:
        head = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        age = datetime.now(UTC).timestamp() - float(claims["iat"])
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return "InvalidProviderToken"
    if head.get("alg") != "ES256" or not head.get("kid") or claims.get("iss") != SANDBOX_TEAM:
        return "InvalidProviderToken"
    return "ExpiredProviderToken" if age > TOKEN_LIFE_SECONDS else None


def _header_complaint(headers: Mapping[str, str]) -> str | None:
    if headers.get("apns-topic") != SANDBOX_TOPIC:
        return "BadTopic" if headers.get("apns-topic") else "MissingTopic"
    if len(headers.get("apns-collapse-id", "").encode()) > LONGEST_COLLAPSE_ID_BYTES:
        return "BadCollapseId"
    if headers.get("apns-push-type") not in ("alert", "background"):
        return "InvalidPushType"
    if headers.get("apns-priority", "10") not in ("1", "5", "10"):
        return "BadPriority"
    if headers["apns-push-type"] == "background" and headers.get("apns-priority") == "10":
        return "BadPriority"
    return None if _COUNT.fullmatch(headers.get("apns-expiration", "0")) else "BadExpirationDate"


def _body_complaint(body: bytes) -> str | None:
    if len(body) > LARGEST_PAYLOAD_BYTES:
        return "PayloadTooLarge"
    try:
        payload = json.loads(body)
    except ValueError:
        return "PayloadEmpty"
    return None if isinstance(payload, dict) and payload.get("aps") else "PayloadEmpty"


def _when(reason: str) -> dict[str, int]:
    """Only Unregistered says since when, in milliseconds."""
    return {"timestamp": int(datetime.now(UTC).timestamp() * 1000)} if reason == "Unregistered" else {}


def tls_for(host: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """TLS with a certificate for this host, and the file to trust; both stay for a sandbox that is started again."""
    shown, private = folder / "apns-certificate.pem", folder / "apns-key.pem"
    if not (shown.exists() and private.exists()):
        _make_certificate(host, shown, private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, private)
    context.set_alpn_protocols(["h2"])
    return context, shown


def _make_certificate(host: str, shown: Path, private: Path) -> None:
    """The key is readable by its owner only; it opens nothing but this sandbox."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "duly sandbox")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(_alternative_names(host)), critical=False)
        .sign(key, SHA256())
    )
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    shown.write_bytes(certificate.public_bytes(Encoding.PEM))


def _alternative_names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    try:
        names.append(x509.IPAddress(ip_address(host)))
    except ValueError:
        names.append(x509.DNSName(host))
    return names
