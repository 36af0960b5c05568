"""What the webhooks store and the fold reads back: one JSON shape for each kind of arrival, sealed."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from channels.base import InboundMessage, ProviderEvent
from domain.channel import Channel
from domain.contact import EventKind
from storage.inbox import Arrival, InboxRow
from storage.sealing import Keyring, Unsealable
from worker.unsubscribe import Unsubscribed

Arrived = ProviderEvent | InboundMessage | Unsubscribed

STATUS: Final = "status"
INBOUND: Final = "inbound"
UNSUBSCRIBE: Final = "unsubscribe"

_LARGEST_BIGINT = 2**63 - 1


class Unreadable(ValueError):
    """A row that is not what we stored: its seal, its shape or its source is wrong."""


def sealed_event(keyring: Keyring, event: ProviderEvent) -> Arrival:
    return Arrival(f"{event.provider}_{STATUS}", event.dedupe_key, keyring.seal_inbox(orjson.dumps(event)))


def sealed_message(keyring: Keyring, message: InboundMessage) -> Arrival:
    """What a customer wrote; a provider that sends it again is not heard twice."""
    return Arrival(f"{message.provider}_{INBOUND}", message.provider_ref, keyring.seal_inbox(orjson.dumps(message)))


def sealed_unsubscribe(keyring: Keyring, wish: Unsubscribed, *, at: datetime) -> Arrival:
    """A click in an e-mail. Clicks within one minute are one; a later one counts again, since consent may have been
    given anew in between."""
    body = {"party_id": wish.party_id, "contact_id": wish.contact_id, "lookup": wish.lookup.hex()}
    key = f"{wish.contact_id}:{int(at.timestamp()) // 60}"
    return Arrival(UNSUBSCRIBE, key, keyring.seal_inbox(orjson.dumps(body)))


def read(keyring: Keyring, row: InboxRow) -> Arrived:
    """What a row says. Raises Unreadable."""
    try:
        fields = orjson.loads(keyring.open_inbox(row.body_sealed))
        return _READERS[row.source.rpartition("_")[2]](fields)
    except (Unsealable, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"inbox row {row.inbox_id} ({row.source}) cannot be read: {type(error).__name__}") from error


def evidence(text: str) -> bytes:
    """A hash of what somebody wrote, kept beside what it changed."""
    return hashlib.sha256(text.encode()).digest()


def _event(fields: Mapping[str, Any]) -> ProviderEvent:
    return ProviderEvent(
        **{
            **fields,
            "contact_id": UUID(fields["contact_id"]),
            "party_id": _party(fields["party_id"]),
            "kind": EventKind(fields["kind"]),
            "channel": Channel(fields.get("channel", Channel.SMS)),  # rows of before said none
        }
    )


def _message(fields: Mapping[str, Any]) -> InboundMessage:
    return InboundMessage(**{**fields, "channel": Channel(fields["channel"])})


def _wish(fields: Mapping[str, Any]) -> Unsubscribed:
    return Unsubscribed(_party(fields["party_id"]), UUID(fields["contact_id"]), bytes.fromhex(fields["lookup"]))


def _party(value: int) -> int:
    if not 0 <= value <= _LARGEST_BIGINT:
        raise ValueError("no party has such a number")
    return value


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Arrived]] = {
    STATUS: _event,
    INBOUND: _message,
    UNSUBSCRIBE: _wish,
}
