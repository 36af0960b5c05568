"""May we, now? The one door that every attempt, retry and fall-back goes through. Values in, a verdict out.

`weigh` shows the order of the rules. Each answers with a bar: the rule, and the first instant at which that rule alone
would let the attempt through. No bar: Allow. Bars with an end: jump to the latest end and weigh again there, until
nothing bars; as every bar covers all the time up to its end, that is the first instant at which all rules allow.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter

from domain.case import Case, History, PastContact
from domain.days import UnknownZone
from domain.purpose import Purpose
from domain.verdict import Allow, Because, Hold, Suppress, Verdict
from policy.cap import Subject, belongs
from policy.consent import GIVEN, NEED_NONE, Standing, standing
from policy.counting import KINDS
from policy.holds import BECAUSE, standing_holds
from policy.hours import blocked_spans
from policy.plan import Plan, Stretch, Tally
from policy.rule_set import RuleSet
from policy.terms import ANSWERS

#: Weighing again at a bar's end stops after so many jumps: rules that never agree within them never do.
MOST_JUMPS = 500


@dataclass(frozen=True, slots=True)
class Bar:
    """One rule's no. `end` is when it lifts; None for as long as nobody ends it. `final` bars suppress the step."""

    because: Because
    end: datetime | None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a trace: a rule that was asked, and its bar if it had one."""

    because: Because
    bars: bool
    end: datetime | None = None
    final: bool = False


def _own(rule: str, source: str) -> Because:
    return Because(rule, "duly@1", source, "own", "hard")


NOTHING_BARS = _own("duly.nothing_bars", "no rule of the packs that apply bars it")
NO_ZONE = _own("zones.unknown", "where the customer is cannot be told; add a time zone or a number that has one")
NO_OVERLAP = _own("zones.no_overlap", "the hours have less than one hour in common in all places the customer may be")
EXPIRED = _own("reminder.expired", "the reminder has expired")
REFUSED_CHANNEL = _own("customer.refused_channel", "the customer does not wish to be contacted on this channel")
BLOCKED_HOURS = _own("customer.blocked_hours", "the customer does not wish to be contacted at these hours")
CONSENT_MISSING = _own("consent.missing", "no consent for this channel, address and purpose is on record")
CONSENT_WITHDRAWN = _own(
    "consent.withdrawn", "the customer has withdrawn consent, or the opt-out was already confirmed"
)
NEVER_OPEN = _own("hours.never_open", "the hours of the packs that apply have no time in common")

#: What a customer's refusal of a channel lets through: the confirmation of it, and an answer on the channel they used.
_DESPITE_REFUSAL = frozenset({Purpose.REPLY, Purpose.OPTOUT_CONFIRMATION})


def judge(case: Case, rules: RuleSet, *, trace: list[Finding] | None = None) -> Verdict:
    """Allow, Hold or Suppress, each with the rule that decided; `trace` receives every rule that was asked.

    Raises ValueError for a naive `now`: that is a fault of the caller, not an answer.
    """
    now = case.now
    if now.tzinfo is not UTC:
        case = case._replace(now=_as_utc(now))
        now = case.now
    zones = candidate_zones(case)
    if not zones:
        return Suppress(NO_ZONE)
    if case.overrides:
        rules = rules.lifting(case.overrides)
    expired = rules.expired(now.date()) if rules.can_expire else ()
    if expired:
        return Suppress(_pack_expired(expired[0].name, expired[0].file))
    try:
        plan = rules.plan(case, zones)
    except UnknownZone as unknown:
        return Suppress(_own("zones.unknown", str(unknown)))
    bars = weigh(case, plan, now, trace)
    if not bars:
        return _allow(case, rules, plan)
    return _refuse(case, plan, bars)


def judge_many(cases: Iterable[Case], rules: RuleSet | Callable[[Case], RuleSet]) -> list[Verdict]:
    """One verdict for each case, in order; `rules` may choose a set for each. Windows and day bounds are shared."""
    if isinstance(rules, RuleSet):
        return [judge(case, rules) for case in cases]
    return [judge(case, rules(case)) for case in cases]


def candidate_zones(case: Case) -> tuple[str, ...]:
    """Where the customer may be: the confirmed zone alone, or else all zones given and all zones of the number."""
    customer = case.customer
    if customer.zone_confirmed and customer.zones:
        return customer.zones
    if not case.attempt.number_zones:
        return customer.zones
    return tuple(sorted({*customer.zones, *case.attempt.number_zones}))


def weigh(case: Case, plan: Plan, at: datetime, trace: list[Finding] | None = None) -> list[Bar]:
    """All bars to this attempt at that instant, given what is on record now."""
    stretch = plan.stretch(at)
    bars: list[Bar] = []
    if case.expires is not None and at >= case.expires:
        bars.append(Bar(EXPIRED, None, final=True))
    if case.customer.refused_channels:
        bars.extend(_refused_channel(case))
    if stretch.needs_consent or case.consents:
        bars.extend(_consent(case, stretch, at))
    if stretch.bans:
        bars.extend(_bans(case, stretch))
    if case.holds:
        bars.extend(Bar(BECAUSE[hold.kind], hold.until) for hold in standing_holds(case, at))
    if stretch.gates:
        bars.extend(_gates(case, plan, stretch, at))
    if plan.hours is not None and plan.hours.span_at(at) is None:
        bars.extend(_closed(plan, at))
    if case.customer.blocked:
        bars.extend(_blocked(case, plan, at))
    if case.history or stretch.notices:
        bars.extend(_counted(case, plan, stretch, at))
    if trace is not None:
        trace.extend(_findings(plan, stretch, bars))
    return bars


def _refused_channel(case: Case) -> Iterator[Bar]:
    if case.attempt.channel in case.customer.refused_channels and case.attempt.purpose not in _DESPITE_REFUSAL:
        yield Bar(REFUSED_CHANNEL, None, final=True)


def _consent(case: Case, stretch: Stretch, at: datetime) -> Iterator[Bar]:
    if case.attempt.purpose in NEED_NONE:
        return
    found = standing(case, at)
    if found is GIVEN:
        return
    if found is Standing.WITHDRAWN:
        yield Bar(CONSENT_WITHDRAWN, None, final=True)
    elif stretch.needs_consent:
        yield Bar(stretch.consent.because if stretch.consent else CONSENT_MISSING, None, final=True)


def _bans(case: Case, stretch: Stretch) -> Iterator[Bar]:
    for rule in stretch.bans:
        if rule.bars(case):
            yield Bar(rule.terms.because, None, final=True)


def _gates(case: Case, plan: Plan, stretch: Stretch, at: datetime) -> Iterator[Bar]:
    for rule in stretch.gates:
        closes, opens = rule.closes_at(case, plan.zones), rule.opens_at(case, plan.zones)
        if rule.refuses_amount(case) or (closes is not None and at >= closes):
            yield Bar(rule.terms.because, None, final=True)
        elif opens is not None and at < opens:
            yield Bar(rule.terms.because, opens)


def _closed(plan: Plan, at: datetime) -> Iterator[Bar]:
    """A bar for each rule whose own hours are closed; final when the hours of all never open together."""
    assert plan.hours is not None
    joint = plan.hours.opening(at)
    if joint is None:
        yield Bar(NO_OVERLAP if len(plan.zones) > 1 else NEVER_OPEN, None, final=True)
        return
    closed = [hours for hours in plan.hours_by_rule if hours.span_at(at) is None]
    for hours in closed:
        yield Bar(hours.because, hours.opening(at))
    if not closed:  # each is open, but what they have in common is too short
        yield Bar(NO_OVERLAP, joint)


def _blocked(case: Case, plan: Plan, at: datetime) -> Iterator[Bar]:
    for since, until in blocked_spans(case.customer.blocked, plan.zones, at.date()):
        if since <= at < until:
            yield Bar(BLOCKED_HOURS, until)


def _counted(case: Case, plan: Plan, stretch: Stretch, at: datetime) -> Iterator[Bar]:
    """Caps, waits and notices, counted over the history."""
    latest = _latest_of(case.history)
    for tally in stretch.tallies:
        # Without so many entries of its days, whatever they are, it cannot be full: most are not.
        last = latest(tally.limit)
        if last is not None and last >= tally.since:
            end = _full_until(tally, case, plan)
            if end is not None and end > at:
                yield Bar(tally.because, end)
    for notice in stretch.notices:
        mine = belongs(notice.subject, case)
        given = (e.at for e in case.history if notice.table[_kind(e)] and (mine is None or mine(e)))
        if not notice.is_given(given, at):
            yield Bar(notice.terms.because, None)


def _latest_of(history: Sequence[PastContact]) -> Callable[[int], datetime | None]:
    """When the contact was that is so many from the end."""
    if isinstance(history, History):
        return history.latest
    times = sorted(map(_WHEN, history))
    return lambda number: times[-number] if number <= len(times) else None


_WHEN = attrgetter("at")


def _full_until(tally: Tally, case: Case, plan: Plan) -> datetime | None:
    table, since = tally.table, tally.since
    hits = [entry for entry in case.history if entry.at >= since and table[_kind(entry)]]
    if len(hits) < tally.limit:
        return None
    if tally.subject is not Subject.PERSON:
        mine = belongs(tally.subject, case)
        hits = hits if mine is None else [entry for entry in hits if mine(entry)]
    if tally.uncounted:
        hits = [entry for entry in hits if entry.purpose not in tally.uncounted]
    if len(hits) < tally.limit:
        return None
    return tally.rule.free_from(map(_WHEN, hits), plan.zones)


def _kind(entry: PastContact) -> int:
    return KINDS[entry.channel, entry.outcome, entry.direction]


def _allow(case: Case, rules: RuleSet, plan: Plan) -> Allow:
    until, because = None, NOTHING_BARS
    if plan.hours is not None:
        span = plan.hours.span_at(case.now)
        assert span is not None
        until, because = span[1], plan.closes_first(span)
    if case.customer.blocked:
        spans = blocked_spans(case.customer.blocked, plan.zones, case.now.date())
        ahead = min((since for since, _ in spans if since > case.now), default=None)
        if ahead is not None and (until is None or ahead < until):
            until, because = ahead, BLOCKED_HOURS
    if case.attempt.purpose in ANSWERS:
        because = _exception(case, rules, plan) or because
    return Allow(because, until)


def _exception(case: Case, rules: RuleSet, plan: Plan) -> Because | None:
    """The reason on a decision that an ordinary reminder would not have got; None when it would have been allowed."""
    ordinary = case._replace(attempt=case.attempt._replace(purpose=Purpose.REMINDER))
    lifted = sorted({bar.because.rule for bar in weigh(ordinary, rules.plan(ordinary, plan.zones), case.now)})
    if not lifted:
        return None
    return _own(f"exception.{case.attempt.purpose}", f"a {case.attempt.purpose} is not bound by {', '.join(lifted)}")


def _refuse(case: Case, plan: Plan, bars: Sequence[Bar]) -> Verdict:
    decisive = _decisive(bars)
    if decisive.final:
        return Suppress(decisive.because)
    if decisive.end is None:
        return Hold(decisive.because, None)
    at = decisive.end
    for _ in range(MOST_JUMPS):
        if case.expires is not None and at >= case.expires:
            return Suppress(decisive.because)
        later = weigh(case, plan, at)
        if not later:
            return Hold(decisive.because, at)
        bar = _decisive(later)
        if bar.final:
            return Suppress(bar.because)
        if bar.end is None:
            return Hold(bar.because, None)
        at = bar.end
    return Suppress(decisive.because)


def _decisive(bars: Sequence[Bar]) -> Bar:
    """A final bar first, then the one with no end, then the latest end; ties by the rule's id."""
    return min(bars, key=_rank)


def _rank(bar: Bar) -> tuple[int, float, str]:
    if bar.final:
        return 0, 0.0, bar.because.rule
    if bar.end is None:
        return 1, 0.0, bar.because.rule
    return 2, -bar.end.timestamp(), bar.because.rule


def _findings(plan: Plan, stretch: Stretch, bars: Sequence[Bar]) -> Iterator[Finding]:
    barring = {bar.because.rule for bar in bars}
    for bar in bars:
        yield Finding(bar.because, True, bar.end, bar.final)
    for because in plan.asked(stretch):
        if because.rule not in barring:
            yield Finding(because, False)


def _pack_expired(pack: str, file: str) -> Because:
    return Because(
        "pack.expired", pack, f"{file}: valid_until: the pack has expired; review it and set a later day", "own", "hard"
    )


def _as_utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError("now has no time zone; pass an aware time, in UTC")
    return now.astimezone(UTC)
