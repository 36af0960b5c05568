"""Which of a channel's providers carries a contact, and how the weights behind that choice move by evidence.

Pure: the same contact and the same weights always give the same provider. Weights move in steps and never to nothing,
so a provider that was slow is still watched; a provider that fails outright is the breaker's business.

The scheme is that of GOV.UK Notify (github.com/alphagov/notifications-api, read August 2026): ten points at a time, a
cool-down, a slow way back, and no move while all of them do badly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

#: The random bits of a UUIDv7 (RFC 9562, section 5.7); those above them are time.
RANDOM_BITS = 62

#: How many points a weight moves at a time.
STEP = 10

#: The share of slow or failed answers at which a provider loses points.
TOO_MANY = 0.15

#: Fewer answers say nothing.
FEWEST_ANSWERS = 20

#: A weight that has just fallen is left to work for so long.
COOL_DOWN = timedelta(minutes=1)

#: A weight that has not fallen for so long moves a step back towards what was configured.
QUIET = timedelta(minutes=15)

#: Answers older than this say nothing about now.
WINDOW = timedelta(minutes=5)

#: What remains of a weight at worst.
LEAST = 5


def choose(contact_id: UUID, weights: Sequence[tuple[str, int]]) -> str | None:
    """The provider of a contact, by weight; None when there is none with any. The order of `weights` matters."""
    total = sum(weight for _, weight in weights)
    if total <= 0:
        return None
    point = (contact_id.int & (1 << RANDOM_BITS) - 1) * total >> RANDOM_BITS
    for name, weight in weights:
        if point < weight:
            return name
        point -= weight
    raise AssertionError("the point lies within the sum of the weights")


@dataclass(frozen=True, slots=True)
class Weighed:
    """A provider's weight and what was seen of it since the weight last moved, within WINDOW."""

    name: str
    weight: int
    configured: int
    moved_at: datetime
    answers: int = 0
    slow: int = 0
    failed: int = 0

    @property
    def bad(self) -> float:
        """The share of answers that were slow or failures; 0 while there are too few to say."""
        return (self.slow + self.failed) / self.answers if self.answers >= FEWEST_ANSWERS else 0.0


@dataclass(frozen=True, slots=True)
class Move:
    """A weight's next value, and why."""

    name: str
    weight: int
    reason: str


def reweigh(providers: Sequence[Weighed], now: datetime) -> list[Move]:
    """The moves that the evidence asks for. A channel's only provider keeps its weight: there is nowhere to go."""
    if len(providers) < 2:
        return []
    all_bad = all(each.bad >= TOO_MANY for each in providers)
    moves = [_move(each, now, all_bad=all_bad) for each in providers]
    return [move for move in moves if move is not None]


def _move(each: Weighed, now: datetime, *, all_bad: bool) -> Move | None:
    if each.bad >= TOO_MANY:
        least = min(LEAST, each.configured)
        if all_bad or each.weight <= least or now - each.moved_at < COOL_DOWN:
            return None
        reason = f"{each.failed} of {each.answers} answers failed and {each.slow} were slow"
        return Move(each.name, max(each.weight - STEP, least), reason)
    if each.weight == each.configured or now - each.moved_at < QUIET:
        return None
    step = min(STEP, abs(each.configured - each.weight))
    towards = each.weight + (step if each.configured > each.weight else -step)
    return Move(each.name, towards, f"quiet for {QUIET.seconds // 60} minutes: back towards {each.configured}")
