"""What passes on a wire, by name: statements of PostgreSQL's protocol, an SMS and its answer, a mail and its answer.

Places in the database's link are `<what>.<when>`: what is `lock`, `intents`, `stamp` or `record`; when is

before       the statement is in our hands and has not reached the server
commit       so is the COMMIT of its transaction
commit_sent  the COMMIT has been passed on, and nothing is known yet
committed    the server has committed, and the worker has not heard

`sms.asked` and `email.asked` have a whole message in hand, `*.accepted` the provider's yes. `poison.read` has a row in
hand that somebody marked.
"""

import re
from collections.abc import AsyncIterator

from tests.chaos.links import Session

#: Our statements, by what no other one has.
STATEMENTS = {
    "lock": re.compile(rb"FOR NO KEY UPDATE SKIP LOCKED"),
    "intents": re.compile(rb'COPY "contact" '),
    "stamp": re.compile(rb"SET stamped_at = clock_timestamp\(\)"),
    "record": re.compile(rb"'dispatch', business_now\(\)"),
}

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
                _, name, _ = message[5:].split(b"\0", 2)
                self._current = self._prepared.get(name, b"")
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
        what = next((what for what, pattern in STATEMENTS.items() if pattern.search(statement)), None)
        if what is not None:
            await session.pass_by(f"{what}.before")
            (self._touched if self._in_transaction else self._awaited).append(what)
        yield message

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
