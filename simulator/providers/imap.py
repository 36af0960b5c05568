"""The mailbox that bounces and complaints come back to: as much of IMAP4rev1 (RFC 3501) as a reader of mail needs.

No kept-up IMAP server comes as a Python package, so this one is ours: LOGIN, SELECT, UID SEARCH, UID FETCH, UID STORE.
"""

import asyncio
import re
from dataclasses import dataclass, field

from simulator.providers.smtp import WRONG_PASSWORD

LONGEST_LINE = 64 * 1024


@dataclass(slots=True)
class Kept:
    uid: int
    raw: bytes
    is_seen: bool = False


@dataclass(slots=True)
class Mailbox:
    """Mails in the order they came, in memory."""

    mails: list[Kept] = field(default_factory=list)
    logins: int = 0

    def put(self, raw: bytes) -> None:
        self.mails.append(Kept(len(self.mails) + 1, raw))

    @property
    def unseen(self) -> list[Kept]:
        return [mail for mail in self.mails if not mail.is_seen]


class ImapSandbox:
    """One server. Any login is taken but one with the wrong password."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its LOGOUT or its end."""
        writer.write(b"* OK [CAPABILITY IMAP4rev1] duly sandbox\r\n")
        try:
            while line := await reader.readline():
                tag, _, command = line.decode("utf-8", "replace").strip().partition(" ")
                writer.write(self._answer(tag, command))
                await writer.drain()
                if command.upper().startswith("LOGOUT"):
                    return
        except (ConnectionError, ValueError):  # gone, or a line beyond the limit
            return
        finally:
            writer.close()

    def _answer(self, tag: str, command: str) -> bytes:
        verb = command.upper().removeprefix("UID ").partition(" ")[0]
        match verb:
            case "CAPABILITY":
                untagged = b"* CAPABILITY IMAP4rev1\r\n"
            case "LOGIN":
                if command.endswith(f'"{WRONG_PASSWORD}"') or command.endswith(f" {WRONG_PASSWORD}"):
                    return f"{tag} NO [AUTHENTICATIONFAILED] wrong user name or password\r\n".encode()
                self._mailbox.logins += 1
                untagged = b""
            case "SELECT" | "EXAMINE":
                untagged = b"* %d EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 1]\r\n" % len(self._mailbox.mails)
            case "SEARCH":
                found = self._mailbox.unseen if "UNSEEN" in command.upper() else self._mailbox.mails
                untagged = b"* SEARCH" + b"".join(b" %d" % mail.uid for mail in found) + b"\r\n"
            case "FETCH":
                untagged = b"".join(_fetched(mail, command) for mail in self._named(command))
            case "STORE":
                for mail in self._named(command):
                    mail.is_seen = "\\SEEN" in command.upper() and "-FLAGS" not in command.upper()
                untagged = b""
            case "NOOP" | "CLOSE" | "CHECK":
                untagged = b""
            case "LOGOUT":
                untagged = b"* BYE\r\n"
            case _:
                return f"{tag} BAD no such command here\r\n".encode()
        return untagged + f"{tag} OK done\r\n".encode()

    def _named(self, command: str) -> list[Kept]:
        """The mails of a UID set: `1`, `1,3`, `2:5`."""
        uids: set[int] = set()
        for first, last in re.findall(r"(\d+)(?::(\d+))?", command.split(" ")[2]):
            uids.update(range(int(first), int(last or first) + 1))
        return [mail for mail in self._mailbox.mails if mail.uid in uids]


def _fetched(mail: Kept, command: str) -> bytes:
    if "BODY" in command.upper():
        return b"* %d FETCH (UID %d BODY[] {%d}\r\n%b)\r\n" % (mail.uid, mail.uid, len(mail.raw), mail.raw)
    return b"* %d FETCH (UID %d RFC822.SIZE %d)\r\n" % (mail.uid, mail.uid, len(mail.raw))
