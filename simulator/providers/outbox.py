"""What the sandbox accepted, in order: the judge in every question of "was it sent, and how often?".

A message counts as accepted once its line is in the file, which is before its sender is answered. So after any crash of
the sender, the file says what a customer would have received.
"""

import asyncio
import os
import time
from array import array
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

#: People look at the latest; a driver reads all from the file.
SHOWN = 400
MAILS_KEPT = 300
MOST_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """`contact` is our contact id where the message carries one; `at` is real time, in seconds since 1970."""

    seq: int
    channel: str
    contact: str | None
    to: str
    sender: str
    subject: str | None
    text: str
    ref: str
    at: float


class Outbox:
    """One folder, which a sandbox that is started again goes on with.

    `messages.jsonl` has a line per accepted message, `mail/` the first few hundred e-mails.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "mail").mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.by_channel: Counter[str] = Counter()
        self.by_contact: Counter[str] = Counter()
        self.shown: deque[Accepted] = deque(maxlen=SHOWN)
        self._file = os.open(folder / "messages.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._starts = array("Q")
        self._size = 0
        self._remember()
        self._lines: list[bytes] = []
        self._written: asyncio.Future[None] | None = None

    def _remember(self) -> None:
        """Count what an earlier run accepted. A last line without its end was never answered: it is cut off."""
        with open(self._file, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._count(Accepted(**orjson.loads(line)))
                self._starts.append(self._size)
                self._size += len(line)
        os.ftruncate(self._file, self._size)

    def _count(self, message: Accepted) -> None:
        self.by_channel[message.channel] += 1
        if message.contact:
            self.by_contact[message.contact] += 1
        self.shown.append(message)

    @property
    def last(self) -> int:
        return len(self._starts)

    async def accept(
        self,
        channel: str,
        *,
        to: str,
        text: str,
        ref: str,
        contact: str | None = None,
        sender: str = "",
        subject: str | None = None,
        mail: bytes | None = None,
    ) -> Accepted:
        """Write the message down; returns when its line is in the file. Lines of one loop tick share one write."""
        message = Accepted(self.last + 1, channel, contact, to, sender, subject, text, ref, time.time())
        line = orjson.dumps(asdict(message)) + b"\n"
        self._starts.append(self._size)
        self._size += len(line)
        self._lines.append(line)
        self._count(message)
        if mail is not None and self.by_channel[channel] <= MAILS_KEPT:
            self.mail_file(message.seq).write_bytes(mail)
        await self._next_write()
        return message

    def mail_file(self, seq: int) -> Path:
        """Where the mail of that number is, if it is one of those that are kept."""
        return self.folder / "mail" / f"{seq:06}.eml"

    def after(self, seq: int) -> list[bytes]:
        """The lines of messages accepted after number `seq`, at most MOST_AT_ONCE."""
        if seq >= self.last:
            return []
        self._write()
        upto = min(self.last, seq + MOST_AT_ONCE)
        start = self._starts[seq]
        end = self._starts[upto] if upto < self.last else self._size
        return os.pread(self._file, end - start, start).splitlines()

    def close(self) -> None:
        self._write()
        os.close(self._file)

    def _next_write(self) -> "asyncio.Future[None]":
        if self._written is None:
            loop = asyncio.get_running_loop()
            self._written = loop.create_future()
            loop.call_soon(self._write)
        return self._written

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        written, self._written = self._written, None
        octets = memoryview(b"".join(lines))
        while octets:
            octets = octets[os.write(self._file, octets) :]
        if written is not None and not written.done():
            written.set_result(None)
