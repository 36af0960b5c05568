"""Bounces, complaints and answers, as mail systems would send them about a mail that the sandbox accepted.

Shapes: RFC 3464 (delivery status), RFC 6522 (multipart/report), RFC 5965 (feedback reports), RFC 3834 (holiday notes).
"""

from email import message_from_bytes, policy
from email.utils import parseaddr
from enum import StrEnum

_BOUNDARY = "sandbox-report"


class ReportKind(StrEnum):
    HARD_BOUNCE = "hard_bounce"
    SOFT_BOUNCE = "soft_bounce"
    DELAY = "delay"
    COMPLAINT = "complaint"
    HOLIDAY = "holiday"
    ANSWER = "answer"


#: Action, status, and what the remote system said.
_BOUNCES = {
    ReportKind.HARD_BOUNCE: ("failed", "5.1.1", "smtp; 550 5.1.1 no such user here"),
    ReportKind.SOFT_BOUNCE: ("failed", "5.2.2", "smtp; 552 5.2.2 mailbox full"),
    ReportKind.DELAY: ("delayed", "4.4.1", "smtp; 451 4.4.1 no answer from host"),
}


def report(kind: ReportKind, mail: bytes, *, envelope_sender: str, recipient: str, text: str = "") -> bytes:
    """The report about `mail`, addressed to its envelope sender. `text` is what an answer says."""
    head, _, _ = mail.partition(b"\r\n\r\n")
    quoted = head.decode("utf-8", "replace")
    match kind:
        case ReportKind.COMPLAINT:
            return _feedback(quoted, envelope_sender, recipient)
        case ReportKind.HOLIDAY:
            return _letter(quoted, envelope_sender, recipient, "I am away.", automatic=True)
        case ReportKind.ANSWER:
            return _letter(quoted, envelope_sender, recipient, text, automatic=False)
    return _status(kind, quoted, envelope_sender, recipient)


def field_of(mail: bytes, name: str) -> str:
    """The address in a header of a mail."""
    return parseaddr(str(message_from_bytes(mail, policy=policy.default).get(name, "")))[1]


def _status(kind: ReportKind, quoted: str, to: str, recipient: str) -> bytes:
    action, status, said = _BOUNCES[kind]
    fields = (
        "Reporting-MTA: dns; mx.sandbox.invalid\n\n"
        f"Final-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: {said}\n"
    )
    return _multipart(
        "delivery-status", "Mail Delivery Subsystem <MAILER-DAEMON@mx.sandbox.invalid>", to, "delivery-status", fields,
        quoted,
    )  # fmt: skip


def _feedback(quoted: str, to: str, recipient: str) -> bytes:
    fields = f"Feedback-Type: abuse\nUser-Agent: sandbox/1\nVersion: 1\nOriginal-Rcpt-To: <{recipient}>\n"
    return _multipart("feedback-report", "abuse@mx.sandbox.invalid", to, "feedback-report", fields, quoted)


def _multipart(report_type: str, sender: str, to: str, subtype: str, fields: str, quoted: str) -> bytes:
    lines = (
        f"From: {sender}\nTo: {to}\nSubject: A report about your message\nAuto-Submitted: auto-generated\n"
        f'MIME-Version: 1.0\nContent-Type: multipart/report; report-type={report_type}; boundary="{_BOUNDARY}"\n\n'
        f"--{_BOUNDARY}\nContent-Type: text/plain\n\nThis is an automatic report.\n"
        f"--{_BOUNDARY}\nContent-Type: message/{subtype}\n\n{fields}\n"
        f"--{_BOUNDARY}\nContent-Type: text/rfc822-headers\n\n{quoted}\n\n--{_BOUNDARY}--\n"
    )
    return _crlf(lines)


def _letter(quoted: str, to: str, recipient: str, text: str, *, automatic: bool) -> bytes:
    ours = next((line[12:] for line in quoted.splitlines() if line.lower().startswith("message-id: ")), "")
    number = ours.strip("<>").partition("@")[0]
    mark = "Auto-Submitted: auto-replied\n" if automatic else ""
    return _crlf(
        f"From: A customer <{recipient}>\nTo: {to}\nSubject: Re: your message\nMessage-ID: <re.{number}@home.invalid>\n"
        f"In-Reply-To: {ours}\n{mark}MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
        f"{text}\n\nOn Monday, {to} wrote:\n> Please reply STOP to end these mails.\n"
    )


def _crlf(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()
