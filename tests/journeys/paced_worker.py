"""A worker in a process of its own: drains a lane until nothing of its step is left, or so many seconds are over."""

import sys
import time

from config.settings import load
from domain.lane import Lane
from worker import dispatch
from worker.wiring import Spine

if __name__ == "__main__":
    settings = load()
    lane, until = Lane.parse(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    spine = Spine(settings, settings.database_url.get_secret_value(), role="paced")
    left = "SELECT EXISTS (SELECT 1 FROM reminder WHERE state = 'planned' AND step = 'first_notice')"
    while spine.conn.execute(left).fetchone()[0] and time.monotonic() < until:
        dispatch.drain(spine, lane, slice_seconds=0.5)
        time.sleep(0.05)
    spine.close()
