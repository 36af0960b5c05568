"""The providers of one channel behind one adapter: it hands a message to the provider chosen for it, and watches.

It chooses nothing: the choice is in `Outbound.provider`. It stops by itself what plainly does not work, until the
fleet's word comes from the database (`worker/provider_health.py`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from channels.base import Adapter, ChannelError, HeldBack, Outbound, OutcomeUnknown, Receipt, TryLater
from channels.breaker import FEWEST_ANSWERS, Health, health_of
from channels.push_tokens import is_apns_token
from domain.channel import Channel

#: How long a message that met a stopped provider waits before it is judged again. The stop itself keeps its lane still.
STOPPED_WAIT = timedelta(seconds=30)

#: How soon a message is judged again that one provider of several would not take: another may.
FAIL_OVER_WAIT = timedelta(seconds=20)


@dataclass(slots=True)
class Watch:
    """What one process sees of one provider since it was last asked. `slow_seconds`: an answer beyond it is a slow one.

    Written on the event loop and read between waves. `is_stopped` is what the fleet has decided; `wrong` and a row of
    failures stop it here and now.
    """

    slow_seconds: float
    good: int = 0
    slow: int = 0
    failed: int = 0
    in_a_row: int = 0
    wrong: str | None = None
    code: str | None = None
    is_stopped: bool = False

    @property
    def may_send(self) -> bool:
        return not self.is_stopped and self.wrong is None and self.in_a_row < FEWEST_ANSWERS

    def begin(self) -> None:
        """What was seen so far has been told."""
        self.good = self.slow = self.failed = self.in_a_row = 0
        self.wrong = self.code = None

    def answered(self, seconds: float) -> None:
        self.good += 1
        self.in_a_row = 0
        if seconds > self.slow_seconds:
            self.slow += 1

    def refused(self, refusal: ChannelError) -> None:
        match health_of(refusal):
            case Health.GOOD:
                self.good += 1
                self.in_a_row = 0
            case Health.FAILED:
                self.failed += 1
                self.in_a_row += 1
                self.code = refusal.code
            case Health.WRONG_CREDENTIALS:
                self.wrong = self.code = refusal.code


@dataclass(frozen=True, slots=True)
class Member:
    """One provider and what is seen of it."""

    adapter: Adapter
    watch: Watch = field(repr=False)


def fits(kind: str, outbound: Outbound) -> bool:
    """Whether a provider of this kind can carry a message at all: a push token is of one platform or the other."""
    if outbound.channel is not Channel.PUSH:
        return True
    return (kind == "apns") is is_apns_token(outbound.to)


class Several:
    """One adapter for a channel's providers by name. A message for which none was chosen goes to the first that fits.

    `kinds` are the kinds of all providers of the channel by name.
    """

    def __init__(self, channel: Channel, members: Mapping[str, Member], kinds: Mapping[str, str]) -> None:
        self._members = members
        self._kinds = kinds
        self._first = next(iter(members))
        self._is_plain = len(members) == 1
        first = members[self._first].adapter
        self.name = first.name
        self.channel = channel
        self.is_sandbox = all(member.adapter.is_sandbox for member in members.values())
        self.folds_repeats = all(member.adapter.folds_repeats for member in members.values())

    async def send(self, outbound: Outbound) -> Receipt:
        """Make one attempt with the provider chosen. Raises HeldBack, before anything leaves, when it is stopped."""
        member = self._members.get(self.provider_of(outbound))
        if member is None or not member.watch.may_send:
            raise HeldBack("provider_stopped", STOPPED_WAIT)
        watch, began = member.watch, monotonic()
        try:
            receipt = await member.adapter.send(outbound)
        except ChannelError as refusal:
            watch.refused(refusal)
            if isinstance(refusal, TryLater) and not self._is_plain:
                raise TryLater(refusal.code, FAIL_OVER_WAIT) from refusal
            raise
        except (Exception, asyncio.CancelledError):  # cut off, or an adapter that breaks its contract
            watch.refused(OutcomeUnknown("no answer"))
            raise
        watch.answered(monotonic() - began)
        return receipt

    def provider_of(self, outbound: Outbound) -> str:
        """Who is meant to carry a message."""
        if outbound.provider is not None:
            return outbound.provider
        if self._is_plain:
            return self._first
        return next((name for name in self._members if fits(self._kinds[name], outbound)), self._first)

    async def aclose(self) -> None:
        for member in self._members.values():
            await member.adapter.aclose()

    def __getattr__(self, name: str) -> Any:
        # What a provider can do beyond the contract, such as finding a message, this can do if any of them can.
        if name != "find":
            raise AttributeError(name)
        finders = [member.adapter for member in self._members.values() if hasattr(member.adapter, "find")]
        if not finders:
            raise AttributeError(name)

        async def find(outbound_contact: UUID, to: str, since: datetime, *, body: str | None = None) -> Receipt | None:
            for finder in finders:
                receipt: Receipt | None = await finder.find(outbound_contact, to, since, body=body)
                if receipt is not None:
                    return receipt
            return None

        return find
