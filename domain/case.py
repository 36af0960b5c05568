"""Everything the judge may look at, as values. What is not here cannot enter a decision."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import NamedTuple, overload

from domain.channel import AddressKind, Channel
from domain.consent import Consent
from domain.contact import Outcome
from domain.hold import Hold
from domain.purpose import Actor, Direction, Purpose


@dataclass(frozen=True, slots=True)
class BlockedHours:
    """Hours in which the customer does not wish to be contacted; weekday 0 is Monday; half-open, local time.

    `until` at or before `since` runs across midnight into the next day.
    """

    weekdays: frozenset[int]
    since: time
    until: time


class PastContact(NamedTuple):
    """One entry of the history that caps and waits are counted over. `at` is aware UTC.

    A tuple, since there are ten of them for each reminder: a frozen dataclass takes four times as long to make.

    `address` is an opaque key (a look-up hash in the fleet, the clear address in `duly judge`): only equality is used.
    `accounts` are the debts that this one message or call covered.
    """

    at: datetime
    channel: Channel
    outcome: Outcome
    accounts: tuple[str, ...]
    address: str | None = None
    direction: Direction = Direction.OUT
    purpose: Purpose = Purpose.REMINDER
    actor: Actor = Actor.CREDITOR
    lender: str | None = None
    household: str | None = None


class History(Sequence[PastContact]):
    """The past of one party, oldest first, of which only the instants are known until somebody asks for an entry.

    Most questions are answered by one or two of the instants, and to make ten entries costs more than to answer.
    """

    __slots__ = ("_entries", "_instants", "_later", "_read", "_when")

    def __init__(
        self, instants: Sequence[int], when: Callable[[int], datetime], read: Callable[[], list[PastContact]]
    ) -> None:
        """`instants` ascend and are read by `when`; `read` gives an entry for each."""
        self._instants = instants
        self._when = when
        self._read = read
        self._entries: list[PastContact] | None = None
        self._later: list[tuple[datetime, Callable[[], PastContact]]] = []

    def append(self, at: datetime, entry: Callable[[], PastContact]) -> None:
        """Add what has just been decided; it is made when somebody asks for it."""
        self._later.append((at, entry))

    def latest(self, number: int) -> datetime | None:
        """When the contact was that is so many from the end, the last being 1; None where there are not so many."""
        instants = self._instants
        if not self._later:
            return self._when(instants[-number]) if number <= len(instants) else None
        if number > len(self):
            return None
        return sorted([*map(self._when, instants), *[at for at, _ in self._later]])[-number]

    def _all(self) -> list[PastContact]:
        if self._entries is None:
            self._entries = self._read()
        return [*self._entries, *[entry() for _, entry in self._later]] if self._later else self._entries

    def __len__(self) -> int:
        return len(self._instants) + len(self._later)

    def __iter__(self) -> Iterator[PastContact]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> PastContact: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PastContact]: ...
    def __getitem__(self, index: int | slice) -> PastContact | Sequence[PastContact]:
        return self._all()[index]


class CustomerFacts(NamedTuple):
    """`zones` are IANA names: the one confirmed zone, or all candidates (declared, address, last known)."""

    zones: tuple[str, ...]
    zone_confirmed: bool = False
    blocked: tuple[BlockedHours, ...] = ()
    refused_channels: frozenset[Channel] = frozenset()


class AccountFacts(NamedTuple):
    """`days_past_due` is negative before the due date; `amount_minor` in the currency's minor unit."""

    id: str
    days_past_due: int
    amount_minor: int
    currency: str


class Attempt(NamedTuple):
    """The contact that is proposed. `number_zones` are the candidate zones of a phone number, empty for others.

    `number_country` is the ISO 3166-1 alpha-2 region of the number, None when the channel has none.
    """

    channel: Channel
    address: str | None
    address_kind: AddressKind = AddressKind.MOBILE
    purpose: Purpose = Purpose.REMINDER
    number_zones: tuple[str, ...] = ()
    number_country: str | None = None


class Case(NamedTuple):
    """One question to the judge: may this attempt, about this account, be made at `now`? Times are aware UTC."""

    now: datetime
    expires: datetime | None
    actor: Actor
    customer: CustomerFacts
    account: AccountFacts
    attempt: Attempt
    history: Sequence[PastContact] = ()
    holds: Sequence[Hold] = ()
    consents: Sequence[Consent] = ()
    lender: str | None = None
    household: str | None = None
    overrides: frozenset[str] = frozenset()  # ids of soft rules that a supervisor lifted
