"""The sandbox judges, calls back, misbehaves on request, and ends when it should."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from channels.base import ChannelError, ProviderEvent, RawCallback, Rejected
from channels.callbacks import parse_twilio_inbound, parse_twilio_status
from channels.credentials import SANDBOX_TOKEN
from domain.channel import Channel
from domain.contact import EventKind
from domain.message import Rendered
from simulator.providers.faults import FaultKind, FaultRule
from simulator.providers.outbox import Outbox
from tests.channels.rig import Rig, a_closed_port, a_rig, an_outbound

SMS = Channel.SMS


@dataclass
class Console:
    """Takes webhooks as the real one would: reads them with our own parsers, and can be told to fail at first."""

    base: str = ""
    failures_first: int = 0
    status_when_good: int = 200
    events: list[ProviderEvent] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if self.failures_first:
            self.failures_first -= 1
            return web.Response(status=503)
        headers = {name.lower(): value for name, value in request.headers.items()}
        raw = RawCallback(f"{self.base}{request.path_qs}", headers, body)
        if request.path.endswith("/inbound"):
            self.texts.append(parse_twilio_inbound(raw, auth_token=SANDBOX_TOKEN).text)
        else:
            self.events.append(parse_twilio_status(raw, auth_token=SANDBOX_TOKEN))
        return web.Response(status=self.status_when_good)


@asynccontextmanager
async def a_console(**changes: Any) -> AsyncIterator[Console]:
    console = Console(**changes)
    server = web.Server(console.handle)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    console.base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield console
    finally:
        listening.close()
        await server.shutdown(timeout=0.1)


def run(
    folder: Path, story: Callable[[Rig, Console], Awaitable[None]], *, lifelike: bool = False, **console: Any
) -> None:
    async def told() -> None:
        async with (
            a_console(**console) as listener,
            a_rig(folder, callback_base=listener.base, lifelike=lifelike) as rig,
        ):
            await story(rig, listener)

    asyncio.run(told())


async def quiet(rig: Rig) -> None:
    """Wait as a driver does: until the console has answered every callback."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{rig.world.http_url}/sandbox/pending") as answer:
                if (await answer.json())["pending"] == 0:
                    return
            await asyncio.sleep(0.01)


async def ask(rig: Rig, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{rig.world.http_url}{path}", **options) as answer,
    ):
        return answer.status, await answer.json()


def test_a_message_is_followed_by_signed_receipts_in_order(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        outbound = an_outbound(SMS, party_id=42)
        receipt = await rig.adapters[SMS].send(outbound)
        await quiet(rig)

        assert [event.kind for event in console.events] == [EventKind.SENT, EventKind.DELIVERED]
        assert {event.contact_id for event in console.events} == {outbound.contact_id}
        assert {event.provider_ref for event in console.events} == {receipt.provider_ref}
        assert {event.party_id for event in console.events} == {42}

    run(tmp_path, story)


def test_callbacks_are_repeated_until_the_console_takes_them(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        await rig.adapters[SMS].send(an_outbound(SMS))
        assert rig.world.callbacks.pending > 0
        await quiet(rig)

        assert len(console.events) == 2

    run(tmp_path, story, failures_first=3)


def test_a_refused_callback_is_counted_and_not_repeated(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        await rig.adapters[SMS].send(an_outbound(SMS))
        await quiet(rig)

        assert (rig.world.callbacks.refused, rig.world.callbacks.delivered) == (2, 0)

    run(tmp_path, story, status_when_good=403)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.CALLBACK_LOST, []),
        (FaultKind.CALLBACK_TWICE, ["sent", "sent", "delivered", "delivered"]),
        (FaultKind.CALLBACK_REVERSED, ["delivered", "sent"]),
    ],
)
def test_callbacks_can_be_lost_doubled_and_turned_round(kind: FaultKind, expected: list[str], tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        rig.world.faults.arm([FaultRule(channel="sms", kind=kind)])
        await rig.adapters[SMS].send(an_outbound(SMS))
        await quiet(rig)

        assert [event.kind.value for event in console.events] == expected

    run(tmp_path, story)


def test_a_reply_reaches_the_console_and_stop_blocks_the_number(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        await rig.adapters[SMS].send(an_outbound(SMS))
        reply = {"from": "+886912345678", "to": "+15005550006", "body": "Stop"}
        status, _ = await ask(rig, "POST", "/sandbox/reply", json=reply)
        await quiet(rig)
        with pytest.raises(Rejected) as refused:
            await rig.adapters[SMS].send(an_outbound(SMS))
        await rig.adapters[SMS].send(an_outbound(SMS, sender="+15005550099"))  # another number of ours is not blocked
        await ask(rig, "POST", "/sandbox/reply", json={**reply, "body": "START"})
        await rig.adapters[SMS].send(an_outbound(SMS))
        await quiet(rig)

        assert status == 202
        assert (refused.value.code, refused.value.opted_out) == ("21610", True)
        assert console.texts == ["Stop", "START"]

    run(tmp_path, story)


def test_a_callback_url_elsewhere_is_never_called(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        async with a_console() as stranger:
            rig.adapters[SMS]._callback = f"{stranger.base}/callbacks/twilio/status"  # type: ignore[attr-defined]
            await rig.adapters[SMS].send(an_outbound(SMS))
            await asyncio.sleep(0.1)

            assert not stranger.events
            assert rig.world.callbacks.pending == 0

    run(tmp_path, story)


def test_the_counts_say_how_often_each_contact_was_accepted(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        once, twice = an_outbound(SMS), an_outbound(Channel.EMAIL)
        await rig.adapters[SMS].send(once)
        await rig.adapters[Channel.EMAIL].send(twice)
        await rig.adapters[Channel.EMAIL].send(twice)
        _, counts = await ask(rig, "GET", "/sandbox/counts")
        _, one = await ask(rig, "GET", f"/sandbox/counts?contact={twice.contact_id}")

        assert counts["accepted"] == {"sms": 1, "email": 2}
        assert counts["by_contact"] == {str(once.contact_id): 1, str(twice.contact_id): 2}
        assert counts["repeated"] == {str(twice.contact_id): 2}
        assert one["accepted"] == 2

    run(tmp_path, story)


def test_the_log_holds_a_message_before_its_sender_is_answered(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        for channel in (SMS, Channel.EMAIL, Channel.PUSH):
            outbound = an_outbound(channel)
            await rig.adapters[channel].send(outbound)

            last = json.loads((tmp_path / "messages.jsonl").read_bytes().splitlines()[-1])
            assert (last["channel"], last["contact"]) == (channel, str(outbound.contact_id))

    run(tmp_path, story)


def test_messages_are_read_page_by_page(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        await asyncio.gather(*(rig.adapters[SMS].send(an_outbound(SMS)) for _ in range(20)))
        _, everything = await ask(rig, "GET", "/sandbox/messages?after=0")
        _, later = await ask(rig, "GET", "/sandbox/messages?after=15")
        _, none = await ask(rig, "GET", "/sandbox/messages?after=20")
        bad, _ = await ask(rig, "GET", "/sandbox/messages?after=x")

        assert [message["seq"] for message in everything["messages"]] == list(range(1, 21))
        assert [message["seq"] for message in later["messages"]] == [16, 17, 18, 19, 20]
        assert (none["messages"], none["last"], bad) == ([], 20, 400)

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([{"channel": "sms", "kind": "explode"}], "kind"),
        ([{"channel": "fax", "kind": "refuse"}], "channel"),
        ([{"channel": "sms", "kind": "refuse", "colour": "red"}], "colour"),
        ([{"channel": "email", "kind": "error_after"}], "has not accepted"),
        ([{"channel": "push", "kind": "callback_lost"}], "only sms"),
        ({}, "array"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_a_sentence(rules: Any, says: str, tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        status, answer = await ask(rig, "POST", "/sandbox/faults", json=rules)

        assert status == 400
        assert says in answer["error"]

    run(tmp_path, story)


def test_faults_strike_the_nth_the_named_and_only_so_often(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        async def refused(number: int, to: str = "+886912345678") -> int:
            sends = [rig.adapters[SMS].send(an_outbound(SMS, to=to)) for _ in range(number)]
            outcomes = [await asyncio.gather(send, return_exceptions=True) for send in sends]
            return sum(isinstance(outcome[0], ChannelError) for outcome in outcomes)

        await ask(rig, "POST", "/sandbox/faults", json=[{"channel": "sms", "kind": "refuse", "every": 3}])
        assert await refused(9) == 3
        rule = {"channel": "sms", "kind": "refuse", "address": "+886900000001"}
        await ask(rig, "POST", "/sandbox/faults", json=[rule])
        assert (await refused(3), await refused(3, "+886900000001")) == (0, 3)
        await ask(rig, "POST", "/sandbox/faults", json=[{"channel": "sms", "kind": "refuse", "times": 2}])
        assert await refused(5) == 2
        await ask(rig, "POST", "/sandbox/faults", json=[{"channel": "sms", "kind": "refuse", "probability": 0.5}])
        assert 5 <= await refused(40) <= 35
        await ask(rig, "POST", "/sandbox/faults", json=[])
        assert await refused(3) == 0

    run(tmp_path, story)


def test_a_lifelike_world_fails_a_few_the_same_few_each_time(tmp_path: Path) -> None:
    async def fates(folder: Path) -> list[str]:
        async with a_console() as console, a_rig(folder, callback_base=console.base, lifelike=True) as rig:
            places = asyncio.Semaphore(8)

            async def fate(number: int) -> str:
                try:
                    async with places:
                        await rig.adapters[SMS].send(an_outbound(SMS, to=f"+8869{number:08}"))
                except ChannelError as error:
                    return error.code
                return "accepted"

            ends = await asyncio.gather(*map(fate, range(500)))
            await quiet(rig)
            lost = sum(event.kind is EventKind.UNDELIVERED for event in console.events)
            return [*ends, f"lost {lost}"]

    first = asyncio.run(fates(tmp_path / "first"))
    counts = Counter(first)

    assert asyncio.run(fates(tmp_path / "second")) == first
    assert 480 <= counts["accepted"] < 500
    assert 1 <= counts["21610"] <= 12
    assert 1 <= counts["21211"] + counts["21614"] <= 12
    assert 3 <= int(first[-1].split()[1]) <= 20


def test_the_page_shows_messages_as_text_and_never_as_markup(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        words = Rendered(Channel.EMAIL, "zh-Hans", "<script>alert(1)</script> 你好", subject="<b>还款提醒</b>")
        await rig.adapters[Channel.EMAIL].send(an_outbound(Channel.EMAIL, rendered=words))
        await rig.adapters[SMS].send(an_outbound(SMS))
        await ask(rig, "POST", "/sandbox/write-index")

        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        assert "&lt;script&gt;" in page
        assert "<script>" not in page
        assert "&lt;b&gt;还款提醒" in page
        assert "Your payment is due on Friday." in page
        assert b"Subject: =?utf-8?" in next((tmp_path / "mail").iterdir()).read_bytes()

    run(tmp_path, story)


def test_an_unknown_page_is_told_so(tmp_path: Path) -> None:
    async def story(rig: Rig, console: Console) -> None:
        status, answer = await ask(rig, "GET", "/sandbox/nothing")

        assert (status, "docs/channels.md" in answer["error"]) == (404, True)

    run(tmp_path, story)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of aiohttp, about how the SDK logs in
def test_twilios_own_client_is_answered_as_it_expects(tmp_path: Path) -> None:
    """The SDK's own HTTP client, whose only change is the address, creates, reads and lists messages."""

    class Elsewhere(AsyncTwilioHttpClient):  # type: ignore[misc]
        base = ""

        async def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
            return await super().request(method, url.replace("https://api.twilio.com", self.base), *args, **options)

    async def story(rig: Rig, console: Console) -> None:
        assert rig.credentials.twilio
        http = Elsewhere()
        http.base = rig.world.http_url
        client = Client(rig.credentials.twilio.account_sid, rig.credentials.twilio.auth_token, http_client=http)
        try:
            made = await client.messages.create_async(to="+886912345678", from_="+15005550006", body="hello")
            read = await client.messages(made.sid).fetch_async()
            listed = await client.messages.list_async(to="+886912345678")
        finally:
            await http.close()

        assert (made.status, read.status, read.body) == ("queued", "delivered", "hello")
        assert [message.sid for message in listed] == [made.sid]
        assert read.date_created is not None

    run(tmp_path, story)


def started(folder: Path, *options: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator.sandbox", "--outbox", str(folder), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    line = process.stdout.readline()
    process.stdout.close()
    return process, json.loads(line or "{}")


def test_the_process_says_when_it_is_ready_and_ends_cleanly_when_told(tmp_path: Path) -> None:
    process, ready = started(tmp_path)
    try:
        assert ready["http_url"].startswith("http://127.0.0.1:")
        assert ready["smtp_url"].startswith("smtp://127.0.0.1:")
    finally:
        process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 0
    assert "customers would have received" in (tmp_path / "index.html").read_text()


def test_the_process_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    parent = subprocess.Popen(["sleep", "60"])
    process, _ = started(tmp_path, "--parent-pid", str(parent.pid))
    parent.kill()
    parent.wait()

    assert process.wait(20) == 0


def test_the_process_ends_when_the_parent_that_started_it_is_killed(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, os, time\n"
        f"p = subprocess.Popen([sys.executable, '-m', 'simulator.sandbox', '--outbox', {str(tmp_path)!r},"
        " '--parent-pid', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.stdout.close()
    parent.kill()
    parent.wait()

    deadline = time.monotonic() + 20
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    port = a_closed_port()
    first, _ = started(tmp_path / "first", "--http-port", str(port))
    try:
        second = subprocess.run(
            [sys.executable, "-m", "simulator.sandbox", "--outbox", str(tmp_path / "b"), "--http-port", str(port)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    finally:
        first.terminate()
        first.wait(20)

    assert second.returncode == 1
    assert "cannot start" in second.stderr
    assert "Traceback" not in second.stderr


def test_accepting_returns_once_the_line_is_in_the_file(tmp_path: Path) -> None:
    async def told() -> None:
        outbox = Outbox(tmp_path)
        await outbox.accept("sms", to="+886912345678", text="hello", ref="SM1", contact="c")

        assert b'"contact":"c"' in (tmp_path / "messages.jsonl").read_bytes()
        outbox.close()

    asyncio.run(told())
