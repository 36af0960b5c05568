"""What the broker says of itself: whether it answers, and how much waits in it. Workers never ask."""

from dataclasses import dataclass, field
from typing import Final

import redis

from config.settings import Settings
from worker import engines
from worker.app import KEY_PREFIX, QUEUES

#: Messages that were taken and not acknowledged yet, as Kombu keeps them.
UNACKED: Final = f"{KEY_PREFIX}unacked"


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker now. What only Redis and Valkey tell is None with another; `trouble` says why it does not answer."""

    place: str
    is_up: bool
    version: str | None = None
    connections: int | None = None
    memory_bytes: int | None = None
    most_memory_bytes: int | None = None
    queues: dict[str, int] = field(default_factory=dict)
    unacked: int | None = None
    trouble: str | None = None


def look(settings: Settings, url: str) -> Broker:
    """Ask the broker, with the patience of a probe. Raises nothing."""
    if not url.startswith("redis"):
        asked = engines.status(settings)[1]
        return Broker(asked.place, asked.running, trouble=asked.trouble)
    place = engines.broker_place(url)
    try:
        return _asked(url, place)
    except (redis.RedisError, OSError) as error:
        return Broker(place, is_up=False, trouble=type(error).__name__)


def _asked(url: str, place: str) -> Broker:
    with engines.redis_client(url) as client:
        about = client.info()
        with client.pipeline(transaction=False) as lengths:
            for queue in QUEUES:
                lengths.llen(KEY_PREFIX + queue)
            lengths.hlen(UNACKED)
            *waiting, unacked = lengths.execute()
    return Broker(
        place,
        is_up=True,
        version=str(about.get("valkey_version") or about.get("redis_version")),
        connections=about.get("connected_clients"),
        memory_bytes=about.get("used_memory"),
        most_memory_bytes=about.get("maxmemory") or None,
        queues=dict(zip(QUEUES, waiting, strict=True)),
        unacked=unacked,
    )
