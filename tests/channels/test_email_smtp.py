"""Connections to a relay are few, kept alive and replaced in time; addresses go out the way the relay takes them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from channels.base import Misconfigured, Rejected
from channels.credentials import BadCredentials, Security, SmtpCredentials, parse_smtp_url
from channels.email_smtp import SmtpEmail
from domain.channel import Channel
from domain.message import Rendered
from simulator.providers.apns import tls_for
from simulator.providers.faults import FaultKind, FaultRule
from tests.channels.rig import STEADY, Rig, a_rig, a_server_that, an_outbound

EMAIL = Channel.EMAIL


def run(folder: Path, story: Callable[[Rig, SmtpEmail], Awaitable[None]]) -> None:
    async def told() -> None:
        async with a_rig(folder) as rig:
            adapter = rig.adapters[EMAIL]
            assert isinstance(adapter, SmtpEmail)
            await story(rig, adapter)

    asyncio.run(told())


class PlainRelay:
    """The smallest relay there is; counts connections and keeps what it read. `offers` are its EHLO lines."""

    def __init__(self, *offers: str, closes_after: int = 10_000) -> None:
        self.offers = offers
        self.closes_after = closes_after
        self.connections = 0
        self.commands: list[bytes] = []
        self.messages: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"220 plain\r\n")
        here = 0
        while line := await reader.readline():
            self.commands.append(line.strip())
            verb = line[:4].upper()
            if verb == b"EHLO":
                lines = ["plain", *self.offers]
                writer.write("".join(f"250{' ' if x is lines[-1] else '-'}{x}\r\n" for x in lines).encode())
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                self.messages.append((await reader.readuntil(b"\r\n.\r\n"))[:-3])
                writer.write(b"250 ok\r\n")
                here += 1
                if here == self.closes_after:
                    return
            else:
                writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")


def sent_through(relay: PlainRelay, *changes: dict[str, object], **use: object) -> None:
    async def told() -> None:
        async with a_server_that(relay) as port:  # type: ignore[arg-type]
            adapter = SmtpEmail(
                replace(STEADY.email, **use),  # type: ignore[arg-type]
                SmtpCredentials("127.0.0.1", port, Security.NONE),
                is_sandbox=False,
            )
            try:
                for change in changes:
                    await adapter.send(an_outbound(EMAIL, **change))
                    await asyncio.sleep(0)
            finally:
                await adapter.aclose()

    asyncio.run(told())


def test_one_connection_carries_message_after_message() -> None:
    relay = PlainRelay()

    sent_through(relay, *[{}] * 20)

    assert (relay.connections, len(relay.messages)) == (1, 20)
    assert relay.commands[-1] == b"QUIT"


def test_a_connection_is_replaced_after_its_share_of_messages() -> None:
    relay = PlainRelay()

    sent_through(relay, *[{}] * 9, messages_per_connection=3)

    assert (relay.connections, len(relay.messages)) == (3, 9)


def test_a_connection_is_replaced_when_it_is_old() -> None:
    relay = PlainRelay()

    sent_through(relay, *[{}] * 3, connection_age=timedelta(0))

    assert relay.connections == 3


def test_a_relay_that_closes_behind_our_back_costs_no_message() -> None:
    relay = PlainRelay(closes_after=2)

    sent_through(relay, *[{}] * 7)

    assert len(relay.messages) == 7


def test_a_wave_uses_no_more_connections_than_the_relay_allows(tmp_path: Path) -> None:
    relay = PlainRelay()

    async def told() -> None:
        async with a_server_that(relay) as port:  # type: ignore[arg-type]
            adapter = SmtpEmail(STEADY.email, SmtpCredentials("127.0.0.1", port, Security.NONE), is_sandbox=False)
            await asyncio.gather(*(adapter.send(an_outbound(EMAIL)) for _ in range(40)))
            await adapter.aclose()

    asyncio.run(told())

    assert (relay.connections, len(relay.messages)) == (STEADY.email.connections, 40)


@pytest.mark.parametrize("text", [".", "..", "a\n.\nb", ".\n.\n", "x\r\n.\r\nQUIT", "\n\n."])
def test_dots_arrive_and_never_end_the_message(text: str, tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: SmtpEmail) -> None:
        await adapter.send(an_outbound(EMAIL, rendered=Rendered(EMAIL, "en", text, subject="s")))

        assert rig.world.outbox.shown[-1].text == text.replace("\r\n", "\n").strip()

    run(tmp_path, story)


def test_a_local_part_in_another_script_needs_a_relay_that_knows_it(tmp_path: Path) -> None:
    able, unable = PlainRelay("SMTPUTF8", "SIZE 1000000"), PlainRelay("SIZE 1000000")

    sent_through(able, {"to": "小明@例子.test"})
    with pytest.raises(Rejected, match="no smtputf8"):
        sent_through(unable, {"to": "小明@例子.test"})

    assert any(command.endswith(b" SMTPUTF8") for command in able.commands)
    assert not unable.messages


def test_the_relay_hears_the_size_beforehand_and_it_is_true() -> None:
    relay = PlainRelay("SIZE 1000000")

    sent_through(relay, {})

    mail = next(command for command in relay.commands if command.startswith(b"MAIL"))
    assert mail == b"MAIL FROM:<hi@lumen.test> SIZE=%d" % len(relay.messages[0])


def test_a_line_with_a_refused_recipient_goes_on_to_the_next(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: SmtpEmail) -> None:
        dead = FaultRule(channel="email", kind=FaultKind.REFUSE, stage="rcpt", address="dead@home.test")
        rig.world.faults.arm([dead])
        await adapter.send(an_outbound(EMAIL))
        line = adapter._idle[0]

        with pytest.raises(Rejected):
            await adapter.send(an_outbound(EMAIL, to="dead@home.test"))

        assert adapter._idle == [line]
        await adapter.send(an_outbound(EMAIL))

    run(tmp_path, story)


def test_login_is_asked_for_once_per_connection(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: SmtpEmail) -> None:
        assert rig.credentials.smtp
        access = replace(rig.credentials.smtp, username="lumen", password="right")
        logged_in = SmtpEmail(STEADY.email, access, is_sandbox=True)
        try:
            await logged_in.send(an_outbound(EMAIL))
            await logged_in.send(an_outbound(EMAIL))
        finally:
            await logged_in.aclose()

        assert rig.world.outbox.by_channel["email"] == 2

    run(tmp_path, story)


def test_a_relay_without_login_is_ours_to_mend() -> None:
    async def told() -> None:
        async with a_server_that(PlainRelay()) as port:  # type: ignore[arg-type]
            access = SmtpCredentials("127.0.0.1", port, Security.NONE, "lumen", "right")
            adapter = SmtpEmail(STEADY.email, access, is_sandbox=False)
            with pytest.raises(Misconfigured):
                await adapter.send(an_outbound(EMAIL))

    asyncio.run(told())


@pytest.mark.parametrize(
    ("url", "host", "port", "security"),
    [
        ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, Security.NONE),
        ("smtp://relay.test", "relay.test", 25, Security.NONE),
        ("smtps://relay.test", "relay.test", 465, Security.TLS),
        ("smtp+starttls://me%40x.test:p%3Aw@relay.test", "relay.test", 587, Security.STARTTLS),
    ],
)
def test_a_relay_is_one_url(url: str, host: str, port: int, security: Security) -> None:
    relay = parse_smtp_url(url)

    assert (relay.host, relay.port, relay.security) == (host, port, security)
    if "%40" in url:
        assert (relay.username, relay.password) == ("me@x.test", "p:w")


@pytest.mark.parametrize(
    "url", ["", "relay.test", "http://relay.test", "smtp://", "smtp://h:hush", "smtps://u:hush@h:99999"]
)
def test_a_url_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BadCredentials) as refused:
        parse_smtp_url(url)

    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_a_relay_with_a_certificate_that_we_trust_is_spoken_to_in_secret(
    security: Security, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, trusted = tls_for("127.0.0.1", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))  # what OpenSSL trusts by default

    async def told() -> None:
        relay = PlainRelay()
        async with a_rig(tmp_path / "box", smtp_tls=tls) as rig, a_server_that(relay, tls=tls) as port:  # type: ignore[arg-type]
            assert rig.credentials.smtp
            access = replace(rig.credentials.smtp, security=security, username="lumen", password="right")
            if security is Security.TLS:
                access = replace(access, port=port, username=None)
            adapter = SmtpEmail(STEADY.email, access, is_sandbox=True)
            try:
                for _ in range(3):
                    await adapter.send(an_outbound(EMAIL))
                lines = [line.client for line in adapter._idle]
                assert [line.get_transport_info("cipher") is not None for line in lines] == [True]
            finally:
                await adapter.aclose()
            assert len(relay.messages) + rig.world.outbox.by_channel["email"] == 3

    asyncio.run(told())


def test_a_connection_that_is_closed_with_421_is_replaced_and_the_message_goes_out(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: SmtpEmail) -> None:
        await adapter.send(an_outbound(EMAIL))
        once = FaultRule(channel="email", kind=FaultKind.REFUSE, stage="mail", code="421 4.3.2", times=1)
        rig.world.faults.arm([once])

        outbound = an_outbound(EMAIL)
        await adapter.send(outbound)

        assert rig.accepted(outbound.contact_id) == 1

    run(tmp_path, story)


def test_without_a_bounce_mailbox_bounces_go_to_the_lenders_own_sender(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: SmtpEmail) -> None:
        await adapter.send(an_outbound(EMAIL))

        assert rig.world.outbox.shown[-1].sender == "hi@lumen.test"

    run(tmp_path, story)
