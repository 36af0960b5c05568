"""The contract of a channel: what it is given, what it answers, and the four ways in which it may fail.

An adapter never decides whether to contact and never retries: it makes one attempt and says what became of it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from domain.channel import Channel
from domain.contact import EventKind
from domain.message import Rendered


class ChannelError(Exception):
    """Base of the four. `code` is the provider's own code or a short word of ours; never an address or a text."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Rejected(ChannelError):
    """Refused before acceptance, and would be again: the slot is given back.

    `retire_address` says that the address is dead for everyone; `opted_out` that its owner refused us at the provider.
    With neither, the message was refused and the address may still be good.
    """

    def __init__(self, code: str, retire_address: bool = False, opted_out: bool = False) -> None:
        Exception.__init__(self, code, retire_address, opted_out)
        self.code = code
        self.retire_address = retire_address
        self.opted_out = opted_out


class TryLater(ChannelError):
    """Refused before acceptance, for now: the reminder goes back through policy. `after` is the provider's wish."""

    def __init__(self, code: str, after: timedelta | None = None) -> None:
        Exception.__init__(self, code, after)
        self.code = code
        self.after = after


class HeldBack(ChannelError):
    """Of our own will it did not go, for now, and nothing was sent: it costs no attempt. `after`: judge it again."""

    def __init__(self, code: str, after: timedelta) -> None:
        Exception.__init__(self, code, after)
        self.code = code
        self.after = after


class OutcomeUnknown(ChannelError):
    """It may have been sent: it counts against caps and is never blindly sent again."""


class Misconfigured(ChannelError):
    """Our fault (credentials, sender, template): stop this provider and shout; nothing was sent."""


class Outbound(Struct, frozen=True, gc=False):
    """One message on its way. `to` is the clear address; `valid_for` cuts the provider's own queueing to the window.

    `sender` is the lender's sender for this channel (a number, a mailbox); `collapse_key` folds repeats where the
    provider can; `unsubscribe_url` is for e-mail's one-click header, None elsewhere. `provider` is the one
    chosen where a channel has several. `decided` is the monotonic clock when `valid_for` was true: a batch leaves wave
    by wave, and the last wave's messages have less time left than the first's.
    """

    contact_id: UUID
    party_id: int
    channel: Channel
    to: str
    sender: str
    rendered: Rendered
    valid_for: timedelta
    collapse_key: str
    unsubscribe_url: str | None = None
    provider: str | None = None
    decided: float | None = None

    @property
    def still_valid_for(self) -> timedelta:
        """What is left of `valid_for` now; without `decided`, all of it."""
        waited = 0.0 if self.decided is None else time.monotonic() - self.decided
        return self.valid_for - timedelta(seconds=max(waited, 0.0))


class Receipt(Struct, frozen=True, gc=False):
    """The provider's acceptance. `provider_ref` is its id for the message."""

    provider: str
    provider_ref: str


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One thing a provider told us later about a contact. `code` is the provider's error code, if any.

    `dedupe_key` is equal for repeats of the same report. `retire_address` says that the address is dead;
    `opted_out` that its owner refused us at the provider, or complained there.
    """

    contact_id: UUID
    party_id: int
    kind: EventKind
    provider: str
    provider_ref: str
    dedupe_key: str
    code: str | None = None
    retire_address: bool = False
    opted_out: bool = False
    channel: Channel = Channel.SMS


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """Somebody wrote to us. `sender` is their clear address: it is sealed before it is stored."""

    provider: str
    provider_ref: str
    channel: Channel
    sender: str
    recipient: str
    text: str


@dataclass(frozen=True, slots=True)
class RawCallback:
    """An HTTP request as it came in: the exact public URL, lower-case header names, the body's bytes."""

    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class BadCallback(Exception):
    """A callback that is forged, misshapen or oversized: refused and counted, never stored."""


class BadSignature(BadCallback):
    """A callback that somebody else signed, or another account of ours."""


class Adapter(Protocol):
    """One provider of one channel. Built on the event loop that it lives on; `send` may be called concurrently.

    `folds_repeats` says that the provider shows repeats with one collapse key as one message, so that an uncertain
    contact may be sent again.
    """

    name: str
    channel: Channel
    is_sandbox: bool
    folds_repeats: bool

    async def send(self, outbound: Outbound) -> Receipt:
        """Make one attempt. Raises Rejected, TryLater, OutcomeUnknown or Misconfigured, and nothing else.

        Bounded in time by its own deadline. Cancellation before the first byte leaves nothing sent.
        """
        ...

    async def aclose(self) -> None:
        """Close sessions and connections."""
        ...


class AnswersAtOnce(Protocol):
    """An adapter from which nothing leaves this process: it needs no event loop, and answers for a wave in order."""

    name: str

    def answer_all(self, wave: Sequence[Outbound]) -> Sequence[Receipt | ChannelError]:
        """Make one attempt for each, waiting for nothing. Refusals are among the answers; nothing is raised."""
        ...


class Finder(Protocol):
    """A provider that can be asked what became of a message whose answer was lost."""

    async def find(
        self, outbound_contact: UUID, to: str, since: datetime, *, body: str | None = None
    ) -> Receipt | None:
        """The receipt if the provider knows the message; None proves nothing, not even with every argument given.

        `to` is the clear address, `since` the real time just before the attempt, `body` the words as they were sent
        (rendered again from the sealed facts): without them a message is only told by number and time. Raises the
        channel errors where the provider cannot be asked.
        """
        ...
