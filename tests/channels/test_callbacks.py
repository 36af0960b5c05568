"""Only what Twilio signed for exactly this URL is believed."""

import uuid
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import HMAC_SHA256, RequestValidator

from channels.base import BadCallback, RawCallback
from channels.callbacks import LARGEST_BODY_BYTES, STATUSES, parse_twilio_inbound, parse_twilio_status
from domain.contact import EventKind

TOKEN = "the token of the tests"
CONTACT = uuid.UUID("019500aa-0000-7000-8000-000000000001")
URL = f"https://duly.example.com/callbacks/twilio/status?contact={CONTACT}&party=42"
SID = "SM" + "0a" * 16


def a_callback(url: str = URL, *, token: str = TOKEN, algorithm: str | None = None, **fields: str) -> RawCallback:
    everything = {"MessageSid": SID, "From": "+15005550006", "To": "+886912345678", **fields}
    signature = RequestValidator(token).compute_signature(url, everything, algorithm)
    return RawCallback(url, {"x-twilio-signature": signature}, urlencode(everything).encode())


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_a_signed_status_becomes_an_event_of_its_contact(status: str, kind: EventKind) -> None:
    event = parse_twilio_status(a_callback(MessageStatus=status), auth_token=TOKEN)

    assert (event.contact_id, event.party_id, event.kind, event.provider_ref) == (CONTACT, 42, kind, SID)
    assert event.dedupe_key == f"{SID}:{status}"


@pytest.mark.parametrize(
    ("code", "retire", "opted_out"),
    [("30003", False, False), ("30005", True, False), ("30006", True, False), ("21610", False, True),
     ("30004", False, True), ("30007", False, False), ("99999", False, False)],
)  # fmt: skip
def test_a_failure_says_what_its_code_means_for_the_address(code: str, retire: bool, opted_out: bool) -> None:
    event = parse_twilio_status(a_callback(MessageStatus="undelivered", ErrorCode=code), auth_token=TOKEN)

    assert (event.code, event.retire_address, event.opted_out) == (code, retire, opted_out)


def test_an_inbound_message_keeps_its_words() -> None:
    raw = a_callback("https://duly.example.com/callbacks/twilio/inbound", Body="退订 & thanks +1")

    message = parse_twilio_inbound(raw, auth_token=TOKEN)

    assert (message.sender, message.recipient, message.text) == ("+15005550006", "+886912345678", "退订 & thanks +1")


def test_the_algorithm_is_ours_to_choose_not_the_requests() -> None:
    raw = a_callback(MessageStatus="sent", algorithm=HMAC_SHA256)

    assert parse_twilio_status(raw, auth_token=TOKEN, algorithm=HMAC_SHA256).kind is EventKind.SENT
    with pytest.raises(BadCallback, match="signature"):
        parse_twilio_status(raw, auth_token=TOKEN)


GOOD = a_callback(MessageStatus="delivered")


@given(st.integers(0, len(GOOD.body) - 1), st.integers(1, 127))
def test_one_changed_byte_of_the_body_is_refused(at: int, by: int) -> None:
    changed = bytearray(GOOD.body)
    changed[at] = (changed[at] + by) % 128
    raw = RawCallback(GOOD.url, GOOD.headers, bytes(changed))

    try:
        event = parse_twilio_status(raw, auth_token=TOKEN)
    except BadCallback:
        return
    assert event == parse_twilio_status(GOOD, auth_token=TOKEN), "only another spelling of the same form may pass"


@pytest.mark.parametrize(
    "raw",
    [
        RawCallback(URL.replace("party=42", "party=43"), GOOD.headers, GOOD.body),
        RawCallback(URL.replace("https", "http"), GOOD.headers, GOOD.body),
        RawCallback(URL + "&x=1", GOOD.headers, GOOD.body),
        RawCallback(URL, {}, GOOD.body),
        RawCallback(URL, {"x-twilio-signature": "ü"}, GOOD.body),
        RawCallback(URL, GOOD.headers, b""),
        RawCallback(URL, GOOD.headers, GOOD.body + b"&MessageStatus=read"),
        RawCallback(URL, GOOD.headers, b"\xff" + GOOD.body),
        RawCallback(URL, GOOD.headers, b"a=b&" * 200 + GOOD.body),
        RawCallback(URL, GOOD.headers, GOOD.body + b"&x=" + b"y" * LARGEST_BODY_BYTES),
        RawCallback("https://duly.example.com:port/callbacks", GOOD.headers, GOOD.body),
        a_callback(MessageStatus="delivered", token="another token"),
        a_callback(MessageStatus="exploded"),
        a_callback(),
        a_callback(MessageStatus="sent", MessageSid="SM1"),
        a_callback(MessageStatus="sent", ErrorCode="many"),
        a_callback(URL.replace("party=42", "party=4x"), MessageStatus="sent"),
        a_callback(URL.split("?")[0], MessageStatus="sent"),
        a_callback(URL.replace(str(CONTACT), "nobody"), MessageStatus="sent"),
    ],
)
def test_anything_forged_misshapen_or_oversized_is_refused(raw: RawCallback) -> None:
    with pytest.raises(BadCallback):
        parse_twilio_status(raw, auth_token=TOKEN)


def test_a_refusal_never_repeats_what_was_sent() -> None:
    raw = a_callback(MessageStatus="+886912345678")

    with pytest.raises(BadCallback) as refused:
        parse_twilio_status(raw, auth_token=TOKEN)

    assert "886" not in str(refused.value)
