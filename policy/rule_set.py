"""The packs that apply to a case, as one set of rules that must all agree; and the plans worked out for it so far."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TypeVar

from domain.case import Case
from domain.hold import HoldKind
from policy.calendar import Calendars
from policy.cap import CapRule
from policy.cap import loosens as cap_loosens
from policy.channel_ban import BanRule
from policy.consent import ConsentRule
from policy.duty import Duty
from policy.gate import GateRule
from policy.notice import NoticeRule
from policy.pack import Pack, Rule
from policy.plan import Plan, PlanRules
from policy.table import PackError
from policy.terms import Severity
from policy.wait import WaitRule
from policy.wait import loosens as wait_loosens
from policy.window import WindowRule, widest

Kind = TypeVar("Kind", bound=Rule)

#: Plans kept per rule set. A fleet needs one for each set of zones, channel, actor and purpose it meets.
PLANS_KEPT = 4096


class RuleSet:
    """Rules of several packs. Windows intersect, caps and waits must all pass, bans add up: only ever tighter."""

    def __init__(self, packs: Sequence[Pack], *, lifted: frozenset[str] = frozenset()) -> None:
        self.packs = tuple(packs)
        self.ids = tuple(pack.id for pack in packs)
        refuse_contradictions(self.packs)
        all_rules = (rule for pack in packs for rule in _with_calendars(pack, packs))
        self.rules = tuple(rule for rule in all_rules if not _is_lifted(rule, lifted))
        self.lookback = max(
            (rule.reach for rule in self.rules if isinstance(rule, CapRule | WaitRule | NoticeRule)),
            default=timedelta(0),
        )
        self._plan_rules = PlanRules(
            windows=self.of(WindowRule),
            caps=self.of(CapRule),
            waits=self.of(WaitRule),
            gates=self.of(GateRule),
            bans=self.of(BanRule),
            notices=self.of(NoticeRule),
            consents=self.of(ConsentRule),
            margin=max((rule.margin for rule in self.of(WindowRule)), default=timedelta(0)),
        )
        self.can_expire = any(pack.valid_until is not None for pack in packs)
        self._plans: dict[object, Plan] = {}
        self._lifted: dict[frozenset[str], RuleSet] = {}

    def of(self, kind: type[Kind]) -> tuple[Kind, ...]:
        return tuple(rule for rule in self.rules if isinstance(rule, kind))

    def duties(self, kind: str) -> tuple[Duty, ...]:
        """The duties of one kind: optout, identity, retention, content, hold."""
        return tuple(duty for duty in self.of(Duty) if duty.terms.kind == kind)

    def optout_words(self) -> frozenset[str]:
        """The words that packs name as a wish to stop; they add to what the inbox recognises, never replace it."""
        return frozenset(word for duty in self.duties("optout") for word in duty.keywords)

    def hold_days(self, kind: HoldKind) -> int | None:
        """The longest minimum that any pack sets for a hold of this kind; None when none does."""
        days = [duty.hold_days for duty in self.duties("hold") if duty.hold is kind and duty.hold_days is not None]
        return max(days, default=None)

    def retention(self, record: str) -> tuple[timedelta | None, timedelta | None]:
        """The longest minimum and the shortest maximum for a class of record."""
        of_record = [duty for duty in self.duties("retention") if duty.record == record]
        least = [duty.keep_at_least for duty in of_record if duty.keep_at_least is not None]
        most = [duty.keep_at_most for duty in of_record if duty.keep_at_most is not None]
        return max(least, default=None), min(most, default=None)

    def expired(self, on: date) -> tuple[Pack, ...]:
        return tuple(pack for pack in self.packs if pack.is_expired(on))

    def lifting(self, ids: frozenset[str]) -> "RuleSet":
        """These rules less the soft ones that a supervisor's recorded override names; hard rules stay."""
        soft = frozenset(rule.terms.id for rule in self.rules if _is_lifted(rule, ids))
        if not soft:
            return self
        if soft not in self._lifted:
            self._lifted[soft] = RuleSet(self.packs, lifted=soft)
        return self._lifted[soft]

    def plan(self, case: Case, zones: tuple[str, ...]) -> Plan:
        """The rules that bind such an attempt in these zones, worked out once."""
        attempt = case.attempt
        key = (zones, attempt.channel, case.actor, attempt.purpose, attempt.address_kind)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= PLANS_KEPT:
                self._plans.clear()
            plan = self._plans[key] = Plan(self._plan_rules, case, zones)
        return plan


def _is_lifted(rule: Rule, ids: frozenset[str]) -> bool:
    return rule.terms.id in ids and rule.terms.severity is Severity.SOFT


def refuse_contradictions(packs: Sequence[Pack]) -> None:
    """Raise PackError where a pack loosens one that it extends, or retention ranges cross."""
    for child, parent in _families(packs):
        for rule in child.rules:
            for above in parent.rules:
                _refuse_loosening(child, rule, above)
    _refuse_crossed_retention(packs)


def _families(packs: Sequence[Pack]) -> Iterator[tuple[Pack, Pack]]:
    by_id = {pack.id: pack for pack in packs}

    def ancestors(pack: Pack) -> Iterator[Pack]:
        for parent in pack.extends:
            yield by_id[parent]
            yield from ancestors(by_id[parent])

    return ((pack, ancestor) for pack in packs for ancestor in ancestors(pack))


def _refuse_loosening(child: Pack, rule: Rule, above: Rule) -> None:
    if not (rule.terms.channels & above.terms.channels and rule.terms.applies_to & above.terms.applies_to):
        return
    found: str | None = None
    match rule, above:
        case (WindowRule(), WindowRule()):
            outside = widest(rule, above)
            found = outside and f"hours: {outside} lies outside its hours"
        case (CapRule(), CapRule()) if cap_loosens(rule, above):
            found = f"limit: {rule.limit} is above its {above.limit}"
        case (WaitRule(), WaitRule()) if wait_loosens(rule, above):
            found = "days: the wait is shorter than its own"
    if found:
        raise PackError(
            f"{child.file}: rule {rule.terms.id}: {found}: it loosens {above.terms.id} of {above.terms.pack}, "
            "which this pack extends; a child may only tighten, so narrow it or remove the rule"
        )


def _refuse_crossed_retention(packs: Sequence[Pack]) -> None:
    duties = [(pack, rule) for pack in packs for rule in pack.rules if isinstance(rule, Duty)]
    for pack, duty in duties:
        for other_pack, other in duties:
            if (
                duty.record is not None
                and duty.record == other.record
                and duty.keep_at_least is not None
                and other.keep_at_most is not None
                and duty.keep_at_least > other.keep_at_most
            ):
                raise PackError(
                    f"{pack.file}: rule {duty.terms.id}: min_days: must keep {duty.record} longer than "
                    f"{other.terms.id} of {other_pack.file} allows; ask counsel which binds and correct one"
                )


def _with_calendars(pack: Pack, packs: Sequence[Pack]) -> Iterator[Rule]:
    """The rules of a pack; one that shares calendars counts the holidays of all packs beside it."""
    if not pack.shares_calendars:
        yield from pack.rules
        return
    calendars = Calendars(tuple(dict.fromkeys(other.calendar for other in packs if other.calendar)))
    for rule in pack.rules:
        if isinstance(rule, WindowRule):
            yield WindowRule(rule.terms, rule.by_day, rule.margin, calendars)
        else:
            yield rule
