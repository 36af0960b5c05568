"""What a lender's own systems report is believed when it is signed, of now, and in a shape that we know."""

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import BadCallback, InboundMessage, ProviderEvent, RawCallback
from channels.reports import GOOD_FOR_SECONDS, MOST_EVENTS, SAYS, WORDS, parse_report, sign
from domain.channel import Channel
from domain.contact import EventKind
from simulator.providers.reports import ReportKind
from tests.channels.test_bounces import a_report

SECRET = "of the tests"
NOW = 1_772_000_000
CONTACT = str(uuid.UUID("019500aa-0000-7000-8000-000000000001"))


def an_event(event: str = "read", **more: object) -> dict[str, object]:
    return {"contact": CONTACT, "party": 7, "event": event, **more}


def raw(payload: object, *, at: int = NOW, secret: str = SECRET, kind: str = "application/json") -> RawCallback:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    headers = {"duly-signature": sign(body, secret=secret, now=at), "content-type": kind}
    return RawCallback("https://duly.example/callbacks/push", headers, body)


def parsed(callback: RawCallback, channel: Channel = Channel.PUSH) -> list[ProviderEvent | InboundMessage]:
    return parse_report(callback, channel, secret=SECRET, now=NOW)


@pytest.mark.parametrize(("channel", "word"), [(c, word) for c, words in SAYS.items() for word in sorted(words)])
def test_every_word_becomes_its_event(channel: Channel, word: str) -> None:
    (event,) = parsed(raw({"events": [an_event(word)]}), channel)

    assert isinstance(event, ProviderEvent)
    assert (event.kind, event.retire_address, event.opted_out) == WORDS[word]
    assert (str(event.contact_id), event.party_id, event.channel) == (CONTACT, 7, channel)


def test_a_token_that_is_gone_is_retired_with_the_reason_given() -> None:
    (event,) = parsed(raw({"events": [an_event("unregistered", code="NotRegistered")]}))

    assert isinstance(event, ProviderEvent)
    assert (event.kind, event.code, event.retire_address) == (EventKind.UNDELIVERED, "NotRegistered", True)


def test_a_relay_may_forward_a_bounce_as_it_is() -> None:
    (event,) = parsed(raw(a_report(ReportKind.HARD_BOUNCE), kind="message/rfc822"), Channel.EMAIL)

    assert isinstance(event, ProviderEvent)
    assert event.retire_address


GOOD = {"events": [an_event()]}


@pytest.mark.parametrize(
    ("callback", "why"),
    [
        (raw(GOOD, secret="another"), "does not fit"),
        (raw(GOOD, at=NOW - GOOD_FOR_SECONDS - 1), "another time"),
        (raw(GOOD, at=NOW + GOOD_FOR_SECONDS + 1), "another time"),
        (RawCallback("u", {}, b"{}"), "not signed"),
        (RawCallback("u", {**raw(GOOD).headers}, b"{}"), "does not fit"),
        (raw({"events": []}), "no events"),
        (raw({"events": [an_event()] * (MOST_EVENTS + 1)}), "too many"),
        (raw({"events": [an_event("hard_bounce")]}), "no event that we know"),
        (raw({"events": [an_event(code="x" * 61)]}), "code"),
        (raw({"events": [an_event(party=True)]}), "party"),
        (raw({"events": [an_event(party=2**63)]}), "party"),
        (raw({"events": [an_event(contact="nobody")]}), "not a report"),
        (raw({"events": [[]]}), "not a report"),
        (raw([]), "not a report"),
        (raw(b"\xff"), "not a report"),
        (raw(b"[" * 5000), "not a report"),
    ],
)
def test_anything_else_is_refused(callback: RawCallback, why: str) -> None:
    with pytest.raises(BadCallback, match=why):
        parsed(callback)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["events", "event", "party"]), inner),
    max_leaves=8,
)


@given(json_values)
def test_a_signed_body_of_any_shape_is_read_or_refused_and_nothing_else(payload: object) -> None:
    try:
        parsed(raw(payload))
    except BadCallback:
        return
