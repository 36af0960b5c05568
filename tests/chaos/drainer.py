"""A worker in a process of its own: `python -m tests.chaos.drainer lender:channel:shard`."""

import sys

from config.settings import load
from domain.lane import Lane
from worker import dispatch
from worker.wiring import Spine

if __name__ == "__main__":
    settings = load()
    spine = Spine(settings, settings.database_url.get_secret_value(), role="drainer")
    dispatch.drain(spine, Lane.parse(sys.argv[1]), slice_seconds=0)
    spine.close()
