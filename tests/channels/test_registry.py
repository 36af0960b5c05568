"""Which channels there are follows from which credentials there are."""

import asyncio
from dataclasses import replace

import pytest

from channels.credentials import BadCredentials, live_credentials
from channels.registry import build
from config.channels import load_channels
from domain.channel import Channel
from tests.channels.rig import STEADY, adapters_for


def test_a_channel_without_credentials_is_left_out_and_null_is_always_there() -> None:
    async def told() -> None:
        credentials = live_credentials(smtp_url="smtps://relay.test")
        async with adapters_for(credentials) as adapters:
            assert set(adapters) == {Channel.NULL, Channel.EMAIL}
            assert not adapters[Channel.EMAIL].is_sandbox

    asyncio.run(told())


def test_half_of_twilios_credentials_is_refused() -> None:
    with pytest.raises(BadCredentials, match="both"):
        live_credentials(twilio_account_sid="AC1")


def test_real_mail_never_goes_out_under_the_placeholder_domain() -> None:
    packaged = load_channels()
    credentials = live_credentials(smtp_url="smtps://relay.test")

    with pytest.raises(BadCredentials, match="message_id_domain"):
        build(packaged, credentials, public_url="https://duly.example.com")


def test_the_placeholder_is_good_enough_for_other_channels() -> None:
    async def told() -> None:
        credentials = live_credentials(twilio_account_sid="AC1", twilio_auth_token="t")
        async with adapters_for(credentials, config=replace(STEADY, email=load_channels().email)) as adapters:
            assert Channel.SMS in adapters

    asyncio.run(told())
