"""Providers of a channel are read with their weights and limits, or refused with the key that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.channels import DEFAULT, BadChannels, parse_channels
from config.lenders import load_lenders
from config.routes import RouteTable
from domain.channel import Channel
from domain.provider import ChannelsConfig
from domain.route import Limit, Rate, Route
from tests.builders import the_bundle

PACKAGED = DEFAULT.read_text(encoding="utf-8")

TWO = """
[sms.providers.twilio]
weight = 70
limit = "100/s"
per_sender = "1/s"
senders = { "12345" = "50/s" }
countries = { us = "3/s" }
[sms.providers.second]
kind = "twilio"
weight = 30
"""


def parsed(more: str) -> ChannelsConfig:
    return parse_channels(PACKAGED + more, name="channels.toml")


def test_the_packaged_file_has_one_unlimited_provider_for_each_channel() -> None:
    routes = parsed("").routes

    assert {channel: [(each.name, bool(each.limits)) for each in several] for channel, several in routes.items()} == {
        Channel.SMS: [("twilio", False)],
        Channel.EMAIL: [("smtp", False)],
        Channel.PUSH: [("fcm", False)],
    }


def test_several_providers_keep_their_order_with_the_channels_own_first() -> None:
    twilio, second = parsed(TWO).routes[Channel.SMS]

    assert (twilio.name, twilio.weight, second.name, second.kind, second.weight) == (
        "twilio",
        70,
        "second",
        "twilio",
        30,
    )
    assert list(twilio.standing_limits("+1555")) == [
        Limit("twilio:all", Rate(100, 1)), Limit("twilio:sender:+1555", Rate(1, 1)),
    ]  # fmt: skip
    assert list(twilio.standing_limits("12345"))[1].rate == Rate(50, 1)
    assert twilio.country_limit("US") == Limit("twilio:country:US", Rate(3, 1))
    assert twilio.country_limit("TW") is twilio.country_limit(None) is None
    assert second == Route("second", "twilio", Channel.SMS, 30)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[sms.providers.second]\nlimit = "4/s"', "sms.providers.second.kind: say what it is"),
        ('[sms.providers.second]\nkind = "pigeon"', "sms.providers.second.kind"),
        ('[sms.providers.twilio]\nlimit = "4"', "sms.providers.twilio.limit"),
        ('[sms.providers.twilio]\nlimit = "0/s"', "sms.providers.twilio.limit"),
        ("[sms.providers.twilio]\nlimit = 100", "sms.providers.twilio.limit"),
        ("[sms.providers.twilio]\nweight = 0", "sms.providers.twilio.weight"),
        ("[sms.providers.twilio]\nspeed = 5", "sms.providers.twilio.speed"),
        ('[sms.providers.twilio.countries]\nusa = "3/s"', "sms.providers.twilio.countries.usa"),
        ('[sms.providers.Twilio]\nkind = "twilio"', "small letters"),
        ('[sms.providers.smtp]\nkind = "twilio"', "another channel has that name"),
    ],
)
def test_a_wrong_key_is_named(more: str, says: str) -> None:
    with pytest.raises(BadChannels) as refused:
        parsed(more)

    assert str(refused.value).startswith("channels.toml: ")
    assert says in str(refused.value)


@given(st.integers(1, 1_000_000), st.sampled_from([("s", 1), ("min", 60), ("h", 3600)]))
def test_a_rate_is_never_read_as_a_faster_one(count: int, unit: tuple[str, int]) -> None:
    word, seconds = unit

    rate = RouteTable(limit=f"{count}/{word}").limit

    assert rate.per_second <= count / seconds
    assert rate.per_second > count / seconds * 0.5
    assert rate.count == 1 or rate.seconds == 1, "no burst for a minute's worth"


def test_a_lender_may_weigh_providers_and_have_a_sender_with_each() -> None:
    texts = the_bundle().under("lenders")
    text = texts["lantern.toml"] + '\n[providers.second]\nweight = 10\nsender = "LANTERN2"\n'

    lender = load_lenders({"lantern.toml": text})["lantern"]

    assert (lender.sender_at("second"), lender.sender_at("twilio")) == ("LANTERN2", None)
