"""The outbox for people: the latest messages as phones, lock screens and a mailbox would show them."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from email import message_from_bytes, policy
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from simulator.providers.faults import FaultRule
from simulator.providers.outbox import Accepted, Outbox


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


_PAGES = Environment(
    loader=PackageLoader("simulator", "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_PAGES.filters["clock"] = _clock


def page(outbox: Outbox, *, rules: Sequence[FaultRule] = (), waiting: int = 0, is_live: bool = False) -> str:
    """One HTML page, newest first. Everything that came over the wire is escaped.

    A live page looks again by itself and has buttons to answer; a written one only shows. `waiting` counts the bounces
    that nobody has read.
    """
    messages = list(outbox.shown)[::-1]
    return _PAGES.get_template("outbox.html").render(
        is_live=is_live,
        counts=", ".join(f"{number:,} {channel}" for channel, number in sorted(outbox.by_channel.items())),
        shown=len(messages),
        waiting=waiting,
        rules=rules,
        phones=_phones(message for message in messages if message.channel == "sms"),
        pushes=[_push(message) for message in messages if message.channel == "push"],
        mails=[_mail(outbox, message) for message in messages if message.channel == "email"],
    )


def html_of(mail: bytes) -> str | None:
    """The mail's HTML as a mail program would show it; its text where it has none, None for no mail at all."""
    body = message_from_bytes(mail, policy=policy.default).get_body(("html", "plain"))
    if body is None:
        return None
    content: str = body.get_content()
    if body.get_content_type() == "text/html":
        return content
    return _PAGES.from_string("<!doctype html><meta charset=utf-8><pre>{{ text }}</pre>").render(text=content)


def _phones(messages: Iterable[Accepted]) -> list[tuple[str, list[Accepted]]]:
    """Numbers, the one written to last first; each with its messages as they came."""
    by_number: dict[str, list[Accepted]] = {}
    for message in messages:
        by_number.setdefault(message.to, []).append(message)
    return [(number, held[::-1]) for number, held in by_number.items()]


def _push(message: Accepted) -> dict[str, Any]:
    return {**asdict(message), "is_silent": _is_silent(message.text)}


def _is_silent(text: str) -> bool:
    """Whether a phone shows nothing by itself: no notification (FCM), no alert (APNs)."""
    content = json.loads(text)
    return not content.get("notification") and not content.get("aps", {}).get("alert")


def _mail(outbox: Outbox, message: Accepted) -> dict[str, Any]:
    return {**asdict(message), "is_kept": outbox.mail_file(message.seq).exists()}
