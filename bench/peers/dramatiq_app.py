"""Dramatiq: no results, its default middleware."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers.tally import count

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_BROKER"]))


@dramatiq.actor
def nothing() -> None:
    count()


def put(number: int) -> None:
    for _ in range(number):
        nothing.send()
