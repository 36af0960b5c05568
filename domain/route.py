"""Routes: which providers carry a channel, with what weight, and how fast each may be used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from domain.channel import Channel

#: What a provider's weight is when the file names none. Only its share of the channel's sum matters.
USUAL_WEIGHT = 100


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` messages in any `seconds`."""

    count: int
    seconds: int

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def __str__(self) -> str:
        return f"{self.count}/{'s' if self.seconds == 1 else f'{self.seconds} s'}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One rate that one stream of messages keeps. `key` names the stream and is equal wherever it is counted."""

    key: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider allows: in all, per sender, and per country of the number (ISO 3166, upper case).

    A sender named in `senders` has that rate of its own, any other has `per_sender`.
    """

    in_all: Rate | None = None
    per_sender: Rate | None = None
    senders: Mapping[str, Rate] = field(default_factory=dict)
    countries: Mapping[str, Rate] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.in_all or self.per_sender or self.senders or self.countries)


@dataclass(frozen=True, slots=True)
class Route:
    """One provider of a channel. `kind` names its adapter, `name` itself: unique over all channels."""

    name: str
    kind: str
    channel: Channel
    weight: int = USUAL_WEIGHT
    limits: Limits = Limits()

    def standing_limits(self, sender: str) -> Iterator[Limit]:
        """The limits that every message of a sender meets here."""
        limits = self.limits
        if limits.in_all is not None:
            yield Limit(f"{self.name}:all", limits.in_all)
        own = limits.senders.get(sender, limits.per_sender)
        if own is not None:
            yield Limit(f"{self.name}:sender:{sender}", own)

    def country_limit(self, country: str | None) -> Limit | None:
        """The limit of a number's country, if it has one."""
        rate = self.limits.countries.get(country) if country else None
        return Limit(f"{self.name}:country:{country}", rate) if rate is not None else None


Routes = Mapping[Channel, tuple[Route, ...]]
