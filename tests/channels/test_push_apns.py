"""What Apple gets: a nudge without a word about a debt, that replaces an earlier one, over few connections."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from channels.base import Rejected
from channels.credentials import BadCredentials
from channels.push import PushByPlatform
from channels.push_apns import MOST_CONNECTIONS, ApnsPush
from channels.registry import build
from domain.channel import Channel
from simulator.providers.apns import ApnsSandbox
from simulator.providers.faults import FaultKind, FaultRule
from tests.channels.rig import APNS, APPLE_TOKEN, STEADY, Rig, a_rig, an_outbound


def run(folder: Path, story: Callable[[Rig, ApnsPush], Awaitable[None]]) -> None:
    async def told() -> None:
        async with a_rig(folder) as rig:
            adapter = rig.adapters[APNS]
            assert isinstance(adapter, ApnsPush)
            await story(rig, adapter)

    asyncio.run(told())


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The headers of every request that the sandbox reads."""
    seen: list[dict[str, str]] = []
    answer = ApnsSandbox._answer

    async def watched(self: ApnsSandbox, stream: int, headers: dict[str, str], body: bytes) -> None:
        seen.append({**headers, "body": body.decode()})
        await answer(self, stream, headers, body)

    monkeypatch.setattr(ApnsSandbox, "_answer", watched)
    return seen


def test_no_word_about_a_debt_leaves_and_a_repeat_replaces(tmp_path: Path, requests: list[dict[str, str]]) -> None:
    outbound = an_outbound(APNS, collapse_key="r" * 100, valid_for=timedelta(hours=2))

    async def story(rig: Rig, adapter: ApnsPush) -> None:
        await adapter.send(outbound)

    run(tmp_path, story)

    (request,) = requests
    assert json.loads(request["body"]) == {"aps": {"content-available": 1}, "contact": str(outbound.contact_id)}
    assert request["apns-collapse-id"] == "r" * 64
    assert (request["apns-push-type"], request["apns-priority"]) == ("background", "5")
    assert request["apns-id"] == str(outbound.contact_id)
    assert request[":path"] == f"/3/device/{APPLE_TOKEN}"


def test_all_connections_share_one_provider_token_and_are_few(tmp_path: Path, requests: list[dict[str, str]]) -> None:
    async def story(rig: Rig, adapter: ApnsPush) -> None:
        await asyncio.gather(*(adapter.send(an_outbound(APNS)) for _ in range(200)))
        assert len(adapter._pool.connections) <= MOST_CONNECTIONS
        for connection in adapter._pool.connections:
            connection.close()
        await asyncio.sleep(0.05)
        await adapter.send(an_outbound(APNS))

    run(tmp_path, story)

    assert len({request["authorization"] for request in requests}) == 1


def test_an_answer_that_comes_when_nobody_waits_any_more_harms_no_other_message(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: ApnsPush) -> None:
        rig.world.faults.arm([FaultRule(channel="apns", kind=FaultKind.STALL_AFTER, seconds=0.3, times=1)])
        given_up = an_outbound(APNS)
        sending = asyncio.create_task(adapter.send(given_up))
        while not rig.accepted(given_up.contact_id):
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        (connection,) = adapter._pool.connections
        while connection.requests:  # until the late answer is in
            await asyncio.sleep(0.01)

        await adapter.send(an_outbound(APNS))

        assert adapter._pool.connections == [connection]
        await asyncio.sleep(0)
        assert adapter._under_way == set()

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("token", "reason", "retire"),
    [("dead", "Unregistered", True), ("bad0", "BadDeviceToken", True), ("0ff", "DeviceTokenNotForTopic", False)],
)
def test_a_token_that_apple_gives_up_is_retired(token: str, reason: str, retire: bool, tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: ApnsPush) -> None:
        with pytest.raises(Rejected) as refused:
            await adapter.send(an_outbound(APNS, to=token + APPLE_TOKEN[len(token) :]))

        assert (refused.value.code, refused.value.retire_address) == (reason, retire)

    run(tmp_path, story)


def test_a_token_goes_to_the_platform_it_is_of_and_never_to_the_other(tmp_path: Path) -> None:
    async def told() -> None:
        async with a_rig(tmp_path) as rig:
            adapters = build(STEADY, rig.credentials, public_url="https://duly.example")
            both = adapters[Channel.PUSH]
            assert isinstance(both, PushByPlatform)
            apple = await both.send(an_outbound(APNS))
            google = await both.send(an_outbound("push"))
            assert (apple.provider, google.provider) == ("apns", "fcm")
            with pytest.raises(Rejected) as refused:  # FCM alone would call a good token invalid
                await both.fcm.send(an_outbound(APNS))
            assert not refused.value.retire_address
            for adapter in adapters.values():
                await adapter.aclose()

    asyncio.run(told())


@pytest.mark.parametrize("key", ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_a_key_that_apple_did_not_issue_is_refused_at_the_start_and_not_shown(key: str, tmp_path: Path) -> None:
    async def told() -> None:
        async with a_rig(tmp_path) as rig:
            assert rig.credentials.apns
            with pytest.raises(BadCredentials, match="p8") as refused:
                ApnsPush(STEADY.push, replace(rig.credentials.apns, key=key), is_sandbox=True)
            assert not key or key not in str(refused.value)

    asyncio.run(told())
