"""Where an unsubscribe link leads. Store first, understand later: an answer means it is committed."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from console.callbacks import Gone, TooLarge, read_body
from console.intake import Intake, StorageDown
from storage.inbox import Arrival
from storage.sealing import Keyring
from worker.arrivals import sealed_unsubscribe
from worker.metrics import CALLBACKS_REFUSED, TALLY
from worker.unsubscribe import BadToken, Unsubscribed, read_token

log = structlog.get_logger()

_PAGE = Template((files("console") / "pages" / "unsubscribe.html").read_text("utf-8"))

#: No scripts, no frames, no referrer: the address of the page is the whole secret.
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Webhooks:
    """The routes and what they need. `refused` counts by reason what was turned away."""

    def __init__(self, keyring: Keyring, *, refused: Counter[str]) -> None:
        self.refused = refused
        self.intake: Intake | None = None
        self._keyring = keyring
        self.router = APIRouter()
        self.router.add_api_route("/u/{token}", self.show_unsubscribe, methods=["GET"])
        self.router.add_api_route("/u/{token}", self.unsubscribe, methods=["POST"])

    async def show_unsubscribe(self, request: Request, token: str) -> Response:
        """A page with a button. It changes nothing: mail scanners open links."""
        words = _words(request.headers.get("accept-language", ""))
        try:
            read_token(self._keyring, token)
        except BadToken:
            return self._refuse("unsubscribe", "not a token", 404, _page(words, "unknown"))
        return HTMLResponse(_page(words, "ask"), headers=_PAGE_HEADERS)

    async def unsubscribe(self, request: Request, token: str) -> Response:
        """One click (RFC 8058), from a mail program or from our page: stored, then applied within the second."""
        words = _words(request.headers.get("accept-language", ""))
        try:
            await read_body(request.receive)
            wish = read_token(self._keyring, token)
        except TooLarge:
            return self._refuse("unsubscribe", "too large", 413)
        except (TimeoutError, Gone):
            return self._refuse("unsubscribe", "too slow", 408)
        except BadToken:
            return self._refuse("unsubscribe", "not a token", 404, _page(words, "unknown"))
        return await self._store(self._clicked(wish), HTMLResponse(_page(words, "done"), headers=_PAGE_HEADERS))

    def _clicked(self, wish: Unsubscribed) -> Arrival:
        return sealed_unsubscribe(self._keyring, wish, at=datetime.now(UTC))

    async def _store(self, arrival: Arrival, answer: Response) -> Response:
        if self.intake is None:
            return Response(status_code=503, headers={"Retry-After": "5"})
        try:
            await self.intake.store([arrival])
        except StorageDown:
            return Response(status_code=503, headers={"Retry-After": "5"})
        return answer

    def _refuse(self, source: str, why: str, status: int, page: str | None = None) -> Response:
        self.refused[f"{source}: {why}"] += 1
        TALLY.count(CALLBACKS_REFUSED, (source, why))
        log.warning("callback_refused", source=source, why=why, status=status)
        return HTMLResponse(page, status, headers=_PAGE_HEADERS) if page else Response(status_code=status)


# ----------------------------------------------------------------------------------------------------- the page's words


Words = Mapping[str, str]

_ENGLISH: Words = {
    "lang": "en",
    "ask_title": "Stop these e-mails?",
    "ask_text": "If you would rather not get reminders by e-mail, press the button. We will stop at once.",
    "ask_button": "Please stop",
    "ask_small": "Letters that the law asks us to send may still reach you. Your account itself does not change.",
    "done_title": "Done",
    "done_text": "We will send no more reminders to this e-mail address.",
    "done_small": "If you ever want to talk, the number is in our e-mail. Thank you for letting us know.",
    "unknown_title": "This link does not work",
    "unknown_text": "It may be cut short. Please use the whole link, or answer our e-mail: that works too.",
    "unknown_small": "Nothing has been changed.",
}
_SIMPLIFIED: Words = {
    "lang": "zh-Hans",
    "ask_title": "不再接收这些邮件？",
    "ask_text": "如果您不想再通过邮件收到提醒，请按下面的按钮，我们会马上停止。",
    "ask_button": "请停止发送",
    "ask_small": "法律要求寄送的通知仍可能送达。您的账户本身不会有任何变化。",
    "done_title": "已为您办好",
    "done_text": "我们不会再向这个邮箱发送提醒。",
    "done_small": "如果您想和我们谈谈，邮件里有电话。谢谢您告诉我们。",
    "unknown_title": "这个链接无法使用",
    "unknown_text": "链接可能不完整。请使用完整的链接，或直接回复我们的邮件，效果相同。",
    "unknown_small": "没有做任何更改。",
}
_TRADITIONAL: Words = {
    "lang": "zh-Hant",
    "ask_title": "不再接收這些郵件？",
    "ask_text": "如果您不想再透過電子郵件收到提醒，請按下面的按鈕，我們會馬上停止。",
    "ask_button": "請停止寄送",
    "ask_small": "法律要求寄送的通知仍可能送達。您的帳戶本身不會有任何變化。",
    "done_title": "已為您辦好",
    "done_text": "我們不會再向這個電子信箱寄送提醒。",
    "done_small": "如果您想和我們談談，郵件裡有電話。謝謝您告訴我們。",
    "unknown_title": "這個連結無法使用",
    "unknown_text": "連結可能不完整。請使用完整的連結，或直接回覆我們的郵件，效果相同。",
    "unknown_small": "沒有做任何更改。",
}


def _words(accept_language: str) -> Words:
    first = accept_language.partition(",")[0].strip().lower()
    if not first.startswith("zh"):
        return _ENGLISH
    return _TRADITIONAL if any(part in first for part in ("hant", "tw", "hk", "mo")) else _SIMPLIFIED


def _page(words: Words, state: str) -> str:
    label = words.get(f"{state}_button")
    return _PAGE.substitute(
        lang=words["lang"],
        title=escape(words[f"{state}_title"]),
        text=escape(words[f"{state}_text"]),
        small=escape(words[f"{state}_small"]),
        button=f'<form method="post"><button>{escape(label)}</button></form>' if label else "",
    )
