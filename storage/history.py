"""The history that caps and waits are counted over: packed when a contact is written, read back a party at a time.

An entry is the instant (8 bytes, as PostgreSQL counts), the last 8 bytes of the contact's id, the length of the rest (2
bytes) and the rest as text: channel|purpose|actor|lender|look-up of the address|accounts. The database packs the same
for contacts that come in by other ways (`pack_history_entry`; an agreement test holds the two together).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from operator import itemgetter
from struct import Struct
from typing import Final, LiteralString
from uuid import UUID

from domain.case import History, PastContact
from domain.channel import Channel
from domain.contact import Outcome
from domain.purpose import Actor, Direction, Purpose
from domain.value import made_of
from storage.wire import instant, microseconds

_HEAD: Final = Struct(">q8sh")
_HEAD_BYTES: Final = _HEAD.size
_head: Final = _HEAD.unpack_from
_when: Final = Struct(">q8xh").unpack_from  # of a head: the instant, and how much follows

#: Pasts of more entries are read entry by entry: a form for each of their kinds would fill the memory.
_LONGEST_FORM: Final = 32

#: By the length of a whole past, what was found last: a reader of all its heads at once, and the length of each rest.
#: Customers who are treated alike have been contacted alike, so it nearly always reads the next one's too.
_forms: dict[int, tuple[Callable[[bytes], tuple[int, ...]], tuple[int, ...]]] = {}
_FORMS_KEPT: Final = 1024

#: A contact but for its instant, as most of them count. It repeats from entry to entry of a customer.
_Rest = tuple[Channel, Outcome, tuple[str, ...], str | None, Direction, Purpose, Actor, str, None]

#: There are ten of them for each reminder.
_past: Final = made_of(PastContact)

#: The outcome of the few contacts that do not count as their bare intent, by party and end of the contact's id.
Told = Mapping[tuple[int, bytes], Outcome]

READ: LiteralString = """
    SELECT party_id, string_agg(entry, ''::bytea) FROM contact
    WHERE party_id = ANY(%s) AND intended_at >= %s GROUP BY party_id
"""

_TELLING_KINDS: LiteralString = (
    "'released', 'rejected', 'not_in_service', 'no_answer', 'busy', 'voicemail', 'third_party', 'conversation'"
)

#: The contacts of which something telling is known, a column for each part of their key; no row where there are none.
TELLING: LiteralString = f"""
    SELECT array_agg(party_id), array_agg(contact_id), array_agg(intended_at) FROM contact_event
    WHERE party_id = ANY(%s) AND intended_at >= %s AND kind IN ({_TELLING_KINDS}) HAVING count(*) > 0
"""  # noqa: S608 - one constant inside another

#: What became of these contacts: of all that is known of each, what ranks highest.
TOLD: LiteralString = """
    SELECT e.party_id, e.contact_id, (array_agg(r.outcome ORDER BY r.rank DESC))[1]
    FROM contact_event e JOIN contact_event_rank r USING (kind)
    WHERE (e.party_id, e.contact_id, e.intended_at) IN (
              SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::timestamptz[]))
    GROUP BY e.party_id, e.contact_id
"""


def facts_of(
    channel: str, purpose: str, actor: str, lender: str, lookup: bytes | None, accounts: Iterable[int]
) -> bytes:
    """The part of an entry that is the same for every contact of this kind with this customer."""
    found = "" if lookup is None else lookup.hex()
    return f"{_kind(channel, purpose, actor, lender)}{found}|{','.join(map(str, accounts))}".encode()


@lru_cache(maxsize=1024)
def _kind(*words: str) -> str:
    """What begins the entries of a lender's contacts on one channel."""
    return "".join([f"{word}|" for word in words])


def entry_of(at: datetime, contact_id: UUID, facts: bytes) -> bytes:
    """One packed entry."""
    return _HEAD.pack(microseconds(at), contact_id.int.to_bytes(16)[8:], len(facts)) + facts


def told(rows: Iterable[tuple[int, UUID, str]]) -> Told:
    """What TOLD gave."""
    return {(party_id, contact_id.bytes[8:]): Outcome(outcome) for party_id, contact_id, outcome in rows}


def unpack(party_id: int, packed: bytes, outcomes: Told) -> History:
    """The entries of one party, oldest first."""
    return History(sorted(_instants(packed)), instant, partial(_entries, party_id, packed, outcomes))


def _instants(packed: bytes) -> Sequence[int]:
    """When each entry was, as they lie."""
    end = len(packed)
    form = _forms.get(end)
    if form is not None:
        read, lengths = form
        heads = read(packed)
        if heads[1::2] == lengths:  # each head is where the one before says, so they are the heads
            return heads[::2]
    found, rests, position = [], [], 0
    while position < end:
        at, length = _when(packed, position)
        position += _HEAD_BYTES + length
        found.append(at)
        rests.append(length)
    if position == end and len(rests) <= _LONGEST_FORM:  # one that is cut short is nobody else's form
        if len(_forms) >= _FORMS_KEPT:
            _forms.clear()
        lengths = tuple(rests)
        _forms[end] = _form(lengths), lengths
    return found


@lru_cache(maxsize=_FORMS_KEPT)
def _form(lengths: tuple[int, ...]) -> Callable[[bytes], tuple[int, ...]]:
    """A reader of entries whose rests have these lengths: the instant and the length of each."""
    return Struct(">" + "".join([f"q8xh{length}x" for length in lengths])).unpack


def _entries(party_id: int, packed: bytes, outcomes: Told) -> list[PastContact]:
    past = []
    position, end = 0, len(packed)
    while position < end:
        at, tail, length = _head(packed, position)
        begins = position + _HEAD_BYTES
        position = begins + length
        entry = _past((instant(at),) + _read(packed[begins:position]))  # noqa: RUF005 - unpacking costs a third more
        if outcomes:
            entry = entry._replace(outcome=outcomes.get((party_id, tail), _INTENDED))
        past.append(entry)
    past.sort(key=_AT)
    return past


_AT = itemgetter(0)


@lru_cache(maxsize=64)  # what repeats does so within a party: one customer's channels and debts
def _read(facts: bytes) -> _Rest:
    channel, purpose, actor, lender, lookup, accounts = facts.decode().split("|")
    return (
        _CHANNELS[channel], _INTENDED, tuple(accounts.split(",")) if accounts else (), lookup or None,
        _OUT, _PURPOSES[purpose], _ACTORS[actor], lender, None,
    )  # fmt: skip


#: An enum's own look-up costs ten times that of a dictionary, and naming a member three times that of a constant.
_CHANNELS: Final = {channel.value: channel for channel in Channel}
_PURPOSES: Final = {purpose.value: purpose for purpose in Purpose}
_ACTORS: Final = {actor.value: actor for actor in Actor}
_INTENDED: Final = Outcome.INTENDED
_OUT: Final = Direction.OUT
