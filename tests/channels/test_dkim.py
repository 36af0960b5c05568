"""What we sign verifies by another's code, covers what RFC 8058 asks for, and breaks with every change."""

import asyncio
import base64
from dataclasses import replace
from email import message_from_bytes
from functools import cache
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from channels.credentials import BadCredentials
from channels.dkim import DkimSigners, load_signers
from channels.mime import compose, sender_mailbox
from domain.channel import Channel
from domain.message import Rendered
from domain.provider import DkimUse
from tests.channels.rig import STEADY, a_rig, an_outbound

USE = DkimUse("lumen.test", "duly1")
RECORD = "duly1._domainkey.lumen.test"


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def the_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def signers() -> DkimSigners:
    return load_signers([USE], {RECORD: pem(the_key())})


def dns(name: bytes, timeout: int = 5) -> bytes:
    """The world's name servers, as far as this test goes."""
    assert name == RECORD.encode() + b"."
    public = the_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def signed(sender: str = "Lumen <hi@lumen.test>", **rendered: str) -> bytes:
    words = {"text": "Your payment is due.", "subject": "A reminder", "html": "<p>Due</p>", **rendered}
    outbound = an_outbound(
        Channel.EMAIL,
        rendered=Rendered(Channel.EMAIL, "en", **words),
        sender=sender,
        unsubscribe_url="https://lumen.test/u/abc",
    )
    signer = signers().for_address(sender_mailbox(outbound.sender).address)
    assert signer
    return signer.sign(compose(outbound, outbound.to, sender_mailbox(outbound.sender), "mail.lumen.test"))


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300)


@given(text=words, subject=words, html=words)
def test_what_we_sign_verifies_by_another_library(text: str, subject: str, html: str) -> None:
    assert dkim.verify(signed(text=text, subject=subject, html=html), dnsfunc=dns)


@given(st.data())
def test_a_changed_header_or_body_no_longer_verifies(data: st.DataObject) -> None:
    message = signed()
    start = message.index(b"From:")
    at = data.draw(st.sampled_from([n for n in range(start, len(message)) if chr(message[n]).isalnum()]))
    changed = bytearray(message)
    changed[at] = ord("x") if changed[at] not in b"xX" else ord("y")

    try:
        assert not dkim.verify(bytes(changed), dnsfunc=dns)
    except dkim.DKIMException:
        return


def test_the_headers_of_one_click_and_a_doubled_from_are_covered() -> None:
    message = signed()
    covered = message_from_bytes(message)["DKIM-Signature"].partition("h=")[2].partition(";")[0].split(":")

    assert {"list-unsubscribe", "list-unsubscribe-post", "message-id", "date"} <= set(covered)
    assert covered.count("from") == 2
    assert not dkim.verify(message.replace(b"From:", b"From: Mallory <m@evil.test>\r\nFrom:", 1), dnsfunc=dns)
    assert max(map(len, message.partition(b"From:")[0].split(b"\r\n"))) < 250


def test_a_sender_below_the_domain_is_signed_for_and_another_is_not() -> None:
    assert dkim.verify(signed("hi@news.lumen.test"), dnsfunc=dns)
    for address in ("hi@notlumen.test", "hi@test", "hi@lumen.test.evil"):
        assert signers().for_address(address) is None


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({}, "no duly1._domainkey.lumen.test.pem in DULY_DKIM_KEYS_DIR"),
        ({RECORD: "not a key"}, "is not a private key"),
        ({RECORD: pem(ec.generate_private_key(ec.SECP256R1()))}, "is no RSA key"),
    ],
)
def test_a_key_that_cannot_sign_is_named_at_the_start_and_never_shown(keys: dict[str, str], complaint: str) -> None:
    with pytest.raises(BadCredentials, match=complaint) as refused:
        load_signers([USE], keys)

    assert "BEGIN" not in str(refused.value)


def test_a_signed_mail_arrives_signed_with_its_dots_and_is_returned_to_our_bounce_mailbox(tmp_path: Path) -> None:
    async def told() -> None:
        mail = replace(STEADY.email, dkim=(USE,), bounce_address="bounces@mail.lumen.test")
        async with a_rig(tmp_path, config=replace(STEADY, email=mail), dkim_keys={RECORD: pem(the_key())}) as rig:
            rendered = Rendered(Channel.EMAIL, "en", ".a dot\n..two\nend", subject="Dots")
            outbound = an_outbound(Channel.EMAIL, rendered=rendered)
            await rig.adapters[Channel.EMAIL].send(outbound)

            (message,) = rig.world.outbox.shown
            raw = (tmp_path / "mail" / "000001.eml").read_bytes()
        assert dkim.verify(raw, dnsfunc=dns)
        assert message.sender == f"bounces+{outbound.contact_id.hex}.7@mail.lumen.test"
        assert message.text == ".a dot\n..two\nend"

    asyncio.run(told())
