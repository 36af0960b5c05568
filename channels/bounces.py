"""Reads what mail systems send back: bounces (RFC 3464), complaints (RFC 5965) and customers' own answers.

A report names its contact twice: in the address it was sent to, which was ours for this one message, and in the
Message-ID of the mail that it quotes. Both hold the contact's id, which nobody can guess: a made-up bounce retires
nobody's address.
"""

import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage, Message
from email.utils import parseaddr
from uuid import UUID

from channels.base import BadCallback, InboundMessage, ProviderEvent
from channels.smtp_errors import is_dead
from domain.channel import Channel
from domain.contact import EventKind

#: Reports quote our mail, which has a few kilobytes.
LARGEST_REPORT_BYTES = 1024 * 1024

#: Nobody answers a reminder with more than this; the rest is quotation.
LONGEST_ANSWER = 4_000

PROVIDER = "email"

#: What a recipient's mail system says became of the message (RFC 3464, section 2.3.3). A delay proves acceptance.
ACTIONS = {
    "failed": EventKind.UNDELIVERED,
    "delayed": EventKind.SENT,
    "relayed": EventKind.SENT,
    "expanded": EventKind.SENT,
    "delivered": EventKind.DELIVERED,
}

#: Feedback types that are a wish to hear no more (RFC 5965, section 7.3; opt-out: RFC 6430 calls it obsolete, and it is
#: still sent). `not-spam` is the opposite, `auth-failure` (RFC 6591) is about our signature.
COMPLAINTS = frozenset({"abuse", "fraud", "opt-out", "opt-out-list", "other", "virus"})

_OURS = re.compile(r"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([0-9a-f]{1,16})@", re.IGNORECASE)
_TAG = re.compile(r"\+([0-9a-f]{32})\.([0-9a-f]{1,16})@", re.IGNORECASE)
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?![\d.])")
_QUOTED = re.compile(r"(?m)^\s*>.*$|^(On|Am|Le|El|在|於).{0,200}(wrote|schrieb|écrit|escribió|写道|寫道)[:：]?\s*$")
_BELOW = re.compile(r"(?m)^\s*(-{2,}\s*(Original|Forwarded|原始|轉寄|转发).*|_{10,}\s*|-- )$")


def return_path(bounce_address: str | None, contact_id: UUID, party_id: int) -> str | None:
    """The envelope sender of one message: the bounce mailbox, tagged with the contact. None without a mailbox."""
    if bounce_address is None:
        return None
    local, _, domain = bounce_address.partition("@")
    return f"{local}+{contact_id.hex}.{party_id:x}@{domain}"


def parse_mail(raw: bytes) -> ProviderEvent | InboundMessage:
    """What a mail in our mailbox says. Raises BadCallback for one that says nothing about a contact of ours."""
    if len(raw) > LARGEST_REPORT_BYTES:
        raise BadCallback("too large")
    message = email.message_from_bytes(raw, policy=email.policy.default)
    if message.get_content_type() == "multipart/report":
        match str(message.get_param("report-type", "")).lower():
            case "delivery-status":
                return _bounce(message)
            case "feedback-report":
                return _complaint(message)
        raise BadCallback("a report of another kind")
    return _answer(message)


# -------------------------------------------------------------------------------------------------------------- bounces


def _bounce(message: EmailMessage) -> ProviderEvent:
    fields = _recipient_fields(message)
    action = _field(fields, "Action").lower()
    kind = ACTIONS.get(action)
    if kind is None:
        raise BadCallback("no action that we know")
    status, diagnosis = _field(fields, "Status"), _field(fields, "Diagnostic-Code")
    code, enhanced = _codes(status, diagnosis)
    word = enhanced or (str(code) if code else action)
    is_hard = kind is EventKind.UNDELIVERED and (enhanced or "5").startswith("5") and is_dead(code, enhanced)
    return _event(message, kind, word, retire_address=is_hard)


def _recipient_fields(message: EmailMessage) -> Message:
    """The fields of the first recipient that the report speaks of: our messages have only one."""
    for part in message.walk():
        if part.get_content_type() == "message/delivery-status":
            blocks = part.get_payload()
            for block in blocks if isinstance(blocks, list) else ():
                if isinstance(block, Message) and block.get("Action"):
                    return block
    raise BadCallback("no delivery status in it")


def _codes(status: str, diagnosis: str) -> tuple[int | None, str | None]:
    """Reply code and enhanced code; what the remote system said is more exact than a status that ends in .0."""
    own = _ENHANCED.search(status)
    said = _ENHANCED.search(diagnosis)
    code = _REPLY_CODE.search(diagnosis)
    chosen = said if said and (own is None or own.group(1).endswith(".0")) else own
    is_vague = chosen is not None and chosen.group(1) in ("5.0.0", "4.0.0")
    return int(code.group(1)) if code else None, chosen.group(1) if chosen and not (is_vague and code) else None


# ----------------------------------------------------------------------------------------------------------- complaints


def _complaint(message: EmailMessage) -> ProviderEvent:
    feedback = next((part for part in message.walk() if part.get_content_type() == "message/feedback-report"), None)
    if feedback is None:
        raise BadCallback("no feedback report in it")
    kind = _feedback_type(feedback)
    if kind not in COMPLAINTS:
        raise BadCallback("no complaint")
    return _event(message, EventKind.DELIVERED, f"complaint {kind}", opted_out=True)


def _feedback_type(part: Message) -> str:
    """Its fields are the headers of a message of their own, or plain text: parsers differ."""
    payload = part.get_payload()
    if isinstance(payload, list):
        return _field(payload[0], "Feedback-Type").lower() if payload and isinstance(payload[0], Message) else ""
    found = re.search(r"(?im)^Feedback-Type:\s*(\S+)", str(payload))
    return found.group(1).lower() if found else ""


def _event(
    message: EmailMessage, kind: EventKind, code: str, *, retire_address: bool = False, opted_out: bool = False
) -> ProviderEvent:
    contact, party = _contact_of(message)
    return ProviderEvent(
        contact_id=contact,
        party_id=party,
        kind=kind,
        provider=PROVIDER,
        provider_ref=str(contact),
        dedupe_key=f"{contact}:{kind}:{code}",
        code=code,
        retire_address=retire_address,
        opted_out=opted_out,
        channel=Channel.EMAIL,
    )


def _contact_of(message: EmailMessage) -> tuple[UUID, int]:
    for pattern, text in _where_it_may_stand(message):
        found = pattern.search(text)
        if found and (contact := UUID(found.group(1))).version == 7:
            return contact, int(found.group(2), 16)
    raise BadCallback("about no message of ours")


def _where_it_may_stand(message: EmailMessage) -> Iterator[tuple[re.Pattern[str], str]]:
    for name in ("To", "Delivered-To", "X-Original-To", "Envelope-To"):
        for value in message.get_all(name, ()):
            yield _TAG, str(value)
    for part in message.walk():
        match part.get_content_type():
            case "text/rfc822-headers":
                yield _OURS, str(part.get_payload())
            case "message/rfc822":
                quoted = part.get_payload()
                if isinstance(quoted, list) and quoted and isinstance(quoted[0], Message):
                    yield _OURS, _field(quoted[0], "Message-ID")
    for name in ("In-Reply-To", "References"):
        yield _OURS, _field(message, name)


# -------------------------------------------------------------------------------------------------------------- answers


def _answer(message: EmailMessage) -> InboundMessage:
    """What a customer wrote back. Holiday notes and lists are nobody's answer (RFC 3834, section 2)."""
    automatic = _field(message, "Auto-Submitted").lower()
    if (automatic and automatic != "no") or message.get("List-Id") or message.get("Precedence"):
        raise BadCallback("written by a machine")
    sender = parseaddr(_field(message, "From"))[1].lower()  # as the books hold it
    reference = _field(message, "Message-ID")
    if "@" not in sender or len(sender) > 254 or not reference:
        raise BadCallback("no sender or no id")
    return InboundMessage(
        provider=PROVIDER,
        provider_ref=reference[:200],
        channel=Channel.EMAIL,
        sender=sender,
        recipient=parseaddr(_field(message, "To"))[1][:254],
        text=_own_words(message),
    )


def _own_words(message: EmailMessage) -> str:
    """The first text, without what it quotes: our own words hold "stop", and are not the customer's."""
    part = next((part for part in message.walk() if part.get_content_type() == "text/plain"), None)
    if part is None:
        return ""
    text = _decoded(part).replace("\r\n", "\n")
    below = _BELOW.search(text)
    return _QUOTED.sub("", text[: below.start()] if below else text).strip()[:LONGEST_ANSWER]


def _decoded(part: EmailMessage) -> str:
    octets = part.get_payload(decode=True)
    if not isinstance(octets, bytes):
        return ""
    try:
        return octets.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # a character set that nobody has heard of
        return octets.decode("utf-8", "replace")


def _field(message: Message, name: str) -> str:
    """A header's text; empty when it is not there, or when the parser cannot make sense of it."""
    try:
        return str(message.get(name, "")).strip()
    except (ValueError, IndexError, AttributeError):  # the standard library's parser on misshapen headers
        return ""
