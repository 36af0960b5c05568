"""The control plane under /sandbox/: faults, replies, counts, and the messages for people and programs."""

import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from simulator.providers.callbacks import Callbacks
from simulator.providers.faults import FaultRule, Faults
from simulator.providers.imap import Mailbox
from simulator.providers.outbox import Outbox
from simulator.providers.page import html_of, page
from simulator.providers.reports import ReportKind, field_of, report
from simulator.providers.twilio import TwilioSandbox


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seq: int = Field(ge=1)
    kind: ReportKind
    sender: str | None = Field(alias="from", default=None)
    to: str | None = None
    text: str = ""


#: A mail is shown with its own styles and pictures of its own, and with nothing from anywhere.
_SHOWN_MAIL = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

_MAIL = re.compile(r"/sandbox/mail/([0-9]{1,12})\.(eml|html)")

_RULES = TypeAdapter(list[FaultRule])


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sender: str = Field(alias="from", min_length=1)
    to: str = Field(min_length=1)
    body: str


class Control:
    """Everything a driver, a test or a person may ask of the sandbox."""

    def __init__(
        self, outbox: Outbox, faults: Faults, callbacks: Callbacks, twilio: TwilioSandbox, mailbox: Mailbox
    ) -> None:
        self._mailbox = mailbox
        self._outbox = outbox
        self._faults = faults
        self._callbacks = callbacks
        self._twilio = twilio
        self._routes: Mapping[tuple[str, str], Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            ("GET", "/sandbox/"): self._page,
            ("GET", "/sandbox/pending"): self._pending,
            ("GET", "/sandbox/counts"): self._counts,
            ("GET", "/sandbox/messages"): self._messages,
            ("GET", "/sandbox/faults"): self._list_faults,
            ("POST", "/sandbox/faults"): self._arm,
            ("POST", "/sandbox/reply"): self._reply,
            ("POST", "/sandbox/report"): self._report,
            ("POST", "/sandbox/do"): self._do,
            ("POST", "/sandbox/write-index"): self._write_index,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and (found := _MAIL.fullmatch(request.path)):
            return self._mail(int(found.group(1)), found.group(2))
        route = self._routes.get((request.method, request.path))
        if route is None:
            return _json({"error": "no such page; see docs/channels.md"}, status=404)
        try:
            return await route(request)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = "".join(f"{part}: " for part in first["loc"])
            return _json({"error": f"{where}{first['msg']}"}, status=400)

    def write_index(self) -> None:
        (self._outbox.folder / "index.html").write_text(page(self._outbox), encoding="utf-8")

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        shown = page(self._outbox, rules=self._faults.rules, waiting=len(self._mailbox.unseen), is_live=True)
        return web.Response(text=shown, content_type="text/html")

    def _mail(self, seq: int, kind: str) -> web.StreamResponse:
        """A kept mail, as it came or as a mail program shows it. Nothing in it runs, and nothing is fetched."""
        file = self._outbox.mail_file(seq)
        content = file.read_bytes() if file.exists() else b""
        if kind == "eml" and content:
            return web.Response(body=content, content_type="text/plain", charset="utf-8")
        shown = html_of(content)
        if not content or shown is None:
            return _json({"error": "no such mail is kept"}, status=404)
        return web.Response(text=shown, content_type="text/html", headers={"Content-Security-Policy": _SHOWN_MAIL})

    async def _do(self, request: web.BaseRequest) -> web.StreamResponse:
        """A button of the page: an answer, or a report about a mail; then back to the page."""
        fields = dict(parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True))
        if fields.pop("what", "") == "reply":
            reply = _Reply.model_validate(fields)
            self._twilio.reply(sender=reply.sender, to=reply.to, text=reply.body)
        else:
            self._put(_Report.model_validate(fields))
        return web.Response(status=303, headers={"Location": "/sandbox/"})

    async def _pending(self, request: web.BaseRequest) -> web.StreamResponse:
        """What the console has not answered yet: quiet is 0."""
        callbacks = self._callbacks
        return _json({"pending": callbacks.pending, "delivered": callbacks.delivered, "refused": callbacks.refused})

    async def _counts(self, request: web.BaseRequest) -> web.StreamResponse:
        """`by_contact` says how often each contact was accepted, `repeated` those beyond once."""
        by_contact = self._outbox.by_contact
        if contact := request.query.get("contact"):
            return _json({"contact": contact, "accepted": by_contact[contact]})
        repeated = {contact: number for contact, number in by_contact.items() if number > 1}
        return _json(
            {
                "accepted": dict(self._outbox.by_channel),
                "last": self._outbox.last,
                "by_contact": dict(by_contact),
                "repeated": repeated,
            }
        )

    async def _messages(self, request: web.BaseRequest) -> web.StreamResponse:
        after = request.query.get("after", "0")
        if not after.isdecimal():
            return _json({"error": "after: must be a number"}, status=400)
        lines = self._outbox.after(int(after))
        body = b'{"last":%d,"messages":[%s]}' % (self._outbox.last, b",".join(lines))
        return web.Response(body=body, content_type="application/json")

    async def _list_faults(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=_RULES.dump_json(self._faults.rules), content_type="application/json")

    async def _arm(self, request: web.BaseRequest) -> web.StreamResponse:
        """A list of rules replaces the former ones; an empty list ends all faults."""
        self._faults.arm(_RULES.validate_json(await request.read()))
        return _json({"armed": len(self._faults.rules)})

    async def _reply(self, request: web.BaseRequest) -> web.StreamResponse:
        reply = _Reply.model_validate_json(await request.read())
        is_posted = self._twilio.reply(sender=reply.sender, to=reply.to, text=reply.body)
        return _json({"posted": is_posted}, status=202)

    async def _report(self, request: web.BaseRequest) -> web.StreamResponse:
        """A bounce, complaint or answer about an accepted mail, put into the mailbox that IMAP shows."""
        if not self._put(_Report.model_validate_json(await request.read())):
            return _json({"error": "no such mail is kept: see seq in /sandbox/messages"}, status=404)
        return _json({"waiting": len(self._mailbox.unseen)}, status=202)

    def _put(self, wanted: "_Report") -> bool:
        """Put a report about a kept mail into the mailbox; false when that mail is not kept."""
        file = self._outbox.mail_file(wanted.seq)
        if not file.exists():
            return False
        mail = file.read_bytes()
        to = field_of(mail, "To") if wanted.sender is None else wanted.sender
        envelope = wanted.to or field_of(mail, "From")
        self._mailbox.put(report(wanted.kind, mail, envelope_sender=envelope, recipient=to, text=wanted.text))
        return True

    async def _write_index(self, request: web.BaseRequest) -> web.StreamResponse:
        self.write_index()
        return _json({"written": str(self._outbox.folder / "index.html")})


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
