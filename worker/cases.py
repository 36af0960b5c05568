"""From rows to values: the judge's cases, and the facts that words are rendered from. Pure but for the seal."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Final

from msgspec import Struct

from domain.case import AccountFacts, Attempt, BlockedHours, Case, CustomerFacts, History
from domain.channel import AddressChannel, AddressKind, Channel
from domain.consent import Consent
from domain.days import local_day
from domain.hold import Hold, HoldKind
from domain.ladder import PlannedStep, days_past_due, local_date
from domain.lender import Lender
from domain.purpose import Purpose
from domain.value import made_of
from domain.verdict import Suppress
from messages.facts import Debt, Facts
from policy.packs import RuleSet
from storage.picture import Due, Reach, Standing, Stop
from storage.sealing import CustomerKey, KeyDestroyed, Keyring
from worker.releases import Release

#: How long a zone that the customer confirmed stands alone (research notes, section 6.3).
ZONE_CONFIRMATION_LASTS = timedelta(days=365)


#: A calendar month, whatever the packs say: what a person is shown of the past.
SHORTEST_LOOKBACK = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a drain decides with. `now` is business time; `public_url` is where links in messages lead to us."""

    now: datetime
    release: Release
    lender: Lender
    keyring: Keyring
    public_url: str | None = None
    rules: dict[tuple[str | None, str | None], RuleSet | Suppress] = field(default_factory=dict)  # by residence, number
    coming: dict[Hashable, PlannedStep | None] = field(default_factory=dict)  # what comes after which step, for whom


class Person(Struct, frozen=True, gc=False):
    """One customer of a locked party, with all that their reminders share. `history` grows as we decide."""

    due: Due  # any of their due rows: carries the customer's columns
    stop_epoch: int
    facts: CustomerFacts
    reaches: Mapping[AddressChannel, Reach]
    standings: Sequence[Standing]  # consents, of every channel
    holds: Sequence[Hold]
    history: History


def lookback(scene: Scene, due: Iterable[Due], reaches: Iterable[Reach]) -> timedelta:
    """How far back the history of these people matters: the longest look of any rule that may bind one of them.

    A day more than the rules say, since their days begin at the customer's midnight.
    """
    residences = {row.residence for row in due}
    countries = {reach.country for reach in reaches} | {None}
    longest = SHORTEST_LOOKBACK
    for residence in residences:
        for country in countries:
            rules = scene.release.packs.applying(
                residence=residence, number_country=country, licence=scene.lender.licence, on=scene.now.date()
            )
            if isinstance(rules, RuleSet):
                longest = max(longest, rules.lookback)
    return longest + timedelta(days=1)


def case_of(
    scene: Scene, person: Person, row: Due, channel: Channel, reach: Reach, *, purpose: Purpose = Purpose.REMINDER
) -> Case:
    """One question to the judge: may this customer be contacted about this debt, this way, now?"""
    lender, now, kind = scene.lender, scene.now, _ADDRESS_KIND[reach.kind]
    account = _account((str(row.account_id), days_late(row, now), row.balance_minor, row.currency))
    attempt = _attempt((channel, reach.lookup.hex(), kind, purpose, tuple(reach.zones), reach.country))
    consents = [_consent(row) for row in person.standings if row.channel == channel]
    return _case(
        (
            now, row.expires_at, lender.actor, person.facts, account, attempt, person.history, person.holds, consents,
            lender.id, row.household, _NO_OVERRIDES,
        )
    )  # fmt: skip


#: One of each is made for each message.
_case, _account, _attempt, _given = made_of(Case), made_of(AccountFacts), made_of(Attempt), made_of(Consent)
_NO_OVERRIDES: Final[frozenset[str]] = frozenset()


def customer_key(keyring: Keyring, row: Due) -> CustomerKey:
    """The customer's key. Raises Unsealable, and KeyDestroyed once the customer was erased."""
    return customer_keys(keyring, [row])[0]


def customer_keys(keyring: Keyring, rows: Sequence[Due]) -> list[CustomerKey]:
    """The keys of these customers, in order. Raises as `customer_key` does, for any of them."""
    wrapped = []
    for row in rows:
        if row.wrapped_key is None or row.master_key_id is None or row.name_sealed is None:
            raise KeyDestroyed("the customer's key is destroyed")
        wrapped.append((row.master_key_id, row.wrapped_key))
    return keyring.open_customer_keys(wrapped)


def facts_of(scene: Scene, row: Due, covered: Sequence[Due], locale: str, *, name: str) -> Facts:
    """What is true of these debts now, for the words. Raises BadFacts."""
    lender = scene.lender
    today = local_date(scene.now, planning_zone(row.zones))  # on the customer's calendar
    owed, debts, due_dates = [], [], []
    for each in covered:
        balance, due_on = each.balance_minor, each.due_on
        owed.append(((today - due_on).days, balance))
        debts.append(Debt(each.account_ref[-4:], each.product or "", balance, each.currency, due_on))
        due_dates.append(due_on)
    return Facts(  # by position: it is made once for each message
        name,
        in_language(lender.brand, locale),
        tuple(debts),
        max(owed)[0],
        local_day(row.as_of, planning_zone(row.zones)),
        lender.help_phone,
        in_language(lender.help_hours, locale),
        lender.pay_url,
        lender.help_url,
        True,  # every channel must say how to stop
        lender.offers_for(owed),
        lender.deadline_on(due_dates, today),
        lender.report_on(due_dates, today),
    )


def planning_zone(zones: Sequence[str]) -> str:
    """Where a step's local time is read. Only for planning: the judge never falls back to UTC."""
    return zones[0] if zones else "UTC"


def days_late(row: Due, now: datetime) -> int:
    return days_past_due(row.due_on, now, planning_zone(row.zones))


def customer_facts(row: Due, now: datetime) -> CustomerFacts:
    confirmed_at, zones = row.zone_confirmed_at, tuple(row.zones)
    confirmed = confirmed_at is not None and now - confirmed_at < ZONE_CONFIRMATION_LASTS
    if not row.blocked_hours and not row.refused_channels:
        return _in_zones(zones, confirmed)
    return CustomerFacts(
        zones,
        confirmed,
        tuple(map(blocked_hours, row.blocked_hours or ())),
        frozenset(map(Channel, row.refused_channels or ())),
    )


@lru_cache(maxsize=1024)
def _in_zones(zones: tuple[str, ...], confirmed: bool) -> CustomerFacts:
    """What nearly all who live there have in common."""
    return CustomerFacts(zones, confirmed)


_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def blocked_hours(entry: Mapping[str, object]) -> BlockedHours:
    days = entry["days"]
    assert isinstance(days, list)
    return BlockedHours(
        weekdays=frozenset(_WEEKDAYS.index(day) for day in days),
        since=time.fromisoformat(str(entry["from"])),
        until=time.fromisoformat(str(entry["until"])),
    )


_CHANNEL = {channel.value: channel for channel in Channel}
_PURPOSE = {purpose.value: purpose for purpose in Purpose}
_ADDRESS_KIND = {kind.value: kind for kind in AddressKind}
_ADDRESS_CHANNEL = {channel.value: channel for channel in AddressChannel}


def standing_hold(row: Stop) -> Hold:
    account = None if row.account_id is None else str(row.account_id)
    return Hold(HoldKind(row.kind), account, row.since, row.ends_at)


def _consent(row: Standing) -> Consent:
    return _given(
        (
            _CHANNEL[row.channel], row.lookup.hex() if row.lookup else None, _PURPOSE[row.purpose], row.given_at,
            row.withdrawn_at,
        )
    )  # fmt: skip


def first_reaches(rows: Iterable[Reach]) -> dict[AddressChannel, Reach]:
    """The best living address of each kind: rows come in order of priority."""
    found: dict[AddressChannel, Reach] = {}
    for row in rows:
        found.setdefault(_ADDRESS_CHANNEL[row.channel], row)
    return found


def in_language(texts: Mapping[str, str], locale: str) -> str:
    """The text in the language of the copy, else in the one the file names first."""
    return texts.get(locale) or next(iter(texts.values()))
