"""What a worker has in hand: a batch is opened with its contacts, cut into waves, and closed.

The letters of a batch are encoded as columns while they are being written down. Between two waves the worker's memory
has gone cold, and a wave's piece of a column is one look at it where its letters would be hundreds.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate, chain
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from domain.channel import Channel
from domain.lane import Lane
from domain.reminder import NewReminder
from storage import intents, wire
from storage.columns import ids, moments, numbers, words
from storage.intents import Intent
from storage.rows import Conn


class Asked(NamedTuple):
    """A wave that wants to go: its contacts, and the parameters of the question whether they may."""

    contact_ids: Sequence[UUID]
    parameters: tuple[object, ...]


class Record(NamedTuple):
    """What became of a wave, as parameters: the events, the ends, and the steps that follow."""

    told: tuple[object, ...]
    ended: tuple[object, ...]
    following: tuple[object, ...]


class Sheet:
    """The letters of a batch, column by column. `successors` are the steps to plan once each has ended."""

    def __init__(self, batch_id: UUID, held: Sequence[Intent], successors: Sequence[Sequence[NewReminder]]) -> None:
        self.batch_id = batch_id
        self.intents = held
        self._contact_ids = list(map(_CONTACT, held))
        self._contacts = ids(self._contact_ids)
        parties = list(map(_PARTY, held))
        self._parties = numbers(parties)
        self._epochs = numbers(list(map(_EPOCH, held)))
        self._ats, self._closes = moments(list(map(_AT, held))), moments(list(map(_CLOSES, held)))
        self._lenders, self._channels = words(list(map(_LENDER, held))), words(list(map(_CHANNEL, held)))

        covered = list(map(_REMINDERS, held))
        self._places = _places(covered)
        self._reminders = numbers(list(chain.from_iterable(covered)))
        self._owners, self._sources = self._parties, self._contacts  # of each reminder: its party, and its contact
        if len(self) < self._places[-1]:
            self._owners = numbers([who for who, its in zip(parties, covered, strict=True) for _ in its])
            self._sources = ids([what for what, its in zip(self._contact_ids, covered, strict=True) for _ in its])

        following = list(chain.from_iterable(successors))
        self._following_places = _places(successors)
        self._steps = (
            words([each.step for each in following]), words([each.stage for each in following]),
            words([each.channel for each in following]), moments([each.due_at for each in following]),
            moments([each.expires_at for each in following]),
        )  # fmt: skip
        self._debts = (
            numbers([each.party_id for each in following]),
            numbers([each.account_id for each in following]),
        )

    def __len__(self) -> int:
        return len(self._contact_ids)

    def held(self) -> tuple[wire.Int8s, wire.Int8s, wire.Uuids]:
        """What is in hand, reminder by reminder: its party, itself, and its contact."""
        every = 0, self._places[-1]
        return self._owners.cut(*every), self._reminders.cut(*every), self._sources.cut(*every)

    def reminders(self, start: int, end: int) -> int:
        """How many reminders the letters from `start` to before `end` finish."""
        return self._places[end] - self._places[start]

    def channel(self, start: int, end: int) -> Channel | None:
        """The channel of all these letters, None where they have several."""
        shared = self._channels.cut(start, end)[0]
        return None if shared is None else Channel(shared)

    def asked(self, start: int, end: int) -> Asked:
        """The wave of these letters."""
        closes, windows = self._closes.cut(start, end)
        lender, lenders = self._lenders.cut(start, end)
        parties, contacts = self._parties.cut(start, end), self._contacts.cut(start, end)
        parameters = closes, lender, parties, contacts, self._epochs.cut(start, end), windows, lenders, parties
        return Asked(self._contact_ids[start:end], parameters)

    def accepted(self, start: int, end: int, *, providers: Sequence[str], refs: Sequence[str]) -> Record:
        """That these letters were all accepted: by which provider each, and under which number there."""
        at, ats = self._ats.cut(start, end)
        provider, provided = wire.text_column(providers)
        parties, contacts = self._parties.cut(start, end), self._contacts.cut(start, end)
        mine = self._places[start], self._places[end]
        reminders, owners, sources = self._reminders.cut(*mine), self._owners.cut(*mine), self._sources.cut(*mine)
        return Record(
            (at, _SENT, provider, None, parties, contacts, wire.ref_array(refs), ats, _SHARED, provided, _SHARED),
            (self.batch_id, _SENT, None, owners, reminders, sources, _SHARED, _SHARED),
            self._that_follow(start, end),
        )

    def _that_follow(self, start: int, end: int) -> tuple[object, ...]:
        place = self._following_places[start], self._following_places[end]
        shared, single = zip(*[each.cut(*place) for each in self._steps], strict=True)
        return *shared, *[each.cut(*place) for each in self._debts], *single, self.batch_id


_PARTY: Final = attrgetter("party_id")
_CONTACT: Final = attrgetter("contact_id")
_EPOCH: Final = attrgetter("stop_epoch")
_AT: Final = attrgetter("intended_at")
_CLOSES: Final = attrgetter("window_ends")
_LENDER: Final = attrgetter("lender_id")
_CHANNEL: Final = attrgetter("channel")
_REMINDERS: Final = attrgetter("reminder_ids")

_SENT: Final = "sent"  # the event and the end are called alike
_SHARED: Final = wire.text_array(())


def _places(groups: Sequence[Sequence[object]]) -> Sequence[int]:
    """Where each group begins in the column of all, and where the last one ends."""
    sizes = list(map(len, groups))
    return range(len(sizes) + 1) if sizes.count(1) == len(sizes) else list(accumulate(sizes, initial=0))


def open_batch(conn: Conn, sheet: Sheet, lane: Lane, *, worker: str, lease: timedelta) -> None:
    """Commit-to-contact: the contacts with the debts that each covers, and their reminders into the batch's hands.

    Who holds the batch, and until when (database clock), is written down with what it holds: the reminders themselves
    are not touched before they end (docs/decisions/0018). Their parties must be locked.
    """
    intents.write_contacts(conn, sheet.intents)
    conn.execute(
        """
        INSERT INTO batch (batch_id, lane, worker, lease_until, size, parties, reminders, contacts)
        VALUES (%s, %s, %s, clock_timestamp() + %s, %s, %s, %s, %s)
        """,
        (sheet.batch_id, str(lane), worker, lease, len(sheet), *sheet.held()),
    )


def close_batch(conn: Conn, batch_id: UUID) -> None:
    """End a batch whose work is done: nothing is in its hands any more.

    One whose last wave is under way still is left to the sweep, which knows what to do.
    """
    conn.execute(
        """
        UPDATE batch SET ended_at = clock_timestamp(), ended_how = 'finished', parties = '{}', reminders = '{}',
                         contacts = '{}'
        WHERE batch_id = %s AND ended_at IS NULL AND wave = '{}'
        """,
        (batch_id,),
    )
