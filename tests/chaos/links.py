"""The wires between the parts of a fleet, as proxies of our own: slowed, frozen, cut, or listened to.

All run on one thread. A tap reads along and says when something passes that a test waits for (`intents.committed`,
`sms.accepted`); the tripwire laid there acts at that instant, while the bytes are still in our hands. So a worker can
be killed between any two steps of its way with nothing of ours bent.
"""

import asyncio
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

CHUNK_BYTES = 64 * 1024

#: SO_LINGER with a time of zero: closing sends a reset.
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Weather:
    """How a link behaves. `is_silent`: it stays open and nothing passes; what was said meanwhile arrives late."""

    latency_seconds: float = 0.0
    bytes_per_second: float | None = None
    is_silent: bool = False


FAIR = Weather()


@dataclass
class Tripwire:
    """Acts once a place is passed, `times` times at most. `act` runs while the bytes wait."""

    place: str
    act: Callable[["Session"], None]
    times: int = 1
    trips: int = 0

    @property
    def is_tripped(self) -> bool:
        return self.trips > 0


class Tap(Protocol):
    """Reads along. Yields the bytes to pass on, and names of places as they are passed."""

    def up(self, data: bytes) -> AsyncIterator[bytes]: ...

    def down(self, data: bytes) -> AsyncIterator[bytes]: ...


@dataclass(eq=False)
class Session:
    """One connection through a link, and the process at its near end."""

    link: "Link"
    port: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    is_cut: bool = False
    _pid: int | None = None

    @property
    def pid(self) -> int | None:
        """The process that opened the connection; None when it is gone."""
        if self._pid is None:
            # Both ends: one local port may serve connections of several processes, to different places.
            ends = (("127.0.0.1", self.port), ("127.0.0.1", self.link.port))
            found = (c.pid for c in psutil.net_connections("tcp4") if (c.laddr, c.raddr) == ends and c.pid)
            self._pid = next((pid for pid in found if is_of(pid, self.link.home)), None)
        return self._pid

    def kill(self) -> None:
        """kill -9 of the process at the near end; what it was about to hear or say is lost with it."""
        self.signal(signal.SIGKILL)
        self.cut()

    def signal(self, number: int) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)

    def cut(self) -> None:
        """Both ends see a reset."""
        self.is_cut = True
        self.link.loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self.writers:
            endpoint = writer.get_extra_info("socket")
            if endpoint.family == socket.AF_INET and endpoint.fileno() >= 0:
                endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def pass_by(self, place: str) -> None:
        """Let the tripwire that lies here act, and wait for it."""
        wire = self.link.wire_at(place)
        if wire is not None:
            await asyncio.to_thread(wire.act, self)


def is_of(pid: int, home: Path) -> bool:
    """Whether a process lives by the settings of that home: nobody else's is ever harmed."""
    with suppress(psutil.Error):
        return psutil.Process(pid).environ().get("DULY_HOME") == str(home)
    return False


class Link:
    """A listening port that leads to a target: a socket's path, or a host and a port. Fleets of `home` come through."""

    def __init__(
        self, name: str, home: Path, loop: asyncio.AbstractEventLoop, tap: Callable[[Session], Tap] | None = None
    ) -> None:
        self.name = name
        self.home = home
        self.loop = loop
        self.target: Path | tuple[str, int] | None = None
        self.weather = FAIR
        self.port = 0
        self._tap = tap
        self._wires: list[Tripwire] = []
        self._lock = threading.Lock()
        self._sessions: set[Session] = set()
        self._server: asyncio.Server | None = None

    def lay(self, wire: Tripwire) -> Tripwire:
        with self._lock:
            self._wires.append(wire)
        return wire

    @property
    def is_open(self) -> bool:
        return self._server is not None and self._server.is_serving()

    def clear(self) -> None:
        """Fair weather, and no tripwires."""
        with self._lock:
            self._wires.clear()
        self.weather = FAIR

    def wire_at(self, place: str) -> Tripwire | None:
        if not self._wires:
            return None
        with self._lock:
            for wire in self._wires:
                if wire.place == place and wire.trips < wire.times:
                    wire.trips += 1
                    return wire
        return None

    def cut(self) -> None:
        """Reset every connection."""
        for session in list(self._sessions):
            session.cut()

    async def open(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse new connections and reset the others."""
        if self._server is not None:
            self._server.close()
        self.cut()

    async def _serve(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        session = Session(self, near_writer.get_extra_info("peername")[1], [near_writer])
        self._sessions.add(session)
        try:
            await self._fair()
            far, far_writer = await self._reach()
            session.writers.append(far_writer)
            tap = self._tap(session) if self._tap else None
            await asyncio.gather(
                self._carry(session, near, far_writer, tap.up if tap else _as_it_is),
                self._carry(session, far, near_writer, tap.down if tap else _as_it_is),
            )
        except (OSError, EOFError):
            session.cut()
        finally:
            self._sessions.discard(session)
            for writer in session.writers:
                writer.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        match self.target:
            case Path():
                return await asyncio.open_unix_connection(self.target, limit=CHUNK_BYTES)
            case (host, port):
                return await asyncio.open_connection(host, port, limit=CHUNK_BYTES)
        raise ConnectionRefusedError(f"the link {self.name} leads nowhere yet")

    async def _carry(
        self,
        session: Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tap: Callable[[bytes], AsyncIterator[bytes]],
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            async for piece in tap(data):
                if session.is_cut:
                    raise ConnectionResetError
                await self._suffer(piece)
                writer.write(piece)
                await writer.drain()
        await self._fair()
        if writer.can_write_eof():
            writer.write_eof()

    async def _suffer(self, piece: bytes) -> None:
        weather = self.weather
        if weather.latency_seconds:
            await asyncio.sleep(weather.latency_seconds)
        if weather.bytes_per_second:
            await asyncio.sleep(len(piece) / weather.bytes_per_second)
        await self._fair()

    async def _fair(self) -> None:
        while self.weather.is_silent:
            await asyncio.sleep(0.02)


async def _as_it_is(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Links:
    """The proxies of one fleet and the thread that they run on."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._links: list[Link] = []

    def add(self, name: str, tap: Callable[[Session], Tap] | None = None) -> Link:
        link = Link(name, self._home, self._loop, tap)
        self._links.append(link)
        self._do(link.open())
        return link

    def refuse(self, link: Link) -> None:
        self._do(link.close())

    def listen(self, link: Link) -> None:
        self._do(link.open())

    def clear(self) -> None:
        for link in self._links:
            link.clear()

    def close(self) -> None:
        for link in self._links:
            link.clear()
            self._do(link.close())
        until = time.monotonic() + 5
        while asyncio.all_tasks(self._loop) and time.monotonic() < until:
            time.sleep(0.02)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: "asyncio.Future[None]") -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]
