"""`duly status`: the worst first, its exit code, and the same for scripts."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from storage import lanes
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_live_release, a_reminder, an_account
from tests.console.desk import duly, living_by
from tests.rehearsal import eventually
from worker import engines
from worker.wiring import Spine


@pytest.fixture
def durable(admin: psycopg.Connection) -> Iterator[None]:
    """A server that forgets nothing, unlike that of other tests: they are in a hurry."""
    set_durability(admin, "on")
    yield
    set_durability(admin, "off")


def set_durability(admin: psycopg.Connection, to: str) -> None:
    for setting in ("fsync", "synchronous_commit"):
        admin.execute(f"ALTER SYSTEM SET {setting} = {to}")
    admin.execute("SELECT pg_reload_conf()")

    def taken() -> bool:
        with psycopg.connect(admin.info.dsn, autocommit=True) as fresh:
            return fresh.execute("SHOW fsync").fetchone() == (to,)

    eventually(taken, why="the server takes its settings")


@pytest.fixture
def customer(durable: None, database_url: str, broker_url: str, tmp_path: Path) -> Iterator[MadeCustomer]:
    """Somebody whose reminder comes due in a minute, in a fleet whose engines are well."""
    with living_by(database_url, tmp_path, broker_url=broker_url) as settings:
        spine = Spine(settings, database_url)
        a_live_release(spine.conn)
        lanes.step_clock(spine.conn, TUESDAY_MORNING)
        made = a_customer(spine.conn, spine.keyring)
        a_reminder(spine.conn, made, an_account(spine.conn, made), due_at=TUESDAY_MORNING + timedelta(minutes=1))
        yield made
        spine.close()


def told(code: int) -> dict:
    result = duly("status", "--json")
    assert result.exit_code == code, result.output
    answer: dict = json.loads(result.stdout)
    assert answer["schema"] == 2
    return answer


def step(connection: psycopg.Connection, minutes: int) -> None:
    lanes.step_clock(connection, TUESDAY_MORNING + timedelta(minutes=minutes))
    connection.commit()


def test_a_fleet_without_trouble_exits_with_0(customer: MadeCustomer) -> None:
    result = duly("status")

    assert result.exit_code == 0, result.output
    assert "All is well." in result.stdout
    assert "stepped clock" in result.stdout
    answer = told(0)
    assert (answer["alarms"], answer["planned"], answer["broker"]["up"]) == ([], 1, True)
    assert answer["database"]["fsync"]
    assert answer["lanes"][0]["due"] == 0


def test_what_is_red_comes_first_and_exits_with_3(customer: MadeCustomer, connection: psycopg.Connection) -> None:
    step(connection, minutes=9)

    result = duly("status")

    assert result.exit_code == 3
    first = result.stdout.splitlines()[0]
    assert "2 red" in first
    assert "no worker was heard" in " ".join(result.stdout.split())
    answer = told(3)
    assert {alarm["subject"] for alarm in answer["alarms"] if alarm["colour"] == "red"} == {"lag", "workers"}
    assert (answer["lanes"][0]["lag"], answer["lanes"][0]["due"]) == (480, 1)


def test_it_says_how_long_the_ledger_is_kept_and_which_rule_asks_for_it(
    customer: MadeCustomer, connection: psycopg.Connection
) -> None:
    shown = " ".join(duly("status").stdout.split())

    assert "from 2026-01 on, everything is kept; cn.retention.consumer_finance asks" in shown
    assert "gr.retention" not in shown, "nothing is older than it allows"
    lanes.ensure_partitions(connection, TUESDAY_MORNING - timedelta(days=366))
    connection.commit()
    assert "exceeded where it applies: gr.retention asks" in " ".join(duly("status").stdout.split())
    assert told(0)["ledger"]["exceeded"][0]["days"] == 183


def test_days_that_are_too_few_are_amber_with_the_rule_that_asks_for_more(
    customer: MadeCustomer, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    with living_by(database_url, tmp_path, broker_url=broker_url, keep_ledger_days=400):
        [alarm] = told(0)["alarms"]

    assert (alarm["colour"], alarm["subject"]) == ("amber", "retention")
    assert "DULY_KEEP_LEDGER_DAYS is 400" in alarm["seen"]
    assert "set 1827 or more" in alarm["seen"]


def test_open_work_that_holds_months_back_is_named(
    customer: MadeCustomer, connection: psycopg.Connection, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    lanes.ensure_partitions(connection, TUESDAY_MORNING - timedelta(days=2000))
    connection.execute(
        """INSERT INTO promise (party_id, account_id, amount_minor, promised_for, made_at)
        SELECT party_id, account_id, 1, '2026-03-09', '2020-01-05Z' FROM account"""
    )
    connection.commit()

    with living_by(database_url, tmp_path, broker_url=broker_url, keep_ledger_days=1827):
        answer = told(0)

    assert [alarm["subject"] for alarm in answer["alarms"]] == ["retention"]
    assert "a promise that is open goes back to 2020-01-05" in answer["alarms"][0]["seen"]
    assert answer["ledger"]["held_by"] == {"what": "a promise that is open", "since": "2020-01-05T00:00:00+00:00"}
    assert (answer["ledger"]["wanted"], answer["ledger"]["before"]) == ("2021-03-01", "2020-01-01")


def test_a_pause_is_amber_and_quiets_what_it_explains(customer: MadeCustomer, connection: psycopg.Connection) -> None:
    lanes.pause(connection, "lantern", reason="a storm", by="tests")
    lanes.pause(connection, "*", reason="a drill", by="tests")
    connection.commit()

    answer = told(0)

    assert answer["paused"] == [{"scope": "*", "reason": "a drill"}, {"scope": "lantern", "reason": "a storm"}]
    assert {(alarm["colour"], alarm["subject"]) for alarm in answer["alarms"]} == {("amber", "paused")}
    assert "duly resume 'lantern'" in " ".join(duly("status").stdout.split())


def test_a_broker_that_is_away_is_red_and_its_password_is_not_told(
    customer: MadeCustomer, database_url: str, tmp_path: Path
) -> None:
    with living_by(database_url, tmp_path, broker_url="redis://:hunter2@127.0.0.1:1/0"):
        result = duly("status")
        answer = told(3)

    assert result.exit_code == 3
    assert "broker" in {alarm["subject"] for alarm in answer["alarms"]}
    assert "hunter2" not in result.output + json.dumps(answer)


def test_nothing_personal_is_in_it(customer: MadeCustomer, connection: psycopg.Connection) -> None:
    step(connection, minutes=9)

    shown = duly("status").output + duly("status", "--json").output

    assert not [each for each in (customer.phone, customer.email, "Ana", "A1-1") if each in shown]


def test_wake_ups_that_wait_are_counted_by_queue(customer: MadeCustomer, broker_url: str) -> None:
    with engines.redis_client(broker_url) as client:
        client.lpush("duly:sms", "x", "y", "z")
        client.hset("duly:unacked", "tag", "x")

    answer = told(0)

    assert (answer["broker"]["queues"]["sms"], answer["broker"]["unacked"]) == (3, 1)
