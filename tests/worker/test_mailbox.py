"""From a bounce in a mailbox to the address that is not written to again: over sockets, into the ledger."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from msgspec import structs

from channels.bounces import return_path
from channels.mime import compose, sender_mailbox
from domain.channel import AddressChannel, Channel
from domain.contact import EventKind
from simulator.providers.imap import LONGEST_LINE, ImapSandbox, Mailbox
from simulator.providers.reports import ReportKind, report
from storage import inbox
from tests.builders import a_customer
from tests.channels.rig import an_outbound
from tests.feedback_kit import KEYRING, a_contact, a_ledger, state_of, withdrawn
from worker.feedback import fold_inbox
from worker.mailbox import MailboxDown, MailboxUse, look, parse_imap_url


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with a_ledger(database_url) as opened:
        yield opened


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def use(mailbox: Mailbox) -> Iterator[MailboxUse]:
    with served(mailbox) as port:
        yield MailboxUse("127.0.0.1", port, False, 'duly "bounces"', "secret\\")


@contextmanager
def served(mailbox: Mailbox) -> Iterator[int]:
    """The sandbox's IMAP server on a loop of its own: our reader blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    start = asyncio.start_server(ImapSandbox(mailbox), "127.0.0.1", 0, limit=LONGEST_LINE)
    server = asyncio.run_coroutine_threadsafe(start, loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=2)


class Sent:
    """A mail that went out to a customer, and reports about it."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn = conn
        self.customer = a_customer(conn, KEYRING)
        self.contact_id = a_contact(conn, self.customer, address=AddressChannel.EMAIL)
        outbound = structs.replace(
            an_outbound(Channel.EMAIL), contact_id=self.contact_id, party_id=self.customer.party_id,
            to=self.customer.email,
        )  # fmt: skip
        self.mail = compose(outbound, outbound.to, sender_mailbox(outbound.sender), "mail.lumen.test")
        self.envelope = return_path("bounces@mail.lumen.test", self.contact_id, self.customer.party_id) or ""

    def report(self, kind: ReportKind, text: str = "") -> bytes:
        return report(kind, self.mail, envelope_sender=self.envelope, recipient=self.customer.email, text=text)

    @property
    def retired(self) -> list[str]:
        return [
            row[0]
            for row in self.conn.execute("SELECT retired_reason FROM address WHERE retired_at IS NOT NULL").fetchall()
        ]


@pytest.fixture
def sent(conn: psycopg.Connection) -> Sent:
    return Sent(conn)


def test_a_hard_bounce_retires_the_address_with_its_reason(
    conn: psycopg.Connection, sent: Sent, mailbox: Mailbox, use: MailboxUse
) -> None:
    mailbox.put(sent.report(ReportKind.HARD_BOUNCE))

    looked = look(conn, KEYRING, use)
    fold_inbox(conn, KEYRING)

    assert looked.stored == 1
    assert sent.retired == ["email 5.1.1"]
    assert state_of(conn, sent.contact_id) is EventKind.UNDELIVERED


def test_a_soft_bounce_or_a_delay_retires_nothing(
    conn: psycopg.Connection, sent: Sent, mailbox: Mailbox, use: MailboxUse
) -> None:
    mailbox.put(sent.report(ReportKind.DELAY))
    mailbox.put(sent.report(ReportKind.SOFT_BOUNCE))

    look(conn, KEYRING, use)
    fold_inbox(conn, KEYRING)

    assert sent.retired == []
    assert state_of(conn, sent.contact_id) is EventKind.UNDELIVERED


def test_a_complaint_is_a_stop_for_that_address_and_for_no_other_channel(
    conn: psycopg.Connection, sent: Sent, mailbox: Mailbox, use: MailboxUse
) -> None:
    mailbox.put(sent.report(ReportKind.COMPLAINT))

    look(conn, KEYRING, use)
    fold_inbox(conn, KEYRING)

    assert withdrawn(conn, sent.customer) == {"email"}
    assert sent.retired == []


def test_an_answer_by_mail_is_read_like_a_text(
    conn: psycopg.Connection, sent: Sent, mailbox: Mailbox, use: MailboxUse
) -> None:
    mailbox.put(sent.report(ReportKind.ANSWER, text="Stop"))

    look(conn, KEYRING, use)
    fold_inbox(conn, KEYRING)

    assert withdrawn(conn, sent.customer) == {"email"}


def test_a_mail_is_taken_once_and_what_is_not_about_us_is_left_and_counted(
    conn: psycopg.Connection, sent: Sent, mailbox: Mailbox, use: MailboxUse
) -> None:
    mailbox.put(sent.report(ReportKind.HARD_BOUNCE))
    mailbox.put(sent.report(ReportKind.HOLIDAY))
    mailbox.put(b"x" * 2 * 1024 * 1024)

    first, again = look(conn, KEYRING, use), look(conn, KEYRING, use)

    assert (first.stored, first.left) == (1, {"written by a machine": 1, "too large": 1})
    assert (again.stored, again.left.total()) == (0, 0)
    assert mailbox.unseen == []


def test_a_look_that_died_before_it_marked_is_repeated_without_harm(
    conn: psycopg.Connection, sent: Sent, mailbox: Mailbox, use: MailboxUse
) -> None:
    mailbox.put(sent.report(ReportKind.HARD_BOUNCE))
    look(conn, KEYRING, use)
    mailbox.mails[0].is_seen = False

    look(conn, KEYRING, use)

    assert len(inbox.take(conn, 10)) == 1


def test_many_mails_are_taken_in_groups(conn: psycopg.Connection, mailbox: Mailbox, use: MailboxUse) -> None:
    for number in range(120):
        mailbox.put(f"From: a{number}@home.test\r\nMessage-ID: <{number}@home.test>\r\n\r\nhello\r\n".encode())

    assert look(conn, KEYRING, use).stored == 120
    assert mailbox.logins == 1


def test_a_mailbox_that_refuses_or_is_away_is_said_without_the_login(conn: psycopg.Connection, use: MailboxUse) -> None:
    for broken in (replace(use, password="wrong"), replace(use, port=1)):
        with pytest.raises(MailboxDown) as said:
            look(conn, KEYRING, broken)

        assert "wrong" not in str(said.value)
        assert "bounces" not in str(said.value).replace("DULY_BOUNCES_IMAP_URL", "")


def test_an_address_of_a_mailbox_is_read_and_a_bad_one_refused_unseen() -> None:
    use = parse_imap_url("imaps://me%40x.test:p%2Fw@imap.example/Bounces")

    assert (use.host, use.port, use.user, use.password, use.folder) == (
        "imap.example", 993, "me@x.test", "p/w", "Bounces",
    )  # fmt: skip
    with pytest.raises(MailboxDown, match="DULY_BOUNCES_IMAP_URL"):
        parse_imap_url("imaps://imap.example")
