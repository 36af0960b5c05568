"""A lender: the creditor or brand in whose name we write, or an agency acting for one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from domain.purpose import Actor


@dataclass(frozen=True, slots=True)
class LadderChoice:
    """The ladder of a product and a range of balances (minor units; `max_minor` exclusive, None unbounded)."""

    ladder: str
    product: str | None = None
    min_minor: int = 0
    max_minor: int | None = None


@dataclass(frozen=True, slots=True)
class OfferTerms:
    """Who may have an offer: `id` is `plan` or `pause`; `last_day` the last day past due on which it can be agreed.

    Balances are in minor units of the lender's currency; `max_minor` exclusive, None unbounded.
    """

    id: str
    last_day: int
    min_minor: int = 0
    max_minor: int | None = None

    def suits(self, days_past_due: int, balance_minor: int) -> bool:
        if days_past_due > self.last_day or balance_minor < self.min_minor:
            return False
        return self.max_minor is None or balance_minor < self.max_minor


@dataclass(frozen=True, slots=True)
class LenderProvider:
    """What a lender wants of one of a channel's providers: its own weight, and the sender that it has there."""

    weight: int
    sender: str | None = None


@dataclass(frozen=True, slots=True)
class Lender:
    """`licence` is the jurisdiction of its licence, a pack id such as `tw`. Texts are by locale.

    `deadline_day` and `report_day` count from the due date: the day that the contract itself sets, and the day on which
    what is open is reported to a credit bureau. None where there is none: then no message names one.
    """

    id: str
    brand: Mapping[str, str]
    actor: Actor
    licence: str
    creditor_group: str
    sms_sender: str
    email_sender: str
    help_phone: str
    help_hours: Mapping[str, str]
    pay_url: str
    help_url: str
    ladders: tuple[LadderChoice, ...]
    offers: tuple[OfferTerms, ...] = ()
    deadline_day: int | None = None
    report_day: int | None = None
    providers: Mapping[str, "LenderProvider"] = field(default_factory=dict)

    def sender_at(self, provider: str) -> str | None:
        """The sender that this lender has with a provider and not elsewhere; None: its usual one."""
        own = self.providers.get(provider)
        return own.sender if own is not None else None

    def offers_for(self, debts: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        """What may be offered for all of these debts, each given by its days past due and its balance."""
        offered = []
        for terms in self.offers:
            for days, minor in debts:
                if not terms.suits(days, minor):
                    break
            else:
                offered.append(terms.id)
        return tuple(offered)

    def deadline_on(self, due_dates: Iterable[date], on: date) -> date | None:
        """The next day, not before `on`, that the contract of one of these debts sets."""
        return None if self.deadline_day is None else _next_day(self.deadline_day, tuple(due_dates), on)

    def report_on(self, due_dates: Iterable[date], on: date) -> date | None:
        """The next day, not before `on`, on which one of these debts is reported to a credit bureau."""
        return None if self.report_day is None else _next_day(self.report_day, tuple(due_dates), on)

    def ladder_for(self, product: str | None, balance_minor: int) -> str | None:
        """The first choice that fits, in the file's order; None when the file names none."""
        for choice in self.ladders:
            if choice.product in (None, product) and choice.min_minor <= balance_minor < (
                balance_minor + 1 if choice.max_minor is None else choice.max_minor
            ):
                return choice.ladder
        return None


@lru_cache(maxsize=4096)
def _next_day(day: int, due_dates: tuple[date, ...], on: date) -> date | None:
    return min((at for due_on in due_dates if (at := due_on + timedelta(days=day)) >= on), default=None)
