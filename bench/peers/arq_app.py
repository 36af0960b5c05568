"""Arq: a hundred jobs at once, polled every ten milliseconds (half a second by default), results dropped."""

import asyncio
import os

from arq.connections import ArqRedis, RedisSettings, create_pool

from bench.peers.tally import count

SOCKET, _, DATABASE = os.environ["BENCH_BROKER"].removeprefix("unix://").partition("?db=")
REDIS = RedisSettings(unix_socket_path=SOCKET, database=int(DATABASE))


async def nothing(_: object) -> None:
    count()


class Worker:
    functions = (nothing,)
    redis_settings = REDIS
    max_jobs = 100
    poll_delay = 0.01
    queue_read_limit = 500
    keep_result = 0
    log_results = False


async def _put(number: int) -> None:
    pool: ArqRedis = await create_pool(REDIS)
    for start in range(0, number, 100):
        await asyncio.gather(*(pool.enqueue_job("nothing") for _ in range(min(100, number - start))))
    await pool.aclose()


def put(number: int) -> None:
    asyncio.run(_put(number))
