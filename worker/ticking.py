"""What a tick looks at: which lanes, inbox events and nightly jobs want a worker now."""

from dataclasses import dataclass

from domain.lane import Lane
from storage import lanes, picture, turns
from storage.rows import Conn
from worker.turns import GENTLE_FOR, begin_gently


@dataclass(frozen=True, slots=True)
class Wakes:
    """Who is to be woken. `inbox` and `jobs` say that something waits, not what."""

    lanes: tuple[Lane, ...]
    inbox: bool
    jobs: bool


def look(conn: Conn, *, cause: str | None = None) -> Wakes:
    """Everything that waits and that nobody has been woken for; calling it claims the wake-ups for a moment.

    `cause` is kept with them, for whoever wants to know which tick woke a lane.
    """
    still = lanes.stillness(conn)
    woken = _wake(conn, cause) if still.due_reminders else []
    return Wakes(tuple(woken), still.waiting_inbox > 0, still.due_jobs > 0)


def _wake(conn: Conn, cause: str | None) -> list[Lane]:
    """Claim the wake-ups of due lanes; only a few at a time where sending was resumed a moment ago."""
    due = begin_gently(picture.due_lanes(conn), turns.gentle(conn, gentle_for=GENTLE_FOR))
    return lanes.claim_wake_ups(conn, due, cause=cause)
