"""What binds one sort of attempt (channel, actor, purpose, kind of address) in one set of zones, ready to be counted.

Everything that depends on dates alone is worked out here once per stretch between two local midnights, so that the
judge compares instants only.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from domain.case import Case
from domain.days import ONE_DAY, day_start, local_day, zone_named
from domain.purpose import Purpose
from domain.verdict import Because
from policy.cap import CapRule, Subject
from policy.channel_ban import BanRule
from policy.consent import ELECTRONIC, NEED_NONE, ConsentRule
from policy.gate import GateRule
from policy.hours import Hours
from policy.notice import NoticeRule
from policy.spans import Span
from policy.terms import Terms
from policy.wait import WaitRule
from policy.window import WindowRule

Bound = TypeVar("Bound", WindowRule, CapRule, WaitRule, GateRule, BanRule, NoticeRule, ConsentRule)

#: Stretches kept per plan, then forgotten all at once; a fleet needs a handful, a file of judged cases many.
STRETCHES_KEPT = 2048


@dataclass(frozen=True, slots=True)
class PlanRules:
    """The rules of a set, by kind."""

    windows: tuple[WindowRule, ...]
    caps: tuple[CapRule, ...]
    waits: tuple[WaitRule, ...]
    gates: tuple[GateRule, ...]
    bans: tuple[BanRule, ...]
    notices: tuple[NoticeRule, ...]
    consents: tuple[ConsentRule, ...]
    margin: timedelta


@dataclass(frozen=True, slots=True)
class Tally:
    """A cap or a wait for the days of one stretch: entries from `since` on may count, in some zone."""

    rule: CapRule | WaitRule
    limit: int
    since: datetime
    table: bytes
    subject: Subject
    uncounted: frozenset[Purpose]
    because: Because


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which no zone sees a midnight: every local day, and so every rule in force, stays the same."""

    begins: datetime
    ends: datetime
    days: tuple[date, ...]
    tallies: tuple[Tally, ...]
    gates: tuple[GateRule, ...]
    bans: tuple[BanRule, ...]
    notices: tuple[NoticeRule, ...]
    consent: Terms | None
    needs_consent: bool


class Plan:
    """The rules that bind such an attempt; `zones` are all candidates, and every one of them must agree."""

    def __init__(self, rules: PlanRules, case: Case, zones: tuple[str, ...]) -> None:
        for zone in zones:
            zone_named(zone)  # an unknown zone is found here, once, and not in the middle of a decision
        self.zones = zones
        self._rules = PlanRules(
            windows=_binding(rules.windows, case),
            caps=_binding(rules.caps, case),
            waits=_binding(rules.waits, case),
            gates=_binding(rules.gates, case),
            bans=_binding(rules.bans, case),
            notices=_binding(rules.notices, case),
            consents=_binding(rules.consents, case),
            margin=rules.margin,
        )
        self._electronic = case.attempt.channel in ELECTRONIC and case.attempt.purpose not in NEED_NONE
        self.hours = Hours(self._rules.windows, zones, rules.margin) if self._rules.windows else None
        self.hours_by_rule = tuple(
            Hours((rule,), zones, rules.margin, least=timedelta(0)) for rule in self._rules.windows
        )
        self._closing: dict[datetime, Because] = {}
        self._starts: list[datetime] = []
        self._stretches: list[Stretch] = []

    def stretch(self, at: datetime) -> Stretch:
        """The stretch that the instant lies in."""
        position = bisect_right(self._starts, at) - 1
        if position >= 0:
            known = self._stretches[position]
            if at < known.ends:
                return known
        return self._add(at)

    def closes_first(self, span: Span) -> Because:
        """The hours that end first, of those that make up this open span."""
        known = self._closing.get(span[0])
        if known is None:
            ends = ((own[1], hours) for hours in self.hours_by_rule if (own := hours.span_at(span[0])) is not None)
            known = min(ends, key=lambda pair: (pair[0], pair[1].because.rule))[1].because
            self._closing[span[0]] = known
        return known

    def asked(self, stretch: Stretch) -> Iterator[Because]:
        """Every rule of the packs that is asked about an attempt in this stretch."""
        yield from (hours.because for hours in self.hours_by_rule)
        yield from (tally.because for tally in stretch.tallies)
        yield from (rule.terms.because for rule in stretch.gates)
        yield from (rule.terms.because for rule in stretch.bans)
        yield from (rule.terms.because for rule in stretch.notices)
        if stretch.consent is not None:
            yield stretch.consent.because

    def _add(self, at: datetime) -> Stretch:
        if len(self._starts) >= STRETCHES_KEPT:
            self._starts.clear()
            self._stretches.clear()
            self._closing.clear()
        made = self._work_out(at)
        position = bisect_right(self._starts, made.begins)
        self._starts.insert(position, made.begins)
        self._stretches.insert(position, made)
        return made

    def _work_out(self, at: datetime) -> Stretch:
        days = tuple(local_day(at, zone) for zone in self.zones)
        pairs = tuple(zip(days, self.zones, strict=True))
        rules = self._rules
        counted: tuple[WaitRule | CapRule, ...] = (*rules.waits, *rules.caps)
        tallies = tuple(_tally(rule, pairs) for rule in counted if rule.terms.in_force_on_any(days))
        notices = tuple(rule for rule in rules.notices if rule.terms.in_force_on_any(days))
        consents = tuple(rule.terms for rule in rules.consents if rule.terms.in_force_on_any(days))
        return Stretch(
            begins=max(day_start(on, zone) for on, zone in pairs),
            ends=min(day_start(on + ONE_DAY, zone) for on, zone in pairs),
            days=days,
            tallies=tallies,
            gates=tuple(rule for rule in rules.gates if rule.terms.in_force_on_any(days)),
            bans=tuple(rule for rule in rules.bans if rule.terms.in_force_on_any(days)),
            notices=notices,
            consent=consents[0] if consents else None,
            needs_consent=self._electronic or bool(consents),
        )


def _tally(rule: CapRule | WaitRule, days: Sequence[tuple[date, str]]) -> Tally:
    hours = timedelta(hours=rule.hours) if isinstance(rule, WaitRule) and rule.hours is not None else None
    return Tally(
        rule=rule,
        limit=rule.limit if isinstance(rule, CapRule) else 1,
        since=min(day_start(rule.first_counted_day(on), zone) for on, zone in days) - (hours or timedelta(0)),
        table=rule.table,
        subject=rule.subject,
        uncounted=rule.uncounted_purposes if isinstance(rule, CapRule) else frozenset(),
        because=rule.terms.because,
    )


def _binding(rules: tuple[Bound, ...], case: Case) -> tuple[Bound, ...]:
    attempt = case.attempt
    return tuple(
        rule
        for rule in rules
        if rule.terms.binds(
            channel=attempt.channel, actor=case.actor, purpose=attempt.purpose, address_kind=attempt.address_kind
        )
    )
