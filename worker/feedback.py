"""Fold what came in: receipts into the ledger, replies into consent, holds and work for people.

One transaction for each batch of inbox rows, set by set, with every party it concerns locked first, in party order.
Receipts may come in any order, twice, or about contacts that we never made.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final, Self
from uuid import UUID

import psycopg
import structlog

from channels.base import InboundMessage, ProviderEvent
from channels.keywords import Intent, Reading, classify
from domain.channel import REACHED_BY, AddressChannel, Channel
from domain.contact import RANKS, EventKind
from domain.hold import HoldKind
from storage import feedback, inbox
from storage.feedback import Contacted, Event, NewHold, Reply, Sharer, Wish
from storage.inbox import InboxRow
from storage.rows import Conn
from storage.sealing import Keyring
from worker.arrivals import Unreadable, evidence, read
from worker.unsubscribe import Unsubscribed
from worker.wiring import Spine

log = structlog.get_logger()

BATCH: Final = 500

#: A fold hands its worker back after this long.
SLICE_SECONDS: Final = 5.0

#: What the database refuses whoever asks: a row that brings this is set aside, or it would come back for ever.
_REFUSED_BY_DATABASE = (psycopg.DataError, psycopg.IntegrityError)


@dataclass(frozen=True, slots=True)
class Stop:
    """What a reply of one intent sets. Length: research notes, section 4.1, and for replies our own."""

    kind: HoldKind
    lasts: timedelta
    reason: str


STOPS: Mapping[Intent, Stop] = {
    Intent.PAID: Stop(HoldKind.PAID_PENDING, timedelta(days=3), "says it is paid"),
    Intent.HARDSHIP: Stop(HoldKind.HARDSHIP, timedelta(days=14), "asked for help or time"),
    Intent.OTHER: Stop(HoldKind.REPLY, timedelta(days=7), "wrote to us"),
}


@dataclass(frozen=True, slots=True)
class Folded:
    """What one fold did, for logs and metrics. `taken` counts rows; the rest counts what became of them."""

    taken: int = 0
    events: int = 0
    proven: int = 0
    opted_out: int = 0
    holds: int = 0
    replies: int = 0
    early: int = 0
    unknown: int = 0
    unreadable: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def fold_all(spine: Spine, *, slice_seconds: float = SLICE_SECONDS) -> Folded:
    """Fold until nothing waits or the slice is over. Safe to run anywhere, at any time, twice."""
    until, total = time.monotonic() + slice_seconds, Folded()
    while True:
        folded = fold_inbox(spine.conn, spine.keyring)
        total += folded
        if folded.taken == 0 or time.monotonic() >= until:
            return total


def fold_inbox(conn: Conn, keyring: Keyring, *, limit: int = BATCH) -> Folded:
    """Fold up to `limit` waiting rows. A row that the database will not have is set aside, and the others go on."""
    try:
        with conn.transaction():
            return _fold(conn, keyring, inbox.take(conn, limit))
    except _REFUSED_BY_DATABASE:
        total = Folded()
        for _ in range(limit):
            alone = _fold_alone(conn, keyring)
            total += alone
            if alone.taken == 0:
                break
        return total


def _fold_alone(conn: Conn, keyring: Keyring) -> Folded:
    with conn.transaction():
        rows = inbox.take(conn, 1)
        try:
            with conn.transaction():
                return _fold(conn, keyring, rows)
        except _REFUSED_BY_DATABASE as error:
            log.error("inbox_row_refused", inbox_id=rows[0].inbox_id, error=type(error).__name__)
            inbox.mark(conn, [row.inbox_id for row in rows], "unreadable")
            return Folded(taken=1, unreadable=1)


# ------------------------------------------------------------------------------------------------------------ one batch


@dataclass(slots=True)
class Batch:
    """A batch as it is understood: what arrived, and all that shall be written for it."""

    statuses: list[tuple[InboxRow, ProviderEvent]] = field(default_factory=list)
    messages: list[tuple[InboxRow, InboundMessage, bytes, Reading]] = field(default_factory=list)
    clicks: list[tuple[InboxRow, Unsubscribed]] = field(default_factory=list)
    outcomes: dict[str, list[int]] = field(default_factory=dict)
    early: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    dead: dict[bytes, str] = field(default_factory=dict)
    wishes: list[Wish] = field(default_factory=list)
    starts: list[tuple[Wish, Reply]] = field(default_factory=list)  # and who reads it if nothing can be lifted
    holds: list[NewHold] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    def became(self, row: InboxRow, outcome: str) -> None:
        self.outcomes.setdefault(outcome, []).append(row.inbox_id)


def _fold(conn: Conn, keyring: Keyring, rows: Sequence[InboxRow]) -> Folded:
    if not rows:
        return Folded()
    batch = _understand(keyring, rows)
    _take_statuses(batch, feedback.find_contacts(conn, [(e.party_id, e.contact_id) for _, e in batch.statuses]))
    lookups = {lookup for _, _, lookup, _ in batch.messages} | {wish.lookup for _, wish in batch.clicks}
    sharers = feedback.sharers(conn, lookups | batch.dead.keys() | {wish.lookup for wish in batch.wishes})
    feedback.lock_parties(conn, (each.party_id for each in sharers))
    _take_messages(batch, _by_lookup(sharers), feedback.last_contacts(conn, lookups))
    _take_clicks(batch, _by_lookup(sharers))
    events, proven = _write(conn, batch, sharers, at=max(row.at for row in rows))
    counted = {outcome: len(ids) for outcome, ids in batch.outcomes.items()}
    return Folded(
        taken=len(rows),
        events=events,
        proven=proven,
        opted_out=counted.get("opt_out", 0) + counted.get("unsubscribed", 0),
        holds=len(batch.holds),
        replies=len(batch.replies),
        early=len(batch.early),
        unknown=counted.get("unknown_contact", 0) + counted.get("unknown_sender", 0),
        unreadable=counted.get("unreadable", 0),
    )


def _understand(keyring: Keyring, rows: Sequence[InboxRow]) -> Batch:
    batch = Batch()
    for row in rows:
        try:
            arrived = read(keyring, row)
        except Unreadable as error:
            log.error("inbox_row_unreadable", inbox_id=row.inbox_id, source=row.source, why=str(error))
            batch.became(row, "unreadable")
            continue
        match arrived:
            case ProviderEvent():
                batch.statuses.append((row, arrived))
            case InboundMessage():
                lookup = keyring.lookup(REACHED_BY[arrived.channel], arrived.sender)
                batch.messages.append((row, arrived, lookup, classify(arrived.text)))
            case Unsubscribed():
                batch.clicks.append((row, arrived))
    return batch


def _take_statuses(batch: Batch, contacts: Mapping[tuple[int, UUID], Contacted]) -> None:
    """Receipts become events. One about a contact that is not in the ledger gets a second look, and no third."""
    for row, event in batch.statuses:
        contact = contacts.get((event.party_id, event.contact_id))
        if contact is None:
            if row.is_second_look:
                batch.became(row, "unknown_contact")
            else:
                batch.early.append(row.inbox_id)
            continue
        batch.events.append(
            Event(
                contact.party_id, contact.contact_id, contact.intended_at, event.kind, event.dedupe_key, row.at,
                event.provider, event.provider_ref, event.code,
            )
        )  # fmt: skip
        batch.became(row, "event")
        lookup = contact.address_lookup
        if lookup is None:
            continue
        if event.retire_address:
            batch.dead[lookup] = f"{event.provider} {event.code}"
        if event.opted_out:
            ways = ways_to(REACHED_BY[event.channel])
            batch.wishes.append(Wish(lookup, ways, row.at, f"{event.provider}_{event.code}"))


def _take_messages(batch: Batch, sharers: Mapping[bytes, Sequence[Sharer]], last: Mapping[bytes, Contacted]) -> None:
    """What customers wrote: a stop for everyone who shares the address, and mostly work for a person."""
    for row, message, lookup, reading in batch.messages:
        known = sharers.get(lookup)
        if not known:
            batch.became(row, "unknown_sender")
            continue
        contact = last.get(lookup)
        if contact is not None:
            batch.events.append(
                Event(
                    contact.party_id, contact.contact_id, contact.intended_at, EventKind.REPLIED,
                    message.provider_ref, row.at, message.provider, message.provider_ref, reading.intent.value,
                    row.inbox_id,
                )
            )  # fmt: skip
        who = (contact.party_id, contact.customer_id) if contact else (known[0].party_id, known[0].customer_id)
        if reading.intent is Intent.OPT_IN:
            _take_start(batch, row, message, lookup, who)
            continue
        stop = STOPS.get(reading.intent)
        if stop is None:
            ways = ways_to(REACHED_BY[message.channel])
            batch.wishes.append(Wish(lookup, ways, row.at, f"{message.provider}_reply", evidence(message.text)))
        else:
            source = f"reply {row.inbox_id}"
            batch.holds += [
                NewHold(party, stop.kind, stop.reason, source, row.at, row.at + stop.lasts)
                for party in {each.party_id for each in known}
            ]
        if not reading.is_certain:
            batch.replies.append(Reply(*who, reason=_to_read(reading), at=row.at, inbox_id=row.inbox_id))
        batch.became(row, reading.intent.value)


def _take_start(batch: Batch, row: InboxRow, message: InboundMessage, lookup: bytes, who: tuple[int, int]) -> None:
    """START takes back a STOP of this address, for texts only. By mail a person reads it: anybody can write a From."""
    to_read = Reply(*who, reason="wants messages again", at=row.at, inbox_id=row.inbox_id)
    if message.channel is Channel.SMS:
        wish = Wish(lookup, (message.channel,), row.at, f"{message.provider}_start", evidence(message.text))
        batch.starts.append((wish, to_read))
    else:
        batch.replies.append(to_read)
    batch.became(row, Intent.OPT_IN.value)


def _to_read(reading: Reading) -> str:
    stop = STOPS.get(reading.intent)
    return stop.reason if stop else "seems to want no more messages"


def _take_clicks(batch: Batch, sharers: Mapping[bytes, Sequence[Sharer]]) -> None:
    """An unsubscribe link ends its channel only: a person may wish for texts and no mail."""
    for row, click in batch.clicks:
        if click.lookup not in sharers:
            batch.became(row, "unknown_sender")
            continue
        batch.wishes.append(Wish(click.lookup, (Channel.EMAIL,), row.at, f"link in {click.contact_id}"))
        batch.became(row, "unsubscribed")


def _write(conn: Conn, batch: Batch, sharers: Sequence[Sharer], *, at: datetime) -> tuple[int, int]:
    """All of it, set by set; new events, and reminders proven sent."""
    events = feedback.add_events(conn, batch.events)
    accepted = {(e.party_id, e.contact_id) for e in batch.events if RANKS[e.kind] >= RANKS[EventKind.SENT]}
    proven = feedback.prove_sent(conn, accepted)
    if feedback.retire_addresses(conn, sorted(batch.dead.items()), at=at):
        feedback.bump(conn, (each.party_id for each in sharers if each.lookup in batch.dead))
    feedback.withdraw_consent(conn, batch.wishes)
    lifted = feedback.lift_stops(conn, [wish for wish, _ in batch.starts])
    batch.replies += [to_read for wish, to_read in batch.starts if wish.lookup not in lifted]
    feedback.set_holds(conn, batch.holds)
    feedback.queue_replies(conn, batch.replies)
    inbox.keep_waiting(conn, batch.early)
    for outcome, ids in batch.outcomes.items():
        inbox.mark(conn, ids, outcome)
    return events, proven


def ways_to(address: AddressChannel) -> tuple[Channel, ...]:
    """Every channel that reaches an address of this kind: who asks us to stop there means all of them."""
    return tuple(channel for channel, reached in REACHED_BY.items() if reached is address)


def _by_lookup(sharers: Sequence[Sharer]) -> dict[bytes, list[Sharer]]:
    found: dict[bytes, list[Sharer]] = {}
    for each in sharers:
        found.setdefault(each.lookup, []).append(each)
    return found
