"""`duly calls` as an agent uses it: commands of their own, one JSON object each, sentences when something is wrong."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest

from storage import database, lanes
from tests.builders import TUESDAY_MORNING, a_customer, a_live_release, an_account
from tests.console.desk import duly, living_by, plain
from worker.wiring import keyring


@pytest.fixture
def conn(database_url: str, tmp_path: Path) -> Iterator[psycopg.Connection]:
    """A desk with one call waiting."""
    with living_by(database_url, tmp_path) as settings, database.connect(database_url, autocommit=True) as opened:
        a_live_release(opened)
        lanes.step_clock(opened, TUESDAY_MORNING)
        customer = a_customer(opened, keyring(settings))
        account = an_account(opened, customer, due_on=date(2026, 2, 20))
        opened.execute(
            """
            INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, message, stage,
                                   queued_at, not_before)
            VALUES (%s, %s, 'lantern', %s, 'call', 'step talk', 'talk', 'middle', business_now(), business_now())
            """,
            (customer.party_id, customer.customer_id, [account]),
        )
        yield opened


def test_a_call_from_the_queue_to_its_ending(conn: psycopg.Connection) -> None:
    waiting = plain(duly("calls", "list", "--json"))["tasks"]
    assert [(task["state"], task["claimed_by"]) for task in waiting] == [("queued", None)]

    task = plain(duly("calls", "next", "--agent", "ana", "--json"))["task"]
    assert task["dialled"]
    assert task["phone"].startswith("+8869")
    assert task["rule"]

    number = str(task["call_task_id"])
    ended = plain(
        duly("calls", "done", number, "--disposition", "promise", "--promise-date", "2026-03-10", "--amount", "500",
             "--agent", "ana", "--json")
    )  # fmt: skip
    assert (ended["hold"], ended["hold_until"]) == ("promise", "2026-03-11T16:00:00+00:00")
    assert plain(duly("calls", "next", "--agent", "ana", "--json"))["task"] is None


def test_the_screens_are_for_people(conn: psycopg.Connection) -> None:
    assert "queued" in duly("calls", "list").stdout
    screen = duly("calls", "next", "--agent", "ana").stdout
    assert "Dialled: +8869" in screen
    assert "duly calls done" in screen
    assert "self_harm_risk" in duly("calls", "endings").stdout
    assert "hold (hardship)" in " ".join(duly("calls", "done", "1", "--disposition", "hardship").stdout.split())


def test_a_list_of_tasks_holds_nothing_personal(conn: psycopg.Connection) -> None:
    shown = duly("calls", "list").stdout + duly("calls", "list", "--json").stdout

    assert "+886" not in shown
    assert "Ana" not in shown


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("done", "1", "--disposition", "nonsense"), 2, "use one of abandoned_by_us"),
        (("done", "99", "--disposition", "busy"), 2, "there is no task 99"),
        (("done", "1", "--disposition", "busy"), 2, "not in anybody's hands"),
        (("done", "1", "--disposition", "promise", "--promise-date", "soon", "--amount", "5"), 2, "write 2026-03-04"),
        (("dial", "1", "--agent", "ana"), 1, "not in the hands of ana"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    conn: psycopg.Connection, words: tuple[str, ...], code: int, says: str
) -> None:
    result = duly("calls", *words)

    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_an_agent_with_a_call_in_hand_is_told_to_end_it(conn: psycopg.Connection) -> None:
    duly("calls", "next", "--agent", "ana")

    result = duly("calls", "next", "--agent", "ana")

    assert result.exit_code == 1
    assert "duly calls done" in result.stderr
