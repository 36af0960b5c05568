"""The queue of call tasks: each in one agent's hands, and nobody waits for a task that somebody else has."""

import threading
from datetime import timedelta

import psycopg
import pytest

from storage import calls, database, lanes
from tests.builders import TUESDAY_MORNING, a_lender

LEASE = timedelta(minutes=10)


@pytest.fixture
def queue(connection: psycopg.Connection) -> list[int]:
    """Ten tasks, the oldest first."""
    a_lender(connection, "lantern")
    lanes.step_clock(connection, TUESDAY_MORNING)
    made = [
        connection.execute(
            """
            INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, queued_at, not_before)
            VALUES (%s, 1, 'lantern', '{}', 'call', 'step talk', %s, %s) RETURNING call_task_id
            """,
            (number, TUESDAY_MORNING, TUESDAY_MORNING - timedelta(minutes=20 - number)),
        ).fetchone()[0]
        for number in range(10)
    ]
    connection.commit()
    return made


def test_agents_who_claim_at_once_get_different_tasks_oldest_first(
    connection: psycopg.Connection, database_url: str, queue: list[int]
) -> None:
    claimed: list[int] = []

    def work(agent: str) -> None:
        with database.connect(database_url, autocommit=True) as own:
            while (task := calls.claim(own, agent=agent, lease=LEASE)) is not None:
                claimed.append(task.call_task_id)

    threads = [threading.Thread(target=work, args=(f"agent{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == queue


def test_the_oldest_comes_first_and_what_is_for_later_waits(connection: psycopg.Connection, queue: list[int]) -> None:
    connection.execute(
        "UPDATE call_task SET not_before = %s WHERE call_task_id <> ALL(%s)",
        (TUESDAY_MORNING + timedelta(hours=1), queue[3:5]),
    )

    order = [calls.claim(connection, agent="ana", lease=LEASE) for _ in range(3)]

    assert [task.call_task_id if task else None for task in order] == [*queue[3:5], None]


def test_a_claim_that_another_transaction_is_making_is_passed_by(
    connection: psycopg.Connection, database_url: str, queue: list[int]
) -> None:
    with database.connect(database_url) as other:
        theirs = calls.claim(other, agent="ben", lease=LEASE)
        ours = calls.claim(connection, agent="ana", lease=LEASE)

    assert (theirs.call_task_id, ours.call_task_id) == (queue[0], queue[1])


def test_putting_back_never_touches_a_call_that_was_dialled(connection: psycopg.Connection, queue: list[int]) -> None:
    task = calls.claim(connection, agent="ana", lease=LEASE)
    connection.execute("UPDATE call_task SET contact_id = gen_random_uuid() WHERE state = 'claimed'")

    calls.put_back(connection, task, not_before=TUESDAY_MORNING)

    assert calls.task(connection, task.call_task_id).state == "claimed"


def test_another_call_about_the_same_debts_lives_as_long_as_the_first_but_a_call_back_longer(
    connection: psycopg.Connection, queue: list[int]
) -> None:
    ends = TUESDAY_MORNING + timedelta(hours=6)
    connection.execute("UPDATE call_task SET expires_at = %s", (ends,))
    task = calls.claim(connection, agent="ana", lease=LEASE)

    soon, late = (TUESDAY_MORNING + timedelta(hours=hours) for hours in (4, 24))
    again = calls.queue_again(connection, task, kind="call", reason="again", not_before=soon)
    call_back = calls.queue_again(connection, task, kind="call", reason="requested_callback", not_before=late)

    assert calls.task(connection, again).expires_at == ends
    assert calls.task(connection, call_back).expires_at == late + timedelta(days=3)
