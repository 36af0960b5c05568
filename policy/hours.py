"""Hours worked out: the window rules of several packs in several zones, as instants, computed once per UTC day."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from domain.case import BlockedHours
from domain.days import ONE_DAY, first_instant, last_instant
from domain.verdict import Because
from policy.spans import Span, common, merged, shrunk
from policy.window import WindowRule

#: Where several zones are possible, what they have in common must be at least this long to be used.
LEAST_OVERLAP = timedelta(hours=1)

#: How many days ahead an opening is looked for; a rule that opens on none of them never does.
HORIZON_DAYS = 400

#: Days kept, then forgotten all at once; more than one search ahead needs.
DAYS_KEPT = 4096

#: Local days that can touch a UTC day (offsets run from -12 to +14 hours), and one more to see where a span ends.
_AROUND = range(-2, 3)


class Hours:
    """The time that all of these rules leave open in all of these zones, less the margin at both ends.

    What several zones have in common for less than `least` is not open.
    """

    def __init__(
        self,
        rules: Sequence[WindowRule],
        zones: tuple[str, ...],
        margin: timedelta,
        *,
        least: timedelta = LEAST_OVERLAP,
    ) -> None:
        self.rules = rules
        self.zones = zones
        self.because: Because = rules[0].terms.because
        self._margin = margin
        self._least = least
        self._days: dict[date, tuple[Span, ...]] = {}
        self._openings: dict[date, datetime | None] = {}
        self._last: tuple[datetime, Span | None] | None = None  # a drain asks for one instant, again and again

    def span_at(self, at: datetime) -> Span | None:
        """The open span that the instant is in; its end may lie in a later day."""
        last = self._last
        if last is None or last[0] != at:
            span = next((span for span in self.on(at.date()) if span[0] <= at < span[1]), None)
            last = self._last = at, span
        return last[1]

    def opening(self, at: datetime) -> datetime | None:
        """The first open instant at or after `at`; None when there is none within HORIZON_DAYS."""
        for opens, closes in self.on(at.date()):
            if closes > at:
                return max(opens, at)
        return self._first_opening_after(at.date())

    def on(self, day: date) -> tuple[Span, ...]:
        """The open spans that touch this UTC day."""
        known = self._days.get(day)
        if known is None:
            if len(self._days) >= DAYS_KEPT:
                self._days.clear()
                self._openings.clear()
            known = self._days[day] = self._work_out(day)
        return known

    def _first_opening_after(self, day: date) -> datetime | None:
        if day not in self._openings:
            self._openings[day] = next(
                (spans[0][0] for n in range(1, HORIZON_DAYS) if (spans := self.on(day + n * ONE_DAY))), None
            )
        return self._openings[day]

    def _work_out(self, day: date) -> tuple[Span, ...]:
        starts = datetime.combine(day, time.min, tzinfo=UTC)
        open_spans: list[Span] = [(starts + _AROUND[0] * ONE_DAY, starts + (_AROUND[-1] + 1) * ONE_DAY)]
        for rule in self.rules:
            for zone in self.zones:
                open_spans = common(open_spans, _spans(rule, zone, day))
        if len(self.zones) > 1:
            open_spans = [span for span in open_spans if span[1] - span[0] >= self._least]
        return tuple(s for s in shrunk(open_spans, self._margin) if s[1] > starts and s[0] < starts + ONE_DAY)


def _spans(rule: WindowRule, zone: str, day: date) -> list[Span]:
    return merged(span for n in _AROUND for span in rule.spans_on(day + n * ONE_DAY, zone))


@lru_cache(maxsize=4096)
def blocked_spans(blocked: tuple[BlockedHours, ...], zones: tuple[str, ...], day: date) -> tuple[Span, ...]:
    """When the customer does not wish to be contacted, around this UTC day, in whichever of the zones they may be."""
    return tuple(
        merged(
            span
            for wish in blocked
            for zone in zones
            for n in range(-2, 9)  # a week ahead, to see where hours that touch each other end
            for span in _blocked_on(wish, day + n * ONE_DAY, zone)
        )
    )


def _blocked_on(wish: BlockedHours, on: date, zone: str) -> Iterable[Span]:
    if on.weekday() in wish.weekdays:
        ends_on = on if wish.until > wish.since else on + ONE_DAY
        yield first_instant(on, wish.since, zone), last_instant(ends_on, wish.until, zone)
