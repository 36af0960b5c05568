"""Everything that got stuck, put right: each sweep on its own, counted and logged with its reason.

Any worker may run it at any time, and several at once: each sweep takes only what nobody else holds.
"""

from collections.abc import Callable
from typing import Final

import psycopg
import structlog

from storage import picture, suspects, turns
from worker import dispatch
from worker.metrics import SWEEPS, TALLY
from worker.wiring import Spine

log = structlog.get_logger()


def sweep_all(spine: Spine) -> dict[str, int]:
    """Run every sweep; what was put right, by reason. One that the database refuses does not keep the next from it."""
    found: dict[str, int] = {}
    for sweep in SWEEPERS:
        try:
            found |= {reason: number for reason, number in sweep(spine).items() if number}
        except psycopg.DatabaseError as error:
            if isinstance(error, psycopg.OperationalError):
                raise
            log.error("sweep_refused", sweep=sweep.__name__.strip("_"), error=type(error).__name__)
    for reason, number in found.items():
        log.warning("swept", reason=reason, number=number)
        TALLY.count(SWEEPS, (reason,), number)
    return found


def _dead_workers(spine: Spine) -> dict[str, int]:
    swept = dispatch.sweep(spine)
    return {"lease over": swept.batches, "unsent, judged again": swept.back, "stamped, uncertain": swept.uncertain}


def _suspects(spine: Spine) -> dict[str, int]:
    return {"process died": spine.watch.bury()}


def _poisonous(spine: Spine) -> dict[str, int]:
    """End the reminders that nobody survives, and go on with their accounts at the next step."""
    ended = suspects.end_poisonous(spine.conn)
    for party_id, reminder_id in ended:
        log.error("reminder_poisonous", party_id=party_id, reminder_id=reminder_id)
        _go_on(spine, party_id, reminder_id)
    return {"poisonous": len(ended)}


def _go_on(spine: Spine, party_id: int, reminder_id: int) -> None:
    opening = picture.open_drain(spine.conn, "*")
    if opening.release_hash is None:
        return
    try:
        release = spine.release(opening.release_hash)
        dispatch.plan_after(spine.conn, release, [(party_id, reminder_id)], now=opening.now)
    except (ValueError, LookupError, ArithmeticError, TypeError) as error:
        # What cannot be decided may not be plannable either. It is on record as failed: a person has to look.
        log.error("reminder_poisonous_unplanned", reminder_id=reminder_id, error=type(error).__name__)


def _wake_ups(spine: Spine) -> dict[str, int]:
    return {"wake-up lost": turns.forget_wake_ups(spine.conn)}


SWEEPERS: Final[tuple[Callable[[Spine], dict[str, int]], ...]] = (
    _dead_workers,
    _suspects,
    _poisonous,
    _wake_ups,
)
