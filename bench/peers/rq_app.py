"""RQ: enqueued in bulk, results dropped; its worker runs jobs in its own process instead of forking for each."""

import os

from redis import Redis
from rq import Queue

from bench.peers.tally import count


def nothing() -> None:
    count()


def put(number: int) -> None:
    queue = Queue("empty", connection=Redis.from_url(os.environ["BENCH_BROKER"]))
    for start in range(0, number, 500):
        chunk = min(500, number - start)
        queue.enqueue_many([Queue.prepare_data(nothing, result_ttl=0) for _ in range(chunk)])
