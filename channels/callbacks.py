"""Reads what Twilio tells us: delivery statuses and replies. Nothing is believed before its signature is checked."""

import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl
from uuid import UUID

from twilio.request_validator import HMAC_SHA1, RequestValidator

from channels.base import BadCallback, BadSignature, InboundMessage, ProviderEvent, RawCallback
from channels.twilio_errors import meaning
from domain.channel import Channel
from domain.contact import EventKind

#: Twilio's callbacks are a few hundred bytes. An inbound text has at most 1,600 characters, up to 12 bytes each when
#: URL-encoded.
LARGEST_BODY_BYTES = 32 * 1024
MOST_FIELDS = 100

#: Message statuses (twilio.com/docs/messaging/api/message-resource#message-status-values) as our events. What is on its
#: way or was only queued proves acceptance, which is all that "sent" says.
STATUSES: Mapping[str, EventKind] = {
    "accepted": EventKind.SENT,
    "scheduled": EventKind.SENT,
    "queued": EventKind.SENT,
    "sending": EventKind.SENT,
    "sent": EventKind.SENT,
    "delivered": EventKind.DELIVERED,
    "partially_delivered": EventKind.DELIVERED,
    "read": EventKind.READ,
    "undelivered": EventKind.UNDELIVERED,
    "failed": EventKind.UNDELIVERED,
    "canceled": EventKind.UNDELIVERED,
}

_SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")
_NAMED = re.compile(r"\?contact=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})&party=([0-9]{1,19})\Z")
_CODE = re.compile(r"[0-9]{1,6}")


def parse_twilio_status(raw: RawCallback, *, auth_token: str, algorithm: str = HMAC_SHA1) -> ProviderEvent:
    """The event in a status callback. Raises BadCallback for anything forged, misshapen or oversized.

    The contact is named by the URL that we gave when sending, and the signature covers that URL. `algorithm` is what
    our settings say of this endpoint; the request's own word for it is not asked.
    """
    fields = _signed_fields(raw, auth_token, algorithm)
    contact, party = _named_in(raw.url)
    status = fields.get("MessageStatus", "")
    kind = STATUSES.get(status)
    if kind is None:
        raise BadCallback("no status that we know")
    sid = _matching(_SID, fields.get("MessageSid", ""), "MessageSid")
    code = fields.get("ErrorCode") or None
    means = meaning(int(_matching(_CODE, code, "ErrorCode"))) if code else None
    is_failure = kind is EventKind.UNDELIVERED
    return ProviderEvent(
        contact_id=contact,
        party_id=party,
        kind=kind,
        provider="twilio",
        provider_ref=sid,
        dedupe_key=f"{sid}:{status}",
        code=code,
        retire_address=is_failure and means is not None and means.retire_address,
        opted_out=is_failure and means is not None and means.opted_out,
    )


def _named_in(url: str) -> tuple[UUID, int]:
    """Contact and party, which the URL ends with as we wrote it when sending."""
    found = _NAMED.search(url)
    if found is None:
        raise BadCallback("contact or party is missing or misshapen")
    return UUID(found.group(1)), int(found.group(2))


def parse_twilio_inbound(raw: RawCallback, *, auth_token: str, algorithm: str = HMAC_SHA1) -> InboundMessage:
    """The message in an inbound webhook. Raises BadCallback for anything forged, misshapen or oversized."""
    fields = _signed_fields(raw, auth_token, algorithm)
    sender = fields.get("From", "")
    if not 3 <= len(sender) <= 64:
        raise BadCallback("no From")
    return InboundMessage(
        provider="twilio",
        provider_ref=_matching(_SID, fields.get("MessageSid", ""), "MessageSid"),
        channel=Channel.SMS,
        sender=sender,
        recipient=fields.get("To", "")[:64],
        text=fields.get("Body", ""),
    )


def _signed_fields(raw: RawCallback, auth_token: str, algorithm: str) -> dict[str, str]:
    """The form's fields, once size, shape and signature are good."""
    if len(raw.body) > LARGEST_BODY_BYTES:
        raise BadCallback("too large")
    signature = raw.headers.get("x-twilio-signature", "")
    if not signature or not signature.isascii():
        raise BadCallback("not signed")
    try:
        pairs = parse_qsl(raw.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise BadCallback("not a form") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadCallback("a field twice")
    try:
        is_good = _is_signed(raw.url, fields, signature, auth_token, algorithm)
    except ValueError as error:  # a port that is no number, and the like
        raise BadCallback("not a url") from error
    if not is_good:
        raise BadSignature("signature does not fit")
    return fields


def _is_signed(url: str, fields: Mapping[str, str], signature: str, auth_token: str, algorithm: str) -> bool:
    """The URL as it is comes first: `validate` always computes two more, with and without its port."""
    validator = RequestValidator(auth_token)
    computed: str = validator.compute_signature(url, fields, algorithm)
    if hmac.compare_digest(computed, signature):
        return True
    is_good: bool = validator.validate(url, fields, signature, algorithm)
    return is_good


def _matching(pattern: re.Pattern[str], value: str, name: str) -> str:
    if not pattern.fullmatch(value):
        raise BadCallback(f"{name} is missing or misshapen")
    return value
