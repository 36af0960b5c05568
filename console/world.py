"""The world around a rehearsal: the sandbox's people act on what they receive, through the same doors as real people.

Replies go through the sandbox's signed webhooks, payments through the same function as a lender's payment file.
"""

import heapq
import http.client
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from typing import Any
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


class World:
    """Observes what the sandbox accepted, remembers who will do what, and lets them do it when the time comes."""

    def __init__(self, sandbox_http: str, *, seed: int, people: bool = True) -> None:
        self._sandbox = _Sandbox(sandbox_http)
        self._seed = seed
        self._people = people
        self._seen = self._sandbox.last() if people else 0
        self._coming: list[tuple[datetime, str, int, Planned, Received, Mapping[str, Any]]] = []
        self._tie = count()

    def is_quiet(self) -> bool:
        """Whether every callback that the sandbox owes has been answered."""
        return self._sandbox.pending() == 0

    def next_moment(self, now: datetime) -> datetime | None:
        """When somebody does something next."""
        return self._coming[0][0] if self._coming else None

    def act(self, conn: Conn, now: datetime) -> bool:
        """Let people see what has arrived, and do what is due by `now`; whether anybody did anything."""
        if not self._people:
            return False
        self._observe(conn, now)
        payments: list[Payment] = []
        acted = False
        while self._coming and self._coming[0][0] <= now:
            _, _, _, planned, received, message = heapq.heappop(self._coming)
            acted = True
            match planned.deed:
                case Deed.PAY_ALL | Deed.PAY_PART:
                    payments.extend(_payment(planned, received))
                case deed:
                    language = "zh" if received.locale.startswith("zh") else "en"
                    self._sandbox.reply(message, WORDS[deed][language])
        if payments:
            record_payments(conn, payments, now=now)
        return acted

    def _observe(self, conn: Conn, now: datetime) -> None:
        while messages := self._sandbox.messages(self._seen):
            self._seen = messages[-1]["seq"]
            by_contact = {UUID(message["contact"]): message for message in messages if message["contact"]}
            if not by_contact:
                continue
            for received in rehearsal.received(conn, list(by_contact)):
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
                    entry = (planned.at, received.account_ref, next(self._tie), planned, received, message)
                    heapq.heappush(self._coming, entry)


def _payment(planned: Planned, received: Received) -> list[Payment]:
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
