"""Ten workers' worth of threads in one process: `python -m tests.chaos.crowd SECONDS SEED`, each draining any lane.

Ten such processes are a hundred workers on the same lanes; that they share two cores only makes their races longer.
"""

import sys
import threading
import time
from random import Random

from config.settings import load
from domain.channel import Channel
from domain.lane import SHARDS, Lane
from worker import dispatch
from worker.wiring import Spine

THREADS = 10


def drain(until: float, seed: int) -> None:
    settings = load()
    assert settings.database_url is not None
    spine = Spine(settings, settings.database_url.get_secret_value(), role="crowd")
    dice = Random(seed)
    try:
        while time.monotonic() < until:
            channel = dice.choice((Channel.SMS, Channel.EMAIL))
            dispatch.drain(spine, Lane("lantern", channel, dice.randrange(SHARDS)), slice_seconds=0)
            time.sleep(dice.uniform(0, 0.2))
    finally:
        spine.close()


if __name__ == "__main__":
    seconds, first = float(sys.argv[1]), int(sys.argv[2])
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=drain, args=(end, first + number)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
