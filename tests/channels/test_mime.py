"""What is composed is what every mail reader will show, and no text can become a header."""

import email
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Misconfigured, Rejected
from channels.mime import compose, encode_header, sender_mailbox, wire_address
from domain.channel import Channel
from domain.contact import new_contact_id
from domain.message import Rendered
from tests.channels.rig import an_outbound

#: Any text that UTF-8 can carry.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def composed(
    *,
    subject: str = "A reminder",
    text: str = "Hello",
    html: str | None = None,
    url: str | None = None,
    contact: UUID | None = None,
) -> bytes:
    outbound = an_outbound(
        Channel.EMAIL,
        contact_id=contact or new_contact_id(AT),
        rendered=Rendered(Channel.EMAIL, "zh-Hans", text, subject=subject, html=html),
        unsubscribe_url=url,
    )
    return compose(outbound, outbound.to, sender_mailbox(outbound.sender), "mail.lumen.test")


def read(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def lines_of(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@given(words, words, st.none() | words)
def test_every_text_arrives_as_it_was_written(subject: str, text: str, html: str | None) -> None:
    message = read(composed(subject=subject, text=text, html=html))

    body = message.get_body(("plain",))
    assert body is not None
    assert lines_of(body.get_payload(decode=True).decode())[: len(lines_of(text))] == lines_of(text)
    rich = message.get_body(("html",))
    assert (rich is None) == (html is None)
    if rich is not None and html is not None:
        assert lines_of(rich.get_payload(decode=True).decode())[: len(lines_of(html))] == lines_of(html)


@given(words)
def test_no_subject_can_add_a_header(subject: str) -> None:
    head = composed(subject=subject).partition(b"\r\n\r\n")[0]

    names = [line.split(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert names == [
        b"From", b"To", b"Subject", b"Message-ID", b"Date", b"Auto-Submitted", b"Content-Language", b"MIME-Version",
        b"Content-Type",
    ]  # fmt: skip
    assert b"\n" not in head.replace(b"\r\n", b"")


@given(words)
def test_every_line_is_short_enough_for_every_relay(text: str) -> None:
    octets = composed(subject=text, text=text * 3, html=text)

    assert max(map(len, octets.split(b"\r\n"))) <= 998


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=300))
def test_a_subject_in_any_script_is_read_back_whole(subject: str) -> None:
    assert read(composed(subject=subject))["Subject"] == subject


def test_a_chinese_subject_is_folded_between_characters() -> None:
    subject = "还款提醒：您的账单将于周五到期，如有困难请随时联系我们，我们很乐意帮忙"

    encoded = encode_header(subject)

    assert all(len(word) <= 75 for word in encoded.split(b"\r\n "))
    assert read(composed(subject=subject))["Subject"] == subject


def test_a_text_that_mimics_the_boundary_stays_text() -> None:
    contact = new_contact_id(AT)
    text = f"before\n--=_duly_{contact.hex}--\nafter"

    message = read(composed(text=text, html="<p>x</p>", contact=contact))

    assert "after" in message.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_the_message_carries_its_contact_its_moment_and_one_click_unsubscribe() -> None:
    message = read(composed(url="https://lumen.test/u/abc?x=1"))

    assert message["Message-ID"].endswith("@mail.lumen.test>")
    assert message["Date"].datetime == AT
    assert message["List-Unsubscribe"] == "<https://lumen.test/u/abc?x=1>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["From"] == "Lumen <hi@lumen.test>"


def test_without_a_link_there_is_no_unsubscribe_header() -> None:
    assert read(composed())["List-Unsubscribe"] is None


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://x.test/\r\nBcc: a@b.test", "https://x.test/<>", "", "https://例.test"]
)
def test_an_unsubscribe_link_that_could_break_out_is_ours_to_mend(url: str) -> None:
    with pytest.raises(Misconfigured):
        composed(url=url)


@pytest.mark.parametrize(
    "address",
    ["", "amy", "amy@", "@home.test", "amy@home.test\r\nRCPT TO:<b@c.test>", "a b@home.test", "amy@home.test>", "a@b@c",
     "amy@home.test,bob@home.test", '"a\\"b"@home.test', "amy@" + "x" * 300, "amy@exa mple.test", "amy@-\u2028.test"],
)  # fmt: skip
def test_an_address_that_no_mailbox_can_have_is_rejected_before_anything_is_sent(address: str) -> None:
    with pytest.raises(Rejected) as refused:
        wire_address(address)

    assert refused.value.retire_address


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("amy@home.test", "amy@home.test"),
        ("amy+tag@home.test", "amy+tag@home.test"),
        ("amy@例子.test", "amy@xn--fsqu00a.test"),
        ("小明@例子.test", "小明@xn--fsqu00a.test"),
    ],
)
def test_a_domain_goes_out_in_ascii(address: str, wire: str) -> None:
    assert wire_address(address) == wire


@pytest.mark.parametrize(
    ("sender", "header"),
    [
        ("hi@lumen.test", "hi@lumen.test"),
        ("Lumen <hi@lumen.test>", "Lumen <hi@lumen.test>"),
        ("流明贷款 <hi@lumen.test>", "流明贷款 <hi@lumen.test>"),
        ('"Lumen, Ltd" <hi@lumen.test>', '"Lumen, Ltd" <hi@lumen.test>'),
    ],
)
def test_a_sender_is_shown_as_it_was_configured(sender: str, header: str) -> None:
    outbound = an_outbound(Channel.EMAIL)

    message = read(compose(outbound, outbound.to, sender_mailbox(sender), "mail.lumen.test"))

    assert str(message["From"]) == header
    assert sender_mailbox(sender).address == "hi@lumen.test"


def test_a_sender_that_cannot_be_written_is_ours_to_mend() -> None:
    with pytest.raises(Misconfigured):
        sender_mailbox("Lumen")
