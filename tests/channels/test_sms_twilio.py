"""What leaves for Twilio, and how a message whose answer was lost is found again."""

import asyncio
import json
import pickle
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from channels.base import ChannelError, OutcomeUnknown, Rejected, TryLater
from channels.credentials import TwilioCredentials
from channels.sms_twilio import TwilioSms
from domain.channel import Channel
from domain.message import Rendered
from simulator.providers.faults import FaultKind, FaultRule
from tests.channels.rig import STEADY, Rig, a_rig, a_server_that, an_outbound

NOW = datetime.now(UTC)


def run(folder: Path, story: Callable[[Rig, TwilioSms], Awaitable[None]]) -> None:
    async def told() -> None:
        async with a_rig(folder) as rig:
            adapter = rig.adapters[Channel.SMS]
            assert isinstance(adapter, TwilioSms)
            await story(rig, adapter)

    asyncio.run(told())


class Listener:
    """Takes requests, keeps what they said, and answers each as Twilio would."""

    def __init__(self) -> None:
        self.connections = 0
        self.heads: list[str] = []
        self.forms: list[dict[str, str]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length:")[2].split()[0])
            form = parse_qs((await reader.readexactly(length)).decode())
            self.heads.append(head)
            self.forms.append({key: values[0] for key, values in form.items()})
            body = json.dumps({"sid": f"SM{len(self.forms):032}", "status": "queued"}).encode()
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def sent(*changes: dict[str, object], credentials: TwilioCredentials | None = None) -> Listener:
    """What Twilio would have read, one message for each set of changes."""
    listener = Listener()

    async def told() -> None:
        async with a_server_that(listener) as port:  # type: ignore[arg-type]
            access = TwilioCredentials("AC" + "1" * 32, "the-token", f"http://127.0.0.1:{port}")
            adapter = TwilioSms(STEADY.sms, access, public_url="https://duly.example.com/", is_sandbox=False)
            try:
                for change in changes:
                    await adapter.send(an_outbound(Channel.SMS, **change))
            finally:
                await adapter.aclose()

    asyncio.run(told())
    return listener


def test_the_status_callback_names_contact_and_party() -> None:
    outbound = an_outbound(Channel.SMS)

    form = sent({"contact_id": outbound.contact_id, "party_id": 42}).forms[0]

    assert form["StatusCallback"] == (
        f"https://duly.example.com/callbacks/twilio/status?contact={outbound.contact_id}&party=42"
    )
    assert form["Body"] == outbound.rendered.text


@pytest.mark.parametrize(
    ("valid_for", "seconds"),
    [
        (timedelta(seconds=1.9), "1"),
        (timedelta(minutes=10), "600"),
        (timedelta(hours=10), "36000"),
        (timedelta(days=3), "36000"),
    ],
)
def test_twilio_may_queue_a_message_no_longer_than_the_window(valid_for: timedelta, seconds: str) -> None:
    assert sent({"valid_for": valid_for}).forms[0]["ValidityPeriod"] == seconds


def test_a_messaging_service_and_a_number_are_told_apart() -> None:
    service = "MG" + "a1" * 16

    forms = sent({"sender": service}, {"sender": "+15005550006"}, {"sender": "LUMEN"}).forms

    assert [form.get("MessagingServiceSid") for form in forms] == [service, None, None]
    assert [form.get("From") for form in forms] == [None, "+15005550006", "LUMEN"]


def test_one_connection_carries_message_after_message() -> None:
    listener = sent(*[{}] * 20)

    assert len(listener.forms) == 20
    assert listener.connections == 1


def test_the_environment_cannot_move_us_to_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_REGION", "au1")
    monkeypatch.setenv("TWILIO_EDGE", "sydney")

    assert len(sent({}).forms) == 1


@pytest.mark.parametrize(
    "to", ["", "0912345678", "+0123456789", "+886 912", "+88691234567890123", "sms:+886912345678", "+8869１２３"]
)
def test_what_is_no_number_is_rejected_before_anything_is_sent(to: str, tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        with pytest.raises(Rejected) as refused:
            await adapter.send(an_outbound(Channel.SMS, to=to))

        assert refused.value.retire_address
        assert rig.world.outbox.last == 0

    run(tmp_path, story)


def test_a_window_that_has_closed_sends_nothing(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        with pytest.raises(TryLater):
            await adapter.send(an_outbound(Channel.SMS, valid_for=timedelta(seconds=0.5)))

        assert rig.world.outbox.last == 0

    run(tmp_path, story)


def test_the_providers_wish_to_wait_comes_along(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        rig.world.faults.arm([FaultRule(channel="sms", kind=FaultKind.REFUSE, code="20429")])
        with pytest.raises(TryLater) as refused:
            await adapter.send(an_outbound(Channel.SMS))

        assert refused.value.after == timedelta(seconds=1)

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("to", "code"),
    [("+15005550001", "21211"), ("+15005550002", "21612"), ("+15005550003", "21408"), ("+15005550004", "21610"),
     ("+15005550009", "21614")],
)  # fmt: skip
def test_the_vendors_magic_numbers_are_refused_by_the_sandbox(to: str, code: str, tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        with pytest.raises(Rejected) as refused:
            await adapter.send(an_outbound(Channel.SMS, to=to))

        assert refused.value.code == code

    run(tmp_path, story)


def test_a_message_whose_answer_was_lost_is_found(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        rig.world.faults.arm([FaultRule(channel="sms", kind=FaultKind.DROP_AFTER)])
        outbound = an_outbound(Channel.SMS)
        with pytest.raises(OutcomeUnknown):
            await adapter.send(outbound)

        receipt = await adapter.find(outbound.contact_id, outbound.to, datetime.now(UTC))

        assert receipt is not None
        assert receipt.provider_ref == rig.world.outbox.shown[-1].ref

    run(tmp_path, story)


def test_two_messages_to_one_number_prove_nothing(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        first, second = an_outbound(Channel.SMS), an_outbound(Channel.SMS)
        await adapter.send(first)
        await adapter.send(second)

        assert await adapter.find(first.contact_id, first.to, datetime.now(UTC)) is None

    run(tmp_path, story)


def test_what_waited_for_its_wave_is_held_by_the_provider_for_that_much_less() -> None:
    waited = time.monotonic() - 600

    forms = sent({"valid_for": timedelta(hours=2), "decided": waited}).forms

    assert 7200 - 600 - 30 <= int(forms[0]["ValidityPeriod"]) <= 7200 - 600
    with pytest.raises(TryLater, match="window closed"):
        sent({"valid_for": timedelta(minutes=9), "decided": waited})


def test_of_several_messages_to_one_number_the_words_tell_which_is_ours(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        other = an_outbound(Channel.SMS, rendered=Rendered(Channel.SMS, "en", "Another  matter."))
        ours = an_outbound(Channel.SMS)
        await adapter.send(other)
        await adapter.send(ours)
        since = datetime.now(UTC)

        found = await adapter.find(ours.contact_id, ours.to, since, body=ours.rendered.text)
        theirs = await adapter.find(other.contact_id, other.to, since, body=" Another matter.")

        assert found is not None
        assert theirs is not None
        assert (found.provider_ref, theirs.provider_ref) == tuple(m.ref for m in list(rig.world.outbox.shown)[::-1])
        assert await adapter.find(ours.contact_id, ours.to, since, body="what we never sent") is None
        assert await adapter.find(ours.contact_id, ours.to, since - timedelta(hours=1), body=ours.rendered.text) is None

    run(tmp_path, story)


def test_a_message_to_another_number_or_of_another_time_is_not_ours(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        outbound = an_outbound(Channel.SMS)
        await adapter.send(outbound)

        assert await adapter.find(outbound.contact_id, "+886987654321", datetime.now(UTC)) is None
        assert await adapter.find(outbound.contact_id, outbound.to, datetime.now(UTC) + timedelta(minutes=5)) is None

    run(tmp_path, story)


def test_no_secret_number_or_text_is_in_any_error(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: TwilioSms) -> None:
        rig.world.faults.arm([FaultRule(channel="sms", kind=FaultKind.REFUSE, code="21614")])
        outbound = an_outbound(Channel.SMS)
        with pytest.raises(ChannelError) as refused:
            await adapter.send(outbound)

        said = repr(refused.value) + repr(rig.credentials)
        assert outbound.to not in said
        assert outbound.rendered.text not in said
        assert rig.credentials.twilio
        assert rig.credentials.twilio.auth_token not in said

    run(tmp_path, story)


def test_a_refusal_survives_the_way_through_a_queue() -> None:
    for error in (Rejected("21614", True), TryLater("20429", timedelta(seconds=3)), OutcomeUnknown("timeout")):
        assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


def test_credentials_never_show_their_secret() -> None:
    access = TwilioCredentials("AC1", "hush")

    assert "hush" not in repr(replace(access, account_sid="AC2"))
