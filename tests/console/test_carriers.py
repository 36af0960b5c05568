"""`duly providers`: who carries each channel and why, for people and for scripts."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from domain.bundle import Bundle
from storage import lanes, providers
from storage.providers import Named, Standing, Turned
from tests.builders import TUESDAY_MORNING, a_live_release, the_bundle
from tests.console.desk import duly, living_by

MINUTE = timedelta(minutes=1)

LIMITED = '\n[sms.providers.twilio]\nlimit = "100/s"\ncountries = { us = "3/s" }\n'


@pytest.fixture
def desk(connection: psycopg.Connection, database_url: str, broker_url: str, tmp_path: Path) -> Iterator[None]:
    connection.autocommit = True
    files = dict(the_bundle().files)
    files["channels.toml"] += LIMITED
    a_live_release(connection, Bundle(files))
    lanes.step_clock(connection, TUESDAY_MORNING)
    providers.register(connection, [Named("twilio", "sms", 100), Named("smtp", "email", 100)], by="release abc")
    with living_by(database_url, tmp_path, broker_url=broker_url):
        yield


def standing(conn: psycopg.Connection, name: str) -> Standing:
    return next(each for each in providers.standings(conn, window=MINUTE, weighing=MINUTE) if each.provider == name)


def told() -> dict[str, dict]:
    result = duly("providers", "--json")
    assert result.exit_code == 0, result.output
    return {each["provider"]: each for each in json.loads(result.stdout)["providers"]}


def test_every_provider_is_listed_with_its_weight_breaker_rates_and_reason(desk: None):
    assert set(told()) == {"twilio", "smtp"}
    twilio = told()["twilio"]

    assert (twilio["weight"], twilio["configured"], twilio["state"]) == (100, 100, "closed")
    assert twilio["rates"] == ["in all 100/s", "US 3/s"]
    assert (twilio["last_change"]["reason"], twilio["last_change"]["by_whom"]) == ("configured", "release abc")
    shown = duly("providers").output
    assert "twilio" in shown
    assert "100/s" in shown


def test_a_misconfigured_provider_is_shown_with_what_to_do_and_tried_again_on_request(
    desk: None, connection: psycopg.Connection
):
    refused = Turned("misconfigured", None, 0, "20003", "f00d")
    providers.turn(
        connection, standing(connection, "twilio"), refused, by="worker@here", reason="refused our credentials"
    )
    assert "duly providers reset" in told()["twilio"]["remedy"]

    done = duly("providers", "reset", "twilio", "--why", "the account is paid again")

    assert done.stdout.endswith("twilio is tried again.\n")
    after = standing(connection, "twilio")
    assert (after.state, after.retry_at) == ("open", TUESDAY_MORNING)
    assert providers.changes(connection, "twilio")[0].reason == "reset: the account is paid again"
    assert duly("providers", "reset", "smtp").output == "smtp was not stopped.\n"


def test_a_weight_set_by_hand_is_on_record_with_who_and_why(desk: None, connection: psycopg.Connection):
    assert duly("providers", "weigh", "twilio", "20", "--why", "their status page").output == "twilio has weight 20.\n"

    assert standing(connection, "twilio").weight == 20
    history = json.loads(duly("providers", "history", "twilio", "--json").stdout)["changes"]
    assert [(each["weight"], each["reason"]) for each in history] == [
        (20, "set: their status page"), (100, "configured"),
    ]  # fmt: skip
    assert "20" in duly("providers", "history").output


def test_a_provider_that_does_not_exist_is_refused_with_those_that_do(desk: None, capfd: pytest.CaptureFixture[str]):
    done = duly("providers", "reset", "carrier-pigeon")

    assert done.exit_code == 2
    assert "there are smtp, twilio" in done.output + capfd.readouterr().err
