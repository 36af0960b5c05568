"""Several providers behind one adapter: each message to its own, and nothing to one that plainly does not work."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from channels.base import HeldBack, Misconfigured, OutcomeUnknown, TryLater
from channels.breaker import FEWEST_ANSWERS
from channels.credentials import sandbox_credentials
from channels.several import Member, Several, Watch
from domain.channel import Channel
from domain.route import Route
from simulator.providers.faults import FaultKind, FaultRule
from simulator.providers.world import running
from tests.channels.rig import QUICK, STEADY, a_closed_port, an_outbound
from worker.providers import Carriers, build_all

SMS, PUSH = Channel.SMS, Channel.PUSH
ROUTES = {SMS: (Route("twilio", "twilio", SMS), Route("second", "twilio", SMS))}


def carriers(url: str, *, second: str | None = None, token: str | None = None) -> Carriers:
    """Both providers at these addresses; `token` is a wrong one."""
    credentials = sandbox_credentials(http_url=url, smtp_url="smtp://127.0.0.1:9")
    assert credentials.twilio is not None
    if token:
        credentials = replace(credentials, twilio=replace(credentials.twilio, auth_token=token))
    urls = {"second": second} if second else {}
    return build_all(STEADY, ROUTES, credentials, urls, public_url="http://127.0.0.1:9")


async def close(made: Carriers) -> None:
    for adapter in made.adapters.values():
        await adapter.aclose()


def text(provider: str | None = None):
    return an_outbound(SMS, contact_id=uuid4(), provider=provider)


def test_a_message_goes_to_its_provider_and_the_receipt_names_it(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
            made = carriers(one.http_url, second=two.http_url)
            adapter = made.adapters[SMS]

            receipts = [await adapter.send(text(name)) for name in ("second", "twilio", None)]

            assert [receipt.provider for receipt in receipts] == ["second", "twilio", "twilio"]
            assert (one.outbox.last, two.outbox.last) == (2, 1)
            assert (made.watches["twilio"].good, made.watches["second"].good) == (2, 1)
            with pytest.raises(HeldBack):
                await adapter.send(text("carrier-pigeon"))
            await close(made)

    asyncio.run(told())


def test_what_one_would_not_take_is_soon_judged_again_for_the_other(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as world:
            made = carriers(world.http_url, second=f"http://127.0.0.1:{a_closed_port()}")

            with pytest.raises(TryLater) as refused:
                await made.adapters[SMS].send(text("second"))

            assert refused.value.code == "connect"
            assert refused.value.after is not None
            assert refused.value.after.total_seconds() < 60
            await close(made)

    asyncio.run(told())


def test_a_row_of_failures_stops_it_here_and_a_good_answer_does_not(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as world:
            made = carriers(world.http_url)
            watch = made.watches["twilio"]
            world.faults.arm([FaultRule(channel="sms", kind=FaultKind.DROP_BEFORE, times=FEWEST_ANSWERS)])

            for _ in range(FEWEST_ANSWERS):
                with pytest.raises(OutcomeUnknown):
                    await made.adapters[SMS].send(text())
            with pytest.raises(HeldBack):
                await made.adapters[SMS].send(text())
            assert world.outbox.last == 0, "it never came to the provider"
            assert (watch.failed, watch.good) == (FEWEST_ANSWERS, 0)

            watch.begin()
            await made.adapters[SMS].send(text())
            assert watch.good == 1
            await close(made)

    asyncio.run(told())


def test_wrong_credentials_are_refused_once_and_not_tried_again(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as world:
            made = carriers(world.http_url, token="not-the-token")

            with pytest.raises(Misconfigured, match="20003"):
                await made.adapters[SMS].send(text())
            with pytest.raises(HeldBack):
                await made.adapters[SMS].send(text())

            assert made.watches["twilio"].wrong == "20003"
            assert made.watches["second"].wrong is None
            await close(made)

    asyncio.run(told())


def test_a_message_cut_off_counts_against_its_provider(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as world:
            made = carriers(world.http_url)
            world.faults.arm([FaultRule(channel="sms", kind=FaultKind.STALL_BEFORE, seconds=60)])
            sending = asyncio.create_task(made.adapters[SMS].send(text()))
            await asyncio.sleep(0.1)

            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

            assert made.watches["twilio"].failed == 1
            await close(made)

    asyncio.run(told())


def test_a_push_token_goes_to_its_own_platform_and_finding_is_for_those_who_can() -> None:
    class Platform:
        channel, is_sandbox, folds_repeats = PUSH, True, True

        def __init__(self, name: str) -> None:
            self.name = name

    both = Several(
        PUSH, {name: Member(Platform(name), Watch(1.0)) for name in ("fcm", "apns")}, {"fcm": "fcm", "apns": "apns"}
    )

    assert both.provider_of(an_outbound(PUSH)) == "fcm"
    assert both.provider_of(an_outbound(PUSH, to="ab" * 32)) == "apns"
    assert not hasattr(both, "find")


def test_a_lost_message_is_looked_for_at_every_provider(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
            made = carriers(one.http_url, second=two.http_url)
            since, lost = datetime.now(UTC), text("second")
            receipt = await made.adapters[SMS].send(lost)

            found = await made.adapters[SMS].find(lost.contact_id, lost.to, since, body=lost.rendered.text)

            assert found == receipt
            await close(made)

    asyncio.run(told())


def test_slow_answers_are_counted() -> None:
    watch = Watch(slow_seconds=QUICK.sms.deadline.total_seconds() / 2)

    watch.answered(0.01)
    watch.answered(0.5)

    assert (watch.good, watch.slow) == (2, 1)
