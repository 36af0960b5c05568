"""Hands a process's counts to the database every few seconds, and says that it lives.

While it works the report goes over the connection that it has anyway, between two tasks. A thread reports for a
process that is idle, or stuck in a task, over a connection that it opens for the moment. Counts are whole since the
process began, so a report that is lost or repeated changes nothing.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from uuid import uuid4

import psutil
import psycopg
import structlog

from storage import database, tallies
from storage.rows import Conn
from worker.metrics import CPU, TALLY, Tally, series_of

log = structlog.get_logger()

#: A busy process reports this often.
EVERY_SECONDS: Final = 5.0

#: A process of which nothing was heard for so long is reported by its thread.
IDLE_SECONDS: Final = 15.0

#: Who was silent for so long is missing; a report is late when the database is away or the machine sleeps.
SILENT_FOR: Final = timedelta(seconds=60)

#: Who was silent for so long is buried. One that comes back begins a new life.
BURIED_AFTER: Final = timedelta(minutes=5)

#: What `recent` means.
RECENT_MINUTES: Final = 5


class Reporter:
    """The reports of one process. Made after the fork; `release_hash` says what the process works with."""

    def __init__(
        self,
        database_url: str,
        *,
        name: str,
        role: str,
        release_hash: Callable[[], str | None] = lambda: None,
        tally: Tally = TALLY,
        every_seconds: float = EVERY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._database_url = database_url
        self._name, self._role, self._release_hash, self._tally = name, role, release_hash, tally
        self._every_seconds, self._idle_seconds = every_seconds, idle_seconds
        self._lock = threading.Lock()
        self._process = psutil.Process()
        self._process_id, self._base, self._is_known = uuid4(), dict[str, float](), False
        self._reported: dict[str, float] = {}
        self._noted: dict[str, float] = {}
        self._minutes: deque[tuple[int, Counter[str]]] = deque()
        self._last = self._buried = time.monotonic()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="duly-reports", daemon=True)

    def start(self) -> None:
        """Report from now on, also while the process has nothing to do."""
        self._thread.start()

    def between_tasks(self, connection: Callable[[], Conn]) -> None:
        """Report over the process's own connection if it is time to; called when no transaction is open."""
        if time.monotonic() - self._last < self._every_seconds:
            return
        try:
            self.report(connection())
        except (psycopg.Error, database.DatabaseDown) as error:
            self._wait(error)

    def report(self, conn: Conn) -> None:
        """Write down what was counted by now."""
        with self._lock:
            counted = self._tally.counts()
            counted[series_of(CPU, (self._role,))] = time.process_time()
            self._remember_minute(counted)
            if not self._is_known:
                tallies.introduce(conn, self._process_id, self._said(counted))
            elif not tallies.renew(conn, self._process_id, self._said(counted)):
                self._live_again()
                tallies.introduce(conn, self._process_id, self._said(counted))
            self._is_known, self._reported, self._last = True, counted, time.monotonic()
            if time.monotonic() - self._buried >= SILENT_FOR.total_seconds():
                self._buried = time.monotonic()
                tallies.bury(conn, silent_for=BURIED_AFTER)

    def end(self) -> None:
        """The process ends: the last report, and its row becomes part of the sum."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=database.CONNECT_TIMEOUT_SECONDS)
        self._by_itself(self._leave)

    def _watch(self) -> None:
        while not self._is_over.wait(self._every_seconds):
            if time.monotonic() - self._last >= self._idle_seconds:
                self._by_itself(self.report)

    def _by_itself(self, work: Callable[[Conn], None]) -> None:
        """Work over a connection that is opened for the moment."""
        try:
            with database.connect(
                self._database_url, autocommit=True, application_name="duly reports", patience_seconds=0
            ) as conn:
                work(conn)
        except (psycopg.Error, database.DatabaseDown) as error:
            self._wait(error)

    def _leave(self, conn: Conn) -> None:
        self.report(conn)
        tallies.leave(conn, self._process_id)

    def _wait(self, error: Exception) -> None:
        """What the database does not take now stays counted and goes with the next report."""
        log.warning("report_waits", process=self._name, error=type(error).__name__)

    def _live_again(self) -> None:
        """Taken for dead: what was reported before is in the sum already."""
        self._process_id, self._base = uuid4(), self._reported

    def _said(self, counted: dict[str, float]) -> tallies.Report:
        recent: Counter[str] = Counter()
        for _, counts in self._minutes:
            recent.update(counts)
        own = {series: number - self._base.get(series, 0) for series, number in counted.items()}
        return tallies.Report(
            self._name, self._role, self._release_hash(), self._process.memory_info().rss, own, dict(recent)
        )

    def _remember_minute(self, counted: dict[str, float]) -> None:
        minute = int(time.monotonic() // 60)
        while self._minutes and self._minutes[0][0] <= minute - RECENT_MINUTES:
            self._minutes.popleft()
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Counter()))
        now = self._minutes[-1][1]
        for series, number in counted.items():
            grown = number - self._noted.get(series, 0)
            if grown:
                now[series] += grown  # type: ignore[assignment] # Counter is typed for whole numbers
        self._noted = counted
