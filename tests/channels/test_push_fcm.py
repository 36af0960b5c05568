"""A push says nothing about a debt, always folds, and never loses track over a token."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from channels.base import Misconfigured, Rejected, TryLater
from channels.credentials import BadCredentials, FcmCredentials, live_credentials
from channels.push_fcm import LONGEST_COLLAPSE_KEY, FcmPush, payload
from domain.channel import Channel
from domain.message import Rendered
from simulator.providers.faults import FaultKind, FaultRule
from tests.channels.rig import STEADY, Behaviour, Rig, a_rig, a_server_that, an_outbound


def run(folder: Path, story: Callable[[Rig, FcmPush], Awaitable[None]]) -> None:
    async def told() -> None:
        async with a_rig(folder) as rig:
            adapter = rig.adapters[Channel.PUSH]
            assert isinstance(adapter, FcmPush)
            await story(rig, adapter)

    asyncio.run(told())


def test_nothing_but_the_contact_id_leaves() -> None:
    words = Rendered(Channel.PUSH, "en", "You owe 120.00", subject="Payment overdue")
    outbound = an_outbound(Channel.PUSH, rendered=words)

    everything = json.dumps(payload(outbound))

    assert payload(outbound)["message"]["data"] == {"contact": str(outbound.contact_id)}
    assert "owe" not in everything
    assert "overdue" not in everything
    assert "notification" not in everything


def test_repeats_fold_on_both_platforms() -> None:
    message = payload(an_outbound(Channel.PUSH, collapse_key="k" * 200))["message"]

    assert message["android"]["collapse_key"] == message["apns"]["headers"]["apns-collapse-id"]
    assert len(message["android"]["collapse_key"]) == LONGEST_COLLAPSE_KEY


@pytest.mark.parametrize(
    ("valid_for", "ttl"), [(timedelta(hours=2), "7200s"), (timedelta(days=90), "2419200s"), (timedelta(-1), "0s")]
)
def test_fcm_keeps_a_push_no_longer_than_the_window(valid_for: timedelta, ttl: str) -> None:
    message = payload(an_outbound(Channel.PUSH, valid_for=valid_for))["message"]

    assert message["android"]["ttl"] == ttl


def test_an_empty_collapse_key_still_folds_by_contact() -> None:
    outbound = an_outbound(Channel.PUSH, collapse_key="")

    assert payload(outbound)["message"]["android"]["collapse_key"] == str(outbound.contact_id)


def test_one_token_serves_a_wave(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: FcmPush) -> None:
        rig.world.faults.arm([FaultRule(channel="token", kind=FaultKind.REFUSE, every=2)])  # a second grant would fail

        await asyncio.gather(*(adapter.send(an_outbound(Channel.PUSH)) for _ in range(30)))

        assert rig.world.outbox.by_channel["push"] == 30

    run(tmp_path, story)


def test_a_token_that_fails_leaves_the_whole_wave_unsent(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: FcmPush) -> None:
        rig.world.faults.arm([FaultRule(channel="token", kind=FaultKind.ERROR_BEFORE)])

        outcomes = await asyncio.gather(
            *(adapter.send(an_outbound(Channel.PUSH)) for _ in range(5)), return_exceptions=True
        )

        assert {type(outcome) for outcome in outcomes} == {TryLater}
        assert rig.world.outbox.last == 0

    run(tmp_path, story)


def test_a_token_endpoint_that_never_stops_talking_leaves_the_message_unsent(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: FcmPush) -> None:
        flood = Behaviour(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2**20, hangs=True)
        async with a_server_that(flood) as port:
            assert rig.credentials.fcm
            account = {**rig.credentials.fcm.service_account, "token_uri": f"http://127.0.0.1:{port}/token"}
            flooded = FcmPush(STEADY.push, replace(rig.credentials.fcm, service_account=account), is_sandbox=True)
            try:
                with pytest.raises(TryLater):
                    await flooded.send(an_outbound(Channel.PUSH))
            finally:
                await flooded.aclose()

        assert rig.world.outbox.last == 0

    run(tmp_path, story)


@pytest.mark.parametrize("token", ["unregistered-1", "invalid-1", "", "to ken\n", "手机"])
def test_a_dead_token_is_retired(token: str, tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: FcmPush) -> None:
        with pytest.raises(Rejected) as refused:
            await adapter.send(an_outbound(Channel.PUSH, to=token))

        assert refused.value.retire_address

    run(tmp_path, story)


def test_a_token_of_another_project_is_kept(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: FcmPush) -> None:
        with pytest.raises(Rejected) as refused:
            await adapter.send(an_outbound(Channel.PUSH, to="mismatch-1"))

        assert not refused.value.retire_address

    run(tmp_path, story)


def test_an_access_token_that_is_refused_at_once_stops_the_provider(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: FcmPush) -> None:
        await adapter.send(an_outbound(Channel.PUSH))
        adapter._tokens._authorization = "Bearer forged"

        with pytest.raises(Misconfigured):
            await adapter.send(an_outbound(Channel.PUSH))

    run(tmp_path, story)


def test_an_access_token_that_has_aged_is_renewed(tmp_path: Path) -> None:
    async def story(rig: Rig, adapter: FcmPush) -> None:
        await adapter.send(an_outbound(Channel.PUSH))
        adapter._tokens._authorization = "Bearer forged"
        adapter._tokens._fetched -= 3600

        with pytest.raises(TryLater):
            await adapter.send(an_outbound(Channel.PUSH))

        await adapter.send(an_outbound(Channel.PUSH))

    run(tmp_path, story)


@pytest.mark.parametrize("key_file", ["{}", "no json", '{"project_id": "x"}', "[]"])
def test_a_key_file_that_is_none_is_refused_with_a_remedy(key_file: str) -> None:
    with pytest.raises(BadCredentials, match="key file that Google issued"):
        live_credentials(fcm_service_account=key_file)


def test_a_private_key_that_is_none_is_refused_at_the_start() -> None:
    account = {"project_id": "p", "private_key": "hush", "client_email": "a@b.test", "token_uri": "https://t.test"}

    with pytest.raises(BadCredentials, match="cannot be read") as refused:
        FcmPush(STEADY.push, FcmCredentials(account), is_sandbox=False)

    assert "hush" not in str(refused.value)
