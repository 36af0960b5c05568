"""Places that must agree about the ledger: the rank table in the code and the one in the database."""

import re
import tomllib
from pathlib import Path

import psycopg

from domain.channel import Channel
from domain.contact import OUTCOME_OF, RANKS, TELLING, EventKind, Outcome
from domain.reminder import ReminderState
from policy.counting import CALL_LIKE, counted_as
from storage import history

ROOT = Path(__file__).parents[2]


def test_the_database_ranks_events_as_the_code_does(connection: psycopg.Connection):
    table = {kind: (rank, outcome) for kind, rank, outcome in connection.execute("SELECT * FROM contact_event_rank")}

    assert table == {kind.value: (RANKS[kind], OUTCOME_OF[kind].value) for kind in EventKind}


def test_only_telling_events_change_what_a_contact_counts_as():
    """What is left out when history is read back makes no difference to any rule of any pack."""
    for channel in Channel:
        for kind in set(EventKind) - TELLING:
            if kind is not EventKind.DIALLED or channel in CALL_LIKE:  # nothing else is dialled
                assert counted_as(channel, OUTCOME_OF[kind]) == counted_as(channel, Outcome.INTENDED)
    untold = {OUTCOME_OF[kind] for kind in set(EventKind) - TELLING} - {OUTCOME_OF[kind] for kind in TELLING}
    rules = [
        rule
        for path in (ROOT / "config/policies").glob("*.toml")
        for rule in tomllib.loads(path.read_text(encoding="utf-8"))["rules"]
    ]
    assert any("uncounted_outcomes" in rule for rule in rules)
    assert not untold & {outcome for rule in rules for outcome in rule.get("uncounted_outcomes", ())}


def test_the_index_of_telling_events_holds_those_of_the_code(connection: psycopg.Connection):
    definition = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'contact_event_telling'"
    ).fetchone()[0]

    assert set(re.findall(r"'(\w+)'", definition)) == {kind.value for kind in TELLING}
    assert set(re.findall(r"'(\w+)'", history.TELLING)) == {kind.value for kind in TELLING}


def test_no_two_events_share_a_rank():
    assert len(set(RANKS.values())) == len(EventKind)


def test_the_database_knows_the_reminder_states_of_the_code(connection: psycopg.Connection):
    definition = connection.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'reminder_state_check'"
    ).fetchone()[0]

    assert {state for state in ReminderState if f"'{state}'" in definition} == set(ReminderState)
