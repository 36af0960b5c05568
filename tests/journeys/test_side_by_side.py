"""Lenders, channels and beats side by side on the true fleet: nobody waits for a giant, and a pause is a pause."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.request import Request, urlopen

import psycopg
import pytest

from config.settings import Settings
from console.fleet import Running, fleet
from domain.channel import Channel
from storage import database, lanes
from storage.rows import Conn
from tests.builders import TUESDAY_MORNING, a_live_release
from tests.conftest import copy_of, named
from tests.journeys.crowd import a_crowd, lenders_like
from tests.rehearsal import eventually
from worker.engines import Engines, redis_client
from worker.turns import GENTLE_FOR
from worker.wiring import keyring

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(170)]

GIANT, SMALL, OTHER = "+886910000001", "+886920000002", "ana@mail.example"

#: A busy machine may take its time between a message's leaving and the sandbox's note of it.
ROOM_SECONDS = 8


@dataclass
class House:
    """A running fleet of two workers and two beats."""

    conn: Conn
    running: Running
    settings: Settings

    def crowd(self, lender: str, count: int, *, to: str, channel: Channel = Channel.SMS) -> range:
        return a_crowd(self.conn, keyring(self.settings), lender, channel, count, to=to)

    def arm(self, *rules: dict) -> None:
        body = json.dumps(rules).encode()
        urlopen(Request(f"{self.running.sandbox_http}/sandbox/faults", body, method="POST"), timeout=20).close()

    def accepted(self, to: str) -> list[float]:
        """When the sandbox accepted each message to an address, by its own clock."""
        whole, _, _ = (self.running.outbox / "messages.jsonl").read_bytes().rpartition(b"\n")
        lines = whole.splitlines()
        return [message["at"] for message in map(json.loads, lines) if message["to"] == to]

    def repeated(self) -> dict[str, int]:
        with urlopen(f"{self.running.sandbox_http}/sandbox/counts", timeout=20) as answer:
            return json.load(answer)["repeated"]

    def waiting(self, lender: str) -> int:
        query = "SELECT count(*) FROM reminder WHERE lender_id = %s AND state = 'planned' AND due_at <= business_now()"
        return self.conn.execute(query, (lender,)).fetchone()[0]

    def deciding_since_before(self, at: float) -> int:
        """Workers' transactions that began before that instant (seconds since 1970) and are still open."""
        query = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'duly worker%%'
              AND xact_start < to_timestamp(%s)
        """
        return self.conn.execute(query, (at,)).fetchone()[0]

    def forget(self) -> None:
        """Nothing is due, paused or faulty any more."""
        self.arm()
        self.conn.execute("DELETE FROM pause")
        self.conn.execute("DELETE FROM resumption")
        self.conn.execute(
            "UPDATE reminder SET state = 'cancelled', reason = 'a test', ended_at = now() WHERE state = 'planned'"
        )
        eventually(lambda: not any(lanes.stillness(self.conn)), why="the fleet comes to rest")


@pytest.fixture(scope="module")
def running(
    engines: Engines, admin: psycopg.Connection, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    with redis_client(engines.broker_url) as broker:
        broker.flushall()
    with copy_of(template, admin) as name:
        url = named(engines.database_url, name)
        settings = Settings(home=home, database_url=url, broker_url=engines.broker_url, worker_concurrency=2)
        with database.connect(url, autocommit=True) as conn:
            a_live_release(conn, lenders_like("lantern", ["giant", "small"]))
            lanes.step_clock(conn, TUESDAY_MORNING)
            with fleet(settings, beats=2) as parts:
                yield House(conn, parts, settings)


@pytest.fixture
def house(running: House) -> Iterator[House]:
    yield running
    running.forget()


def a_busy_giant(house: House, count: int = 5000) -> None:
    """A lender with so much due that it takes the fleet a long while: its provider is slow."""
    house.arm({"channel": "sms", "kind": "stall_before", "seconds": 0.4, "address": GIANT})
    house.crowd("giant", count, to=GIANT)
    eventually(lambda: len(house.accepted(GIANT)) > 100, why="the giant is being served")


def test_a_giant_keeps_neither_another_lender_waiting_nor_another_channel(house: House):
    a_busy_giant(house)

    house.crowd("small", 10, to=SMALL)
    house.crowd("giant", 10, to=OTHER, channel=Channel.EMAIL)
    eventually(lambda: len(house.accepted(SMALL)) == 10, why="ten texts of another lender leave")
    eventually(lambda: len(house.accepted(OTHER)) == 10, why="ten mails leave")

    assert house.waiting("giant") > 1000, "the giant was not finished first"
    assert house.repeated() == {}


def test_a_pause_stops_everything_in_the_middle_of_a_batch_and_a_resume_begins_gently(house: House):
    a_busy_giant(house)

    lanes.pause(house.conn, "*", reason="a test", by="tests")
    since = house.conn.execute("SELECT extract(epoch FROM since)::float FROM pause").fetchone()[0]
    eventually(lambda: house.deciding_since_before(since) == 0, why="nobody decides any more who did not see it")
    eventually(lambda: lanes.stillness(house.conn).open_batches == 0, why="what was in hand is given back")

    last_stamp = house.conn.execute(
        "SELECT extract(epoch FROM max(stamped_at))::float FROM reminder WHERE lender_id = 'giant'"
    ).fetchone()[0]
    assert last_stamp <= since + 1, "no wave was stamped after the pause"
    assert max(house.accepted(GIANT)) <= since + 2 + ROOM_SECONDS
    sent = len(house.accepted(GIANT))
    assert house.waiting("giant") > 0

    lanes.resume(house.conn, "*")
    eventually(lambda: len(house.accepted(GIANT)) > sent, why="sending goes on")

    batches = house.conn.execute(
        "SELECT max(size) FROM batch WHERE begun_at > (SELECT max(resumed_at) FROM resumption)"
    ).fetchone()
    assert batches[0] <= house.settings.wave_size
    assert GENTLE_FOR.total_seconds() > 30
    assert house.repeated() == {}


def test_one_lenders_pause_stops_nobody_else(house: House):
    lanes.pause(house.conn, "giant", reason="a test", by="tests")
    before = len(house.accepted(GIANT)), len(house.accepted(SMALL))

    house.crowd("giant", 10, to=GIANT)
    house.crowd("small", 10, to=SMALL)
    eventually(lambda: len(house.accepted(SMALL)) == before[1] + 10, why="the other lender's leave")

    assert len(house.accepted(GIANT)) == before[0]
    assert house.waiting("giant") == 10


def test_two_beats_at_once_and_then_none_for_ten_minutes_harm_nothing(house: House):
    beats = [part for part in house.running.parts if part.name.startswith("beat")]
    assert len(beats) == 2
    before = len(house.accepted(SMALL))
    house.crowd("small", 10, to=SMALL)
    eventually(lambda: len(house.accepted(SMALL)) == before + 10, why="with two beats they leave")

    for beat in beats:
        beat.process.kill()
        beat.process.wait()
    house.crowd("small", 10, to=SMALL)
    lanes.step_clock(house.conn, lanes.business_now(house.conn).replace(minute=10))
    time.sleep(1)
    quiet = len(house.accepted(SMALL))
    beats[0].start()
    eventually(lambda: len(house.accepted(SMALL)) == before + 20, why="with one again, what came due leaves")

    assert quiet <= before + 20
    assert house.repeated() == {}
    beats[1].start()
