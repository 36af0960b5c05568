"""Group commit for what comes in: requests that arrive together share one transaction, and wait for its commit."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import psycopg
import structlog

from storage import database, inbox
from storage.database import Connection, DatabaseDown
from storage.inbox import Arrival

log = structlog.get_logger()

#: Arrivals that may wait for their commit; beyond it we say "later", and the provider comes again.
LONGEST_QUEUE: Final = 2000

#: Arrivals in one transaction.
LARGEST_GROUP: Final = 500

#: Providers give a webhook 15 seconds (Twilio, "Webhooks: connection overrides", read 2026); we answer well before.
PATIENCE_SECONDS: Final = 8.0
CONNECT_SECONDS: Final = 3.0


_Waiting = tuple[Sequence[Arrival], "asyncio.Future[None]"]


class StorageDown(Exception):
    """It could not be stored now: the sender is to come again."""


class Intake:
    """Stores arrivals by the group on one connection. Make it on the event loop that serves the requests.

    While one group is being committed, the next one gathers.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._waiting: deque[_Waiting] = deque()
        self._arrivals = 0  # that wait
        self._some = asyncio.Event()
        self._conn: Connection | None = None
        self._writer = asyncio.create_task(self._write_groups(), name="duly intake")

    async def store(self, arrivals: Sequence[Arrival]) -> None:
        """Return once they are committed. Raises StorageDown, also when too many wait already."""
        if self._arrivals + len(arrivals) > LONGEST_QUEUE:
            raise StorageDown("too many wait to be stored")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrivals, stored))
        self._arrivals += len(arrivals)
        self._some.set()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await stored
        except TimeoutError as error:
            raise StorageDown("the database takes too long") from error

    async def close(self) -> None:
        """Stop writing; what still waits was never confirmed, and its sender comes again."""
        self._writer.cancel()
        with suppress(asyncio.CancelledError):
            await self._writer
        if self._conn is not None:
            self._conn.close()

    async def _write_groups(self) -> None:
        while True:
            await self._some.wait()
            group = self._next_group()
            arrivals = [arrival for each, stored in group if not stored.done() for arrival in each]
            failure = await asyncio.to_thread(self._store, arrivals) if arrivals else None
            for _, stored in group:
                if stored.done():  # gave up waiting
                    continue
                if failure is None:
                    stored.set_result(None)
                else:
                    stored.set_exception(failure)

    def _next_group(self) -> list["_Waiting"]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and size < LARGEST_GROUP:
            group.append(self._waiting.popleft())
            size += len(group[-1][0])
        self._arrivals -= size
        if not self._waiting:
            self._some.clear()
        return group

    def _store(self, arrivals: Sequence[Arrival]) -> StorageDown | None:
        """One transaction for the group; why it failed, if it did. A broken connection is replaced the next time."""
        try:
            if self._conn is None or self._conn.closed:
                self._conn = database.connect(
                    self._url, autocommit=True, application_name="duly intake", patience_seconds=CONNECT_SECONDS
                )
            inbox.store(self._conn, arrivals)
        except (psycopg.Error, DatabaseDown) as error:
            log.error("intake_failed", error=type(error).__name__, arrivals=len(arrivals))
            if self._conn is not None:
                self._conn.close()
            return StorageDown("the database did not take it")
        return None
