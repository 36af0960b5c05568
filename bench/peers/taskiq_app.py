"""Taskiq: a stream in Redis, the fastest of its brokers (a list: a quarter); no results."""

import asyncio
import os

from taskiq_redis import RedisStreamBroker

from bench.peers.tally import count

# No time-out on the socket: the client's default of five seconds ends a worker that waits for its first task.
broker = RedisStreamBroker(os.environ["BENCH_BROKER"], xread_count=500, consumer_id="0", socket_timeout=None)


@broker.task
async def nothing() -> None:
    count()


async def _put(number: int) -> None:
    await broker.startup()
    for _ in range(number):
        await nothing.kiq()
    await broker.shutdown()


def put(number: int) -> None:
    asyncio.run(_put(number))
