"""Jobs that come due once a business day: partitions ahead, promises and call tasks past their day.

Scheduled releases are one of them, and come due at their own times too. Retention comes back until it is done.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from storage import lanes, suspects, switches
from storage.rows import Conn
from worker import approvals, calls, promises, retention
from worker.wiring import Spine

log = structlog.get_logger()

#: When room for another month is looked for again, where somebody read the ledger for long. It is made three ahead.
PARTITIONS_AGAIN: Final = timedelta(minutes=10)


def _partitions(conn: Conn, now: datetime) -> int:
    try:
        with conn.transaction():
            return lanes.ensure_partitions(conn, now)
    except lanes.NoRoom:
        lanes.put_off_job(conn, "partitions", by=PARTITIONS_AGAIN)
        log.warning("partitions_put_off", why="somebody reads the ledger for long, a backup perhaps")
        return 0


def _calls(conn: Conn, now: datetime) -> int:
    return calls.expire_calls(conn)


def _promises(conn: Conn, now: datetime) -> int:
    return promises.settle(conn)


def _suspects(conn: Conn, now: datetime) -> int:
    return suspects.forget_old(conn)


def _releases(conn: Conn, now: datetime) -> int:
    return approvals.run_switches(conn, now)


#: By name: what runs, and how many rows it touched.
JOBS: dict[str, Callable[[Conn, datetime], int]] = {
    "partitions": _partitions,
    "calls": _calls,
    "promises": _promises,
    "suspects": _suspects,
    switches.JOB: _releases,
}

#: Jobs of many small transactions, which begin when the claim of the night is committed: what a worker that dies leaves
#: undone is done the next night.
IN_STEPS: dict[str, Callable[[Spine, lanes.Claim], int]] = {retention.JOB: retention.run}


def schedule(conn: Conn, *, now: datetime) -> None:
    """Make every job known, first due at the next 00:30 UTC; the partitions that are needed now are made now."""
    lanes.ensure_partitions(conn, now)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight + timedelta(days=1) + lanes.NIGHTLY_AT
    for name in (*JOBS, *IN_STEPS):
        lanes.schedule_nightly(conn, name, first=first)


def run_due(spine: Spine) -> int:
    """Run every job that is due; how many. A job that another worker has taken is left to it."""
    done = 0
    for name in lanes.due_jobs(spine.conn):
        job, steps = JOBS.get(name), IN_STEPS.get(name)
        with spine.conn.transaction():
            claim = lanes.claim_job(spine.conn, name)
            if claim is None or (job is None and steps is None):
                continue
            touched = job(spine.conn, claim.now) if job is not None else 0
        if steps is not None:
            touched = steps(spine, claim)
        log.info("nightly", job=name, rows=touched)
        done += 1
    return done
