"""`duly send-test`: a message as it would leave, to a member of staff. No contact: it counts nowhere."""

import asyncio
import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from msgspec.structs import replace
from rich.console import Console

from channels.base import ChannelError, Misconfigured, Outbound, OutcomeUnknown, Receipt, Rejected, TryLater
from channels.credentials import Credentials
from channels.registry import build
from config.settings import Settings
from console.house import bundle_of, entered
from console.output import fail, print_json
from domain.channel import BY_A_PERSON, REACHED_BY, Channel
from domain.contact import new_contact_id
from domain.lender import Lender
from domain.message import Rendered
from messages import samples
from messages.catalogue import Catalogue
from messages.facts import Facts
from storage import staff_sends
from storage.staff_sends import StaffSend
from worker.releases import Release, compile_release
from worker.wiring import Spine, credentials_of

#: In front of every text and subject, so that nobody takes it for a debt.
MARK = "[TEST] "

#: What an e-mail says above its words.
NOTICE = "This is a test of the words, sent to staff. Names and amounts are made up, and nobody owes anything."

#: A test is for now: a provider holds it no longer than this.
VALID_FOR = timedelta(hours=1)

#: No party has this number: what is said about a test later concerns nobody.
NOBODY = 0

OUTCOMES: dict[type[ChannelError], tuple[str, str]] = {
    Rejected: ("rejected", "refused it"),
    TryLater: ("later", "cannot take it now"),
    OutcomeUnknown: ("unknown", "did not say whether it took it"),
    Misconfigured: ("misconfigured", "refused us, not the message: see `duly doctor`"),
}


class NotStaff(ValueError):
    """An address that is on nobody's list; the message never repeats it."""


def send_test_command(
    message: Annotated[str, typer.Argument(help="A message of the folder of copy, like gentle_follow_up.")],
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="One of DULY_STAFF_ADDRESSES.")],
    channel: Annotated[Channel | None, typer.Option(help="By default what the address is.")] = None,
    locale: Annotated[str, typer.Option(help="Like zh-Hant.")] = "en",
    lender: Annotated[str | None, typer.Option(help="In whose name; by default the first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")] = False,
) -> None:
    """Send a message, as the folders hold it now, to a member of staff. It is marked, and no contact."""
    with entered() as spine:
        way = channel or channel_of(to)
        try:
            address = allowed(spine.settings, to)
        except NotStaff as refused:
            fail(str(refused), code=2)
        if way in BY_A_PERSON or way not in (Channel.SMS, Channel.EMAIL, Channel.PUSH):
            fail(f"nothing is sent on the channel {way}: choose sms, email or push", code=2)
        release = compile_release(bundle_of(spine.settings))
        sender = _lender(release, lender)
        outcome, words = send_test(spine, release, sender, message, way, locale, address)
    if as_json:
        print_json({"schema": 1, "message": message, "channel": way, "outcome": outcome, "said": words})
    else:
        Console().print(words)
    if outcome != "sent":
        raise typer.Exit(1)


def allowed(settings: Settings, address: str) -> str:
    """The address as the list has it, a number without its spaces. Raises NotStaff."""
    for known in settings.staff_addresses:
        if _normal(known) == _normal(address):
            return known.strip() if "@" in known else _normal(known)
    raise NotStaff("this address is not in DULY_STAFF_ADDRESSES: tests go to staff and to nobody else")


def channel_of(address: str) -> Channel:
    """What an address looks like: mail has an @, a phone number a plus."""
    if "@" in address:
        return Channel.EMAIL
    return Channel.SMS if address.strip().startswith("+") else Channel.PUSH


def send_test(
    spine: Spine, release: Release, lender: Lender, message: str, channel: Channel, locale: str, address: str
) -> tuple[str, str]:
    """Write the trail, send once, complete the trail: the outcome in a word and in a sentence."""
    rendered = marked(render(release.catalogue, lender, message, channel, locale))
    test_id = new_contact_id(datetime.now(UTC))
    lookup = spine.keyring.lookup(REACHED_BY[channel], _normal(address))
    trail = StaffSend(
        test_id, spine.settings.user or getpass.getuser(), message, channel.value, rendered.locale, lender.id,
        release.hash, lookup,
    )  # fmt: skip
    staff_sends.begin(spine.conn, trail)
    outbound = Outbound(
        contact_id=test_id,
        party_id=NOBODY,
        channel=channel,
        to=address,
        sender=lender.email_sender if channel is Channel.EMAIL else lender.sms_sender,
        rendered=rendered,
        valid_for=VALID_FOR,
        collapse_key=f"test {test_id}",
    )
    answer = asyncio.run(_attempt(release, credentials_of(spine.settings), spine.public_url, outbound))
    if isinstance(answer, Receipt):
        staff_sends.finish(spine.conn, test_id, "sent", provider=answer.provider, ref=answer.provider_ref, code=None)
        return "sent", f"Sent by {answer.provider}, marked as a test: {answer.provider_ref}"
    outcome, said = OUTCOMES[type(answer)]
    staff_sends.finish(spine.conn, test_id, outcome, provider=None, ref=None, code=answer.code)
    return outcome, f"The provider {said} ({answer.code})."


def render(catalogue: Catalogue, lender: Lender, message: str, channel: Channel, locale: str) -> Rendered:
    """The words for a made-up customer of this lender, in the nearest language there is."""
    if message not in catalogue.messages:
        fail(f"there is no message {message!r}: `duly templates list` shows them", code=2)
    best = catalogue.locale_for(message, channel, locale)
    if best is None:
        fail(f"{message} has no {channel} copy in {locale} or a language near it", code=2)
    return catalogue.render(message, channel, best, _facts(catalogue, lender, message, best))


def marked(rendered: Rendered) -> Rendered:
    """The same words, unmistakably a test. A push has no words of its own: its app shows nothing."""
    if rendered.channel is not Channel.EMAIL:
        return rendered._replace(text=MARK + rendered.text)
    html = rendered.html
    if html is not None:
        start = html.lower().find("<body")
        body = html.find(">", start) + 1 if start >= 0 else 0
        html = f"{html[:body]}<p><strong>{NOTICE}</strong></p>{html[body:]}"
    return rendered._replace(text=f"{NOTICE}\n\n{rendered.text}", subject=MARK + (rendered.subject or ""), html=html)


async def _attempt(
    release: Release, credentials: Credentials, public_url: str, outbound: Outbound
) -> Receipt | ChannelError:
    adapters = build(release.channels, credentials, public_url=public_url)
    try:
        adapter = adapters.get(outbound.channel)
        return await adapter.send(outbound) if adapter else Misconfigured("no provider for this channel")
    except ChannelError as refusal:
        return refusal
    finally:
        for each in adapters.values():
            await each.aclose()


def _facts(catalogue: Catalogue, lender: Lender, message: str, locale: str) -> Facts:
    """Made-up facts, with what is the lender's own."""
    return replace(
        samples.ordinary(catalogue.messages[message], locale),
        brand=lender.brand.get(locale) or next(iter(lender.brand.values())),
        help_phone=lender.help_phone,
        help_hours=lender.help_hours.get(locale) or next(iter(lender.help_hours.values())),
        pay_url=lender.pay_url,
        help_url=lender.help_url,
    )


def _lender(release: Release, wanted: str | None) -> Lender:
    if wanted is None:
        return next(iter(release.lenders.values()))
    if wanted not in release.lenders:
        fail(f"there is no lender {wanted!r}: lenders/ has {', '.join(release.lenders)}", code=2)
    return release.lenders[wanted]


def _normal(address: str) -> str:
    """As addresses are compared: no spaces, hyphens or brackets in a number, no capitals in a mail address."""
    address = address.strip()
    if "@" in address:
        return address.lower()
    return "".join(character for character in address if character not in " -().") if address[:1] == "+" else address
