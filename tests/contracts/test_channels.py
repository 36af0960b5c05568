"""One suite over every channel: each way a provider can fail ends in the one error that is true of it.

The judge is the sandbox's own count: Rejected, TryLater and Misconfigured promise that nothing was accepted. Run with
`-s` to see the table.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, Receipt, Rejected, TryLater
from channels.credentials import Security, SmtpCredentials, sandbox_credentials
from domain.channel import Channel
from domain.provider import ChannelsConfig
from simulator.providers.faults import FaultKind, FaultRule
from tests.channels.rig import (
    QUICK,
    STEADY,
    Behaviour,
    Rig,
    a_closed_port,
    a_port_that_never_answers,
    a_rig,
    a_self_signed_certificate,
    a_server_that,
    adapters_for,
    an_outbound,
)
from tests.channels.rig import TOO_LONG_SECONDS as LONG

SMS, EMAIL, PUSH = Channel.SMS, Channel.EMAIL, Channel.PUSH
CHANNELS = [SMS, EMAIL, PUSH]

#: (channel, failure) -> outcome, filled by the tests and printed at the end.
TABLE: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module", autouse=True)
def _table() -> Iterator[None]:
    yield
    width = max((len(failure) for _, failure in TABLE), default=0)
    rows = (f"{channel:<6} {failure:<{width}}  {outcome}" for (channel, failure), outcome in TABLE.items())
    sys.stdout.write("\n" + "\n".join(rows) + "\n")


@dataclass(frozen=True)
class Fault:
    """A fault of the sandbox and the error it must come out as; None: it is sent all the same."""

    channel: Channel
    name: str
    rule: FaultRule
    outcome: type[ChannelError] | None
    code: str | None = None
    retire: bool = False
    opted_out: bool = False

    def __str__(self) -> str:
        return f"{self.channel}-{self.name}"


def fault(
    channel: Channel,
    name: str,
    kind: FaultKind,
    outcome: type[ChannelError] | None,
    *,
    on: str | None = None,
    code: str | None = None,
    says: str | None = None,
    seconds: float = 0,
    stage: str = "content",
    retire: bool = False,
    opted_out: bool = False,
) -> Fault:
    rule = FaultRule(channel=on or channel.value, kind=kind, code=code, seconds=seconds, stage=stage)
    return Fault(channel, name, rule, outcome, says, retire, opted_out)


K = FaultKind
FAULTS = [
    # every channel
    *(fault(c, "slow answer", K.STALL_AFTER, None, seconds=0.2) for c in CHANNELS),
    *(fault(c, "no answer in time, not accepted", K.STALL_BEFORE, OutcomeUnknown, seconds=LONG) for c in CHANNELS),
    *(fault(c, "no answer in time, accepted", K.STALL_AFTER, OutcomeUnknown, seconds=LONG) for c in CHANNELS),
    *(fault(c, "dropped before accepting", K.DROP_BEFORE, OutcomeUnknown) for c in CHANNELS),
    *(fault(c, "dropped after accepting", K.DROP_AFTER, OutcomeUnknown) for c in CHANNELS),
    *(fault(c, "garbage after accepting", K.GARBAGE_AFTER, OutcomeUnknown) for c in CHANNELS),
    *(fault(c, "half an answer after accepting", K.HALF_AFTER, OutcomeUnknown) for c in CHANNELS),
    *(fault(c, "server error before accepting", K.ERROR_BEFORE, OutcomeUnknown) for c in (SMS, PUSH)),
    *(fault(c, "server error after accepting", K.ERROR_AFTER, OutcomeUnknown) for c in (SMS, PUSH)),
    # Twilio's refusals
    fault(SMS, "number is dead", K.REFUSE, Rejected, code="21614", says="21614", retire=True),
    fault(SMS, "customer unsubscribed", K.REFUSE, Rejected, code="21610", says="21610", opted_out=True),
    fault(SMS, "text refused", K.REFUSE, Rejected, code="21617", says="21617"),
    fault(SMS, "unheard-of refusal", K.REFUSE, Rejected, code="29999", says="29999"),
    fault(SMS, "too many requests", K.REFUSE, TryLater, code="20429", says="20429"),
    fault(SMS, "queue full", K.REFUSE, TryLater, code="21611", says="21611"),
    fault(SMS, "credentials refused", K.REFUSE, Misconfigured, code="20003", says="20003"),
    fault(SMS, "sender is not ours", K.REFUSE, Misconfigured, code="21606", says="21606"),
    # a relay's refusals, stage by stage
    fault(EMAIL, "sender refused", K.REFUSE, Misconfigured, stage="mail", code="550 5.7.1", says="550 5.7.1"),
    fault(EMAIL, "sender refused for now", K.REFUSE, TryLater, stage="mail", code="451 4.3.2", says="451 4.3.2"),
    fault(EMAIL, "closing at MAIL", K.REFUSE, TryLater, stage="mail", code="421 4.3.2", says="421 4.3.2"),
    fault(EMAIL, "dropped at MAIL", K.DROP_BEFORE, TryLater, stage="mail"),
    fault(EMAIL, "no answer to MAIL", K.STALL_BEFORE, TryLater, stage="mail", seconds=LONG),
    fault(EMAIL, "no such mailbox", K.REFUSE, Rejected, stage="rcpt", code="550 5.1.1", says="550 5.1.1", retire=True),
    fault(EMAIL, "no such mailbox, bare code", K.REFUSE, Rejected, stage="rcpt", code="550", says="550", retire=True),
    fault(EMAIL, "mailbox full", K.REFUSE, Rejected, stage="rcpt", code="552 5.2.2", says="552 5.2.2"),
    fault(EMAIL, "policy of the recipient", K.REFUSE, Rejected, stage="rcpt", code="550 5.7.1", says="550 5.7.1"),
    fault(EMAIL, "greylisted", K.REFUSE, TryLater, stage="rcpt", code="450 4.7.1", says="450 4.7.1"),
    fault(EMAIL, "login required", K.REFUSE, Misconfigured, stage="rcpt", code="530 5.7.0", says="530 5.7.0"),
    fault(EMAIL, "dropped at RCPT", K.DROP_BEFORE, TryLater, stage="rcpt"),
    fault(EMAIL, "no answer to RCPT", K.STALL_BEFORE, TryLater, stage="rcpt", seconds=LONG),
    fault(EMAIL, "DATA refused", K.REFUSE, Rejected, stage="data", code="554 5.5.1", says="554 5.5.1"),
    fault(EMAIL, "dropped at DATA", K.DROP_BEFORE, TryLater, stage="data"),
    fault(EMAIL, "no answer to DATA", K.STALL_BEFORE, TryLater, stage="data", seconds=LONG),
    fault(EMAIL, "content refused", K.REFUSE, Rejected, code="554 5.7.1", says="554 5.7.1"),
    fault(EMAIL, "content refused for now", K.REFUSE, TryLater, code="452 4.3.1", says="452 4.3.1"),
    # FCM's refusals
    fault(PUSH, "token unregistered", K.REFUSE, Rejected, code="UNREGISTERED", says="UNREGISTERED", retire=True),
    fault(PUSH, "token of another project", K.REFUSE, Rejected, code="SENDER_ID_MISMATCH", says="SENDER_ID_MISMATCH"),
    fault(PUSH, "payload invalid", K.REFUSE, Misconfigured, code="INVALID_ARGUMENT", says="INVALID_ARGUMENT"),
    fault(PUSH, "quota exceeded", K.REFUSE, TryLater, code="QUOTA_EXCEEDED", says="QUOTA_EXCEEDED"),
    fault(PUSH, "APNs key refused", K.REFUSE, Misconfigured, code="THIRD_PARTY_AUTH_ERROR"),
    fault(PUSH, "service unavailable", K.REFUSE, OutcomeUnknown, code="UNAVAILABLE", says="UNAVAILABLE"),
    # the token comes before the message, so nothing about it leaves the outcome open
    fault(PUSH, "grant refused", K.REFUSE, Misconfigured, on="token"),
    fault(PUSH, "token endpoint fails", K.ERROR_BEFORE, TryLater, on="token"),
    fault(PUSH, "token endpoint drops", K.DROP_AFTER, TryLater, on="token"),
    fault(PUSH, "token endpoint answers garbage", K.GARBAGE_AFTER, TryLater, on="token"),
    fault(PUSH, "token endpoint answers half", K.HALF_AFTER, TryLater, on="token"),
    fault(PUSH, "token endpoint stalls", K.STALL_BEFORE, TryLater, on="token", seconds=LONG),
]  # fmt: skip


def run(folder: Path, story: Callable[[Rig], Awaitable[None]], config: ChannelsConfig = STEADY) -> None:
    async def told() -> None:
        async with a_rig(folder, config=config) as rig:
            await story(rig)

    asyncio.run(told())


async def outcome_of(rig: Rig, channel: Channel, failure: str) -> Receipt | ChannelError:
    """Send one message, note what came of it, and hold the adapter to what its answer promises."""
    outbound = an_outbound(channel)
    started = asyncio.get_running_loop().time()
    try:
        outcome: Receipt | ChannelError = await rig.adapters[channel].send(outbound)
    except ChannelError as error:
        outcome = error
    took = asyncio.get_running_loop().time() - started
    accepted = rig.accepted(outbound.contact_id)
    name = type(outcome).__name__ if isinstance(outcome, ChannelError) else "sent"
    TABLE[channel, failure] = f"{name:<15} accepted {accepted} time(s)"
    assert took < STEADY.sms.deadline.total_seconds(), "a deadline must bound the send"
    if isinstance(outcome, Receipt):
        assert accepted == 1
    elif not isinstance(outcome, OutcomeUnknown):
        assert accepted == 0, f"{name} promises that nothing was sent"
    return outcome


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_message_is_sent_once_with_a_receipt(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        outcome = await outcome_of(rig, channel, "none")

        assert isinstance(outcome, Receipt)
        assert outcome.provider == rig.adapters[channel].name
        assert outcome.provider_ref == rig.world.outbox.shown[-1].ref

    run(tmp_path, story)


@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_a_failure_comes_out_as_the_one_error_that_is_true(case: Fault, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        if case.rule.channel != "token" and not case.rule.seconds:
            await rig.adapters[case.channel].send(an_outbound(case.channel))  # so that it strikes a used connection
        rig.world.faults.arm([case.rule])

        outcome = await outcome_of(rig, case.channel, case.name)

        assert type(outcome) is (case.outcome or Receipt)
        if case.code:
            assert isinstance(outcome, ChannelError)
            assert outcome.code == case.code
        if isinstance(outcome, Rejected):
            assert (outcome.retire_address, outcome.opted_out) == (case.retire, case.opted_out)
        if not case.rule.seconds:
            await _the_next_message_goes_out(rig, case.channel)

    run(tmp_path, story, QUICK if case.rule.seconds and case.outcome else STEADY)


async def _the_next_message_goes_out(rig: Rig, channel: Channel) -> None:
    rig.world.faults.arm([])
    outbound = an_outbound(channel)
    receipt = await rig.adapters[channel].send(outbound)

    assert receipt.provider_ref == rig.world.outbox.shown[-1].ref, "an answer must never go to another message"
    assert rig.accepted(outbound.contact_id) == 1


@pytest.mark.parametrize("channel", CHANNELS)
def test_nobody_listening_means_try_later(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        credentials = sandbox_credentials(
            http_url=f"http://127.0.0.1:{a_closed_port()}", smtp_url=f"smtp://127.0.0.1:{a_closed_port()}"
        )
        async with adapters_for(credentials) as adapters:
            outcome = await outcome_of(replace(rig, adapters=adapters), channel, "connection refused")

        assert type(outcome) is TryLater

    run(tmp_path, story)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_connection_that_hangs_means_try_later(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        async with a_port_that_never_answers() as port:
            credentials = sandbox_credentials(http_url=f"http://127.0.0.1:{port}", smtp_url=f"smtp://127.0.0.1:{port}")
            async with adapters_for(credentials, config=QUICK) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), channel, "time-out at connect")

        assert type(outcome) is TryLater

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [
        ("silence after the request", Behaviour(b"\r\n\r\n", b"", hangs=True)),
        ("half a head, then silence", Behaviour(b"\r\n\r\n", b"HTTP/1.1 201 Cre", hangs=True)),
        ("half a head, then closed", Behaviour(b"\r\n\r\n", b"HTTP/1.1 201 Cre")),
        ("no HTTP at all", Behaviour(b"\r\n\r\n", b"220 this is a relay\r\n")),
        ("an answer without end", Behaviour(b"\r\n\r\n", b"HTTP/1.1 201 Created\r\n\r\n" + b"x" * 2**20, hangs=True)),
        ("success without a body", Behaviour(b"\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")),
        ("success that names no message", Behaviour(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")),
        ("success that is a list", Behaviour(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]")),
        ("success that is not UTF-8", Behaviour(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe")),
    ],
)
@pytest.mark.parametrize("channel", [SMS, PUSH])
def test_an_answer_that_cannot_be_read_leaves_the_outcome_open(
    channel: Channel, name: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    async def story(rig: Rig) -> None:
        async with a_server_that(behaviour) as port:
            base = f"http://127.0.0.1:{port}"
            credentials = replace(
                rig.credentials,
                twilio=replace(rig.credentials.twilio, base_url=base),
                fcm=replace(rig.credentials.fcm, base_url=base),  # tokens still come from the sandbox
            )
            async with adapters_for(credentials, config=QUICK if behaviour.hangs else STEADY) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), channel, name)

        assert type(outcome) is OutcomeUnknown

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [
        ("no greeting", Behaviour(b"", b"", hangs=True)),
        ("greeting refused for now", Behaviour(b"", b"421 busy\r\n")),
        ("greeting is garbage", Behaviour(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        ("closed before EHLO is answered", Behaviour(b"EHLO", b"")),
    ],
)
def test_a_relay_that_does_not_greet_means_try_later(name: str, behaviour: Behaviour, tmp_path: Path) -> None:
    if name == "closed before EHLO is answered":
        behaviour = Behaviour(b"", b"220 hello\r\n")

    async def story(rig: Rig) -> None:
        async with a_server_that(behaviour) as port:
            credentials = replace(rig.credentials, smtp=SmtpCredentials("127.0.0.1", port, Security.NONE))
            async with adapters_for(credentials, config=QUICK if behaviour.hangs else STEADY) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), EMAIL, name)

        assert type(outcome) is TryLater

    run(tmp_path, story)


def test_a_relay_that_refuses_us_at_the_door_is_ours_to_mend(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        async with a_server_that(Behaviour(b"", b"554 5.7.1 no service for you\r\n")) as port:
            credentials = replace(rig.credentials, smtp=SmtpCredentials("127.0.0.1", port, Security.NONE))
            async with adapters_for(credentials) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), EMAIL, "greeting refused")

        assert type(outcome) is Misconfigured

    run(tmp_path, story)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_certificate_that_nobody_vouches_for_stops_the_provider(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        async with a_server_that(
            Behaviour(b"\r\n\r\n", b"", hangs=True), tls=a_self_signed_certificate(tmp_path)
        ) as port:
            credentials = replace(
                sandbox_credentials(http_url=f"https://127.0.0.1:{port}", smtp_url="smtp://127.0.0.1"),
                smtp=SmtpCredentials("127.0.0.1", port, Security.TLS),
            )
            async with adapters_for(credentials) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), channel, "certificate not trusted")

        assert type(outcome) is Misconfigured

    run(tmp_path, story)


@pytest.mark.parametrize("channel", CHANNELS)
def test_tls_to_a_server_without_it_means_try_later(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        async with a_server_that(Behaviour(b"", b"220 plain words only\r\n")) as port:
            credentials = replace(
                sandbox_credentials(http_url=f"https://127.0.0.1:{port}", smtp_url="smtp://127.0.0.1"),
                smtp=SmtpCredentials("127.0.0.1", port, Security.TLS),
            )
            async with adapters_for(credentials) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), channel, "TLS handshake fails")

        assert type(outcome) is TryLater

    run(tmp_path, story)


@pytest.mark.parametrize("offered", [True, False], ids=["untrusted", "not offered"])
def test_starttls_that_cannot_be_had_stops_the_relay(offered: bool, tmp_path: Path) -> None:
    async def told() -> None:
        tls = a_self_signed_certificate(tmp_path) if offered else None
        async with a_rig(tmp_path, smtp_tls=tls) as rig:
            assert rig.credentials.smtp
            credentials = replace(rig.credentials, smtp=replace(rig.credentials.smtp, security=Security.STARTTLS))
            async with adapters_for(credentials) as adapters:
                name = f"STARTTLS {'not trusted' if offered else 'not offered'}"
                outcome = await outcome_of(replace(rig, adapters=adapters), EMAIL, name)

            assert type(outcome) is Misconfigured

    asyncio.run(told())


@pytest.mark.parametrize("channel", [SMS, EMAIL])
def test_wrong_credentials_stop_the_provider(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        assert rig.credentials.twilio
        assert rig.credentials.smtp
        credentials = replace(
            rig.credentials,
            twilio=replace(rig.credentials.twilio, auth_token="not the token"),
            smtp=replace(rig.credentials.smtp, username="lumen", password="wrong"),
        )
        async with adapters_for(credentials) as adapters:
            outcome = await outcome_of(replace(rig, adapters=adapters), channel, "wrong password")

        assert type(outcome) is Misconfigured

    run(tmp_path, story)


@pytest.mark.parametrize("channel", CHANNELS)
def test_cancelled_before_the_first_byte_nothing_is_sent(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        outbound = an_outbound(channel)
        sending = asyncio.create_task(rig.adapters[channel].send(outbound))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.sleep(0.05)

        assert rig.accepted(outbound.contact_id) == 0
        await rig.adapters[channel].send(outbound)
        TABLE[channel, "cancelled before the first byte"] = "cancelled       accepted 0 time(s)"

    run(tmp_path, story)


@pytest.mark.parametrize("channel", CHANNELS)
def test_cancelled_in_flight_the_cancellation_comes_through_and_the_adapter_lives(
    channel: Channel, tmp_path: Path
) -> None:
    async def story(rig: Rig) -> None:
        rig.world.faults.arm([FaultRule(channel=channel.value, kind=K.STALL_AFTER, seconds=5, times=1)])
        struck = an_outbound(channel)
        sending = asyncio.create_task(rig.adapters[channel].send(struck))
        while not rig.accepted(struck.contact_id):
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

        await _the_next_message_goes_out(rig, channel)
        TABLE[channel, "cancelled in flight"] = "cancelled       accepted 1 time(s)"

    run(tmp_path, story)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_wave_of_concurrent_sends_leaves_each_message_once(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        wave = [an_outbound(channel) for _ in range(50)]

        receipts = await asyncio.gather(*(rig.adapters[channel].send(outbound) for outbound in wave))

        assert len({receipt.provider_ref for receipt in receipts}) == 50
        assert {rig.accepted(outbound.contact_id) for outbound in wave} == {1}

    run(tmp_path, story)


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_adapter_in_front_of_the_sandbox_says_so(channel: Channel, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        adapter = rig.adapters[channel]

        assert adapter.is_sandbox
        assert adapter.channel is channel
        assert adapter.folds_repeats is (channel is PUSH)

    run(tmp_path, story)
