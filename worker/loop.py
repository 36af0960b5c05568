"""One event loop on one thread per process, on which all async clients live.

Started after the fork and kept: connections survive from batch to batch, and a batch that is cut off is cancelled
instead of living on as a zombie inside the next one.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, TypeVar

Value = TypeVar("Value")

#: How long a cancelled piece of work may take to let go of its connections.
LET_GO_SECONDS = 5.0


class LoopThread:
    """Runs coroutines for synchronous callers. Make one per process, after the fork."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="duly-clients", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def run(self, work: Coroutine[Any, Any, Value], *, within_seconds: float) -> Value:
        """Run to the end and return its value. Raises TimeoutError, after cancelling it, when it takes longer.

        Whatever interrupts the caller (a time limit, a signal) cancels the work too.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(within_seconds)
        except FutureTimeout:
            future.cancel()
            raise TimeoutError(f"gave up after {within_seconds:g} s") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the loop and wait for its thread."""
        if self._thread.is_alive():
            with suppress(FutureTimeout, CancelledError):  # a client that will not let go dies with the process
                asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(LET_GO_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(LET_GO_SECONDS)
        if not self._loop.is_running():
            self._loop.close()


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
