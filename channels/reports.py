"""Reads what a lender's own systems report: a relay's bounces and complaints, what the app saw of a push.

FCM and APNs have no webhooks: what they refuse, they refuse in their answers. But the app fetches each reminder's text,
so its backend knows what was read, and which tokens are gone. A relay may forward its bounces here instead of to a
mailbox, as they are (`message/rfc822`). Both sign: HMAC-SHA256 over time and body with a secret that they and we know.
"""

import hmac
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from uuid import UUID

from channels.base import BadCallback, InboundMessage, ProviderEvent, RawCallback
from channels.bounces import parse_mail
from domain.channel import Channel
from domain.contact import EventKind

#: In the header `Duly-Signature`: `t=<seconds since 1970>,v1=<hex>`, the hex over `<t>.<body>`.
SIGNATURE_HEADER = "duly-signature"

#: A signature is good for this long, so that what was overheard cannot be said again next week. Seconds.
GOOD_FOR_SECONDS = 300

#: Events in one report.
MOST_EVENTS = 500

_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_CODE = re.compile(r"[A-Za-z0-9 ._-]{1,60}")
_PARTY_MOST = 2**63 - 1


#: What a report may say, and what it means: the event, whether the address is dead, whether its owner refused us.
WORDS: Mapping[str, tuple[EventKind, bool, bool]] = {
    "delivered": (EventKind.DELIVERED, False, False),
    "read": (EventKind.READ, False, False),
    "failed": (EventKind.UNDELIVERED, False, False),
    "hard_bounce": (EventKind.UNDELIVERED, True, False),
    "soft_bounce": (EventKind.UNDELIVERED, False, False),
    "unregistered": (EventKind.UNDELIVERED, True, False),  # the app is gone, or the token was replaced
    "complaint": (EventKind.DELIVERED, False, True),
    "opted_out": (EventKind.DELIVERED, False, True),
}

#: What each channel can report.
SAYS: Mapping[Channel, frozenset[str]] = {
    Channel.EMAIL: frozenset({"delivered", "read", "failed", "hard_bounce", "soft_bounce", "complaint", "opted_out"}),
    Channel.PUSH: frozenset({"delivered", "read", "failed", "unregistered", "opted_out"}),
}


def sign(body: bytes, *, secret: str, now: int) -> str:
    """The header's value for a body; `now` in seconds since 1970. For whoever reports, and for tests."""
    return f"t={now},v1={_seal(body, secret, str(now))}"


def parse_report(
    raw: RawCallback, channel: Channel, *, secret: str, now: float
) -> list[ProviderEvent | InboundMessage]:
    """The events of a signed report about `channel`. Raises BadCallback for anything else.

    A body of type `message/rfc822` is one bounce, complaint or answer; any other is JSON: `{"events": [{"contact",
    "party", "event", "code"?}, ...]}`. `now` is real time in seconds since 1970.
    """
    _check_signature(raw, secret, now)
    if channel is Channel.EMAIL and raw.headers.get("content-type", "").startswith("message/rfc822"):
        return [parse_mail(raw.body)]
    try:
        payload = json.loads(raw.body)
        events = payload["events"]
        if not 1 <= len(events) <= MOST_EVENTS:
            raise BadCallback("no events, or too many")
        return [_event(event, channel) for event in events]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadCallback("not a report") from error


def _check_signature(raw: RawCallback, secret: str, now: float) -> None:
    found = _SIGNATURE.fullmatch(raw.headers.get(SIGNATURE_HEADER, ""))
    if found is None:
        raise BadCallback("not signed")
    if abs(now - int(found.group(1))) > GOOD_FOR_SECONDS:
        raise BadCallback("signature is of another time")
    if not hmac.compare_digest(_seal(raw.body, secret, found.group(1)), found.group(2)):
        raise BadCallback("signature does not fit")


def _seal(body: bytes, secret: str, at: str) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()


def _event(fields: Mapping[str, Any], channel: Channel) -> ProviderEvent:
    word, code, party = fields["event"], fields.get("code"), fields["party"]
    if word not in SAYS[channel]:
        raise BadCallback("no event that we know")
    if code is not None and not (isinstance(code, str) and _CODE.fullmatch(code)):
        raise BadCallback("code is misshapen")
    if type(party) is not int or not 0 <= party <= _PARTY_MOST:
        raise BadCallback("party is misshapen")
    contact = UUID(str(fields["contact"]))
    kind, is_dead, is_no = WORDS[word]
    return ProviderEvent(
        contact_id=contact,
        party_id=party,
        kind=kind,
        provider=channel.value,
        provider_ref=str(contact),
        dedupe_key=f"{contact}:{word}",
        code=code or (word if kind is EventKind.UNDELIVERED or is_no else None),
        retire_address=is_dead,
        opted_out=is_no,
        channel=channel,
    )
