"""Looks into the mailbox that bounces, complaints and answers come back to, and stores what it finds in the inbox.

Mails are marked as seen only once what they say is committed; a mail that is read twice is stored once. What says
nothing about us is marked too and left for people. Mails are never deleted: how long they are kept is the mailbox's.
"""

import imaplib
import re
import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import structlog

from channels.base import BadCallback, ProviderEvent
from channels.bounces import LARGEST_REPORT_BYTES, parse_mail
from storage import inbox
from storage.inbox import Arrival
from storage.rows import Conn
from storage.sealing import Keyring
from worker.arrivals import sealed_event, sealed_message
from worker.wiring import Spine

log = structlog.get_logger()

#: A look takes no more mails than this; the next one goes on.
MOST_AT_ONCE: Final = 500

#: Mails fetched, stored and marked together.
GROUP: Final = 50

#: One answer of the server.
TIMEOUT_SECONDS: Final = 15.0

#: IMAP has a quoted string for it (RFC 3501, section 9), and no way to write a line end there.
_UNQUOTABLE = re.compile(r"[\r\n\0]")


class MailboxDown(Exception):
    """The mailbox cannot be read now; the message never repeats who logs in."""


@dataclass(frozen=True, slots=True)
class MailboxUse:
    """Where the mailbox is and as whom we log in."""

    host: str
    port: int
    is_tls: bool
    user: str = field(repr=False)
    password: str = field(repr=False)
    folder: str = "INBOX"


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found: mails stored for the fold, and by reason those that say nothing about us."""

    stored: int
    left: Counter[str]


def parse_imap_url(url: str) -> MailboxUse:
    """`imaps://user:password@host:993/INBOX`; imap:// is for this host only. Raises MailboxDown without the URL."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "imaps"
    if parts.scheme not in ("imap", "imaps") or not parts.hostname or not parts.username:
        raise MailboxDown("DULY_BOUNCES_IMAP_URL: write imaps://user:password@host:993/INBOX")
    return MailboxUse(
        host=parts.hostname,
        port=parts.port or (993 if is_tls else 143),
        is_tls=is_tls,
        user=unquote(parts.username),
        password=unquote(parts.password or ""),
        folder=unquote(parts.path.strip("/")) or "INBOX",
    )


def watch(spine: Spine) -> None:
    """Look into the mailbox of the settings, if there is one. A mailbox that is away is said and looked at later."""
    url = spine.settings.bounces_imap_url
    if url is None:
        return
    try:
        look(spine.conn, spine.keyring, parse_imap_url(url.get_secret_value()))
    except MailboxDown as error:
        log.error("mailbox_down", why=str(error))


def look(conn: Conn, keyring: Keyring, use: MailboxUse) -> Looked:
    """Store what is new in the mailbox. Raises MailboxDown; safe to run twice, at any time, side by side."""
    stored, left = 0, Counter[str]()
    try:
        with _opened(use) as client:
            waiting = _unseen(client)[:MOST_AT_ONCE]
            for start in range(0, len(waiting), GROUP):
                uids = waiting[start : start + GROUP]
                arrivals = list(_understood(client, uids, keyring, left))
                if arrivals:
                    inbox.store(conn, arrivals)
                stored += len(arrivals)
                _checked(client.uid("STORE", ",".join(uids), "+FLAGS", r"(\Seen)"))
    except (imaplib.IMAP4.error, OSError) as error:
        raise MailboxDown(f"the bounce mailbox cannot be read ({_reason(error)}): see DULY_BOUNCES_IMAP_URL") from error
    if stored or left:
        log.info("mailbox_looked_at", stored=stored, left=dict(left))
    return Looked(stored, left)


@contextmanager
def _opened(use: MailboxUse) -> Iterator[imaplib.IMAP4]:
    """A session with the folder selected, logged out at the end."""
    client: imaplib.IMAP4 = (
        imaplib.IMAP4_SSL(use.host, use.port, ssl_context=ssl.create_default_context(), timeout=TIMEOUT_SECONDS)
        if use.is_tls
        else imaplib.IMAP4(use.host, use.port, timeout=TIMEOUT_SECONDS)
    )
    try:
        if _UNQUOTABLE.search(use.user + use.password):
            raise imaplib.IMAP4.error("login with a line end in it")
        _checked(client.login(_quoted(use.user), use.password))
        _checked(client.select(_quoted(use.folder)))
        yield client
    finally:
        try:
            client.logout()
        except (imaplib.IMAP4.error, OSError):
            client.shutdown()


def _unseen(client: imaplib.IMAP4) -> list[str]:
    (found,) = _checked(client.uid("SEARCH", "UNSEEN"))[:1] or [None]
    return found.decode("ascii").split() if isinstance(found, bytes) else []


def _understood(client: imaplib.IMAP4, uids: Sequence[str], keyring: Keyring, left: Counter[str]) -> Iterator[Arrival]:
    for uid in uids:
        raw = _fetched(client, uid)
        try:
            if raw is None:
                raise BadCallback("too large")
            said = parse_mail(raw)
        except BadCallback as reason:
            left[str(reason)] += 1
            continue
        yield sealed_event(keyring, said) if isinstance(said, ProviderEvent) else sealed_message(keyring, said)


def _fetched(client: imaplib.IMAP4, uid: str) -> bytes | None:
    """A mail's octets; None for one that is larger than a report ever is."""
    sizes = b" ".join(part for part in _checked(client.uid("FETCH", uid, "(RFC822.SIZE)")) if isinstance(part, bytes))
    size = re.search(rb"RFC822\.SIZE (\d+)", sizes)
    if size is None or int(size.group(1)) > LARGEST_REPORT_BYTES:
        return None
    parts = _checked(client.uid("FETCH", uid, "(BODY.PEEK[])"))
    return next((part[1] for part in parts if isinstance(part, tuple)), None)


def _checked(answer: tuple[str, Any]) -> list[object]:
    kind, data = answer
    if kind != "OK":
        raise imaplib.IMAP4.error(f"the server said {kind}")
    return list(data)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _reason(error: Exception) -> str:
    """In our words: a server's own may repeat the login."""
    if isinstance(error, imaplib.IMAP4.abort):
        return "the connection ended"
    if isinstance(error, imaplib.IMAP4.error):
        return "the server refused the login or a command"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    return "no answer in time" if isinstance(error, TimeoutError | socket.timeout) else "no connection"
