"""Whatever stands in the broker: our own wake-ups are followed, everything else is refused, counted and survived."""

import json
import os
import pickle
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection, Message
from kombu.compression import compress
from redis.client import PubSub

from config.settings import Settings, child_environment
from storage import database, tallies
from tests.builders import HOUSE, a_live_release
from tests.chaos.links import Links
from tests.rehearsal import eventually
from worker import engines as embedded
from worker.app import HARD_LIMIT_SECONDS, QUEUES, SOFT_LIMIT_SECONDS
from worker.door import LARGEST_BODY_BYTES, refusal

TASKS = frozenset({"duly.tick", "duly.drain"})
LANE = "lantern:sms:3"
AS_JSON = ("application/json", "utf-8")
NOTHING_MORE = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def a_body(*args: Any, embedded: Any = NOTHING_MORE, **named: Any) -> bytes:
    return json.dumps([args, named, embedded]).encode()


def headers(task: str = "duly.drain", **changed: Any) -> dict[str, Any]:
    return {"lang": "py", "task": task, "id": str(uuid4()), "timelimit": [None, None], "retries": 0, **changed}


def test_our_own_wake_ups_are_let_in() -> None:
    assert refusal(headers(), *AS_JSON, a_body(LANE), tasks=TASKS) is None
    assert refusal(headers("duly.tick"), *AS_JSON, a_body(), tasks=TASKS) is None
    assert refusal(headers(redelivered=True, celery_beat_task=True), *AS_JSON, a_body(LANE), tasks=TASKS) is None


def test_what_this_celery_writes_is_let_in() -> None:
    written = Celery(set_as_current=False).amqp.as_task_v2(
        str(uuid4()), "duly.drain", args=[LANE], expires=60, ignore_result=True,
        time_limit=HARD_LIMIT_SECONDS, soft_time_limit=SOFT_LIMIT_SECONDS,
    )  # fmt: skip
    as_read = json.loads(json.dumps(written.headers))

    assert refusal(as_read, *AS_JSON, json.dumps(written.body).encode(), tasks=TASKS) is None


@pytest.mark.parametrize(
    ("changed", "content_type", "body", "why"),
    [
        ({"task": "celery.chord_unlock"}, "application/json", a_body(), "unknown task"),
        ({"task": ["duly.drain"]}, "application/json", a_body(), "unknown task"),
        ({}, "application/x-python-serialize", pickle.dumps(()), "not JSON"),
        ({"compression": "application/x-gzip"}, "application/json", a_body(LANE), "not JSON"),
        ({}, "application/json", b"{", "not JSON"),
        ({}, "application/json", b"[" * LARGEST_BODY_BYTES, "not JSON"),
        ({}, "application/json", a_body("x" * LARGEST_BODY_BYTES), "oversized"),
        ({"eta": "2099-01-01T00:00:00+00:00"}, "application/json", a_body(LANE), "not a wake-up"),
        ({"timelimit": [0.01, None]}, "application/json", a_body(LANE), "not a wake-up"),
        ({"expires": "soon"}, "application/json", a_body(LANE), "not a wake-up"),
        ({"id": None}, "application/json", a_body(LANE), "not a wake-up"),
        ({}, "application/json", a_body(LANE, LANE), "not a lane name"),
        ({}, "application/json", a_body({"lane": LANE}), "not a lane name"),
        ({}, "application/json", a_body("lantern:sms:99"), "not a lane name"),
        ({}, "application/json", a_body(), "not a lane name"),
        ({}, "application/json", a_body(lane=LANE), "wrong arguments"),
        ({"task": "duly.tick"}, "application/json", a_body(1), "wrong arguments"),
        ({}, "application/json", a_body(LANE, embedded={"chain": [{"task": "duly.tick"}]}), "wrong arguments"),
        ({}, "application/json", b'"duly"', "wrong arguments"),
        ({}, "application/json", a_body(LANE, embedded={"__type__": "", "__value__": ""}), "wrong arguments"),
        ({}, "application/json", a_body(LANE).decode().encode("utf-16"), "not JSON"),
        ({"callbacks": [{"task": "duly.tick"}]}, "application/json", a_body(LANE, embedded={}), "not a wake-up"),
        ({"args": ["lantern:sms:99"]}, "application/json", a_body(LANE), "not a wake-up"),
        ({"argsrepr": "x" * 3_000_000}, "application/json", a_body(LANE), "not a wake-up"),
        ({"root_id": {"a": 1}}, "application/json", a_body(LANE), "not a wake-up"),
    ],
)
def test_what_we_would_not_have_sent_is_refused(changed: dict, content_type: str, body: bytes, why: str) -> None:
    assert refusal(headers(**changed), content_type, "utf-8", body, tasks=TASKS) == why


@pytest.mark.parametrize("encoding", ["klingon", "utf-16", "binary", "", None, 7, ["utf-8"]])
def test_what_is_in_another_encoding_is_refused(encoding: object) -> None:
    assert refusal(headers(), "application/json", encoding, a_body(LANE), tasks=TASKS) == "not JSON"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*headers(), "eta", "expires"]), JSON), JSON, JSON)
def test_anything_at_all_is_answered_and_nothing_strange_let_in(given_headers: dict, kind: Any, said: Any) -> None:
    assert refusal(given_headers, kind, "utf-8", json.dumps(said).encode(), tasks=TASKS) is not None


@pytest.fixture
def settings(database_url: str, broker_url: str, tmp_path: Path) -> Settings:
    with database.connect(database_url, autocommit=True) as conn:
        a_live_release(conn)
    return Settings(home=tmp_path, database_url=database_url, broker_url=broker_url)


@pytest.fixture
def asked(settings: Settings) -> Iterator[PubSub]:
    """What workers ask of one another, from before the first is there."""
    with embedded.redis_client(settings.broker_url.get_secret_value()) as client, client.pubsub() as listening:
        listening.psubscribe("*pidbox*")
        yield listening


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen]:
    """The true worker, as the fleet starts it."""
    celery = [sys.executable, "-m", "celery", "-A", "worker.app", "--quiet"]
    command = [*celery, "worker", "-Q", ",".join(QUEUES), "-c", "1"]
    with (tmp_path / "worker.log").open("wb") as log_file:
        process = subprocess.Popen(
            command, env=child_environment(settings), cwd=HOUSE, stdout=log_file, stderr=log_file
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def send(settings: Settings, body: Any, **more: Any) -> None:
    """Publish with kombu, as anybody could who reaches the broker."""
    url = settings.broker_url.get_secret_value()
    with Connection(url, transport_options={"global_keyprefix": "duly:"}) as connection:
        connection.Producer(auto_declare=False).publish(body, exchange="sms", routing_key="sms", **more)


def an_envelope(**changed: Any) -> bytes:
    """A wake-up as kombu's Redis transport writes it, but for what is changed; properties are changed one by one."""
    properties = {"delivery_tag": str(uuid4()), "delivery_info": {"exchange": "", "routing_key": "sms"},
                  "body_encoding": "base64", "priority": 0, "correlation_id": None, "reply_to": None}  # fmt: skip
    message = {"body": b64encode(a_body(LANE)).decode(), "content-type": "application/json",
               "content-encoding": "utf-8", "headers": headers(), "properties": properties}  # fmt: skip
    properties |= changed.pop("properties", {})
    return json.dumps(message | changed).encode()


#: Each of these ended the whole worker once, in kombu or in Celery, and most of them came back to the next.
DEADLY = {
    "no place": an_envelope(properties={"delivery_info": {}}),
    "a place that is a text": an_envelope(properties={"delivery_info": "sms"}),
    "a place that is a list": an_envelope(properties={"delivery_info": ["sms"]}),
    "an encoding that is a number": an_envelope(**{"content-encoding": 7}),
    "an encoding that is a list": an_envelope(**{"content-encoding": ["utf-8"]}),
    "half a letter of base64": an_envelope(body="A"),
}


def forge(settings: Settings) -> int:
    """One of each: through kombu, and straight into the list; how many there are."""
    url = settings.broker_url.get_secret_value()
    send(settings, pickle.dumps(os.system), content_type="application/x-python-serialize", content_encoding="binary",
         headers=headers())  # fmt: skip
    send(settings, [[], {}, NOTHING_MORE], headers=headers("os.system"))
    send(settings, [[], {}, NOTHING_MORE], headers=headers("celery.backend_cleanup"))
    send(settings, [["lantern:sms:99"], {}, NOTHING_MORE], headers=headers())
    send(settings, [["x" * 1_000_000], {}, NOTHING_MORE], headers=headers())
    send(settings, [[7], {"lane": LANE}, NOTHING_MORE], headers=headers())
    send(settings, {"task": "duly.drain", "id": "1", "args": [LANE], "kwargs": {}})
    packed, kind = compress(b"0" * 50_000_000, "zlib")
    bomb = an_envelope(body=b64encode(packed).decode(), headers=headers(compression=kind))
    rubbish = [b"\xff\xfe", b"7", b"{}", b"[" * 100_000, bomb,
               b'{"body": {"__type__": "datetime", "__value__": "x"}, "properties": {}}', *DEADLY.values()]  # fmt: skip
    with embedded.redis_client(url) as client:
        for raw in rubbish:
            client.lpush("duly:sms", raw)
    return 7 + len(rubbish)


def refused(url: str) -> int:
    with database.connect(url, autocommit=True) as conn:
        return int(sum(number for series, number in tallies.totals(conn).items() if "refused" in series))


def test_a_worker_refuses_and_counts_what_is_forged_and_goes_on(
    settings: Settings, asked: PubSub, worker: subprocess.Popen
) -> None:
    with embedded.redis_client(settings.broker_url.get_secret_value()) as client:
        eventually(lambda: client.exists("duly:_kombu.binding.sms") == 1, why="the worker has declared its queues")

    heard = [message for _ in range(8) if (message := asked.get_message()) is not None]
    assert [message["type"] for message in heard] == ["psubscribe"], "it asks other workers what they have heard"
    forged = forge(settings)
    url = settings.database_url.get_secret_value()

    eventually(lambda: refused(url) >= forged, why="every forged message is counted")

    assert refused(url) == forged
    with database.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO wake_up (lane) VALUES (%s)", (LANE,))
        send(settings, [[LANE], {}, NOTHING_MORE], headers=headers())
        eventually(lambda: not conn.execute("SELECT 1 FROM wake_up").fetchall(), why="the worker still takes turns")
    assert worker.poll() is None


def test_an_answer_that_the_broker_never_heard_holds_no_place(broker_url: str, tmp_path: Path) -> None:
    links = Links(tmp_path)
    link = links.add("broker")
    link.target = Path(unquote(urlsplit(broker_url).path))
    taken: list[Message] = []
    try:
        with Connection(f"redis://127.0.0.1:{link.port}/0") as connection:
            queue = connection.SimpleQueue("sms")
            queue.consumer.qos(prefetch_count=2)
            for answer in (Message.ack, Message.reject, Message.ack):
                queue.put("a wake-up")
                taken.append(queue.get(timeout=5))
                links.refuse(link)
                with pytest.raises(connection.connection_errors):
                    answer(taken[-1])
                links.listen(link)
                with suppress(*connection.connection_errors):  # the one that waited for messages was cut as well
                    connection.drain_events(timeout=0.1)
    finally:
        links.close()
    assert len({message.delivery_tag for message in taken}) == 3
