"""One party's weeks once more, under a release: every reminder that was judged is judged again, with its own history.

The drain's way in small: due reminders of a customer gentlest first, channels in the step's order, one message for
several debts; what is held comes again when its hold ends. Payments, stops and holds are the ledger's, at their times.
What people would have done otherwise cannot be known, and is not guessed.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count

from domain.case import AccountFacts, Attempt, Case, CustomerFacts, PastContact
from domain.channel import BY_A_PERSON, REACHED_BY, AddressKind, Channel
from domain.consent import Consent
from domain.contact import Outcome
from domain.hold import Hold as StandingHold
from domain.hold import HoldKind
from domain.ladder import STAGES, Stage, Step, days_past_due
from domain.lender import Lender
from domain.purpose import Actor, Direction, Purpose
from domain.verdict import Allow, Hold, Suppress, Verdict
from policy.judge import Finding, judge
from policy.rule_set import RuleSet
from storage.backtest import Asked, Consented, Debt, Held, Made, Paid, Reach
from worker.cases import ZONE_CONFIRMATION_LASTS, blocked_hours, planning_zone
from worker.letters import NO_ADDRESS, NO_COPY
from worker.releases import Release


class End(StrEnum):
    """What becomes of a reminder in a replay."""

    CONTACTED = "contacted"
    HANDED = "handed"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    WITHDRAWN = "step withdrawn"
    WAITING = "still waiting"


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact as it would have been made. `broken` are the rules of the audited release that it would break."""

    at: datetime
    lender: str
    stage: str
    channel: str
    reminders: tuple[int, ...]
    outcome: Outcome
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    verdict: str
    rule: str
    reminder: int


@dataclass(frozen=True, slots=True)
class Party:
    """Everything that was read about one party."""

    asked: Sequence[Asked]
    debts: Sequence[Debt]
    reaches: Sequence[Reach]
    consents: Sequence[Consented]
    holds: Sequence[Held]
    payments: Sequence[Paid]
    made: Sequence[Made]


@dataclass(slots=True)
class Replayed:
    """One party's weeks under a release."""

    contacts: list[Contact] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    ends: dict[int, End] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Way:
    channel: Channel
    reach: Reach
    rules: RuleSet


_Waiting = list[tuple[Asked, Debt, Step]]


def replay(party: Party, release: Release, *, until: datetime, audit: Release | None = None) -> Replayed:
    """Judge the party's reminders again. `audit` is a release whose packs every contact is held against as well."""
    return _Replay(party, release, until, audit).run()


class _Replay:
    def __init__(self, party: Party, release: Release, until: datetime, audit: Release | None) -> None:
        self._party = party
        self._release = release
        self._audit = audit
        self._until = until
        self._debts = {debt.account_id: debt for debt in party.debts}
        self._done = Replayed()
        self._history = [_past(made) for made in party.made if not made.reminders]
        self._outcomes = _outcomes(party.made)
        self._queue: list[tuple[datetime, int, Asked]] = []
        self._tie = count()
        self._later: dict[int, list[Asked]] = defaultdict(list)  # of each account, what comes after its open reminder

    def run(self) -> Replayed:
        by_account: dict[int, list[Asked]] = defaultdict(list)
        for asked in self._party.asked:
            by_account[asked.account_id].append(asked)
        for account, reminders in by_account.items():
            self._later[account] = reminders[::-1]
            self._next(account, reminders[0].first_at)
        while self._queue:
            now = self._queue[0][0]
            due: list[Asked] = []
            while self._queue and self._queue[0][0] == now:
                due.append(heapq.heappop(self._queue)[2])
            if now >= self._until:
                self._done.ends.update({asked.reminder_id: End.WAITING for asked in due})
                continue
            for of_customer in self._by_customer(due):
                self._decide(of_customer, now)
        return self._done

    def _by_customer(self, due: Iterable[Asked]) -> Iterator[list[Asked]]:
        grouped: dict[tuple[int, str], list[Asked]] = defaultdict(list)
        for asked in due:
            debt = self._debts.get(asked.account_id)
            if debt is not None:
                grouped[debt.customer_id, debt.lender_id].append(asked)
        return iter(grouped.values())

    def _next(self, account: int, at: datetime) -> None:
        """The account's next reminder, when it came in truth and not before the one ahead of it has ended."""
        if self._later[account]:
            asked = self._later[account].pop()
            self._put(asked, max(asked.first_at, at))

    def _put(self, asked: Asked, at: datetime) -> None:
        heapq.heappush(self._queue, (at, next(self._tie), asked))

    def _end(self, asked: Asked, end: End, at: datetime) -> None:
        self._done.ends[asked.reminder_id] = end
        self._next(asked.account_id, at)

    # -------------------------------------------------------------------------------------------------------- decisions

    def _decide(self, due: list[Asked], now: datetime) -> None:
        waiting: _Waiting = []
        for asked in due:
            debt = self._debts[asked.account_id]
            ladder = self._release.ladders.get(asked.ladder)
            position = ladder.index(asked.step) if ladder else None
            if self._nothing_owed(asked, debt, now):
                self._end(asked, End.CANCELLED, now)
            elif ladder is None or position is None or debt.lender_id not in self._release.lenders:
                self._end(asked, End.WITHDRAWN, now)
            elif asked.expires_at <= now:
                self._end(asked, End.EXPIRED, now)
            elif not ladder.steps[position].channels:
                self._end(asked, End.HANDED, now)
            else:
                waiting.append((asked, debt, ladder.steps[position]))
        waiting.sort(key=lambda each: (STAGES.index(Stage(each[2].stage)), each[2].day, each[0].reminder_id))
        while waiting:
            asked, debt, step = waiting.pop(0)
            way = self._way(asked, debt, step, now)
            if not isinstance(way, _Way):
                self._bar(asked, way, now)
            elif way.channel in BY_A_PERSON:
                self._end(asked, End.HANDED, now)
            else:
                self._contact([asked, *self._joining(debt, way, waiting, now)], debt, step, way, now)

    def _nothing_owed(self, asked: Asked, debt: Debt, now: datetime) -> bool:
        if asked.state == "cancelled" and asked.ended_at is not None and asked.ended_at <= now:
            return True
        return self._balance(debt, now) <= 0

    def _balance(self, debt: Debt, now: datetime) -> int:
        """What was owed then: what is owed now and what was paid since."""
        return debt.balance_minor + sum(
            paid.amount_minor
            for paid in self._party.payments
            if paid.account_id == debt.account_id and paid.paid_at > now
        )

    def _way(self, asked: Asked, debt: Debt, step: Step, now: datetime) -> _Way | Verdict:
        """The step's first channel that is open; else the kindest of the refusals."""
        refusals: list[Verdict] = []
        for channel in step.channels:
            answer = self._may_we(asked, debt, step, channel, now)
            if isinstance(answer, _Way):
                return answer
            refusals.append(answer)
        return min(refusals, key=_kindness)

    def _may_we(self, asked: Asked, debt: Debt, step: Step, channel: Channel, now: datetime) -> _Way | Verdict:
        reach = self._reach(debt, channel, now)
        if reach is None:
            return NO_ADDRESS
        lender = self._release.lenders[debt.lender_id]
        rules = _applying(self._release, debt, reach, lender, now)
        if isinstance(rules, Suppress):
            return rules
        verdict = judge(self._case(asked, debt, channel, reach, lender, now), rules)
        if not isinstance(verdict, Allow):
            return verdict
        if channel in BY_A_PERSON:
            return _Way(channel, reach, rules)
        has_copy = self._release.catalogue.locale_for(step.message, channel, debt.locale) is not None
        return _Way(channel, reach, rules) if has_copy else NO_COPY

    def _joining(self, debt: Debt, way: _Way, waiting: _Waiting, now: datetime) -> list[Asked]:
        joined: list[Asked] = []
        lender = self._release.lenders[debt.lender_id]
        for other in list(waiting):
            asked, its, step = other
            if its.currency != debt.currency or way.channel not in step.channels:
                continue
            waiting.remove(other)
            verdict = judge(self._case(asked, its, way.channel, way.reach, lender, now), way.rules)
            if isinstance(verdict, Allow):
                joined.append(asked)
            else:
                self._bar(asked, verdict, now)
        return joined

    def _bar(self, asked: Asked, verdict: Verdict, now: datetime) -> None:
        rule = verdict.because.rule
        if not isinstance(verdict, Hold):
            self._done.refusals.append(Refusal("suppress", rule, asked.reminder_id))
            self._end(asked, End.SUPPRESSED, now)
            return
        self._done.refusals.append(Refusal("hold", rule, asked.reminder_id))
        again = asked.expires_at if verdict.until is None else verdict.until
        if rule.startswith("hold."):
            again = min([again, *(at for hold in self._party.holds if (at := hold.released_at) and at > now)])
        self._put(asked, again)

    def _contact(self, covered: list[Asked], debt: Debt, step: Step, way: _Way, now: datetime) -> None:
        lender = self._release.lenders[debt.lender_id]
        broken = self._broken(covered[0], debt, way, lender, now)
        reminders = tuple(asked.reminder_id for asked in covered)
        told = self._outcomes.get(covered[0].reminder_id)
        outcome = Outcome.DELIVERED if told is None else Outcome(told)
        self._done.contacts.append(
            Contact(now, lender.id, step.stage.value, way.channel.value, reminders, outcome, broken)
        )
        self._history.append(
            PastContact(
                now, way.channel, outcome, tuple(str(asked.account_id) for asked in covered), way.reach.lookup.hex(),
                Direction.OUT, Purpose.REMINDER, lender.actor, lender.id,
            )
        )  # fmt: skip
        for asked in covered:
            self._end(asked, End.CONTACTED, now)

    def _broken(self, asked: Asked, debt: Debt, way: _Way, lender: Lender, now: datetime) -> tuple[str, ...]:
        """The rules of the audited release that would not have let this contact pass."""
        if self._audit is None:
            return ()
        theirs = self._audit.lenders.get(lender.id, lender)
        rules = _applying(self._audit, debt, way.reach, theirs, now)
        if isinstance(rules, Suppress):
            return (rules.because.rule,)
        trace: list[Finding] = []
        if isinstance(judge(self._case(asked, debt, way.channel, way.reach, theirs, now), rules, trace=trace), Allow):
            return ()
        return tuple(dict.fromkeys(finding.because.rule for finding in trace if finding.bars))

    # --------------------------------------------------------------------------------------------- what was known then

    def _case(self, asked: Asked, debt: Debt, channel: Channel, reach: Reach, lender: Lender, now: datetime) -> Case:
        return Case(
            now=now,
            expires=asked.expires_at,
            actor=lender.actor,
            customer=_facts(debt, now),
            account=AccountFacts(
                str(debt.account_id), days_past_due(debt.due_on, now, planning_zone(debt.zones)),
                self._balance(debt, now), debt.currency,
            ),
            attempt=Attempt(
                channel=channel, address=reach.lookup.hex(), address_kind=AddressKind(reach.kind),
                number_zones=tuple(reach.zones), number_country=reach.country,
            ),
            history=[entry for entry in self._history if entry.at <= now],
            holds=[_hold(held) for held in self._party.holds if _stands(held, now)],
            consents=[
                _consent(given, now) for given in self._party.consents
                if given.customer_id == debt.customer_id and given.given_at <= now
            ],
            lender=lender.id,
            household=debt.household,
        )  # fmt: skip

    def _reach(self, debt: Debt, channel: Channel, now: datetime) -> Reach | None:
        wanted = REACHED_BY[channel].value
        for reach in self._party.reaches:
            lives = reach.retired_at is None or reach.retired_at > now
            if lives and reach.customer_id == debt.customer_id and reach.channel == wanted:
                return reach
        return None


def _applying(release: Release, debt: Debt, reach: Reach, lender: Lender, now: datetime) -> RuleSet | Suppress:
    return release.packs.applying(
        residence=debt.residence, number_country=reach.country, licence=lender.licence, on=now.date()
    )


def _kindness(verdict: Verdict) -> tuple[int, float]:
    """As the drain has it: a hold with an end, one without, "never", and least of all that there is no address."""
    if isinstance(verdict, Hold):
        return (1, 0.0) if verdict.until is None else (0, verdict.until.timestamp())
    return (3, 0.0) if verdict is NO_ADDRESS else (2, 0.0)


def _outcomes(made: Iterable[Made]) -> dict[int, str | None]:
    """How each reminder's contact turned out: one that a provider refused was followed by another, or by none."""
    refused_first = sorted(made, key=lambda each: each.outcome != Outcome.REJECTED)
    return {number: each.outcome for each in refused_first for number in each.reminders}


def _facts(debt: Debt, now: datetime) -> CustomerFacts:
    confirmed = debt.zone_confirmed_at
    return CustomerFacts(
        zones=tuple(debt.zones),
        zone_confirmed=confirmed is not None and now - confirmed < ZONE_CONFIRMATION_LASTS,
        blocked=tuple(blocked_hours(entry) for entry in debt.blocked_hours),
        refused_channels=frozenset(Channel(name) for name in debt.refused_channels),
    )


def _past(made: Made) -> PastContact:
    return PastContact(
        made.at, Channel(made.channel), Outcome.INTENDED if made.outcome is None else Outcome(made.outcome),
        tuple(map(str, made.account_ids)), made.lookup.hex() if made.lookup else None, Direction.OUT,
        Purpose(made.purpose), Actor(made.actor), made.lender_id,
    )  # fmt: skip


def _stands(held: Held, now: datetime) -> bool:
    return (
        held.since <= now
        and (held.ends_at is None or held.ends_at > now)
        and (held.released_at is None or held.released_at > now)
    )


def _hold(held: Held) -> StandingHold:
    account = None if held.account_id is None else str(held.account_id)
    return StandingHold(HoldKind(held.kind), account, held.since, held.ends_at)


def _consent(given: Consented, now: datetime) -> Consent:
    """A consent as it stood then: a withdrawal that was still to come is not known."""
    withdrawn = given.withdrawn_at if given.withdrawn_at is not None and given.withdrawn_at <= now else None
    return Consent(
        Channel(given.channel), given.lookup.hex() if given.lookup else None, Purpose(given.purpose), given.given_at,
        withdrawn,
    )  # fmt: skip
