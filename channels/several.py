"""The providers of one channel behind one adapter: it hands a message to the provider chosen for it, and watches.

It chooses nothing: the choice is in `Outbound.provider`. It stops by itself what plainly does not work, until the
fleet's word comes from the database (`worker/provider_health.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from channels.base import Adapter, ChannelError, HeldBack, Outbound, OutcomeUnknown, Receipt
from channels.breaker import FEWEST_ANSWERS, Health, health_of
from domain.channel import Channel

#: How long a message that met a stopped provider waits before it is judged again. The stop itself keeps its lane still.
STOPPED_WAIT = timedelta(seconds=30)


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


class Several:
    """One adapter for a channel's providers by name; a message without a choice goes to the first of them."""

    def __init__(self, channel: Channel, members: Mapping[str, Member]) -> None:
        self._members = members
        self._first = next(iter(members))
        first = members[self._first].adapter
        self.name = first.name
        self.channel = channel
        self.is_sandbox = all(member.adapter.is_sandbox for member in members.values())
        self.folds_repeats = all(member.adapter.folds_repeats for member in members.values())

    async def send(self, outbound: Outbound) -> Receipt:
        """Make one attempt with the provider chosen. Raises HeldBack, before anything leaves, when it is stopped."""
        member = self._members.get(outbound.provider or self._first)
        if member is None or not member.watch.may_send:
            raise HeldBack("provider_stopped", STOPPED_WAIT)
        watch, began = member.watch, monotonic()
        try:
            receipt = await member.adapter.send(outbound)
        except ChannelError as refusal:
            watch.refused(refusal)
            raise
        except Exception:
            watch.refused(OutcomeUnknown("adapter_error"))
            raise
        watch.answered(monotonic() - began)
        return receipt

    async def aclose(self) -> None:
        for member in self._members.values():
            await member.adapter.aclose()

    def __getattr__(self, name: str) -> Any:
        # What a provider can do beyond the contract, such as finding a message, this can do if any of them can.
        if name != "find" or name.startswith("_"):
            raise AttributeError(name)
        finders = [member.adapter for member in self._members.values() if hasattr(member.adapter, "find")]
        if not finders:
            raise AttributeError(name)

        async def find(outbound_contact: UUID, to: str, since: datetime) -> Receipt | None:
            for finder in finders:
                receipt: Receipt | None = await finder.find(outbound_contact, to, since)
                if receipt is not None:
                    return receipt
            return None

        return find
