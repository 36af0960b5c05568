"""Two readers of one ledger agree: what the judge allows passes the audit, what it bars is found, rule by rule.

Tens of thousands of worlds: `python -m tests.worlds 50000`.
"""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg

from domain.channel import Channel
from domain.contact import Outcome
from policy.counting import Counts, counted_as
from storage.audit import CHANNELS, READINGS
from tests.worlds import disagreements, worlds

ROOT = Path(__file__).parents[2]
HOUSE = ("domain", "config", "policy", "messages", "channels", "storage", "worker", "console", "simulator")
AUDITOR = ("worker/auditing.py", "worker/audit_rules.py", "storage/audit.py")

SEED, WORLDS = 20260303, 3000


def test_judge_and_auditor_agree_rule_by_rule_on_thousands_of_random_worlds(connection: psycopg.Connection) -> None:
    made = list(worlds(SEED, WORLDS))
    allowed = sum(not world.bars for world in made)
    rules = {rule for world in made for rule in world.bars}

    assert not disagreements(connection, made)
    assert allowed > WORLDS / 5, "too few worlds in which something is allowed"
    assert len(rules) > 60, "too few rules were met"


def test_a_judge_that_were_wrong_about_one_world_would_be_found_out(connection: psycopg.Connection) -> None:
    made = list(worlds(1, 200))
    allowed = next(world for world in made if not world.bars)
    barred = next(world for world in made if len(world.bars) > 1)
    made[allowed.number - 1] = replace(allowed, bars=frozenset({"baseline.contacts.day"}))
    made[barred.number - 1] = replace(barred, bars=frozenset())

    found = {each.world.number for each in disagreements(connection, made)}

    assert found == {allowed.number, barred.number}


def test_the_auditor_shares_nothing_with_policy() -> None:
    reached: set[str] = set()
    pending = list(AUDITOR)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(_imported(name))

    assert set(AUDITOR) < reached
    assert not [name for name in reached if name.startswith("policy/")]


def _imported(name: str) -> Iterator[str]:
    """The files of the house that a file imports."""
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for module in modules:
            path = module.replace(".", "/") + ".py"
            if module.split(".")[0] in HOUSE and (ROOT / path).is_file():
                yield path


def test_the_auditor_knows_every_channel_and_reading() -> None:
    assert set(CHANNELS) == {channel.value for channel in Channel}
    assert set(READINGS) == {reading.value for reading in Counts}
    assert all(counted_as(channel, Outcome.REJECTED) == frozenset() for channel in Channel)
