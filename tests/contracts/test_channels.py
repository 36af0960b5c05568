"""One suite over every channel: each way a provider can fail ends in the one error that is true of it.

The judge is the sandbox's own count: Rejected, TryLater and Misconfigured promise that nothing was accepted. The table
of it all stands in docs/channels.md, and every test here holds its own cell of it; run with `-s` to print it anew.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, Receipt, Rejected, TryLater
from channels.credentials import SANDBOX_TOKEN, Credentials, Security, SmtpCredentials
from domain.provider import ChannelsConfig
from simulator.providers.faults import FaultKind, FaultRule
from tests.channels.rig import (
    APNS,
    GOOD_ADDRESS,
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
    channel_of,
)
from tests.channels.rig import TOO_LONG_SECONDS as LONG

SMS, EMAIL, PUSH = "sms", "email", "push"
WAYS = [SMS, EMAIL, PUSH, APNS]
TITLES = {SMS: "SMS (Twilio)", EMAIL: "e-mail (SMTP)", PUSH: "push (FCM)", APNS: "push (APNs)"}

#: (way, failure) -> outcome, filled by the tests and printed at the end.
TABLE: dict[tuple[str, str], str] = {}

DOCUMENT = Path(__file__).parents[2] / "docs" / "channels.md"


@cache
def documented() -> dict[tuple[str, str], str]:
    """The table in the documentation: (way, failure) -> outcome."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, *lines = re.findall(r"(?m)^\| (.+) \|$", text.partition("<!-- the contract -->")[2])
    assert head.split(" | ")[1:] == [TITLES[way] for way in WAYS]
    return {
        (way, failure): outcome
        for line in lines[1:]
        for failure, *outcomes in [line.split(" | ")]
        for way, outcome in zip(WAYS, outcomes, strict=True)
        if outcome != "-"
    }


@pytest.fixture(scope="module", autouse=True)
def _table() -> Iterator[None]:
    yield
    failures = dict.fromkeys(failure for _, failure in TABLE)
    head = ["failure", *TITLES.values()]
    rows = [head, ["---"] * len(head)]
    rows += [[failure, *(TABLE.get((way, failure), "-") for way in WAYS)] for failure in failures]
    sys.stdout.write("\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n")


@pytest.fixture(autouse=True)
def _nothing_personal_in_the_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens to a message: no address, word or credential of it reaches a log, of ours or of a library."""
    caplog.set_level(logging.DEBUG)
    yield
    said = "\n".join(logging.Formatter().format(record) for record in caplog.get_records("call"))
    sample = an_outbound(SMS)
    secrets = (SANDBOX_TOKEN, sample.rendered.text, "Bearer sandbox", "BEGIN PRIVATE KEY")
    assert [each for each in (*GOOD_ADDRESS.values(), *secrets) if each in said] == []


@dataclass(frozen=True)
class Fault:
    """A fault of the sandbox and the error it must come out as; None: it is sent all the same."""

    way: str
    name: str
    rule: FaultRule
    outcome: type[ChannelError] | None
    code: str | None = None
    retire: bool = False
    opted_out: bool = False

    def __str__(self) -> str:
        return f"{self.way}-{self.name}"


def fault(
    way: str,
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
    rule = FaultRule(channel=on or way, kind=kind, code=code, seconds=seconds, stage=stage)
    return Fault(way, name, rule, outcome, says, retire, opted_out)


K = FaultKind
FAULTS = [
    # every channel
    *(fault(c, "slow answer", K.STALL_AFTER, None, seconds=0.2) for c in WAYS),
    *(fault(c, "no answer in time, not accepted", K.STALL_BEFORE, OutcomeUnknown, seconds=LONG) for c in WAYS),
    *(fault(c, "no answer in time, accepted", K.STALL_AFTER, OutcomeUnknown, seconds=LONG) for c in WAYS),
    *(fault(c, "dropped before accepting", K.DROP_BEFORE, OutcomeUnknown) for c in WAYS),
    *(fault(c, "dropped after accepting", K.DROP_AFTER, OutcomeUnknown) for c in WAYS),
    *(fault(c, "garbage after accepting", K.GARBAGE_AFTER, OutcomeUnknown) for c in WAYS),
    *(fault(c, "half an answer after accepting", K.HALF_AFTER, OutcomeUnknown) for c in WAYS),
    *(fault(c, "server error before accepting", K.ERROR_BEFORE, OutcomeUnknown) for c in (SMS, PUSH, APNS)),
    *(fault(c, "server error after accepting", K.ERROR_AFTER, OutcomeUnknown) for c in (SMS, PUSH, APNS)),
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
    # APNs' refusals
    fault(APNS, "token unregistered", K.REFUSE, Rejected, code="Unregistered", says="Unregistered", retire=True),
    fault(APNS, "token misshapen", K.REFUSE, Rejected, code="BadDeviceToken", says="BadDeviceToken", retire=True),
    fault(APNS, "token of another app", K.REFUSE, Rejected, code="DeviceTokenNotForTopic"),
    fault(APNS, "topic is not ours", K.REFUSE, Misconfigured, code="BadTopic", says="BadTopic"),
    fault(APNS, "payload too large", K.REFUSE, Misconfigured, code="PayloadTooLarge", says="PayloadTooLarge"),
    fault(APNS, "provider token refused", K.REFUSE, Misconfigured, code="InvalidProviderToken"),
    fault(APNS, "provider token expired", K.REFUSE, Misconfigured, code="ExpiredProviderToken"),
    fault(APNS, "provider token renewed too often", K.REFUSE, TryLater, code="TooManyProviderTokenUpdates"),
    fault(APNS, "device written to too often", K.REFUSE, TryLater, code="TooManyRequests", says="TooManyRequests"),
    fault(APNS, "unheard-of refusal", K.REFUSE, Rejected, code="NewReason", says="NewReason"),
    fault(APNS, "service unavailable", K.REFUSE, OutcomeUnknown, code="ServiceUnavailable", says="ServiceUnavailable"),
    fault(APNS, "connection ended with GOAWAY", K.GOING_AWAY, OutcomeUnknown),
    # the token comes before the message, so nothing about it leaves the outcome open
    fault(PUSH, "grant refused", K.REFUSE, Misconfigured, on="token"),
    fault(PUSH, "token endpoint fails", K.ERROR_BEFORE, TryLater, on="token"),
    fault(PUSH, "token endpoint drops", K.DROP_AFTER, TryLater, on="token"),
    fault(PUSH, "token endpoint answers garbage", K.GARBAGE_AFTER, TryLater, on="token"),
    fault(PUSH, "token endpoint answers half", K.HALF_AFTER, TryLater, on="token"),
    fault(PUSH, "token endpoint stalls", K.STALL_BEFORE, TryLater, on="token", seconds=LONG),
]  # fmt: skip


HTTP_ANSWERS = {
    "silence after the request": Behaviour(b"\r\n\r\n", b"", hangs=True),
    "half a head, then silence": Behaviour(b"\r\n\r\n", b"HTTP/1.1 201 Cre", hangs=True),
    "half a head, then closed": Behaviour(b"\r\n\r\n", b"HTTP/1.1 201 Cre"),
    "no HTTP at all": Behaviour(b"\r\n\r\n", b"220 this is a relay\r\n"),
    "an answer without end": Behaviour(b"\r\n\r\n", b"HTTP/1.1 201 Created\r\n\r\n" + b"x" * 2**20, hangs=True),
    "success without a body": Behaviour(b"\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
    "success that names no message": Behaviour(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "success that is a list": Behaviour(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]"),
    "success that is not UTF-8": Behaviour(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe"),
}
GREETINGS = {
    "no greeting": Behaviour(b"", b"", hangs=True),
    "greeting refused for now": Behaviour(b"", b"421 busy\r\n"),
    "greeting is garbage": Behaviour(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "closed before EHLO is answered": Behaviour(b"", b"220 hello\r\n"),
}

#: Failures that are no fault of the sandbox, and whom they can strike.
OTHERS: dict[str, list[str]] = {
    "none": WAYS,
    "connection refused": WAYS,
    "time-out at connect": WAYS,
    "certificate not trusted": WAYS,
    "TLS handshake fails": WAYS,
    "TLS handshake hangs": WAYS,
    "wrong credentials": WAYS,
    "cancelled before the first byte": WAYS,
    "cancelled in flight": WAYS,
    **{key: [SMS, PUSH] for key in HTTP_ANSWERS},
    **{key: [EMAIL] for key in GREETINGS},
    "greeting refused": [EMAIL],
    "STARTTLS not trusted": [EMAIL],
    "STARTTLS not offered": [EMAIL],
}


def pairs(failure: str) -> list[str]:
    return OTHERS[failure]


def run(folder: Path, story: Callable[[Rig], Awaitable[None]], config: ChannelsConfig = STEADY) -> None:
    async def told() -> None:
        async with a_rig(folder, config=config) as rig:
            await story(rig)

    asyncio.run(told())


def elsewhere(rig: Rig, port: int, *, tls: bool = False) -> Credentials:
    """The rig's credentials, for providers that are all on this port."""
    credentials, base = rig.credentials, f"http{'s' if tls else ''}://127.0.0.1:{port}"
    assert credentials.twilio
    assert credentials.fcm
    assert credentials.apns
    return replace(
        credentials,
        twilio=replace(credentials.twilio, base_url=base),
        fcm=replace(
            credentials.fcm,
            base_url=base,
            service_account={**credentials.fcm.service_account, "token_uri": f"{base}/token"},
        ),
        smtp=SmtpCredentials("127.0.0.1", port, Security.TLS if tls else Security.NONE),
        apns=replace(credentials.apns, port=port, trusted=None),
    )


async def outcome_of(rig: Rig, way: str, failure: str) -> Receipt | ChannelError:
    """Send one message, note what came of it, and hold the adapter to what its answer promises."""
    outbound = an_outbound(way)
    started = asyncio.get_running_loop().time()
    try:
        outcome: Receipt | ChannelError = await rig.adapters[way].send(outbound)
    except ChannelError as error:
        outcome = error
    took = asyncio.get_running_loop().time() - started
    accepted = rig.accepted(outbound.contact_id)
    assert took < STEADY.sms.deadline.total_seconds(), "a deadline must bound the send"
    if isinstance(outcome, Receipt):
        assert accepted == 1
    elif not isinstance(outcome, OutcomeUnknown):
        assert accepted == 0, f"{type(outcome).__name__} promises that nothing was sent"
    note(way, failure, word_for(outcome))
    return outcome


def word_for(outcome: Receipt | ChannelError) -> str:
    match outcome:
        case Receipt():
            return "sent"
        case Rejected(retire_address=True):
            return "Rejected, retired"
        case Rejected(opted_out=True):
            return "Rejected, opted out"
    return type(outcome).__name__


def note(way: str, failure: str, outcome: str) -> None:
    TABLE[way, failure] = outcome
    assert documented().get((way, failure)) == outcome, "docs/channels.md says otherwise: run with -s for its table"


def test_the_table_in_the_documentation_has_these_failures_and_no_others() -> None:
    tested = {(case.way, case.name) for case in FAULTS} | {(way, name) for name, ways in OTHERS.items() for way in ways}

    assert documented().keys() == tested


@pytest.mark.parametrize("way", pairs("none"))
def test_a_message_is_sent_once_with_a_receipt(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        outcome = await outcome_of(rig, way, "none")

        assert isinstance(outcome, Receipt)
        assert outcome.provider == rig.adapters[way].name
        assert outcome.provider_ref == rig.world.outbox.shown[-1].ref

    run(tmp_path, story)


@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_a_failure_comes_out_as_the_one_error_that_is_true(case: Fault, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        if case.rule.channel != "token" and not case.rule.seconds:
            await rig.adapters[case.way].send(an_outbound(case.way))  # so that it strikes a used connection
        rig.world.faults.arm([case.rule])

        outcome = await outcome_of(rig, case.way, case.name)

        assert type(outcome) is (case.outcome or Receipt)
        if case.code:
            assert isinstance(outcome, ChannelError)
            assert outcome.code == case.code
        if isinstance(outcome, Rejected):
            assert (outcome.retire_address, outcome.opted_out) == (case.retire, case.opted_out)
        if not case.rule.seconds:
            await _the_next_message_goes_out(rig, case.way)

    run(tmp_path, story, QUICK if case.rule.seconds and case.outcome else STEADY)


async def _the_next_message_goes_out(rig: Rig, way: str) -> None:
    rig.world.faults.arm([])
    outbound = an_outbound(way)
    receipt = await rig.adapters[way].send(outbound)

    assert receipt.provider_ref == rig.world.outbox.shown[-1].ref, "an answer must never go to another message"
    assert rig.accepted(outbound.contact_id) == 1


@pytest.mark.parametrize("way", pairs("connection refused"))
def test_nobody_listening_means_try_later(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        async with adapters_for(elsewhere(rig, a_closed_port())) as adapters:
            outcome = await outcome_of(replace(rig, adapters=adapters), way, "connection refused")

        assert type(outcome) is TryLater

    run(tmp_path, story)


@pytest.mark.parametrize("way", pairs("time-out at connect"))
def test_a_connection_that_hangs_means_try_later(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        async with (
            a_port_that_never_answers() as port,
            adapters_for(elsewhere(rig, port), config=QUICK) as adapters,
        ):
            outcome = await outcome_of(replace(rig, adapters=adapters), way, "time-out at connect")

        assert type(outcome) is TryLater

    run(tmp_path, story)


@pytest.mark.parametrize("name", HTTP_ANSWERS)
@pytest.mark.parametrize("way", [SMS, PUSH])
def test_an_answer_that_cannot_be_read_leaves_the_outcome_open(way: str, name: str, tmp_path: Path) -> None:
    behaviour = HTTP_ANSWERS[name]

    async def story(rig: Rig) -> None:
        async with a_server_that(behaviour) as port:
            base = f"http://127.0.0.1:{port}"
            credentials = replace(
                rig.credentials,
                twilio=replace(rig.credentials.twilio, base_url=base),
                fcm=replace(rig.credentials.fcm, base_url=base),  # tokens still come from the sandbox
            )
            async with adapters_for(credentials, config=QUICK if behaviour.hangs else STEADY) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), way, name)

        assert type(outcome) is OutcomeUnknown

    run(tmp_path, story)


@pytest.mark.parametrize("name", GREETINGS)
def test_a_relay_that_does_not_greet_means_try_later(name: str, tmp_path: Path) -> None:
    behaviour = GREETINGS[name]

    async def story(rig: Rig) -> None:
        async with a_server_that(behaviour) as port:
            config = QUICK if behaviour.hangs else STEADY
            async with adapters_for(elsewhere(rig, port), config=config) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), EMAIL, name)

        assert type(outcome) is TryLater

    run(tmp_path, story)


def test_a_relay_that_refuses_us_at_the_door_is_ours_to_mend(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        async with (
            a_server_that(Behaviour(b"", b"554 5.7.1 no service for you\r\n")) as port,
            adapters_for(elsewhere(rig, port)) as adapters,
        ):
            outcome = await outcome_of(replace(rig, adapters=adapters), EMAIL, "greeting refused")

        assert type(outcome) is Misconfigured

    run(tmp_path, story)


@pytest.mark.parametrize("way", pairs("certificate not trusted"))
def test_a_certificate_that_nobody_vouches_for_stops_the_provider(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        tls = a_self_signed_certificate(tmp_path)
        async with (
            a_server_that(Behaviour(b"\r\n\r\n", b"", hangs=True), tls=tls) as port,
            adapters_for(elsewhere(rig, port, tls=True)) as adapters,
        ):
            outcome = await outcome_of(replace(rig, adapters=adapters), way, "certificate not trusted")

        assert type(outcome) is Misconfigured

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [
        ("TLS handshake fails", Behaviour(b"", b"220 plain words only\r\n")),
        ("TLS handshake hangs", Behaviour(b"", b"", hangs=True)),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_tls_that_cannot_be_had_means_try_later(way: str, name: str, behaviour: Behaviour, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        async with a_server_that(behaviour) as port:
            config = QUICK if behaviour.hangs else STEADY
            async with adapters_for(elsewhere(rig, port, tls=True), config=config) as adapters:
                outcome = await outcome_of(replace(rig, adapters=adapters), way, name)

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


@pytest.mark.parametrize("way", pairs("wrong credentials"))
def test_wrong_credentials_stop_the_provider(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        known = rig.credentials
        assert known.twilio
        assert known.smtp
        assert known.fcm
        assert known.apns
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        credentials = replace(
            known,
            twilio=replace(known.twilio, auth_token="not the token"),
            smtp=replace(known.smtp, username="lumen", password="wrong"),
            fcm=replace(known.fcm, service_account={**known.fcm.service_account, "private_key": pem}),
            apns=replace(known.apns, team_id="ANOTHER000"),
        )
        async with adapters_for(credentials) as adapters:
            outcome = await outcome_of(replace(rig, adapters=adapters), way, "wrong credentials")

        assert type(outcome) is Misconfigured

    run(tmp_path, story)


@pytest.mark.parametrize("way", WAYS)
def test_cancelled_before_the_first_byte_nothing_is_sent(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        outbound = an_outbound(way)
        sending = asyncio.create_task(rig.adapters[way].send(outbound))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.sleep(0.05)

        assert rig.accepted(outbound.contact_id) == 0
        await rig.adapters[way].send(outbound)
        note(way, "cancelled before the first byte", "cancelled, nothing sent")

    run(tmp_path, story)


@pytest.mark.parametrize("way", WAYS)
def test_cancelled_in_flight_the_cancellation_comes_through_and_the_adapter_lives(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.world.faults.arm([FaultRule(channel=way, kind=K.STALL_AFTER, seconds=5, times=1)])
        struck = an_outbound(way)
        sending = asyncio.create_task(rig.adapters[way].send(struck))
        while not rig.accepted(struck.contact_id):
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

        await _the_next_message_goes_out(rig, way)
        note(way, "cancelled in flight", "cancelled, may be sent")

    run(tmp_path, story)


@pytest.mark.parametrize("way", WAYS)
def test_a_wave_of_concurrent_sends_leaves_each_message_once(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        wave = [an_outbound(way) for _ in range(50)]

        receipts = await asyncio.gather(*(rig.adapters[way].send(outbound) for outbound in wave))

        assert len({receipt.provider_ref for receipt in receipts}) == 50
        assert {rig.accepted(outbound.contact_id) for outbound in wave} == {1}

    run(tmp_path, story)


@pytest.mark.parametrize("way", WAYS)
def test_an_adapter_in_front_of_the_sandbox_says_so(way: str, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        adapter = rig.adapters[way]

        assert adapter.is_sandbox
        assert adapter.channel is channel_of(way)
        assert adapter.folds_repeats is (way in (PUSH, APNS))

    run(tmp_path, story)
