"""The world around a rehearsal: the sandbox's people act on what they receive, through the same doors as real people.

Replies go through the sandbox's signed webhooks, payments through the same function as a lender's payment file.
"""

import heapq
import http.client
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from domain.channel import Channel
from simulator.population import WORDS, Deed, Planned, reaction
from storage import rehearsal
from storage.rehearsal import Received
from storage.rows import Conn
from worker.payments import Payment, record_payments

#: The sandbox is on this machine: it answers at once or it is gone.
SANDBOX_SECONDS = 10.0


class _Coming(NamedTuple):
    """What somebody will do; ordered by when, then by the account, so that every run is alike."""

    at: datetime
    account_ref: str
    tie: int
    planned: Planned
    received: Received
    message: Mapping[str, Any]


class World:
    """Observes what the sandbox accepted, remembers who will do what, and lets them do it when the time comes."""

    def __init__(self, sandbox_http: str, *, seed: int, people: bool = True) -> None:
        self._sandbox = _Sandbox(sandbox_http)
        self._seed = seed
        self._people = people
        self._seen = self._sandbox.last() if people else 0
        self._coming: list[_Coming] = []
        self._tie = count()

    def is_quiet(self) -> bool:
        """Whether every callback that the sandbox owes has been answered."""
        return self._sandbox.pending() == 0

    def next_moment(self) -> datetime | None:
        """When somebody does something next."""
        return self._coming[0][0] if self._coming else None

    def act(self, conn: Conn, now: datetime) -> bool:
        """Let people see what has arrived, and do what is due by `now`; whether anybody did anything."""
        if not self._people:
            return False
        self._observe(conn, now)
        due = []
        while self._coming and self._coming[0][0] <= now:
            due.append(heapq.heappop(self._coming))
        try:
            payments = [payment for entry in due for payment in _payment(entry.planned, entry.received)]
            if payments:
                record_payments(conn, payments, now=now)
        except BaseException:  # the database is away: they will do it when it is back
            for entry in due:
                heapq.heappush(self._coming, entry)
            raise
        for entry in due:
            if entry.planned.deed in WORDS:
                language = "zh" if entry.received.locale.startswith("zh") else "en"
                self._sandbox.reply(entry.message, WORDS[entry.planned.deed][language])
        return bool(due)

    def _observe(self, conn: Conn, now: datetime) -> None:
        while messages := self._sandbox.messages(self._seen):
            by_contact = {UUID(message["contact"]): message for message in messages if message["contact"]}
            for received in rehearsal.received(conn, list(by_contact)) if by_contact else ():
                message = by_contact[received.contact_id]
                planned = reaction(
                    self._seed,
                    f"{received.customer_ref}/{received.account_ref}",
                    received.nth,
                    channel=Channel(message["channel"]),
                    days_past_due=(now.date() - received.due_on).days,
                    now=now,
                )
                if planned is not None:
                    entry = _Coming(planned.at, received.account_ref, next(self._tie), planned, received, message)
                    heapq.heappush(self._coming, entry)
            self._seen = messages[-1]["seq"]


def _payment(planned: Planned, received: Received) -> list[Payment]:
    if planned.deed not in (Deed.PAY_ALL, Deed.PAY_PART):
        return []
    amount = received.balance_minor if planned.deed is Deed.PAY_ALL else received.balance_minor // 3
    if amount <= 0:
        return []
    return [
        Payment(
            lender_id=received.lender_id,
            account_ref=received.account_ref,
            payment_ref=f"sim-{received.account_ref}-{received.nth}",
            amount_minor=amount,
            currency=received.currency,
            paid_at=planned.at,
        )
    ]


class _Sandbox:
    """The control plane of the sandbox, over one kept-alive connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=SANDBOX_SECONDS
        )

    def pending(self) -> int:
        waiting: int = self._ask("GET", "/sandbox/pending")["pending"]
        return waiting

    def last(self) -> int:
        number: int = self._ask("GET", "/sandbox/counts?contact=none").get("last", 0)
        return number

    def messages(self, after: int) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self._ask("GET", f"/sandbox/messages?after={after}")["messages"]
        return found

    def reply(self, message: Mapping[str, Any], text: str) -> None:
        self._ask("POST", "/sandbox/reply", {"from": message["to"], "to": message["sender"], "body": text})

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        payload = orjson.dumps(body) if body is not None else None
        try:
            self._connection.request(method, path, payload)
            raw = self._connection.getresponse().read()
        except (http.client.HTTPException, ConnectionError):  # it was started again: once more, on a new connection
            self._connection.close()
            self._connection.request(method, path, payload)
            raw = self._connection.getresponse().read()
        answer: dict[str, Any] = orjson.loads(raw)
        return answer
