"""Celery: early acknowledgement, prefetching, no results, no events."""

import os

from celery import Celery

from bench.peers.tally import count

app = Celery("empty", broker=os.environ["BENCH_BROKER"].replace("unix://", "redis+socket://"))
app.conf.update(
    task_ignore_result=True,
    task_default_queue="empty",
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    broker_transport_options={"global_keyprefix": "empty:"},
)


@app.task
def nothing() -> None:
    count()


def put(number: int) -> None:
    with app.producer_pool.acquire(block=True) as producer, producer.batch(1000):
        for _ in range(number):
            nothing.apply_async(producer=producer)
