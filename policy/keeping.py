"""How long a release asks that the ledger be kept, and for how long at most.

The months of the ledger go as a whole, for everybody in it. So every pack counts that may bind a customer of any
lender, and of all minima the longest holds. A maximum is told and not obeyed: whom it does not bind may need the month.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from domain.lender import Lender
from policy.cap import CapRule
from policy.duty import Duty
from policy.notice import NoticeRule
from policy.pack import Pack, Rule
from policy.packs import BASELINE, PackBook
from policy.wait import WaitRule

#: A rule's days begin at the customer's midnight, the ledger's in UTC.
ZONES_APART: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A number of days, the rule and pack that name it, and what it says, to be read after the rule."""

    days: int
    rule: str
    pack: str
    what: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """The longest that any rule needs the ledger for, and the shortest maximum of each class of record."""

    least: Asked | None
    most: tuple[Asked, ...]


def bounds(book: PackBook, lenders: Iterable[Lender]) -> Bounds:
    """What all packs that may bind a customer of these lenders ask together.

    Rules that are not in force yet, or no longer, count as well: what is dropped does not come back for them.
    """
    whose = tuple(lenders)
    actors = {lender.actor for lender in whose}
    rules = [rule for pack in _reachable(book, whose) for rule in pack.rules if rule.terms.applies_to & actors]
    most: dict[str, Asked] = {}
    for record, asked in _maxima(rules):
        if record not in most or asked.days < most[record].days:
            most[record] = asked
    least = max(_minima(rules), key=lambda asked: asked.days, default=None)
    return Bounds(least, tuple(most[record] for record in sorted(most)))


def _reachable(book: PackBook, lenders: Iterable[Lender]) -> Iterator[Pack]:
    """Packs with a region, which a customer may move to, the baseline and the licences; and all that these extend."""
    licences = {lender.licence for lender in lenders}
    pending = [pack.id for pack in book.packs.values() if pack.regions or pack.id == BASELINE or pack.id in licences]
    seen: set[str] = set()
    while pending:
        pack_id = pending.pop()
        if pack_id not in seen:
            seen.add(pack_id)
            pending.extend(book.packs[pack_id].extends)
    return (pack for pack in book.packs.values() if pack.id in seen)


def _minima(rules: Iterable[Rule]) -> Iterator[Asked]:
    for rule in rules:
        terms = rule.terms
        if isinstance(rule, Duty) and rule.keep_at_least is not None:
            days = rule.keep_at_least.days
            yield Asked(days, terms.id, terms.pack, f"asks that {rule.record} be kept for {days} days")
        elif isinstance(rule, CapRule | WaitRule | NoticeRule):
            days = -(-(rule.reach + ZONES_APART) // timedelta(days=1))
            yield Asked(days, terms.id, terms.pack, f"looks back {days} days")


def _maxima(rules: Iterable[Rule]) -> Iterator[tuple[str, Asked]]:
    for rule in rules:
        if isinstance(rule, Duty) and rule.record is not None and rule.keep_at_most is not None:
            days, terms = rule.keep_at_most.days, rule.terms
            what = f"asks that {rule.record} be kept for {days} days at most"
            yield rule.record, Asked(days, terms.id, terms.pack, what)
