"""The outbox for people: the latest messages as phones and a mailbox would show them."""

import time
from collections.abc import Iterable
from html import escape

from simulator.providers.outbox import Accepted, Outbox

_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>duly: the sandbox's outbox</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 78rem; margin: 0 auto; padding: 1.5rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .75rem }
p.counts { margin: .25rem 0 0; opacity: .75 }
.phones { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem }
.phone { border: 1px solid #8886; border-radius: 1.25rem; padding: .9rem 1rem 1rem }
.phone h3 { font-size: .8rem; font-weight: 500; margin: 0 0 .5rem; opacity: .75 }
.bubble { background: #8882; border-radius: .2rem 1rem 1rem; padding: .6rem .8rem; margin: .5rem 0 0;
  white-space: pre-wrap; overflow-wrap: anywhere }
time { display: block; font-size: .75rem; opacity: .65; margin-top: .15rem }
details { border-bottom: 1px solid #8884; padding: .5rem 0 } summary { cursor: pointer }
summary span { opacity: .7; margin-right: .75rem } pre { white-space: pre-wrap; font: inherit; margin: .5rem 0 }
.none { opacity: .7 }
</style>
"""


def page(outbox: Outbox) -> str:
    """One HTML page, newest first. Everything that came over the wire is escaped."""
    messages = list(outbox.shown)[::-1]
    counts = ", ".join(f"{number:,} {channel}" for channel, number in sorted(outbox.by_channel.items()))
    return "".join(
        (
            _HEAD,
            "<h1>What customers would have received</h1>",
            f'<p class="counts">{escape(counts) or "Nothing yet"}. Shown: the latest {len(messages)}.</p>',
            _section("Phones", _phones(m for m in messages if m.channel == "sms")),
            _section("Mailboxes", "".join(_mail(m) for m in messages if m.channel == "email")),
            _section("App notifications", "".join(_push(m) for m in messages if m.channel == "push")),
        )
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>" + (content or '<p class="none">Nothing here.</p>')


def _phones(messages: Iterable[Accepted]) -> str:
    by_number: dict[str, list[Accepted]] = {}
    for message in messages:
        by_number.setdefault(message.to, []).append(message)
    phones = "".join(
        f'<article class="phone"><h3>{escape(number)}</h3>{"".join(map(_bubble, held[::-1]))}</article>'
        for number, held in by_number.items()
    )
    return f'<div class="phones">{phones}</div>' if phones else ""


def _bubble(message: Accepted) -> str:
    return f'<p class="bubble">{escape(message.text)}</p><time>{_clock(message)} from {escape(message.sender)}</time>'


def _mail(message: Accepted) -> str:
    return (
        f"<details><summary><span>{_clock(message)}</span><span>{escape(message.to)}</span>"
        f"{escape(message.subject or '(no subject)')}</summary><pre>{escape(message.text)}</pre></details>"
    )


def _push(message: Accepted) -> str:
    return f"<details><summary><span>{_clock(message)}</span>{escape(message.text)}</summary></details>"


def _clock(message: Accepted) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(message.at))
