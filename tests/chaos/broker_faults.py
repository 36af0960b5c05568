"""What may become of the broker's messages, which carry nothing but the names of lanes: lost, doubled, late, forged."""

import base64
import json
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from domain.lane import SHARDS
from storage import tallies
from tests.chaos.rounds import Fault, Script, Trial
from worker import engines
from worker.metrics import REFUSED, SEPARATOR

#: How long a fault of this kind lasts.
SECONDS = 4.0

PREFIX = "duly:"


@contextmanager
def valkey(trial: Trial) -> Iterator[redis.Redis]:
    """The broker past its proxy; what it does not answer is not asked again."""
    with suppress(redis.RedisError), engines.redis_client(trial.arena.broker_url) as client:
        yield client


def envelope(task: str, args: object, **changes: object) -> bytes:
    """A message as Kombu's Redis transport writes it (kombu 5.7, transport/virtual)."""
    body = json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    message: dict[str, Any] = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": task, "id": str(uuid4()), "root_id": None, "parent_id": None, "group": None,
            "retries": 0, "timelimit": [None, None], "expires": None, "eta": None, "argsrepr": "", "kwargsrepr": "{}",
            "origin": "chaos", "ignore_result": True,
        },
        "properties": a_place("sms"),
    }  # fmt: skip
    headers = changes.pop("headers", {})
    message["headers"] |= headers  # type: ignore[operator]
    return json.dumps({**message, **changes}).encode()


def lost(trial: Trial) -> Script:
    """Whatever is in the broker vanishes, over and over."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        with valkey(trial) as client:
            client.flushall()
        yield 0.05


def doubled(trial: Trial) -> Script:
    """Every lane's wake-up twenty times at the same instant, whether there is work or not."""
    lanes = [(channel, f"lantern:{channel}:{shard}") for channel in ("sms", "email") for shard in range(SHARDS)]
    for _ in range(3):
        with valkey(trial) as client:
            for channel, lane in lanes:
                client.lpush(PREFIX + channel, *(envelope("duly.drain", [lane]) for _ in range(7)))
        yield 1.0


def delayed(trial: Trial) -> Script:
    """Whatever is in the broker is taken away, and comes back later; with it a wake-up from an hour ago."""
    kept: list[tuple[bytes, bytes]] = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        with valkey(trial) as client:
            for queue in (b"sms", b"email", b"maintenance", b"feedback"):
                while (message := client.rpop(PREFIX.encode() + queue)) is not None:
                    kept.append((PREFIX.encode() + queue, message))
        yield 0.02
    old = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    with valkey(trial) as client:
        for queue, message in kept:
            client.lpush(queue, message)
        client.lpush(PREFIX + "sms", envelope("duly.drain", ["lantern:sms:3"], headers={"expires": old}))
        client.lpush(PREFIX + "sms", envelope("duly.drain", ["lantern:sms:3"]))
    yield 0.5


class Touch:
    """Unpickled, it makes a file: proof that somebody believed the broker."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self._path, "w")


def forgeries(proof: Path) -> list[bytes]:
    """What somebody with access to the broker might try."""
    pickled = base64.b64encode(pickle.dumps(([Touch(proof)], {}, {}))).decode()
    return [
        envelope("os.system", ["true"]),
        envelope("duly.nosuch", []),
        envelope(
            "duly.drain", ["lantern:sms:3"], **{"content-type": "application/x-python-serialize", "body": pickled}
        ),
        envelope("duly.drain", ["nobody:sms:3"]),
        envelope("duly.drain", ["lantern:fax:3"]),
        envelope("duly.drain", ["lantern:sms:99999"]),
        envelope("duly.drain", ["lantern:sms:3'; DROP TABLE contact; --"]),
        envelope("duly.drain", [{"lane": "lantern:sms:3"}]),
        envelope("duly.drain", [12]),
        envelope("duly.drain", []),
        envelope("duly.drain", ["lantern:sms:3", "and", "more"]),
        envelope("duly.drain", ["x" * 3_000_000]),
        envelope("duly.drain", ["lantern:sms:3"], headers={"eta": "not a time"}),
        envelope("duly.drain", ["lantern:sms:3"], headers={"expires": "not a time"}),
        envelope("duly.tick", [1, 2, 3]),
        envelope("duly.drain", ["lantern:sms:3"], headers={"retries": "many", "timelimit": "long"}),
        envelope("duly.drain", ["lantern:sms:3"], body="!!! no base64"),
        envelope("duly.drain", ["lantern:sms:3"], **{"content-encoding": "klingon"}),
        envelope("duly.drain", ["lantern:sms:3"], **{"content-encoding": 7}),
        envelope("duly.drain", ["lantern:sms:3"], body="A"),
        envelope("duly.drain", ["lantern:sms:3"], headers={"callbacks": [{"task": "duly.tick"}]}),
        envelope("duly.drain", ["lantern:sms:3"], properties=a_place("sms") | {"delivery_info": "sms"}),
    ]


def a_place(queue: str) -> dict[str, Any]:
    """What kombu notes of where a message is going."""
    return {
        "correlation_id": str(uuid4()), "reply_to": str(uuid4()), "delivery_mode": 2, "priority": 0,
        "delivery_info": {"exchange": queue, "routing_key": queue}, "body_encoding": "base64",
        "delivery_tag": str(uuid4()),
    }  # fmt: skip


#: Not even an envelope.
RUBBISH = [b"\xff\xfe rubbish", b"[]", b"null", b"{}", b'{"body": 1}', b'"a string"', b""]


#: The one among them that names a lane that could be: it is followed, and nothing is found there.
FOLLOWED = 1

#: A worker says what it refused every two seconds, over a connection that it opens for it.
COUNTED_WITHIN_SECONDS = 40.0


def refused(trial: Trial) -> int:
    """How many broker messages the fleet says it refused."""
    totals = trial.arena.ask(tallies.totals)
    return int(sum(number for series, number in totals.items() if series.partition(SEPARATOR)[0] == REFUSED.name))


def pushed(trial: Trial, messages: list[bytes], counted: int) -> Script:
    """Put them in, in any queue; each is refused and counted once, unless who counts is killed meanwhile."""
    before = refused(trial)
    for message in messages:
        with valkey(trial) as client:
            client.lpush(PREFIX + trial.dice.choice(["sms", "email", "maintenance"]), message)
        yield 0.1
    if trial.has_company:
        yield 1.0
        return
    until = time.monotonic() + COUNTED_WITHIN_SECONDS
    yield lambda: refused(trial) >= before + counted or time.monotonic() > until
    trial.expect(lambda: _miscounted(refused(trial) - before, counted))


def _miscounted(number: int, expected: int) -> str | None:
    return None if number == expected else f"{number} messages were counted as refused, not {expected}"


def forged(trial: Trial) -> Script:
    proof = trial.arena.home / "unpickled"
    messages = forgeries(proof)
    yield from pushed(trial, messages, len(messages) - FOLLOWED)
    trial.expect(lambda: "a pickled message was believed" if proof.exists() else None)


def rubbish(trial: Trial) -> Script:
    yield from pushed(trial, RUBBISH, len(RUBBISH))


def flushed(trial: Trial) -> Script:
    with valkey(trial) as client:
        client.flushall()
    yield 0.5


FAULTS = [
    Fault("broker messages", "lost", lost),
    Fault("broker messages", "doubled", doubled),
    Fault("broker messages", "delayed", delayed),
    Fault("broker messages", "forged", forged),
    Fault("broker messages", "no messages at all", rubbish),
    Fault("broker messages", "FLUSHALL", flushed),
]
