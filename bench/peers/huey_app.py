"""Huey: blocking Redis, no results."""

import os

from huey import RedisHuey

from bench.peers.tally import count

huey = RedisHuey("empty", url=os.environ["BENCH_BROKER"], results=False)


@huey.task()
def nothing() -> None:
    count()


def put(number: int) -> None:
    for _ in range(number):
        nothing()
