"""Decisions per second of the judge, in one process: 500 parties with ten history entries each, in one call.

The yardstick is the goal of 10 microseconds a decision, not another program: none of the systems we read judges quiet
hours, caps and holds together. Three worlds: daytime, where nearly all is allowed; a mix, with full caps and holds;
night, where every decision needs its `until`.
"""

import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.results import Figure, figure
from domain.case import AccountFacts, Attempt, Case, CustomerFacts, PastContact
from domain.channel import Channel
from domain.consent import Consent
from domain.contact import Outcome
from domain.purpose import Actor, Purpose
from policy.judge import judge_many
from policy.packs import PackBook, RuleSet

POLICIES = Path(__file__).parents[1] / "config" / "policies"
PARTIES = 500
HISTORY = 10
ROUNDS = 40
GOAL_MICROSECONDS = 10.0

DAYTIME = datetime(2026, 3, 4, 3, tzinfo=UTC)  # Wednesday, 11:00 in Taipei
NIGHT = datetime(2026, 3, 4, 15, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Measured:
    """Decisions per CPU second in each round of one world: on a shared machine the wall clock tells of others."""

    world: str
    rates: tuple[float, ...]
    verdicts: Counter[str]


def run() -> list[Figure]:
    """Measure the three worlds, print each, and give the mixed one as a figure: decisions per second."""
    book = PackBook.from_files({path.name: path.read_text(encoding="utf-8") for path in POLICIES.glob("*.toml")})
    rules = book.named(["baseline", "tw"])
    worlds = [
        measure("daytime", a_world(DAYTIME, days_ago=(5, 60)), rules),
        measure("mixed", a_world(DAYTIME, days_ago=(0.5, 60)), rules),
        measure("night", a_world(NIGHT, days_ago=(5, 60)), rules),
    ]
    for world in worlds:
        rate = statistics.median(world.rates)
        verdicts = ", ".join(f"{count} {name}" for name, count in world.verdicts.most_common())
        print(f"policy, {world.world}: {1e6 / rate:.1f} us a decision, {rate:,.0f}/s ({verdicts})")
    goal = [1e6 / GOAL_MICROSECONDS] * ROUNDS
    mixed = worlds[1].rates
    return [figure("policy", mixed, goal, yardstick_name="10 us a decision", goal=1.0, unit="decisions/CPU s")]


def measure(world: str, cases: Sequence[Case], rules: RuleSet) -> Measured:
    verdicts = judge_many(cases, rules)  # once unmeasured: the windows of the day are worked out here
    rates = []
    for _ in range(ROUNDS):
        began = time.process_time()
        judge_many(cases, rules)
        rates.append(len(cases) / (time.process_time() - began))
    return Measured(world, tuple(rates), Counter(type(verdict).__name__.lower() for verdict in verdicts))


def a_world(now: datetime, *, days_ago: tuple[float, float]) -> list[Case]:
    """One question for each party, with ten contacts in the span of days; the same every time."""
    chance = random.Random(7)
    return [_a_case(now, days_ago, chance, str(party)) for party in range(PARTIES)]


def _a_case(now: datetime, days_ago: tuple[float, float], chance: random.Random, account: str) -> Case:
    consent = Consent(Channel.SMS, account, Purpose.REMINDER, now - timedelta(days=400), None)
    return Case(
        now=now,
        expires=now + timedelta(days=3),
        actor=Actor.CREDITOR,
        customer=CustomerFacts(("Asia/Taipei",), zone_confirmed=True),
        account=AccountFacts(account, 12, 120_000, "TWD"),
        attempt=Attempt(Channel.SMS, account, number_zones=("Asia/Taipei",), number_country="TW"),
        history=tuple(_a_past(now, days_ago, chance, account) for _ in range(HISTORY)),
        consents=(consent,),
    )


def _a_past(now: datetime, days_ago: tuple[float, float], chance: random.Random, account: str) -> PastContact:
    days = chance.uniform(*days_ago)
    channel = chance.choice((Channel.SMS, Channel.EMAIL, Channel.CALL))
    outcome = chance.choice((Outcome.NO_ANSWER, Outcome.VOICEMAIL)) if channel is Channel.CALL else Outcome.DELIVERED
    return PastContact(now - timedelta(days=days), channel, outcome, (account,), account)


if __name__ == "__main__":
    run()
