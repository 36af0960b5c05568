"""What passes on a wire, by name: statements of PostgreSQL's protocol, an SMS and its answer, a mail and its answer.

Places in the database's link are `<what>.<when>`: what is `lock`, `intents`, `stamp` or `record`; when is

before       the statement is in our hands and has not reached the server
commit       so is the COMMIT of its transaction, or the Sync that commits a statement of its own
commit_sent  the COMMIT has been passed on, and nothing is known yet
committed    the server has committed, and the worker has not heard

`sms.asked` and `email.asked` have a whole message in hand, `*.accepted` the provider's yes. `ack.asked` has a worker's
acknowledgement of a message of the broker's in hand, `poison.read` a row that somebody marked.
"""

import re
from collections.abc import AsyncIterator

from tests.chaos.links import Session

#: Our statements, by what no other one has.
STATEMENTS = {
    "lock": re.compile(rb"FOR NO KEY UPDATE SKIP LOCKED"),
    "intents": re.compile(rb'COPY "contact" '),
}

#: One statement records a wave and stamps the next: which of them it does is told by its arrays.
TURN = re.compile(rb"stamped_at = clock_timestamp\(\), waves = ")

#: Where the parties of either stand among its parameters (storage/waves.py), and the bytes of an empty array.
RECORDED, STAMPED = 4, 34
EMPTY_ARRAY = 12

#: An account's reference that begins so kills who reads it, once a tripwire lies at `poison.read`.
POISON = b"POISON-"

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


class PostgresTap:
    """One session of the frontend/backend protocol 3 (PostgreSQL manual, "Message Formats"), read along."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._up, self._down = b"", b""
        self._has_begun = False
        self._prepared: dict[bytes, bytes] = {}
        self._current = b""
        self._turns: list[str] = []  # what the turn that was bound last does
        self._in_transaction = False
        self._touched: list[str] = []  # by the transaction that is open
        self._awaited: list[str] = []  # their commit is on its way

    async def up(self, data: bytes) -> AsyncIterator[bytes]:
        self._up += data
        if not self._has_begun:
            size = int.from_bytes(self._up[:4], "big")
            if len(self._up) < max(size, 8):
                return
            code = int.from_bytes(self._up[4:8], "big")
            # Whoever asks for encryption is told no by the server: the addresses of our links ask for none.
            self._has_begun = code not in (SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST)
            first, self._up = self._up[:size], self._up[size:]
            yield first
        while len(self._up) >= 5:
            size = 1 + int.from_bytes(self._up[1:5], "big")
            if len(self._up) < size:
                return
            message, self._up = self._up[:size], self._up[size:]
            statement = self._executed(message)
            if message[:1] == b"S" and self._touched and not self._in_transaction:
                statement = b"COMMIT"  # of a statement of its own
            if statement is None:
                yield message
                continue
            async for piece in self._execute(statement, message):
                yield piece

    def _executed(self, message: bytes) -> bytes | None:
        """The statement that this message runs, if it runs one."""
        match message[:1]:
            case b"P":
                name, query, _ = message[5:].split(b"\0", 2)
                self._prepared[name] = query
            case b"B":
                _, name, rest = message[5:].split(b"\0", 2)
                self._current = self._prepared.get(name, b"")
                if TURN.search(self._current):
                    lengths = _lengths(rest)
                    self._turns = [
                        what
                        for what, place in (("record", RECORDED), ("stamp", STAMPED))
                        if lengths[place] > EMPTY_ARRAY
                    ]
            case b"E":
                return self._current
            case b"Q":
                return message[5:-1]
        return None

    async def _execute(self, statement: bytes, message: bytes) -> AsyncIterator[bytes]:
        word = statement[:10].lstrip().upper()
        session = self._session
        if word.startswith(b"COMMIT"):
            touched, self._touched, self._in_transaction = self._touched, [], False
            for what in touched:
                await session.pass_by(f"{what}.commit")
            self._awaited = touched
            yield message
            for what in touched:
                await session.pass_by(f"{what}.commit_sent")
            return
        if word.startswith((b"BEGIN", b"ROLLBACK")):
            self._touched, self._in_transaction = [], word.startswith(b"BEGIN")
        for what in self._does(statement):
            await session.pass_by(f"{what}.before")
            at_once = message[:1] == b"Q" and not self._in_transaction
            (self._awaited if at_once else self._touched).append(what)
        yield message

    def _does(self, statement: bytes) -> list[str]:
        if TURN.search(statement):
            return self._turns
        return [what for what, pattern in STATEMENTS.items() if pattern.search(statement)]

    async def down(self, data: bytes) -> AsyncIterator[bytes]:
        self._down += data
        start = 0
        while len(self._down) - start >= 5:
            kind = self._down[start : start + 1]
            size = 1 + int.from_bytes(self._down[start + 1 : start + 5], "big")
            if len(self._down) - start < size:
                break
            if self._awaited and (
                (kind == b"C" and self._down[start + 5 : start + 11] == b"COMMIT")
                or (kind == b"Z" and self._down[start + 5 : start + 6] == b"I")
            ):
                awaited, self._awaited = self._awaited, []
                if start:
                    yield self._down[:start]
                    self._down, start = self._down[start:], 0
                for what in awaited:
                    await self._session.pass_by(f"{what}.committed")
            elif kind == b"E":
                self._awaited = []
            elif kind == b"D" and POISON in self._down[start : start + size]:
                await self._session.pass_by("poison.read")
            start += size
        if start:
            ready, self._down = self._down[:start], self._down[start:]
            yield ready


def _lengths(rest: bytes) -> list[int]:
    """The lengths of a Bind message's parameters; `rest` begins after the names."""
    formats = int.from_bytes(rest[:2], "big")
    start = 2 + 2 * formats
    count = int.from_bytes(rest[start : start + 2], "big")
    start += 2
    lengths = []
    for _ in range(count):
        length = int.from_bytes(rest[start : start + 4], "big", signed=True)
        lengths.append(length)
        start += 4 + max(length, 0)
    return lengths


class BrokerTap:
    """One connection to the broker: kombu keeps what is not acknowledged in a sorted set, and takes it out there."""

    ACKNOWLEDGES = re.compile(rb"\r\nZREM\r\n\$\d+\r\n\S*unacked_index\r\n")

    def __init__(self, session: Session) -> None:
        self._session = session

    async def up(self, data: bytes) -> AsyncIterator[bytes]:
        if self.ACKNOWLEDGES.search(data):
            await self._session.pass_by("ack.asked")
        yield data

    async def down(self, data: bytes) -> AsyncIterator[bytes]:
        yield data


class SmsTap:
    """One HTTP connection to the sandbox: a message asked for, a message accepted."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._has_asked = False

    async def up(self, data: bytes) -> AsyncIterator[bytes]:
        if data.startswith(b"POST /2010-04-01/"):
            self._has_asked = True
            await self._session.pass_by("sms.asked")
        yield data

    async def down(self, data: bytes) -> AsyncIterator[bytes]:
        if self._has_asked and data.startswith(b"HTTP/1.1 20"):
            self._has_asked = False
            await self._session.pass_by("sms.accepted")
        yield data


class MailTap:
    """One SMTP connection to the sandbox's relay: the final dot, and the answer to it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._has_asked = False
        self._tail = b""

    async def up(self, data: bytes) -> AsyncIterator[bytes]:
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"\r\n.\r\n":
            self._has_asked = True
            await self._session.pass_by("email.asked")
        yield data

    async def down(self, data: bytes) -> AsyncIterator[bytes]:
        if self._has_asked and data.startswith(b"250"):
            self._has_asked = False
            await self._session.pass_by("email.accepted")
        yield data
