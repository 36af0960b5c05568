"""The inbox: each report once, oldest first, taken by one worker at a time."""

import psycopg

from storage import database, inbox, lanes
from storage.inbox import Arrival
from tests.builders import TUESDAY_MORNING


def arrivals(*keys: str, source: str = "twilio_status") -> list[Arrival]:
    return [Arrival(source, key, b"sealed") for key in keys]


def test_a_repeated_report_is_stored_once_also_within_one_group(connection: psycopg.Connection) -> None:
    assert inbox.store(connection, arrivals("a", "b", "a")) == 2
    assert inbox.store(connection, arrivals("b", "c")) == 1
    assert inbox.store(connection, arrivals("a", source="other")) == 1
    assert inbox.store(connection, []) == 0


def test_rows_are_taken_oldest_first_past_those_in_another_workers_hands(
    connection: psycopg.Connection, database_url: str
) -> None:
    inbox.store(connection, arrivals("a", "b", "c", "d"))
    connection.commit()

    with database.connect(database_url) as other:
        theirs = [row.dedupe_key for row in inbox.take(other, 2)]
        ours = [row.dedupe_key for row in inbox.take(connection, 10)]

    assert (theirs, ours) == (["a", "b"], ["c", "d"])


def test_a_marked_row_never_comes_back_and_an_unmarked_one_does(connection: psycopg.Connection) -> None:
    inbox.store(connection, arrivals("a", "b"))
    first, second = inbox.take(connection, 10)

    inbox.mark(connection, [first.inbox_id], "event")
    connection.commit()

    assert [row.inbox_id for row in inbox.take(connection, 10)] == [second.inbox_id]
    assert inbox.waiting(connection) == 1


def test_an_early_row_is_out_of_the_way_until_its_second_look(connection: psycopg.Connection) -> None:
    inbox.store(connection, arrivals("a"))
    (row,) = inbox.take(connection, 10)
    assert not row.is_second_look

    inbox.keep_waiting(connection, [row.inbox_id])

    assert (inbox.take(connection, 10), inbox.waiting(connection)) == ([], 0)
    connection.execute("UPDATE inbox SET received_at = received_at - %s", (inbox.SECOND_LOOK_AFTER,))
    assert [again.is_second_look for again in inbox.take(connection, 10)] == [True]
    assert inbox.waiting(connection) == lanes.stillness(connection).waiting_inbox == 1


def test_an_arrival_has_the_business_time_of_its_day(connection: psycopg.Connection) -> None:
    lanes.step_clock(connection, TUESDAY_MORNING)

    inbox.store(connection, arrivals("a"))

    assert inbox.take(connection, 1)[0].at == TUESDAY_MORNING
