"""Places that must agree about the ledger: the rank table in the code and the one in the database."""

import psycopg

from domain.contact import OUTCOME_OF, RANKS, EventKind
from domain.reminder import ReminderState


def test_the_database_ranks_events_as_the_code_does(connection: psycopg.Connection):
    table = {kind: (rank, outcome) for kind, rank, outcome in connection.execute("SELECT * FROM contact_event_rank")}

    assert table == {kind.value: (RANKS[kind], OUTCOME_OF[kind].value) for kind in EventKind}


def test_no_two_events_share_a_rank():
    assert len(set(RANKS.values())) == len(EventKind)


def test_the_database_knows_the_reminder_states_of_the_code(connection: psycopg.Connection):
    definition = connection.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'reminder_state_check'"
    ).fetchone()[0]

    assert {state for state in ReminderState if f"'{state}'" in definition} == set(ReminderState)
