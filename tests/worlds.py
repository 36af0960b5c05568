"""Random worlds for two readers of one ledger: the judge decides each, the contact is planted whatever it said.

Every world is one party with a history, holds and consents near the edges that matter. `python -m tests.worlds 50000 7`
plants fifty thousand of them from seed 7 in engines of their own and prints every disagreement.
"""

import shutil
import sys
import tempfile
import time as clock
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from pathlib import Path
from random import Random
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from config.settings import Settings
from domain.case import AccountFacts, Attempt, Case, CustomerFacts, PastContact
from domain.channel import AddressKind, Channel
from domain.consent import Consent
from domain.contact import OUTCOME_OF, Outcome, new_contact_id
from domain.days import local_day, zone_named
from domain.hold import Hold, HoldKind
from domain.purpose import Actor, Purpose
from domain.verdict import Suppress
from policy.judge import Finding, judge
from policy.packs import PackBook
from storage import database, releases, schema
from storage.rows import copy_in
from tests.builders import a_lender, the_bundle
from worker import engines
from worker.auditing import audit_ledger

#: Where people live, the country of their number, and zones that they may be in.
PLACES: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
    ("TW", "TW", ("Asia/Taipei",)),
    ("CN", "CN", ("Asia/Shanghai", "Asia/Urumqi")),
    ("US-MA", "US", ("America/New_York",)),
    ("US-NY", "US", ("America/New_York", "America/Chicago")),
    ("US-DC", "US", ("America/New_York", "America/Los_Angeles")),
    ("US-FL", "US", ("America/New_York", "America/Chicago")),
    ("US-WA", "US", ("America/Los_Angeles",)),
    ("US-WV", "US", ("America/New_York",)),
    ("CA-ON", "CA", ("America/Toronto", "America/Winnipeg")),
    ("GB", "GB", ("Europe/London",)),
    ("IE", "IE", ("Europe/Dublin",)),
    ("GR", "GR", ("Europe/Athens",)),
    ("AU", "AU", ("Australia/Sydney", "Australia/Perth", "Australia/Lord_Howe")),
    ("TH", "TH", ("Asia/Bangkok",)),
    ("ID", "ID", ("Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura")),
    ("KR", "KR", ("Asia/Seoul",)),
    ("VN", "VN", ("Asia/Ho_Chi_Minh",)),
    ("BR-SP", "BR", ("America/Sao_Paulo", "America/Manaus")),
    ("IN", "IN", ("Asia/Kolkata",)),
    ("MX", "MX", ("America/Mexico_City", "America/Tijuana")),
    ("EC", None, ("America/Guayaquil", "Pacific/Galapagos")),
    ("JP", "TW", ("Asia/Tokyo", "Asia/Taipei")),
    ("HK", "CN", ("Asia/Hong_Kong",)),
)

#: Hours that some rule of some pack begins or ends at, so that most worlds lie near an edge.
EDGES = (7.0, 7.5, 8.0, 9.0, 9.5, 10.0, 13.0, 14.0, 17.0, 18.0, 19.0, 20.0, 21.0, 22.0, 0.0)
NEARNESS = (-3600, -330, -300, -299, -60, -1, 0, 1, 60, 299, 300, 301, 600, 1800, 3600)

KINDS_OF = {
    outcome: [kind.value for kind, its in OUTCOME_OF.items() if its is outcome and kind.value != "released"]
    for outcome in Outcome
}


@dataclass(frozen=True, slots=True)
class World:
    """One question, and what the judge said: no rules for Allow, else all that bar it."""

    number: int
    case: Case
    packs: tuple[str, ...]
    residence: str
    released: tuple[tuple[Hold, datetime], ...]
    contact_id: UUID
    bars: frozenset[str]


@dataclass(frozen=True, slots=True)
class Disagreement:
    world: World
    judge: frozenset[str]
    auditor: frozenset[str]


def worlds(seed: int, count: int, *, first: int = 1) -> Iterator[World]:
    random = Random(seed)
    book = PackBook.from_files(the_bundle().under("policies"))
    number = first
    while number < first + count:
        made = _world(random, book, number)
        if made is not None:
            number += 1
            yield made


def _world(random: Random, book: PackBook, number: int) -> World | None:
    residence, country, zones = random.choice(PLACES)
    channel = random.choice((Channel.SMS, Channel.EMAIL, Channel.CALL, Channel.CALL, Channel.SMS, *Channel))
    by_phone = channel in (Channel.SMS, Channel.CALL, Channel.NULL)
    if not by_phone:
        country = None
    given = tuple(sorted(random.sample(zones, random.randint(1, len(zones)))))
    now = _near_an_edge(random, given)
    rules = book.applying(residence=residence, number_country=country, licence=None, on=now.date())
    if isinstance(rules, Suppress):
        return None
    accounts = [str(3 * number + n) for n in range(3)]
    account = AccountFacts(accounts[0], random.choice((-1, 0, 5, 9, 10, 11, 12, 40, 89, 90, 91)), 10_000, "EUR")
    purpose = random.choice((*[Purpose.REMINDER] * 8, *(p for p in Purpose if p is not Purpose.OPTOUT_CONFIRMATION)))
    address = f"{number}a"
    kept, released = _holds(random, now, accounts)
    case = Case(
        now=now,
        expires=None,
        actor=random.choice(tuple(Actor)),
        customer=CustomerFacts(given, zone_confirmed=random.random() < 0.7),
        account=account,
        attempt=Attempt(
            channel=channel,
            address=address,
            address_kind=random.choice((AddressKind.MOBILE, AddressKind.MOBILE, *AddressKind)),
            purpose=purpose,
            number_zones=zones if by_phone else (),
            number_country=country,
        ),
        history=_history(random, now, given[0], accounts, number),
        holds=kept,
        consents=_consents(random, now, channel, purpose, address),
        lender="lantern",
    )
    trace: list[Finding] = []
    verdict = judge(case, rules, trace=trace)
    bars = frozenset(found.because.rule for found in trace if found.bars)
    if isinstance(verdict, Suppress) and not bars:
        bars = frozenset({verdict.because.rule})
    return World(number, case, rules.ids, residence, released, new_contact_id(now), bars)


def _near_an_edge(random: Random, zones: tuple[str, ...]) -> datetime:
    """Between 2025 and the first days that nobody has reviewed in some places."""
    zone = zone_named(random.choice(zones))
    on = datetime(2025, 1, 2) + timedelta(days=random.randrange(750))
    if random.random() < 0.3:
        moment = on + timedelta(seconds=random.randrange(86_400))
    else:
        moment = on + timedelta(hours=random.choice(EDGES), seconds=random.choice(NEARNESS))
    if random.random() < 0.6:  # inside most hours, for what is counted to matter
        moment = datetime.combine(moment.date(), time(random.choice((11, 12, 14, 15, 16)), random.randrange(60)))
    return moment.replace(tzinfo=zone).astimezone(UTC)


def _history(random: Random, now: datetime, zone: str, accounts: list[str], number: int) -> list[PastContact]:
    if random.random() < 0.35:
        return []
    entries = [_past(random, now, zone, accounts, number) for _ in range(random.choice((1, 1, 2, 3, 5, 8, 12)))]
    return sorted(entries, key=lambda entry: entry.at)


def _past(random: Random, now: datetime, zone: str, accounts: list[str], number: int) -> PastContact:
    days = random.choice((0, 0, 1, 1, 2, 5, 6, 7, 8, 13, 29, 30, 31))
    if random.random() < 0.3:
        at = now - timedelta(hours=random.choice((1, 3, 4, 5, 24, 167, 168, 169)), seconds=random.randrange(-5, 5))
    elif random.random() < 0.5:  # around a local midnight
        midnight = datetime.combine(local_day(now, zone) - timedelta(days=days), time(), tzinfo=zone_named(zone))
        at = midnight.astimezone(UTC) + timedelta(seconds=random.choice((-3600, -1, 0, 1, 3600)))
    else:
        at = now - timedelta(days=days, seconds=random.randrange(1, 86_400))
    at = min(at, now - timedelta(seconds=1))
    covered = random.choice(([accounts[0]], accounts[:2], accounts[1:], []))
    return PastContact(
        at=at,
        channel=random.choice((Channel.CALL, Channel.SMS, Channel.EMAIL, Channel.LETTER, *Channel)),
        outcome=random.choice((Outcome.SENT, Outcome.DELIVERED, *Outcome)),
        accounts=tuple(covered),
        address=random.choice((f"{number}a", f"{number}b", None)),
        purpose=random.choice((Purpose.REMINDER, Purpose.REMINDER, *Purpose)),
        lender=random.choice(("lantern", "harbour")),
    )


def _holds(random: Random, now: datetime, accounts: list[str]) -> tuple[list[Hold], tuple[tuple[Hold, datetime], ...]]:
    kept: list[Hold] = []
    released: list[tuple[Hold, datetime]] = []
    while random.random() < 0.15:
        since = now + timedelta(seconds=random.choice((-864_000, -3600, -1, 1, 3600)))
        until = random.choice((None, now + timedelta(seconds=random.choice((-1, 0, 1, 3600))), None))
        if until is not None and until <= since:
            until = None
        hold = Hold(random.choice(tuple(HoldKind)), random.choice((None, accounts[0], accounts[1])), since, until)
        if random.random() < 0.3:
            released.append((hold, max(since, now - timedelta(seconds=random.choice((0, 1, 3600))))))
            if released[-1][1] > now:
                released.pop()
        else:
            kept.append(hold)
    return kept, tuple(released)


def _consents(random: Random, now: datetime, channel: Channel, purpose: Purpose, address: str) -> list[Consent]:
    found: dict[tuple[Channel, str | None, Purpose], Consent] = {}
    if random.random() < 0.8:  # most worlds are about something else
        found[channel, None, purpose] = Consent(channel, None, purpose, now - timedelta(days=9), None)
    while random.random() < 0.2:
        where = random.choice((None, address, "elsewhere"))
        whose = random.choice((channel, Channel.EMAIL))
        what = random.choice((purpose, Purpose.REMINDER))
        given = now + timedelta(days=random.choice((-400, -9, -1, 1)))
        withdrawn = random.choice((None, now + timedelta(seconds=random.choice((-86_400 * 2, -1, 1)))))
        if withdrawn is not None and withdrawn < given:
            withdrawn = None
        found[whose, where, what] = Consent(whose, where, what, given, withdrawn)
    return list(found.values())


# ------------------------------------------------------------------------------------------------------- into a ledger


def plant(conn: psycopg.Connection, made: list[World]) -> None:
    """Write the worlds down as if every contact had been made. World n is party n, with accounts 3n to 3n + 2."""
    for lender in ("lantern", "harbour"):
        a_lender(conn, lender)
    releases.propose(conn, the_bundle(), by="tests")
    release = the_bundle().hash
    copy_in(conn, "party", {"party_id": "int8"}, [(w.number,) for w in made])
    copy_in(conn, "customer", {
        "party_id": "int8", "customer_id": "int8", "lender_id": "text", "external_ref": "text", "locale": "text",
        "zones": "text[]", "row_hash": "bytea",
    }, [
        (w.number, w.number, "lantern", f"C{w.number}", "en", list(w.case.customer.zones), b"") for w in made
    ])  # fmt: skip
    copy_in(conn, "account", {
        "party_id": "int8", "account_id": "int8", "customer_id": "int8", "lender_id": "text", "external_ref": "text",
        "currency": "text", "balance_minor": "int8", "due_on": "date", "state": "text", "ladder": "text",
        "as_of": "timestamptz", "row_hash": "bytea",
    }, [
        (w.number, 3 * w.number + n, w.number, "lantern", f"A{w.number}-{n}", "EUR", 10_000, w.case.now.date(), "open",
         "standard", w.case.now, b"")
        for w in made for n in range(3)
    ])  # fmt: skip
    copy_in(conn, "consent", {
        "party_id": "int8", "customer_id": "int8", "channel": "text", "lookup": "bytea", "purpose": "text",
        "given_at": "timestamptz", "withdrawn_at": "timestamptz", "source": "text",
    }, [
        (w.number, w.number, c.channel.value, _lookup(c.address), c.purpose.value, c.given, c.withdrawn, "tests")
        for w in made for c in w.case.consents
    ])  # fmt: skip
    holds = [(w, hold, None) for w in made for hold in w.case.holds]
    holds += [(w, hold, at) for w in made for hold, at in w.released]
    copy_in(conn, "hold", {
        "party_id": "int8", "account_id": "int8", "kind": "text", "reason": "text", "source": "text",
        "since": "timestamptz", "ends_at": "timestamptz", "released_at": "timestamptz",
    }, [
        (w.number, None if h.account is None else int(h.account), h.kind.value, "tests", "tests", h.since, h.until, at)
        for w, h, at in holds
    ])  # fmt: skip
    pasts = [(w, past, new_contact_id(past.at)) for w in made for past in w.case.history]
    copy_in(conn, "contact", _CONTACT, [
        (w.number, made_id, p.at, w.number, p.lender, "imported", p.actor.value, p.channel.value, _lookup(p.address),
         p.purpose.value, "imported", "imported", [], [], [int(a) for a in p.accounts], None, Jsonb({}))
        for w, p, made_id in pasts
    ] + [
        (w.number, w.contact_id, w.case.now, w.number, "lantern", "duly", w.case.actor.value,
         w.case.attempt.channel.value, _lookup(w.case.attempt.address), w.case.attempt.purpose.value, "planted",
         "tests", list(w.packs), list(w.case.customer.zones), [int(w.case.account.id)], release, Jsonb(_inputs(w)))
        for w in made
    ])  # fmt: skip
    random = Random(len(made))
    copy_in(conn, "contact_event", {
        "party_id": "int8", "contact_id": "uuid", "intended_at": "timestamptz", "kind": "text", "dedupe_key": "text",
        "at": "timestamptz",
    }, [
        (w.number, made_id, p.at, random.choice(kinds), "tests", p.at)
        for w, p, made_id in pasts if (kinds := KINDS_OF[p.outcome])
    ])  # fmt: skip


_CONTACT = {
    "party_id": "int8", "contact_id": "uuid", "intended_at": "timestamptz", "customer_id": "int8", "lender_id": "text",
    "origin": "text", "actor": "text", "channel": "text", "address_lookup": "bytea", "purpose": "text", "rule": "text",
    "pack": "text", "packs": "text[]", "zones": "text[]", "account_ids": "int8[]", "release_hash": "text",
    "inputs": "jsonb",
}  # fmt: skip


def _inputs(world: World) -> dict[str, object]:
    attempt = world.case.attempt
    return {
        "days_past_due": [world.case.account.days_past_due],
        "zone_confirmed": world.case.customer.zone_confirmed,
        "residence": world.residence,
        "number_country": attempt.number_country,
        "number_zones": list(attempt.number_zones),
        "address_kind": attempt.address_kind.value,
    }


def _lookup(address: str | None) -> bytes | None:
    return None if address is None else address.encode()


# ------------------------------------------------------------------------------------------------------ what each says

#: What the judge says instead of each rule's hours when all of them never open together, or too shortly in all zones.
_TOGETHER = frozenset({"zones.no_overlap", "hours.never_open"})


def disagreements(conn: psycopg.Connection, made: list[World]) -> list[Disagreement]:
    """Plant the worlds, audit them, and compare rule by rule."""
    plant(conn, made)
    found = audit_ledger(conn, most_listed=100 * len(made))
    assert found.contacts == len(made)
    assert found.violations == len(found.listed)
    by_contact: dict[UUID, set[str]] = {}
    for violation in found.listed:
        by_contact.setdefault(violation.contact_id, set()).add(violation.rule)
    return [
        Disagreement(world, world.bars, auditor)
        for world in made
        if not _agree(world.bars, auditor := frozenset(by_contact.get(world.contact_id, ())))
    ]


def _agree(one: frozenset[str], other: frozenset[str]) -> bool:
    """Barred for one is barred for the other, by the same rules; hours that never open together are one rule."""
    if bool(one) != bool(other):
        return False
    if (one | other) & _TOGETHER:
        windows = _window_ids()
        return one - windows == other - windows
    return one == other


@cache
def _window_ids() -> frozenset[str]:
    packs = PackBook.from_files(the_bundle().under("policies")).packs.values()
    return _TOGETHER | {rule.terms.id for pack in packs for rule in pack.rules if rule.terms.kind == "window"}


def main(count: int, seed: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="duly-worlds-"))
    settings = Settings(home=home)
    try:
        url = engines.ensure(settings).database_url
        schema.migrate(url)
        with database.connect(url) as conn:
            began = clock.monotonic()
            made = list(worlds(seed, count))
            judged = clock.monotonic() - began
            found = disagreements(conn, made)
        allowed = sum(not world.bars for world in made)
        sys.stdout.write(
            f"{count} worlds, {allowed} allowed, {len(found)} disagreements; {judged:.1f} s to judge, "
            f"{clock.monotonic() - began:.1f} s in all\n"
        )
        for each in found[:10]:
            alone = sorted(each.judge - each.auditor), sorted(each.auditor - each.judge)
            sys.stdout.write(f"judge only {alone[0]}, auditor only {alone[1]}\n{each.world}\n\n")
    finally:
        engines.stop(settings)
        shutil.rmtree(home)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
