"""The counts of a fleet never fall, whoever dies, comes back, or says a thing twice."""

from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import tallies
from storage.tallies import Report


def said(**counts: float) -> Report:
    return Report("worker@host:1", "worker", "ab", 1, counts, counts)


def silence(connection: psycopg.Connection, process_id: UUID) -> None:
    connection.execute("UPDATE process SET seen_at = seen_at - interval '1 hour' WHERE process_id = %s", (process_id,))


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["report", "report twice", "leave", "fall silent, be buried"])),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_total_is_what_was_reported_whatever_becomes_of_the_processes(
    connection: psycopg.Connection, steps: list[tuple[int, str]]
) -> None:
    connection.execute("TRUNCATE process, tally")
    lives: dict[int, tuple[UUID, int]] = {}
    reported = 0

    for who, step in steps:
        process_id, own = lives.get(who, (uuid4(), 0))
        if step.startswith("report"):
            reported += 1
            own += 1
            for _ in range(2 if step.endswith("twice") else 1):
                tallies.introduce(connection, process_id, said(sends=own))
            lives[who] = process_id, own
        elif who in lives:
            if step == "leave":
                tallies.leave(connection, process_id)
            else:
                silence(connection, process_id)
                tallies.bury(connection, silent_for=timedelta(minutes=5))
            del lives[who]

        assert tallies.totals(connection).get("sends", 0) == reported


def test_a_process_that_was_buried_is_told_so_and_changes_nothing(connection: psycopg.Connection) -> None:
    process_id = uuid4()
    tallies.introduce(connection, process_id, said(sends=3))
    silence(connection, process_id)
    tallies.bury(connection, silent_for=timedelta(minutes=5))

    assert tallies.renew(connection, process_id, said(sends=4)) is False
    assert tallies.totals(connection) == {"sends": 3}


def test_only_the_living_count_as_recent(connection: psycopg.Connection) -> None:
    silent, loud = uuid4(), uuid4()
    tallies.introduce(connection, silent, said(sends=3))
    tallies.introduce(connection, loud, said(sends=4, refused=1))
    silence(connection, silent)

    assert tallies.recently(connection, silent_for=timedelta(minutes=1)) == {"sends": 4, "refused": 1}
    assert [process.silent_for > timedelta(minutes=59) for process in tallies.processes(connection)].count(True) == 1
