"""Two providers of one channel, their outages, wrong credentials, and limits that a fleet keeps together."""

import json
import os
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import UUID

from pydantic import SecretStr
from structlog.testing import capture_logs

from channels.choosing import choose
from channels.pacing import block_of
from config.settings import child_environment
from domain.bundle import Bundle
from domain.channel import Channel
from domain.lane import Lane
from domain.route import Rate
from storage import lanes, providers
from storage.providers import Named, Turned
from tests.builders import HOUSE, TUESDAY_MORNING, a_customer, a_live_release, a_reminder, an_account, the_bundle
from tests.rehearsal import Fleet, Sandbox
from worker import dispatch
from worker.wiring import Spine, keyring

LANE = Lane("lantern", Channel.SMS, 0)

TWO = '[sms.providers.twilio]\nweight = 60\n[sms.providers.second]\nkind = "twilio"\nweight = 40\n'


@contextmanager
def another_sandbox(folder: Path, *, port: int = 0) -> Iterator[Sandbox]:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "simulator.sandbox", "--outbox", str(folder), "--parent-pid", str(os.getpid()),
            "--http-port", str(port),
        ],
        stdout=subprocess.PIPE, cwd=HOUSE,
    )  # fmt: skip
    try:
        ready = json.loads(process.stdout.readline())
        yield Sandbox(ready["http_url"], ready["smtp_url"])
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def live_with(fleet: Fleet, more: str) -> None:
    """A live release whose channels file says this too."""
    files = dict(the_bundle().files)
    files["channels.toml"] += "\n" + more
    a_live_release(fleet.conn, Bundle(files))


def due_texts(fleet: Fleet, count: int, *, first: int = 1, country: str = "TW") -> None:
    keys = keyring(fleet.settings)
    for number in range(first, first + count):
        customer = a_customer(fleet.conn, keys, number)
        a_reminder(fleet.conn, customer, an_account(fleet.conn, customer), due_at=lanes.business_now(fleet.conn))
    fleet.conn.execute("UPDATE address SET country = %s WHERE channel = 'phone'", (country,))


def pass_time(fleet: Fleet, **by: float) -> None:
    lanes.step_clock(fleet.conn, lanes.business_now(fleet.conn) + timedelta(**by))


def texts(fleet: Fleet) -> dict[str, int]:
    """How the first step stands."""
    rows = fleet.conn.execute("SELECT state, count(*) FROM reminder WHERE step = 'first_notice' GROUP BY state")
    return dict(rows.fetchall())


def sent_by(fleet: Fleet) -> Counter[str]:
    """Accepted messages by the provider on record."""
    return Counter(
        provider for (provider,) in fleet.conn.execute("SELECT provider FROM contact_event WHERE kind = 'sent'")
    )


def state_of(fleet: Fleet, provider: str) -> str:
    return fleet.conn.execute("SELECT state FROM provider WHERE provider = %s", (provider,)).fetchone()[0]


@contextmanager
def a_worker(fleet: Fleet, **settings: object) -> Iterator[Spine]:
    """A worker in this process, with some settings of its own."""
    spine = Spine(fleet.settings.model_copy(update=settings), fleet.database_url, role="tests")
    try:
        yield spine
    finally:
        spine.close()


def drain_all(worker: Spine) -> None:
    """Drain until nothing may leave, however many slices that takes on a busy machine."""
    while dispatch.drain(worker, LANE).reminders:
        pass


def second_at(second: Sandbox) -> dict[str, str]:
    return {"sandbox_provider_urls": f"second={second.http_url}"}


def test_each_contact_goes_to_the_provider_that_its_weights_choose(fleet: Fleet, sandbox: Sandbox, tmp_path: Path):
    live_with(fleet, TWO)
    due_texts(fleet, 40)
    with another_sandbox(tmp_path / "second") as second, a_worker(fleet, **second_at(second)) as worker:
        drain_all(worker)

        assert sandbox.accepted() + second.accepted() == 40
        assert min(sandbox.accepted(), second.accepted()) >= 5
        assert sent_by(fleet) == {"twilio": sandbox.accepted(), "second": second.accepted()}
    rows = fleet.conn.execute(
        "SELECT contact_id, inputs->>'provider', provider FROM contact JOIN contact_event USING (contact_id)"
    ).fetchall()
    for contact_id, chosen, carried in rows:
        assert chosen == carried == choose(UUID(str(contact_id)), [("twilio", 60), ("second", 40)])


def test_an_outage_moves_the_traffic_to_the_other_provider_and_back(fleet: Fleet, sandbox: Sandbox, tmp_path: Path):
    live_with(fleet, TWO)
    with another_sandbox(tmp_path / "second") as second:
        port = urlsplit(second.http_url).port
    due_texts(fleet, 60)  # and the second provider is gone
    with a_worker(fleet, **second_at(second)) as worker:
        with capture_logs() as logs:
            for _ in range(4):
                drain_all(worker)
                pass_time(fleet, minutes=1)

        assert texts(fleet) == {"sent": 60}
        assert sandbox.accepted() == 60
        assert state_of(fleet, "second") != "closed"
        assert next(line["state"] for line in logs if line["event"] == "provider_turned") == "open"

        with another_sandbox(tmp_path / "again", port=port) as second:
            pass_time(fleet, minutes=10)
            due_texts(fleet, 30, first=100)
            drain_all(worker)
            assert state_of(fleet, "second") == "closed"
            tried = second.accepted()

            due_texts(fleet, 30, first=200)
            drain_all(worker)
            assert texts(fleet) == {"sent": 120}
            assert second.accepted() > tried, "it has its share again"
    assert fleet.conn.execute("SELECT count(*) FROM contact_event WHERE kind = 'uncertain'").fetchone() == (0,)
    reasons = [each.reason for each in providers.changes(fleet.conn, "second")]
    assert reasons[0].startswith("answers again")
    assert reasons[-1] == "configured"


def test_a_provider_that_is_down_is_not_hammered_and_its_reminders_wait(fleet: Fleet, sandbox: Sandbox):
    sandbox.arm({"channel": "sms", "kind": "refuse", "code": "20429"})
    due_texts(fleet, 60)
    with a_worker(fleet) as worker:
        drain_all(worker)

        assert state_of(fleet, "twilio") == "open"
        tried = fleet.conn.execute("SELECT count(*) FROM contact_event WHERE kind = 'rejected'").fetchone()[0]
        assert tried <= 20, "the first wave or two"
        assert texts(fleet) == {"planned": 60}
        assert not lanes.stillness(fleet.conn).due_reminders

        sandbox.arm()
        for _ in range(3):
            pass_time(fleet, minutes=6)
            drain_all(worker)

    assert state_of(fleet, "twilio") == "closed"
    assert texts(fleet) == {"sent": 60}
    assert sandbox.counts()["repeated"] == {}


def test_wrong_credentials_stop_the_provider_once_until_they_are_changed(
    fleet: Fleet, sandbox: Sandbox, tmp_path: Path
):
    sandbox.arm({"channel": "sms", "kind": "refuse", "code": "20003"})  # what Twilio answers to a wrong token
    due_texts(fleet, 30)
    with a_worker(fleet) as worker, capture_logs() as logs:
        drain_all(worker)
        for _ in range(3):
            pass_time(fleet, hours=1)
            drain_all(worker)
            dispatch.sweep(worker)
    (said,) = [line for line in logs if line["event"] == "provider_misconfigured"]

    assert said["provider"] == "twilio"
    assert "duly providers reset" in said["remedy"]
    assert state_of(fleet, "twilio") == "misconfigured"
    assert texts(fleet) == {"planned": 30}, "they wait, and cost no attempt"
    assert fleet.conn.execute("SELECT max(attempt) FROM reminder").fetchone() == (1,)
    released = fleet.conn.execute("SELECT count(*) FROM contact_event WHERE kind = 'released'").fetchone()[0]
    assert released <= 30, "nobody is tried twice"

    with (
        another_sandbox(tmp_path / "mended") as mended,
        a_worker(fleet, sandbox_http_url=mended.http_url) as restarted,
    ):
        restarted.conn.execute("UPDATE batch SET ended_at = ended_at - interval '11 minutes'")
        dispatch.sweep(restarted)
        assert restarted.conn.execute("SELECT count(*) FROM batch").fetchone() == (1,), "all but the last are forgotten"
        drain_all(restarted)
        assert mended.accepted() == 30
    assert [each.reason for each in providers.changes(fleet.conn, "twilio")][:2] == [
        "answers again (5 tried)", "its credentials were changed",
    ]  # fmt: skip


def test_a_message_out_of_another_lane_waits_for_its_provider_too(fleet: Fleet, sandbox: Sandbox):
    due_texts(fleet, 3)
    fleet.conn.execute("UPDATE reminder SET channel = 'email'")  # an older ladder began there
    routes = [Named("twilio", "sms", 100), Named("smtp", "email", 100)]
    providers.register(fleet.conn, routes, by="tests")
    before = next(
        each
        for each in providers.standings(fleet.conn, window=timedelta(1), weighing=timedelta(1))
        if each.provider == "twilio"
    )
    retry_at = lanes.business_now(fleet.conn) + timedelta(minutes=7)
    providers.turn(fleet.conn, before, Turned("open", retry_at, 3, "connect"), by="tests", reason="tests")

    with a_worker(fleet) as worker:
        dispatch.drain(worker, Lane("lantern", Channel.EMAIL, 0))

    assert sandbox.accepted() == 0
    waiting = fleet.conn.execute("SELECT DISTINCT state, channel, due_at, reason FROM reminder").fetchall()
    assert waiting == [("planned", "sms", retry_at, "duly.provider_stopped")]
    assert fleet.conn.execute("SELECT count(*) FROM contact").fetchone() == (0,)


# ------------------------------------------------------------------------------------------------------------- limits

LIMIT = Rate(20, 1)


def busiest_second(sandbox: Sandbox) -> int:
    """The most messages that any one second held, by the sandbox's own log."""
    with urlopen(f"{sandbox.http_url}/sandbox/messages?after=0", timeout=5) as answer:
        times = sorted(message["at"] for message in json.load(answer)["messages"])
    return max(bisect_left(times, at + 1.0) - index for index, at in enumerate(times))


def test_two_workers_keep_one_limit(fleet: Fleet, sandbox: Sandbox, broker_url: str):
    live_with(fleet, f'[sms.providers.twilio]\nlimit = "{LIMIT.count}/s"\n')
    due_texts(fleet, 30)
    environment = child_environment(fleet.settings, database_url=fleet.database_url, broker_url=broker_url)
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.journeys.paced_worker", f"lantern:sms:{shard}", "90"], env=environment,
            cwd=HOUSE,
        )
        for shard in range(2)
    ]  # fmt: skip
    for worker in workers:
        assert worker.wait(120) == 0

    assert texts(fleet) == {"sent": 30}
    workers_seen = fleet.conn.execute("SELECT count(*), bool_and(is_sharing) FROM sender_seen").fetchone()
    assert workers_seen == (2, True)
    assert busiest_second(sandbox) <= LIMIT.count + block_of(LIMIT)


def test_a_countrys_limit_puts_off_what_is_too_much_and_says_why(fleet: Fleet, broker_url: str):
    live_with(fleet, '[sms.providers.twilio]\ncountries = { tw = "4/s" }\n')
    due_texts(fleet, 12)
    with a_worker(fleet, broker_url=SecretStr(broker_url)) as worker:
        dispatch.drain(worker, LANE, slice_seconds=0)

        assert texts(fleet) == {"planned": 12}, "no token was leased for a country that nobody had met yet"
        waits = [row[0] for row in fleet.conn.execute("SELECT due_at - business_now() FROM reminder ORDER BY 1")]
        assert len(set(waits)) == 12
        assert waits[-1] > timedelta(seconds=2), "one token apart"
        assert fleet.conn.execute("SELECT DISTINCT verdict, rule FROM decision").fetchall() == [("hold", "duly.pacing")]
        assert fleet.conn.execute("SELECT count(*) FROM contact").fetchone() == (0,), "nothing was intended"

        until = time.monotonic() + 30
        while texts(fleet) != {"sent": 12}:
            assert time.monotonic() < until, texts(fleet)
            pass_time(fleet, seconds=1)
            dispatch.drain(worker, LANE, slice_seconds=0)
            time.sleep(0.1)


def test_a_full_sender_leaves_its_lane_alone(fleet: Fleet, broker_url: str):
    live_with(fleet, '[sms.providers.twilio]\nper_sender = "1/min"\n')
    due_texts(fleet, 5)
    with a_worker(fleet, broker_url=SecretStr(broker_url)) as worker:
        drain_all(worker)

    assert texts(fleet) == {"sent": 1, "planned": 4}
    due = fleet.conn.execute("SELECT count(*) FROM reminder WHERE due_at = %s", (TUESDAY_MORNING,)).fetchone()
    assert due == (5,), "those that wait were neither judged nor moved"
