"""Our adapters beside the loops that one would write by hand: same sink, same process count, rounds interleaved.

`python -m bench.senders` prints messages per second and CPU microseconds per message, medians of the rounds. The sinks
run in a process of their own; every sender runs in this one, with equally many connections and sends under way.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any

import aiosmtplib
from msgspec import structs
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from channels.base import Adapter, Outbound
from channels.credentials import Security, SmtpCredentials, TwilioCredentials
from channels.email_smtp import SmtpEmail
from channels.mime import compose, sender_mailbox
from channels.sms_twilio import TwilioSms
from config.channels import load_channels
from domain.channel import Channel
from domain.contact import new_contact_id
from domain.message import Rendered

ROUNDS = 7
SMS_A_ROUND = 2_000
MAILS_A_ROUND = 2_000
UNDER_WAY = 50
MAIL_CONNECTIONS = 8

TEXT = "王小明您好，您的账单 1,280.00 元将于 3 月 6 日到期。如有困难请回复或致电 400-000-0000，我们一起想办法。" * 3
HTML = f"<p>{TEXT}</p>" * 2
SUBJECT = "还款提醒：您的账单将于周五到期"

Send = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One sender in one round."""

    rate: float
    cpu_us: float


async def measure(send: Send, number: int, under_way: int) -> Measured:
    """Send `number` messages with `under_way` loops; wall clock for the rate, this process's CPU for the cost."""
    left = iter(range(number))

    async def loop() -> None:
        for index in left:
            await send(index)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(under_way)))
    return Measured(number / (time.perf_counter() - wall), (time.process_time() - cpu) / number * 1e6)


def sms_outbound() -> Outbound:
    return Outbound(
        contact_id=new_contact_id(datetime.now(UTC)),
        party_id=7,
        channel=Channel.SMS,
        to="+886912345678",
        sender="+15005550006",
        rendered=Rendered(Channel.SMS, "zh-Hans", TEXT[:70]),
        valid_for=timedelta(hours=2),
        collapse_key="",
    )


def mail_outbound() -> Outbound:
    rendered = Rendered(Channel.EMAIL, "zh-Hans", TEXT, subject=SUBJECT, html=HTML)
    return structs.replace(
        sms_outbound(),
        channel=Channel.EMAIL,
        to="amy@home.test",
        sender="Lumen <hi@lumen.test>",
        rendered=rendered,
        unsubscribe_url="https://lumen.test/u/0123456789abcdef",
    )


def ours(adapter: Adapter, make: Callable[[], Outbound]) -> Send:
    async def send(_: int) -> None:
        await adapter.send(make())

    return send


class _Redirected(AsyncTwilioHttpClient):  # type: ignore[misc]
    """The SDK's own client, unchanged but for the address: it has no other way to a sink."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    async def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
        return await super().request(method, url.replace("https://api.twilio.com", self.base), *args, **options)


def bare_twilio(client: Client) -> Send:
    async def send(_: int) -> None:
        outbound = sms_outbound()
        await client.messages.create_async(
            to=outbound.to,
            from_=outbound.sender,
            body=outbound.rendered.text,
            validity_period=7200,
            status_callback=f"https://duly.example.com/callbacks?contact={outbound.contact_id}&party=7",
        )

    return send


def fresh_message(outbound: Outbound) -> EmailMessage:
    """A message as the standard library's documentation builds it."""
    message = EmailMessage()
    message["From"] = outbound.sender
    message["To"] = outbound.to
    message["Subject"] = outbound.rendered.subject
    message["Message-ID"] = make_msgid(domain="lumen.test")
    message["List-Unsubscribe"] = f"<{outbound.unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(outbound.rendered.text)
    message.add_alternative(outbound.rendered.html or "", subtype="html")
    return message


def textbook_mail(lines: "asyncio.Queue[aiosmtplib.SMTP]") -> Send:
    async def send(_: int) -> None:
        line = await lines.get()
        await line.send_message(fresh_message(mail_outbound()))
        lines.put_nowait(line)

    return send


def prepared_mail(lines: "asyncio.Queue[aiosmtplib.SMTP]") -> Send:
    outbound = mail_outbound()
    octets = compose(outbound, outbound.to, sender_mailbox(outbound.sender), "lumen.test")

    async def send(_: int) -> None:
        line = await lines.get()
        await line.sendmail("hi@lumen.test", "amy@home.test", octets)
        lines.put_nowait(line)

    return send


async def connected(port: int) -> "asyncio.Queue[aiosmtplib.SMTP]":
    lines: asyncio.Queue[aiosmtplib.SMTP] = asyncio.Queue()
    for _ in range(MAIL_CONNECTIONS):
        line = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        await line.connect()
        lines.put_nowait(line)
    return lines


async def compare(ports: Mapping[str, int]) -> dict[str, list[Measured]]:
    """Every sender in every round, in turning order, after one round to warm up that does not count."""
    config = load_channels()
    base = f"http://127.0.0.1:{ports['http']}"
    sms = TwilioSms(
        config.sms, TwilioCredentials("AC" + "1" * 32, "token", base), public_url="https://duly.example.com",
        is_sandbox=True,
    )  # fmt: skip
    mail = SmtpEmail(
        replace(config.email, connections=MAIL_CONNECTIONS, messages_per_connection=10**6),
        SmtpCredentials("127.0.0.1", ports["smtp"], Security.NONE),
        is_sandbox=True,
    )
    http = _Redirected(base)
    client = Client("AC" + "1" * 32, "token", http_client=http)
    textbook, prepared = await connected(ports["smtp"]), await connected(ports["smtp"])
    senders: dict[str, tuple[Send, int]] = {
        "sms": (ours(sms, sms_outbound), SMS_A_ROUND),
        "sms_bare_sdk": (bare_twilio(client), SMS_A_ROUND),
        "email": (ours(mail, mail_outbound), MAILS_A_ROUND),
        "email_textbook": (textbook_mail(textbook), MAILS_A_ROUND),
        "email_prepared": (prepared_mail(prepared), MAILS_A_ROUND),
    }
    results: dict[str, list[Measured]] = {name: [] for name in senders}
    names = list(senders)
    for turn in range(ROUNDS + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            send, number = senders[name]
            measured = await measure(send, number, UNDER_WAY)
            if turn:
                results[name].append(measured)
    await http.close()
    for line in (textbook, prepared):
        while not line.empty():
            line.get_nowait().close()
    await sms.aclose()
    await mail.aclose()
    return results


def rows(results: Mapping[str, Sequence[Measured]]) -> list[dict[str, object]]:
    """The rows of the results file: our rate over the yardstick's, by medians."""
    pairs = (
        ("sms", "sms_bare_sdk", "bare loop over Twilio's async SDK", 0.8),
        ("email", "email_textbook", "SMTP.send_message with a fresh EmailMessage", 4.0),
        ("email_vs_bytes", "email_prepared", "SMTP.sendmail with prepared bytes", 0.6),
    )
    found = []
    for name, yardstick, yardstick_name, goal in pairs:
        mine = results[name.removesuffix("_vs_bytes")]
        own = statistics.median(m.rate for m in mine)
        other = statistics.median(m.rate for m in results[yardstick])
        found.append(
            {
                "name": name,
                "ours": round(own),
                "yardstick": round(other),
                "yardstick_name": yardstick_name,
                "ratio": round(own / other, 2),
                "goal": goal,
                "unit": "messages/s",
                "rounds": len(mine),
                "cpu_us": round(statistics.median(m.cpu_us for m in mine)),
                "yardstick_cpu_us": round(statistics.median(m.cpu_us for m in results[yardstick])),
            }
        )
    return found


def run() -> tuple[dict[str, list[Measured]], list[dict[str, object]]]:
    """Start the sinks, compare, stop the sinks."""
    warnings.filterwarnings("ignore", "The 'auth' parameter is deprecated")  # the SDK's own client, our yardstick
    warnings.filterwarnings("ignore", "BasicAuth is deprecated")
    sinks = subprocess.Popen([sys.executable, "-m", "bench.sinks"], stdout=subprocess.PIPE, text=True)
    try:
        ports = json.loads(sinks.stdout.readline()) if sinks.stdout else {}
        results = asyncio.run(compare(ports))
    finally:
        sinks.terminate()
        sinks.wait(5)
    return results, rows(results)


def main() -> None:
    results, found = run()
    for name, measured in results.items():
        rate = statistics.median(m.rate for m in measured)
        cpu = statistics.median(m.cpu_us for m in measured)
        print(f"{name:<16} {rate:>8,.0f} messages/s   {cpu:>6,.0f} us CPU each")
    print()
    for row in found:
        verdict = "met" if float(str(row["ratio"])) >= float(str(row["goal"])) else "missed"
        print(f"{row['name']:<16} {row['ratio']} x {row['yardstick_name']} (goal {row['goal']}: {verdict})")


if __name__ == "__main__":
    main()
