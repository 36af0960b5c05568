"""A party that kills whoever touches it: found out, set apart, and ended, while all others are served.

A process notes whom it takes in hand before it decides about them. When it dies the note stays, and everybody in it is
suspect: decided about again in ever smaller company, in the end alone, so that the others are soon out of suspicion.
Who is lost thrice, alone too, ends as failed, with the reason `poisonous`.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from traceback import walk_tb
from typing import Final

import psutil
import psycopg
import structlog

from domain.lane import Lane
from storage import suspects
from storage.database import DatabaseDown
from storage.picture import Due
from storage.rows import Conn
from storage.suspects import Suspect

log = structlog.get_logger()

#: How many suspects are decided about together, by how often they were lost; the last is for all beyond.
COMPANY: Final = (64, 8, 1)

#: Who was lost so often waits a while between two attempts, longer each time, up to the longest.
WAIT_AFTER: Final = len(COMPANY)
FIRST_WAIT: Final = timedelta(seconds=2)
LONGEST_WAIT: Final = timedelta(minutes=10)

#: How long a reminder waits (business time) when deciding about its party failed.
STUMBLE_WAIT: Final = timedelta(minutes=5)

#: The database's own troubles are nobody's guilt.
NOT_THEIR_FAULT: Final = (psycopg.OperationalError, psycopg.InterfaceError, DatabaseDown)


@dataclass(frozen=True, slots=True)
class Stumble:
    """Deciding about a party failed: the kind of error, never what it said."""

    party_id: int
    why: str
    reminder_ids: tuple[int, ...]


class Watch:
    """Notes whom this process has in hand, on a connection of its own. One for each spine."""

    def __init__(self, connect: Callable[[], Conn], *, name: str, lease: timedelta) -> None:
        self._connect = connect
        self._name = f"{name}#{os.urandom(4).hex()}"
        self._lease = lease
        self._conn: Conn | None = None
        self._parties: list[int] = []
        self._had_suspects = False
        self._is_decided = False

    def take_up(self, lane: Lane, epochs: Mapping[int, int]) -> dict[int, int]:
        """Note these parties before anything is decided about them; those of them to decide about now."""
        if self._conn is None:
            self.bury()
        chosen = list(epochs)
        found = self._note(lane, chosen)
        if found:
            chosen = company(chosen, found, suspects_first=not self._had_suspects)
            self._note(lane, chosen)
        self._had_suspects = not {each.party_id for each in found}.isdisjoint(chosen)
        self._parties, self._is_decided = chosen, False
        return {party: epochs[party] for party in chosen}

    def decided(self) -> None:
        """What was decided is committed: an error from here on is not held against anybody."""
        self._is_decided = True

    def came_through(self, *, but: Sequence[Stumble]) -> None:
        """Nothing happened to us: whoever of these was suspect is so no more. What is in hand stays noted."""
        if self._had_suspects:
            stumbled = {each.party_id for each in but}
            suspects.clear(self._connection, [party for party in self._parties if party not in stumbled])

    def failed(self, error: Exception) -> None:
        """Deciding failed for the batch as a whole: everybody in it is suspect. Raises the error if that is not why."""
        if not self._parties or self._is_decided or isinstance(error, NOT_THEIR_FAULT):
            with contextlib.suppress(*NOT_THEIR_FAULT):  # if the note stays, its lease ends it
                self.put_down()
            raise error
        log.error("batch_failed", why=_kind_and_place(error), parties=len(self._parties))
        suspects.lose(self._connection, [self._name], why=_kind_and_place(error))
        self._parties = []

    def put_down(self) -> None:
        """Nobody is in hand any more."""
        if self._parties:
            suspects.put_down(self._connection, self._name)
            self._parties = []

    def bury(self) -> int:
        """Make suspect whom the dead of this place, and the overdue of any, had in hand; how many parties."""
        conn = self._connection
        dead = [hand.worker for hand in suspects.hands_at(conn, place()) if not _is_alive(hand.pid)]
        lost = sorted({*dead, *suspects.overdue_hands(conn)} - {self._name})
        parties = suspects.lose(conn, lost, why="process_died")
        if parties:
            log.warning("process_died_with_parties", processes=len(lost), parties=parties)
        return parties

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    @property
    def _connection(self) -> Conn:
        if self._conn is None or self._conn.closed:
            self._conn = self._connect()
        return self._conn

    def _note(self, lane: Lane, parties: Sequence[int]) -> list[Suspect]:
        return suspects.take_up(
            self._connection, self._name, place=place(), pid=os.getpid(), lane=str(lane), parties=parties,
            lease=self._lease,
        )  # fmt: skip


def company(parties: Sequence[int], found: Sequence[Suspect], *, suspects_first: bool) -> list[int]:
    """Who is decided about together: all who are above suspicion, or else a few who were lost equally often.

    The two take turns, so that neither waits for the other. Who was lost most, and lately, waits.
    """
    ready = [each for each in found if each.losses < WAIT_AFTER or each.ago >= _wait(each.losses)]
    under_suspicion = {each.party_id for each in found}
    clean = [party for party in parties if party not in under_suspicion]
    if clean and not (ready and suspects_first):
        return clean
    if not ready:
        return []
    least = min(each.losses for each in ready)
    size = COMPANY[min(least, len(COMPANY)) - 1]
    return sorted(each.party_id for each in ready if each.losses == least)[:size]


def _wait(losses: int) -> timedelta:
    doublings: int = min(losses - WAIT_AFTER, 16)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def stumble(party: Sequence[Due], error: Exception) -> Stumble:
    """Say what deciding about a party's reminders failed with."""
    party_id, why = party[0].party_id, _kind_and_place(error)
    log.error("party_cannot_be_decided", party_id=party_id, why=why)
    return Stumble(party_id, why, tuple(row.reminder_id for row in party))


def _kind_and_place(error: Exception) -> str:
    """The kind of error and the line of ours, never its text: that may hold a name or an address."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    code = frames[-1].f_code if frames else None
    return f"{type(error).__name__} in {Path(code.co_filename).name}:{code.co_name}" if code else type(error).__name__


def set_aside(conn: Conn, stumbles: Sequence[Stumble]) -> None:
    """Put off the reminders of parties that could not be decided about, and hold it against these alone."""
    if not stumbles:
        return
    rows = [(each.party_id, reminder_id) for each in stumbles for reminder_id in each.reminder_ids]
    suspects.put_off(conn, rows, wait=STUMBLE_WAIT)
    suspects.accuse(conn, [(each.party_id, each.why) for each in stumbles])


def place() -> str:
    """Where a pid means something: this host's processes, or this container's."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.readlink() if namespace.exists() else ''}"


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
