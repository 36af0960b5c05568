"""Signed webhooks from the sandbox to the console, with retries until it answers."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp
from twilio.request_validator import RequestValidator

#: Connections kept alive to the console; each carries one callback at a time.
CARRIERS = 32

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
ANSWER_SECONDS = 15  # Twilio's own limit for webhooks


@dataclass(frozen=True, slots=True)
class Callback:
    url: str
    fields: Mapping[str, str]


class Callbacks:
    """Posts callbacks in the background. Those handed over together go one after the other."""

    def __init__(self, auth_token: str) -> None:
        self._validator = RequestValidator(auth_token)
        self._queue: asyncio.Queue[Sequence[Callback]] = asyncio.Queue()
        self._session: aiohttp.ClientSession | None = None
        self._carriers: list[asyncio.Task[None]] = []
        self.pending = 0
        self.delivered = 0
        self.refused = 0

    def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CARRIERS),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._carriers = [asyncio.create_task(self._carry()) for _ in range(CARRIERS)]

    async def stop(self) -> None:
        """Give up what is still pending."""
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)
        if self._session:
            await self._session.close()

    def post(self, callbacks: Sequence[Callback]) -> None:
        """Hand callbacks over; `pending` counts each until the console has answered it."""
        if callbacks:
            self.pending += len(callbacks)
            self._queue.put_nowait(callbacks)

    async def _carry(self) -> None:
        while True:
            for callback in await self._queue.get():
                try:
                    await self._deliver(callback)
                finally:
                    self.pending -= 1

    async def _deliver(self, callback: Callback) -> None:
        """Post until there is an answer. A refusal (4xx) is final: the console has read it and said no."""
        signature = self._validator.compute_signature(callback.url, callback.fields)
        headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(callback.fields).encode()
        pause = FIRST_PAUSE_SECONDS
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                status = await self._status_of(callback.url, body, headers)
                if 200 <= status < 300:
                    self.delivered += 1
                    return
                if 400 <= status < 500 and status not in (408, 429):
                    self.refused += 1
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _status_of(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        if self._session is None:
            raise RuntimeError("start() comes first")
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer.status
