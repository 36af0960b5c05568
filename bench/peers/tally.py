"""How many tasks this process has run: eight bytes in a file that whoever measures maps too. Costs 0.2 us a task."""

import mmap
import os
import threading
from pathlib import Path

_lock = threading.Lock()
_counters: dict[int, memoryview] = {}


def count() -> None:
    """One more task is done. Safe in threads and after a fork."""
    counter = _counters.get(os.getpid()) or _open()
    with _lock:
        counter[0] += 1


def _open() -> memoryview:
    with _lock:
        if (counter := _counters.get(os.getpid())) is not None:  # another thread was first
            return counter
        path = Path(os.environ["BENCH_TALLY"]) / f"{os.getpid()}"
        with path.open("w+b") as file:
            file.truncate(8)
            counter = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
        _counters[os.getpid()] = counter
        return counter


def total(folder: Path) -> int:
    """The tasks that all processes have run that count in this folder."""
    return sum(int.from_bytes(path.read_bytes()[:8], "little") for path in folder.iterdir())
