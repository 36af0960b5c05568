"""Bounces, complaints and answers, told apart; nothing that is not about a message of ours is believed."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import BadCallback, InboundMessage, ProviderEvent
from channels.bounces import LARGEST_REPORT_BYTES, parse_mail, return_path
from channels.mime import compose, sender_mailbox
from domain.channel import Channel
from domain.contact import EventKind
from simulator.providers.reports import ReportKind, report
from tests.channels.rig import an_outbound

OURS = an_outbound(Channel.EMAIL)
MAIL = compose(OURS, OURS.to, sender_mailbox(OURS.sender), "mail.lumen.test")
ENVELOPE = return_path("bounces@mail.lumen.test", OURS.contact_id, OURS.party_id) or ""


def a_report(kind: ReportKind, *, to: str = ENVELOPE, mail: bytes = MAIL, text: str = "") -> bytes:
    return report(kind, mail, envelope_sender=to, recipient=OURS.to, text=text)


def read_event(raw: bytes) -> ProviderEvent:
    event = parse_mail(raw)
    assert isinstance(event, ProviderEvent)
    return event


@pytest.mark.parametrize(
    ("kind", "becomes", "code", "retire", "opted_out"),
    [
        (ReportKind.HARD_BOUNCE, EventKind.UNDELIVERED, "5.1.1", True, False),
        (ReportKind.SOFT_BOUNCE, EventKind.UNDELIVERED, "5.2.2", False, False),
        (ReportKind.DELAY, EventKind.SENT, "4.4.1", False, False),
        (ReportKind.COMPLAINT, EventKind.DELIVERED, "complaint abuse", False, True),
    ],
)
def test_a_report_becomes_an_event_of_its_contact(
    kind: ReportKind, becomes: EventKind, code: str, retire: bool, opted_out: bool
) -> None:
    event = read_event(a_report(kind))

    assert (event.contact_id, event.party_id, event.channel) == (OURS.contact_id, OURS.party_id, Channel.EMAIL)
    assert (event.kind, event.code, event.retire_address, event.opted_out) == (becomes, code, retire, opted_out)
    assert event == read_event(a_report(kind)), "a report that comes twice is one"


@pytest.mark.parametrize(
    ("to", "mail"), [(ENVELOPE, b""), (ENVELOPE.upper(), b""), ("hi@lumen.test", MAIL)], ids=["tag", "upper", "quoted"]
)
def test_either_the_tag_of_the_address_or_the_quoted_message_id_names_the_contact(to: str, mail: bytes) -> None:
    assert read_event(a_report(ReportKind.HARD_BOUNCE, to=to, mail=mail)).contact_id == OURS.contact_id


POSTFIX = """\
Return-Path: <>
To: {to}
From: MAILER-DAEMON@mx.example (Mail Delivery System)
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="B"
MIME-Version: 1.0

--B
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry.
--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
X-Postfix-Queue-ID: ABC

Final-Recipient: rfc822; amy@home.test
Action: {action}
Status: {status}
Remote-MTA: dns; mx.home.test
Diagnostic-Code: {said}

--B
Content-Type: message/rfc822

From: hi@lumen.test
Message-ID: {ours}

body
--B--
"""


@pytest.mark.parametrize(
    ("action", "status", "said", "code", "retire"),
    [
        ("failed", "5.1.1", "smtp; 550-5.1.1 The account does not exist", "5.1.1", True),
        ("failed", "5.0.0", "smtp; 550 5.1.10 null MX", "5.1.10", True),
        ("failed", "5.0.0", "smtp; 550 unknown user", "550", True),
        ("failed", "5.0.0", "smtp; 554 policy", "554", False),
        ("failed", "5.7.1", "smtp; 550 5.7.1 blocked", "5.7.1", False),
        ("failed", "4.4.7", "smtp; 451 4.4.7 gave up after five days", "4.4.7", False),
        ("failed", "4.0.0", "smtp; 450 busy", "450", False),
        ("failed", "", "", "failed", False),
        ("Failed", "5.1.1", "x400; something", "5.1.1", True),
    ],
)
def test_only_what_says_that_the_mailbox_is_dead_retires_it(
    action: str, status: str, said: str, code: str, retire: bool
) -> None:
    ours = f"<{OURS.contact_id}.7@mail.lumen.test>"
    raw = POSTFIX.format(to="hi@lumen.test", action=action, status=status, said=said, ours=ours)

    event = read_event(raw.replace("\n", "\r\n").encode())

    assert (event.contact_id, event.kind, event.code) == (OURS.contact_id, EventKind.UNDELIVERED, code)
    assert event.retire_address is retire


def test_an_answer_is_the_customers_own_words_without_what_they_quote() -> None:
    message = parse_mail(a_report(ReportKind.ANSWER, text="Please call me.\n退订"))

    assert isinstance(message, InboundMessage)
    assert (message.channel, message.sender, message.text) == (Channel.EMAIL, OURS.to, "Please call me.\n退订")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (a_report(ReportKind.HOLIDAY), "by a machine"),
        (a_report(ReportKind.HARD_BOUNCE, to="hi@lumen.test", mail=b"Subject: theirs\r\n\r\n"), "no message of ours"),
        (a_report(ReportKind.COMPLAINT).replace(b"abuse\r\nUser", b"not-spam\r\nUser"), "no complaint"),
        (a_report(ReportKind.HARD_BOUNCE).replace(b"Action: failed", b"Action: danced"), "no action"),
        (a_report(ReportKind.HARD_BOUNCE).replace(b"delivery-status", b"disposition-notification"), "another kind"),
        (b"", "no sender"),
        (b"x" * (LARGEST_REPORT_BYTES + 1), "too large"),
    ],
)
def test_what_says_nothing_about_us_is_refused_and_never_repeated(raw: bytes, why: str) -> None:
    with pytest.raises(BadCallback, match=why) as refused:
        parse_mail(raw)

    assert OURS.to not in str(refused.value)


def test_a_made_up_contact_is_no_contact_of_ours() -> None:
    other = UUID("00000000-0000-4000-8000-000000000001")
    raw = a_report(ReportKind.HARD_BOUNCE, to=f"bounces+{other.hex}.7@mail.lumen.test", mail=b"")

    with pytest.raises(BadCallback, match="no message of ours"):
        parse_mail(raw)


@given(st.data())
def test_whatever_arrives_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    raw = bytearray(a_report(data.draw(st.sampled_from(list(ReportKind))), text="hello"))
    for _ in range(data.draw(st.integers(0, 12))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["change", "cut", "double"])):
            case "change":
                raw[at] = data.draw(st.integers(0, 255))
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 80))]
            case _:
                raw[at:at] = raw[at : at + 60]
        if not raw:
            return

    try:
        found = parse_mail(bytes(raw))
    except BadCallback:
        return
    assert isinstance(found, ProviderEvent | InboundMessage)
