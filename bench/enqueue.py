"""Puts empty tasks into the broker: `python -m bench.enqueue COUNT`."""

import sys

from bench.empty import app, nothing

if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer, producer.batch(1000):
        for _ in range(int(sys.argv[1])):
            nothing.apply_async(producer=producer)
