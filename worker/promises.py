"""The nightly settlement of promises: kept, kept in part, or broken. In each case the ladder goes on where it stood.

A promise that a payment keeps is settled with the payment; what is left here is what nobody told us of, and what was
not kept. Nobody is told that they broke a promise: the next step comes, in its own words, judged like any other.
"""

from datetime import timedelta
from typing import Final

import structlog

from domain.disposition import PROMISE_GRACE_DAYS
from storage import feedback, promises
from storage.rows import Conn

log = structlog.get_logger()

BATCH: Final = 500


def settle(conn: Conn) -> int:
    """Settle every promise whose day and grace are over, by business time; how many. Safe to run twice."""
    total = 0
    while due := promises.due(conn, grace=timedelta(days=PROMISE_GRACE_DAYS), limit=BATCH):
        with conn.transaction():
            parties = {each.party_id for each in due}
            feedback.lock_parties(conn, parties)
            settled = promises.settle(conn, due)
            feedback.bump(conn, parties)
            feedback.judge_anew(conn, parties)
        for state, number in sorted(settled.items()):
            log.info("promises_settled", state=state, number=number)
        total += sum(settled.values())
    return total
