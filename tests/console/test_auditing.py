"""`duly audit` as an operator or a nightly job meets it: what it prints, and its exit code."""

import json
from datetime import timedelta

import psycopg

from tests.cli_kit import Duly
from tests.worlds import World, plant, worlds


def planted(connection: psycopg.Connection, *, barred: bool) -> World:
    """One contact in the ledger, of the kind that is asked for."""
    world = next(world for world in worlds(1, 50) if bool(world.bars) == barred)
    plant(connection, [world])
    connection.commit()
    return world


def test_a_clean_ledger_exits_with_nought(duly: Duly, connection: psycopg.Connection) -> None:
    planted(connection, barred=False)

    done = duly("audit")

    assert done.returncode == 0, done.stderr
    assert "1 contacts audited" in done.stdout
    assert "No violation." in done.stdout
    assert "Not audited: " in done.stdout


def test_a_violation_exits_with_three_and_is_told_with_its_rule(duly: Duly, connection: psycopg.Connection) -> None:
    world = planted(connection, barred=True)

    done = duly("audit")

    assert done.returncode == 3, done.stderr
    told = next(line for line in done.stdout.splitlines() if str(world.contact_id) in line and " (" in line)
    assert any(rule in told for rule in world.bars)
    assert f"A{world.number}-0" in told


def test_a_script_reads_one_json_document(duly: Duly, connection: psycopg.Connection) -> None:
    world = planted(connection, barred=True)
    day = world.case.now.date()

    done = duly("audit", "--json", "--since", str(day), "--until", str(day))

    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert (found["schema"], found["contacts"]) == (1, 1)
    assert {each["rule"] for each in found["listed"]} == world.bars
    assert found["violations"] == len(world.bars)

    after = duly("audit", "--json", "--since", str(day + timedelta(days=1)))
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout)["contacts"] == 0


def test_what_is_no_date_is_refused(duly: Duly) -> None:
    done = duly("audit", "--since", "yesterday")

    assert done.returncode == 2
    assert "'yesterday' is not a date" in done.stderr
