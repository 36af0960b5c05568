"""Twilio's Messages resource, as far as we use it: checks, error bodies, look-up, status callbacks, STOP.

Emulated after twilio.com/docs/messaging/api/message-resource, .../docs/iam/test-credentials (magic numbers) and
.../docs/messaging/guides/track-outbound-message-status. docs/channels.md lists what is not verified.
"""

import base64
import hashlib
import json
import os
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qs, parse_qsl, urlsplit

from aiohttp import web

from channels.credentials import SANDBOX_ACCOUNT, SANDBOX_TOKEN
from simulator.providers.answers import Answer, answer_with_fault
from simulator.providers.callbacks import Callback, Callbacks
from simulator.providers.faults import FaultKind, Faults
from simulator.providers.outbox import Outbox

LONGEST_BODY = 1_600
LOOKED_UP = 50_000  # messages that the list still knows

#: Page on test credentials, "Parameters for sending SMS". From +15005550006 is the one that is good.
MAGIC_TO = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
MAGIC_FROM = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}

#: Our words for the codes' meanings; Twilio's own texts differ and change.
MESSAGES = {
    20001: "A parameter is not valid",
    20003: "Authentication error",
    20404: "The requested resource was not found",
    20429: "Too many requests",
    21211: "The 'To' number is not a valid phone number",
    21212: "The 'From' number is not a valid phone number or sender",
    21408: "Permission to send to this region is not enabled",
    21602: "A message body is required",
    21603: "A 'From' number or a messaging service is required",
    21604: "A 'To' number is required",
    21606: "The 'From' number cannot send messages",
    21609: "The 'StatusCallback' URL is not valid",
    21610: "The recipient has unsubscribed",
    21611: "The 'From' number's queue is full",
    21612: "No route from 'From' to 'To'",
    21614: "The 'To' number is not a mobile number",
    21617: "The message body is longer than 1600 characters",
    90007: "The validity period is out of range",
}
STATUS_OF = {20003: 401, 20404: 404, 20429: 429}

#: Replies that Twilio itself obeys on long codes (support.twilio.com, "Twilio support for opt-out keywords").
STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER = re.compile(r"\+[1-9][0-9]{3,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_PATH = re.compile(r"/2010-04-01/Accounts/([^/]+)/Messages(?:/([^/]+))?\.json")


@dataclass(slots=True)
class _Message:
    sid: str
    to: str
    sender: str
    body: str
    created: float
    status: str = "queued"
    error_code: int | None = None


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    code: int


class TwilioSandbox:
    """One account. `callback_base` is the only place that callbacks are posted to."""

    def __init__(
        self, outbox: Outbox, faults: Faults, callbacks: Callbacks, *, callback_base: str, seed: int, lifelike: bool
    ) -> None:
        self._outbox = outbox
        self._faults = faults
        self._callbacks = callbacks
        self._callback_base = callback_base.rstrip("/")
        self._seed = seed
        self._lifelike = lifelike
        self._run = os.urandom(8).hex()
        self._authorization = "Basic " + base64.b64encode(f"{SANDBOX_ACCOUNT}:{SANDBOX_TOKEN}".encode()).decode()
        self._messages: OrderedDict[str, _Message] = OrderedDict()
        self._sent_to: Counter[str] = Counter()
        self._stopped: set[tuple[str, str]] = set()  # customer, and the number of ours that they answered

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        match = _PATH.fullmatch(request.path)
        if match is None or match.group(1) != SANDBOX_ACCOUNT:
            return _refusal(20404).response()
        if request.headers.get("Authorization") != self._authorization:
            return _refusal(20003).response()
        if match.group(2):
            return self._one(match.group(2)).response()
        if request.method == "GET":
            return self._list(request).response()
        return await self._create(request)

    def reply(self, *, sender: str, to: str, text: str) -> bool:
        """A customer writes to us; STOP blocks what this number of ours sends them. False without a callback base."""
        word = text.strip().upper()
        if word in STOP_WORDS:
            self._stopped.add((sender, to))
        elif word in START_WORDS:
            self._stopped.discard((sender, to))
        if not self._callback_base:
            return False
        fields = {
            "MessageSid": f"SM{hashlib.md5(os.urandom(16), usedforsecurity=False).hexdigest()}",
            "AccountSid": SANDBOX_ACCOUNT,
            "From": sender,
            "To": to,
            "Body": text,
            "NumMedia": "0",
            "NumSegments": "1",
            "ApiVersion": "2010-04-01",
            "SmsStatus": "received",
        }
        self._callbacks.post([Callback(f"{self._callback_base}/callbacks/twilio/inbound", fields)])
        return True

    async def _create(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            fields = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
            self._check(fields)
        except Refused as refused:
            return _refusal(refused.code).response()
        except ValueError:
            return _refusal(20001).response()
        fault = self._faults.strike("sms", fields["To"])
        if fault is None:
            return (await self._accept(fields)).response()
        return await answer_with_fault(
            request,
            fault,
            accept=lambda: self._accept(fields),
            refuse=lambda code: _refusal(int(code or 20001)),
        )

    def _check(self, fields: Mapping[str, str]) -> None:
        to, sender = fields.get("To", ""), fields.get("From", "")
        service, body = fields.get("MessagingServiceSid", ""), fields.get("Body", "")
        if not to:
            raise Refused(21604)
        if not sender and not service:
            raise Refused(21603)
        if (sender and not _SENDER.fullmatch(sender)) or (service and not _SERVICE.fullmatch(service)):
            raise Refused(21212)
        if sender in MAGIC_FROM:
            raise Refused(MAGIC_FROM[sender])
        if to in MAGIC_TO or not _E164.fullmatch(to):
            raise Refused(MAGIC_TO.get(to, 21211))
        if not body:
            raise Refused(21602)
        if len(body) > LONGEST_BODY:
            raise Refused(21617)
        if not 1 <= int(fields.get("ValidityPeriod", "36000")) <= 36_000:
            raise Refused(90007)
        if fields.get("StatusCallback") and not urlsplit(fields["StatusCallback"]).hostname:
            raise Refused(21609)
        if (to, sender or service) in self._stopped:
            raise Refused(21610)
        if self._lifelike:
            self._check_fate(to)

    def _check_fate(self, to: str) -> None:
        """One number in a hundred is no mobile, and one in a hundred has unsubscribed: for good, so by the number."""
        fate = self._draw(to, "number")
        if fate < 0.01:
            raise Refused(21211 if fate < 0.005 else 21614)
        if fate < 0.02:
            raise Refused(21610)

    async def _accept(self, fields: Mapping[str, str]) -> Answer:
        to = fields["To"]
        self._sent_to[to] += 1
        message = _Message(
            sid=f"SM{self._run}{self._outbox.last + 1:016x}",
            to=to,
            sender=fields.get("From") or fields["MessagingServiceSid"],
            body=fields["Body"],
            created=time.time(),
        )
        answer = Answer(201, _as_json(message))
        self._remember(message)
        url = fields.get("StatusCallback", "")
        await self._outbox.accept(
            "sms", to=to, text=message.body, ref=message.sid, sender=message.sender, contact=_contact_of(url)
        )
        self._settle(message)
        if self._callback_base and url.startswith(self._callback_base + "/"):
            self._callbacks.post(self._statuses(message, url))
        return answer

    def _settle(self, message: _Message) -> None:
        """Decide at once how it ends: delivered, or in a lifelike world for one in fifty unreachable."""
        is_lost = self._lifelike and self._draw(message.to, self._sent_to[message.to]) < 0.02
        message.status, message.error_code = ("undelivered", 30003) if is_lost else ("delivered", None)

    def _statuses(self, message: _Message, url: str) -> list[Callback]:
        last = {"ErrorCode": str(message.error_code)} if message.error_code else {}
        steps = [
            Callback(url, _status_fields(message, "sent", {})),
            Callback(url, _status_fields(message, message.status, last)),
        ]
        fault = self._faults.strike_later("sms", message.to)
        match fault.kind if fault else None:
            case FaultKind.CALLBACK_LOST:
                return []
            case FaultKind.CALLBACK_TWICE:
                return [steps[0], steps[0], steps[1], steps[1]]
            case FaultKind.CALLBACK_REVERSED:
                return steps[::-1]
        return steps

    def _remember(self, message: _Message) -> None:
        self._messages[message.sid] = message
        if len(self._messages) > LOOKED_UP:
            self._messages.popitem(last=False)

    def _one(self, sid: str) -> Answer:
        message = self._messages.get(sid)
        return Answer(200, _as_json(message)) if message else _refusal(20404)

    def _list(self, request: web.BaseRequest) -> Answer:
        """Newest first, by To and From; DateSent bounds are taken by the day, as the vendor's page says."""
        query = {key: values[0] for key, values in parse_qs(request.query_string, keep_blank_values=True).items()}
        size = min(int(query.get("PageSize", "50")), 1_000)
        earliest = query.get("DateSent>", "")[:10]
        found = [
            message
            for message in reversed(self._messages.values())
            if query.get("To", message.to) == message.to
            and query.get("From", message.sender) == message.sender
            and time.strftime("%Y-%m-%d", time.gmtime(message.created)) >= earliest
        ][:size]
        page = {"messages": [json.loads(_as_json(message)) for message in found], "page": 0, "page_size": size}
        return Answer(200, json.dumps({**page, "next_page_uri": None, "uri": request.path_qs}).encode())

    def _draw(self, *what: object) -> float:
        """A number in [0, 1) that depends on the seed and on nothing but what is named."""
        digest = hashlib.blake2b(repr((self._seed, *what)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def _refusal(code: int) -> Answer:
    body = {
        "code": code,
        "message": MESSAGES.get(code, "The request cannot be carried out"),
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": STATUS_OF.get(code, 400),
    }
    return Answer(STATUS_OF.get(code, 400), json.dumps(body).encode(), retry_after=1 if code == 20429 else None)


def _as_json(message: _Message) -> bytes:
    """The fields of the Message resource that exist at this moment of its life."""
    is_service = message.sender.startswith("MG")
    uri = f"/2010-04-01/Accounts/{SANDBOX_ACCOUNT}/Messages/{message.sid}"
    created = formatdate(message.created)
    return json.dumps(
        {
            "account_sid": SANDBOX_ACCOUNT,
            "api_version": "2010-04-01",
            "body": message.body,
            "date_created": created,
            "date_sent": None if message.status == "queued" else created,
            "date_updated": created,
            "direction": "outbound-api",
            "error_code": message.error_code,
            "error_message": None,
            "from": None if is_service else message.sender,
            "messaging_service_sid": message.sender if is_service else None,
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": "USD",
            "sid": message.sid,
            "status": "accepted" if is_service and message.status == "queued" else message.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": message.to,
            "uri": f"{uri}.json",
        }
    ).encode()


def _status_fields(message: _Message, status: str, more: Mapping[str, str]) -> dict[str, str]:
    return {
        "AccountSid": SANDBOX_ACCOUNT,
        "ApiVersion": "2010-04-01",
        "From": message.sender,
        "MessageSid": message.sid,
        "MessageStatus": status,
        "SmsSid": message.sid,
        "SmsStatus": status,
        "To": message.to,
        **more,
    }


def _contact_of(url: str) -> str | None:
    return dict(parse_qsl(urlsplit(url).query)).get("contact") if url else None
