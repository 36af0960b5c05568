"""Packs for people to read: a rule in a sentence, a pack in a page, a week of hours as a drawing."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from domain.case import AccountFacts, Attempt, Case, CustomerFacts
from domain.channel import AddressKind, Channel
from domain.days import ONE_DAY, day_start, first_instant
from domain.purpose import Actor
from policy.cap import CapRule, WindowKind
from policy.channel_ban import BanRule
from policy.consent import ConsentRule
from policy.duty import Duty
from policy.gate import GateRule
from policy.hours import Hours
from policy.notice import NoticeRule
from policy.pack import Pack, Rule
from policy.packs import PackBook, RuleSet
from policy.spans import Span
from policy.wait import Anchor, Begun, WaitRule
from policy.window import DAY_NAMES, WindowRule, clock

_CELL = timedelta(minutes=30)
_RULER = "00    03    06    09    12    15    18    21    "  # one sign for half an hour


def summary(pack: Pack) -> dict[str, object]:
    """One pack as a row: what it is, how many rules, and how sure they are."""
    return {
        "id": pack.id,
        "version": pack.version,
        "title": pack.title,
        "layer": str(pack.layer),
        "extends": list(pack.extends),
        "regions": list(pack.regions),
        "rules": len(pack.rules),
        "soft": sum(rule.terms.severity == "soft" for rule in pack.rules),
        "confidence": dict(sorted(Counter(str(rule.terms.confidence) for rule in pack.rules).items())),
        "holidays": pack.calendar.region,
        "holidays_reviewed_until": pack.calendar.reviewed_until.isoformat(),
        "valid_until": None if pack.valid_until is None else pack.valid_until.isoformat(),
    }


def rule_as_json(rule: Rule) -> dict[str, object]:
    terms = rule.terms
    return {
        "id": terms.id,
        "kind": terms.kind,
        "says": sentence(rule),
        "severity": str(terms.severity),
        "confidence": str(terms.confidence),
        "source": terms.source,
        "applies_to": sorted(terms.applies_to),
        "channels": sorted(terms.channels),
        "address_kinds": sorted(terms.address_kinds),
        "exceptions": sorted(terms.exceptions),
        "effective_from": None if terms.effective_from is None else terms.effective_from.isoformat(),
        "effective_until": None if terms.effective_until is None else terms.effective_until.isoformat(),
        "note": terms.note,
    }


def page(pack: Pack) -> str:
    """A pack as a page: each rule in a sentence, whom it binds, how sure it is and where it comes from."""
    lines = [f"{pack.name}  {pack.title}"]
    if pack.extends:
        lines.append(f"  extends {', '.join(pack.extends)}")
    region = pack.calendar.region or "the packs beside it"
    lines.append(f"  holidays of {region}, reviewed until {pack.calendar.reviewed_until}")
    for rule in pack.rules:
        lines += ["", f"  {rule.terms.id}  [{rule.terms.severity}, {rule.terms.confidence}]", f"    {sentence(rule)}"]
        lines += [f"    {line}" for line in _limits_of(rule)]
        lines.append(f"    source: {rule.terms.source}")
        if rule.terms.note:
            lines.append(f"    note: {rule.terms.note}")
    if pack.not_encoded:
        lines += ["", "  Not encoded:", *(f"    - {reason}" for reason in pack.not_encoded)]
    return "\n".join(lines)


def sentence(rule: Rule) -> str:
    """What a rule says, in one sentence."""
    match rule:
        case WindowRule():
            return _hours_sentence(rule)
        case CapRule():
            return f"At most {rule.limit} {_counted(rule)} per {rule.subject.replace('_', ' ')} {_period(rule)}."
        case WaitRule():
            return _wait_sentence(rule)
        case GateRule():
            return _gate_sentence(rule)
        case BanRule():
            where = f" to numbers of {', '.join(sorted(rule.number_countries))}" if rule.number_countries else ""
            unless = ", unless the customer agreed to this very address" if rule.unless_consent_for_address else ""
            return f"No {_listed(rule.terms.channels)}{where}{unless}."
        case NoticeRule():
            return f"Nothing before a {_listed(rule.by)} has gone out, within the last {rule.within_days} days."
        case ConsentRule():
            return f"A consent on record for {_listed(rule.terms.channels)}."
        case Duty():
            return rule.text


def differences(left: Pack, right: Pack) -> str:
    """What one pack says and the other does not, rule by rule; identifiers and sources aside."""
    ours, theirs = _said(left), _said(right)
    only_left = [f"- {line}" for line in ours if line not in theirs]
    only_right = [f"+ {line}" for line in theirs if line not in ours]
    if not only_left and not only_right:
        return f"{left.name} and {right.name} say the same."
    return "\n".join([f"--- {left.name}", f"+++ {right.name}", *only_left, *only_right])


def week(rules: RuleSet, zone: str, on: date, *, actor: Actor = Actor.CREDITOR) -> str:
    """Seven days from `on` in one zone, drawn for each group of channels that has hours of its own."""
    lines: list[str] = []
    for channels, hours in _by_hours(rules, zone, actor):
        lines += [f"{_listed(channels)} ({zone})", f"{'':17}{_RULER}"]
        lines += [_day(hours, rules, zone, on + n * ONE_DAY) for n in range(7)]
        lines.append("")
    return "\n".join(lines).rstrip()


def _by_hours(rules: RuleSet, zone: str, actor: Actor) -> Iterator[tuple[list[Channel], Hours | None]]:
    """Channels that are bound by the same windows, with those."""
    groups: dict[tuple[str, ...], tuple[list[Channel], Hours | None]] = {}
    for channel in Channel:
        hours = rules.plan(_question(channel, zone, actor), (zone,)).hours
        bound = () if hours is None else tuple(rule.terms.id for rule in hours.rules)
        groups.setdefault(bound, ([], hours))[0].append(channel)
    yield from groups.values()


def _question(channel: Channel, zone: str, actor: Actor) -> Case:
    return Case(
        now=datetime(2026, 1, 1, tzinfo=UTC),
        expires=None,
        actor=actor,
        customer=CustomerFacts((zone,), zone_confirmed=True),
        account=AccountFacts("any", 1, 1, "USD"),
        attempt=Attempt(channel, None, AddressKind.MOBILE),
    )


def _day(hours: Hours | None, rules: RuleSet, zone: str, on: date) -> str:
    begins, ends = day_start(on, zone), day_start(on + ONE_DAY, zone)
    spans = [(begins, ends)] if hours is None else _spans_of_day(hours, begins, ends)
    cells = "".join(_cell(spans, first_instant(on, time(n // 2, n % 2 * 30), zone)) for n in range(48))
    local = ZoneInfo(zone)
    texts = ", ".join(f"{a.astimezone(local):%H:%M}-{_end_text(b, ends, local)}" for a, b in spans) or "none"
    holiday = "*" if any(pack.calendar.is_holiday(on) for pack in rules.packs) else " "
    return f"{DAY_NAMES[on.weekday()]} {on:%Y-%m-%d} {holiday} {cells} {texts}"


def _spans_of_day(hours: Hours, begins: datetime, ends: datetime) -> list[Span]:
    found = {
        (max(opens, begins), min(closes, ends))
        for utc_day in {begins.date(), (begins + (ends - begins) / 2).date(), ends.date()}
        for opens, closes in hours.on(utc_day)
        if opens < ends and closes > begins
    }
    return sorted(found)


def _end_text(at: datetime, ends: datetime, local: ZoneInfo) -> str:
    return "24:00" if at == ends else f"{at.astimezone(local):%H:%M}"


def _cell(spans: Iterable[Span], at: datetime) -> str:
    """`#` open throughout, `+` open in part, `.` closed."""
    for opens, closes in spans:
        if opens <= at and at + _CELL <= closes:
            return "#"
        if opens < at + _CELL and closes > at:
            return "+"
    return "."


def _said(pack: Pack) -> list[str]:
    return [" ".join([f"{rule.terms.kind}:", sentence(rule), *_limits_of(rule)]) for rule in pack.rules]


def _limits_of(rule: Rule) -> Iterator[str]:
    """Whom and when a rule binds, where that is not everybody always."""
    terms = rule.terms
    if len(terms.applies_to) < len(Actor):
        yield f"for {_listed(terms.applies_to)} only"
    if len(terms.channels) < len(Channel) and not isinstance(rule, BanRule | ConsentRule):
        yield f"on {_listed(terms.channels)}"
    if len(terms.address_kinds) < len(AddressKind):
        yield f"to addresses of kind {_listed(terms.address_kinds)}"
    if terms.exceptions and not isinstance(rule, Duty):
        yield f"not for {_listed(terms.exceptions)}"
    if terms.effective_from is not None:
        yield f"from {terms.effective_from}"
    if terms.effective_until is not None:
        yield f"before {terms.effective_until}"


def _hours_sentence(rule: WindowRule) -> str:
    by_hours: dict[str, list[str]] = {}
    for name, spans in zip(DAY_NAMES, rule.by_day, strict=True):
        text = " and ".join(f"{clock(since)}-{clock(until)}" for since, until in spans) or "none"
        by_hours.setdefault(text, []).append(name)
    parts = [f"{' '.join(days)} {hours}" for hours, days in by_hours.items()]
    margin = f", less {rule.margin // timedelta(minutes=1)} minutes at each edge" if rule.margin else ""
    return f"Hours: {'; '.join(parts)}{margin}."


def _counted(rule: CapRule) -> str:
    channels = "" if rule.counted_channels == frozenset(Channel) else f" by {_listed(rule.counted_channels)}"
    return f"{rule.counts}{'' if rule.limit == 1 else 's'}{channels}"


def _period(rule: CapRule) -> str:
    match rule.window:
        case WindowKind.LOCAL_DAY:
            return "a day"
        case WindowKind.ROLLING_DAYS:
            return f"in {rule.length} days"
        case WindowKind.CALENDAR_WEEK:
            return "a week"
        case WindowKind.CALENDAR_MONTH:
            return "a month"
        case WindowKind.EVERY_NTH_DAY:
            return f"every {rule.length} days"


def _wait_sentence(rule: WaitRule) -> str:
    length = f"{rule.hours} hours" if rule.hours is not None else f"{rule.days} days, its own day included,"
    what = f"the first {rule.after}" if rule.anchor is Anchor.FIRST else f"a {rule.after}"
    by = "" if rule.after_channels == frozenset(Channel) else f" by {_listed(rule.after_channels)}"
    begun = ", whoever began it" if rule.begun is Begun.BY_ANYBODY else ""
    return f"Nothing for {length} after {what}{by} with the {rule.subject.replace('_', ' ')}{begun}."


def _gate_sentence(rule: GateRule) -> str:
    parts = []
    if rule.min_days_past_due is not None:
        parts.append(f"from day {rule.min_days_past_due} past due")
    if rule.max_days_past_due is not None:
        parts.append(f"until day {rule.max_days_past_due} past due")
    parts += [f"from {amount} {currency} (minor units)" for currency, amount in rule.min_amount_minor.items()]
    return f"Only {' and '.join(parts)}."


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(str(word) for word in words))


def as_table(book: PackBook) -> list[tuple[str, ...]]:
    """Every pack as a row of texts, in order of id."""
    return [
        (
            pack.name,
            pack.title,
            str(len(pack.rules)),
            str(summary(pack)["soft"]),
            " ".join(f"{mark}:{count}" for mark, count in dict(_marks(pack)).items()),
            pack.calendar.reviewed_until.isoformat(),
        )
        for pack in sorted(book.packs.values(), key=lambda pack: pack.id)
    ]


def _marks(pack: Pack) -> list[tuple[str, int]]:
    return sorted(Counter(str(rule.terms.confidence) for rule in pack.rules).items())
