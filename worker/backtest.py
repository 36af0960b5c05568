"""The back-test of a release: the ledger's last weeks judged again under it, beside the release that is live.

Both are replayed in the same way, so what is compared differs by the releases alone; how well the replay of the live
one agrees with what truly happened is told, and is the measure of how far to trust the other.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

from domain.contact import Outcome
from storage import backtest
from storage.backtest import Chunk
from storage.rows import Conn
from worker.cases import planning_zone
from worker.releases import Release
from worker.replay import Contact, End, Party, Replayed, replay

#: Days of a week, for the worst one that anybody had.
WEEK: Final = 7

#: Contacts that are told one by one where a rule would be broken; all are counted.
EXAMPLES: Final = 3


@dataclass(slots=True)
class World:
    """What the span would have been under one release."""

    contacts: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # lender, stage, channel
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)  # verdict, rule: reminders, each counted once
    ends: Counter[str] = field(default_factory=Counter)
    worst_weeks: Counter[int] = field(default_factory=Counter)  # contacts in 7 local days: people

    @property
    def number(self) -> int:
        return self.contacts.total()

    def take(self, done: Replayed, worst: int) -> None:
        self.contacts.update((each.lender, each.stage, each.channel) for each in done.contacts)
        self.refusals.update((verdict, rule) for verdict, rule, _ in {
            (each.verdict, each.rule, each.reminder) for each in done.refusals
        })  # fmt: skip
        self.ends.update(end.value for end in done.ends.values())
        self.worst_weeks[worst] += 1


@dataclass(slots=True)
class Example:
    """A contact that would break a rule of the live release; references are the ledger's own numbers."""

    party: int
    at: datetime
    lender: str
    channel: str


@dataclass(slots=True)
class Backtest:
    """Both worlds, and where they part. `agreeing` are reminders that the live replay ends as the ledger did."""

    since: datetime
    until: datetime
    live: World = field(default_factory=World)
    proposed: World = field(default_factory=World)
    parties: int = 0
    reminders: int = 0
    agreeing: int = 0
    recorded: int = 0  # contacts that reminders truly led to, without those that a provider refused
    people: Counter[str] = field(default_factory=Counter)  # more, fewer, other_times, same
    broken: Counter[str] = field(default_factory=Counter)  # rule of the live release: contacts that would break it
    breaking: int = 0  # contacts that would break any
    examples: dict[str, list[Example]] = field(default_factory=dict)
    seconds: float = 0.0


def run(
    conn: Conn,
    live: Release,
    proposed: Release,
    *,
    since: datetime,
    until: datetime,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Backtest:
    """Replay everything that was judged from `since` until `until` (business time) under both releases.

    Reads one state of the ledger and changes nothing. `progress` is told the parties done, and of how many.
    """
    began = time.monotonic()
    found = Backtest(since, until)
    with conn.transaction():
        backtest.one_look(conn)
        who = backtest.parties(conn, since, until)
        lookback = timedelta(days=1) + max(_lookback(live), _lookback(proposed))
        for chunk in backtest.chunks(conn, who, since, until, lookback=lookback):
            for number, party in _parties(chunk):
                _compare(found, number, party, live, proposed)
            progress(found.parties, len(who))
    found.seconds = time.monotonic() - began
    return found


def _compare(found: Backtest, number: int, party: Party, live: Release, proposed: Release) -> None:
    before = replay(party, live, until=found.until)
    after = replay(party, proposed, until=found.until, audit=live)
    found.parties += 1
    found.reminders += len(party.asked)
    found.agreeing += sum(_agrees(asked.state, before.ends.get(asked.reminder_id)) for asked in party.asked)
    reached = [made for made in party.made if made.outcome != Outcome.REJECTED]
    found.recorded += sum(bool(made.reminders) and made.at >= found.since for made in reached)
    found.live.take(before, _worst_week(party, before.contacts, found.since))
    found.proposed.take(after, _worst_week(party, after.contacts, found.since))
    found.people[_change(before.contacts, after.contacts)] += 1
    for contact in after.contacts:
        found.breaking += bool(contact.broken)
        for rule in contact.broken:
            found.broken[rule] += 1
            told = found.examples.setdefault(rule, [])
            if len(told) < EXAMPLES:
                told.append(Example(number, contact.at, contact.lender, contact.channel))


def _change(before: Sequence[Contact], after: Sequence[Contact]) -> str:
    if len(before) != len(after):
        return "more" if len(after) > len(before) else "fewer"
    same = all(one.at == other.at and one.channel == other.channel for one, other in zip(before, after, strict=True))
    return "same" if same else "other_times"


_TRUE_END: Final = {
    "sent": End.CONTACTED, "uncertain": End.CONTACTED, "failed": End.CONTACTED, "intended": End.CONTACTED,
    "handed": End.HANDED, "suppressed": End.SUPPRESSED, "expired": End.EXPIRED, "cancelled": End.CANCELLED,
    "planned": End.WAITING,
}  # fmt: skip


def _agrees(state: str, end: End | None) -> bool:
    return _TRUE_END.get(state) is end


def _worst_week(party: Party, contacts: Iterable[Contact], since: datetime) -> int:
    """The most contacts in any seven local days, those that no reminder led to included."""
    zone = ZoneInfo(planning_zone(party.debts[0].zones if party.debts else ()))
    mine = (each.at for each in contacts if each.outcome is not Outcome.REJECTED)
    others = (
        made.at for made in party.made
        if not made.reminders and made.at >= since and made.outcome != Outcome.REJECTED
    )  # fmt: skip
    days = sorted(at.astimezone(zone).date() for at in (*mine, *others))
    return max((_within_a_week(days, first) for first in range(len(days))), default=0)


def _within_a_week(days: Sequence[date], first: int) -> int:
    return sum(day < days[first] + timedelta(days=WEEK) for day in days[first:])


def _lookback(release: Release) -> timedelta:
    """The longest look back of any rule of any pack."""
    packs = release.packs
    return max(packs.named((pack_id,)).lookback for pack_id in packs.packs)


# ---------------------------------------------------------------------------------------------------------- the parties


class _OfParty(Protocol):
    @property
    def party_id(self) -> int: ...


Row = TypeVar("Row", bound=_OfParty)


def _parties(chunk: Chunk) -> Iterator[tuple[int, Party]]:
    """The chunk, party by party: each list comes in order of party."""
    asked, debts, reaches = _by_party(chunk.asked), _by_party(chunk.debts), _by_party(chunk.reaches)
    consents, holds = _by_party(chunk.consents), _by_party(chunk.holds)
    payments, made = _by_party(chunk.payments), _by_party(chunk.made)
    for number, mine in asked.items():
        yield (
            number,
            Party(
                mine, debts.get(number, ()), reaches.get(number, ()), consents.get(number, ()),
                holds.get(number, ()), payments.get(number, ()), made.get(number, ()),
            ),
        )  # fmt: skip


def _by_party(rows: Sequence[Row]) -> dict[int, list[Row]]:
    return {number: list(mine) for number, mine in groupby(rows, key=attrgetter("party_id"))}
