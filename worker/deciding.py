"""Decide first: from what was read under lock to what shall be written. Pure but for the seal; no SQL, no network.

For each customer: expire what is stale, judge what is due, let one message serve several debts of the same lender,
purpose and language, and hand to people what is theirs. A few dozen parties go through it abreast, a stage at a time
(docs/decisions/0016); what is decided about one never depends on another.
"""

from bisect import bisect, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple, TypeVar

from msgspec import Struct

from domain import verdict as answers
from domain.case import Case, CustomerFacts, History, PastContact
from domain.channel import BY_A_PERSON, REACHED_BY, Channel
from domain.contact import Outcome
from domain.ladder import STAGES, Done, Ladder, Owed, PlannedStep, Step, first_step, next_step, step_after_expiry
from domain.purpose import Direction, Purpose
from domain.reminder import NewReminder, ReminderState
from domain.verdict import Allow, Because, Suppress, Verdict
from policy.judge import judge
from policy.packs import RuleSet
from storage.intents import Answer, Ended, Postponed, Task
from storage.picture import Due, Picture, Reach, Standing, Stop
from worker.cases import (
    Person,
    Scene,
    case_of,
    customer_facts,
    first_reaches,
    planning_zone,
    standing_hold,
)
from worker.letters import NO_ADDRESS, NO_COPY, Choice, Draft, Letter, our_own, write_letters
from worker.planner import reminder_for
from worker.poison import Stumble, stumble

OfCustomer = TypeVar("OfCustomer", Reach, Standing)
OfParty = TypeVar("OfParty", Due, Reach, Standing)

_PARTY = attrgetter("party_id")
_CUSTOMER = attrgetter("customer_id")
_OWNER = attrgetter("party_id", "customer_id")
_FIRST = itemgetter(0)

#: On Python 3.11 to name a member of an enum costs three times a constant.
_INTENDED, _OUT, _REMINDER = Outcome.INTENDED, Direction.OUT, Purpose.REMINDER

EXPIRED = our_own("expired_unsent")
HANDED = our_own("handed_to_a_person")

#: Parties that go through the stages together: so many that a stage's code, once in the processor's nearest cache, is
#: used many times, and so few that what they carry stays in the next.
ABREAST: Final = 64


class Question(Struct, frozen=True, gc=False):
    """A reminder, and the way that is asked about."""

    person: Person
    row: Due
    step: Step
    channel: Channel


@dataclass(slots=True)
class Decisions:
    """Everything that one drain shall write."""

    letters: list[Letter] = field(default_factory=list)
    postponed: list[Postponed] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    planned: list[NewReminder] = field(default_factory=list)
    stumbles: list[Stumble] = field(default_factory=list)

    def add(self, others: "Decisions") -> None:
        self.letters += others.letters
        self.postponed += others.postponed
        self.ended += others.ended
        self.answers += others.answers
        self.tasks += others.tasks
        self.planned += others.planned
        self.stumbles += others.stumbles


class Known(NamedTuple):
    """What was read about all parties of the batch, by whom it is about."""

    picture: Picture
    epochs: Mapping[int, int]
    reaches: Mapping[tuple[int, int], Sequence[Reach]]
    standings: Mapping[tuple[int, int], Sequence[Standing]]
    stops: Mapping[int, Sequence[Stop]]
    spoken: Set[tuple[int, int]]


def decide(
    scene: Scene, picture: Picture, epochs: Mapping[int, int], *, spoken: Set[tuple[int, int]] = frozenset()
) -> Decisions:
    """Judge and render all that is due for the locked parties. `epochs` are the parties' stop epochs under the lock.

    `spoken` are the accounts (party, account) of expired steps whose stage has spoken before. The rows of the picture
    are used up: whom it has been decided about is forgotten while the processor still has them at hand, and leaves
    that memory to the next.
    """
    stops = _by_party(picture.stops)
    decisions = Decisions()
    while picture.due:
        abreast = [list(rows) for _, rows in groupby(_next_parties(picture.due), key=_PARTY)]
        last = abreast[-1][0].party_id
        reaches, standings = _taken(picture.reaches, upto=last), _taken(picture.standings, upto=last)
        known = Known(picture, epochs, _by_customer(reaches), _by_customer(standings), stops, spoken)
        try:
            decisions.add(_decide_abreast(scene, known, abreast))
        except Exception:  # whatever is wrong with one party must not keep the others waiting: each by itself
            for party in abreast:
                decisions.add(_decide_alone(scene, known, party))
    return decisions


def _next_parties(due: list[Due]) -> list[Due]:
    """The rows of the next few parties, whole parties only."""
    place = min(ABREAST, len(due)) - 1
    return _taken(due, upto=due[place].party_id)


def _taken(rows: list[OfParty], *, upto: int) -> list[OfParty]:
    """The rows of parties up to this one, out of a list in party order."""
    place = bisect_right(rows, upto, key=_PARTY)
    taken = rows[:place]
    del rows[:place]
    return taken


def _decide_alone(scene: Scene, known: Known, party: list[Due]) -> Decisions:
    try:
        return _decide_abreast(scene, known, [party])
    except Exception as error:
        return Decisions(stumbles=[stumble(party, error)])


def _decide_abreast(scene: Scene, known: Known, parties: Sequence[list[Due]]) -> Decisions:
    """One reminder of each party at a time, so that the next one of the same party knows what was decided before."""
    decisions = Decisions()
    queues: list[list[tuple[Person, list[tuple[Due, Step]]]]] = [[] for _ in parties]
    for number, person, due in _people(scene, known, parties):
        waiting = _sort_out(scene, known, person, due, decisions)
        if waiting:
            queues[number].append((person, waiting))
    while queues := [queue for queue in queues if queue]:
        asked = [(person, *waiting.pop(0), waiting) for person, waiting in map(_FIRST, queues)]
        choices = _find_ways(scene, [Question(person, row, step, step.channels[0]) for person, row, step, _ in asked])
        drafts: list[Draft] = []
        for (person, row, step, waiting), choice in zip(asked, choices, strict=True):
            if not isinstance(choice, Choice):
                _bar(scene, person, row, choice, decisions)
            elif choice.channel in BY_A_PERSON:
                _hand_over(scene, person, row, step, "call", decisions)
            else:
                joined = _join(scene, person, row, choice, waiting, decisions)
                drafts.append(_draft(scene, person, ((row, step), *joined), choice))
        _send(scene, drafts, decisions)
        for queue in queues:
            if not queue[0][1]:
                del queue[0]
    return decisions


def _people(scene: Scene, known: Known, parties: Sequence[list[Due]]) -> list[tuple[int, Person, list[Due]]]:
    """The customers of all parties: the number of the party, who they are, and what is due."""
    customers: list[tuple[int, list[Due]]] = []
    for number, due in enumerate(parties):
        if len(due) == 1:
            customers.append((number, due))
        else:
            customers += [(number, list(rows)) for _, rows in groupby(due, key=_CUSTOMER)]
    histories = [known.picture.past(due[0].party_id) for due in parties]
    facts = [customer_facts(due[0], scene.now) for _, due in customers]
    return [
        (number, _person(known, due[0], its, histories[number]), due)
        for (number, due), its in zip(customers, facts, strict=True)
    ]


def _person(known: Known, row: Due, facts: CustomerFacts, history: History) -> Person:
    who = row.party_id, row.customer_id
    stops = known.stops.get(row.party_id)
    return Person(
        row, known.epochs[row.party_id], facts, first_reaches(known.reaches.get(who, ())),
        known.standings.get(who, ()), list(map(standing_hold, stops)) if stops else (), history,
    )  # fmt: skip


def _sort_out(
    scene: Scene, known: Known, person: Person, due: Sequence[Due], decisions: Decisions
) -> list[tuple[Due, Step]]:
    """End and hand over what needs no judge; the rest with its step, gentlest stage first: a message for several debts
    speaks in the words that all of them permit."""
    waiting: list[tuple[Due, Step]] = []
    for row in due:
        ladder = scene.release.ladders.get(row.ladder)
        step = _step(ladder, row.step)
        if row.account_state != "open" or row.balance_minor <= 0:
            decisions.ended.append(Ended(row.party_id, row.reminder_id, ReminderState.CANCELLED, "nothing_owed"))
        elif ladder is None or step is None:  # a release took the step away: begin again at the gentlest that is true
            _answer(scene, row, Channel(row.channel), our_own("step_withdrawn"), "expire", None, decisions)
            decisions.ended.append(Ended(row.party_id, row.reminder_id, ReminderState.CANCELLED, "step_withdrawn"))
            decisions.planned.extend(_first(scene, person, row, ladder))
        elif row.expires_at <= scene.now:
            _answer(scene, row, Channel(row.channel), EXPIRED, "expire", None, decisions)
            decisions.ended.append(Ended(row.party_id, row.reminder_id, ReminderState.EXPIRED, EXPIRED.rule))
            has_spoken = (row.party_id, row.account_id) in known.spoken
            decisions.planned.extend(_after_expiry(scene, person, row, ladder, has_spoken=has_spoken))
        elif not step.channels:
            _hand_over(scene, person, row, step, "specialist", decisions)
        else:
            waiting.append((row, step))
    if len(waiting) > 1:
        waiting.sort(key=lambda pair: (STAGES.index(pair[1].stage), pair[1].day, pair[0].reminder_id))
    return waiting


# ------------------------------------------------------------------------------------------------------------ the judge


Refusal = tuple[Channel, Verdict]


def _find_ways(scene: Scene, firsts: Sequence[Question]) -> list[Choice | Refusal]:
    """For each, the step's first channel on which this reminder may go now; else the kindest of the refusals.

    A hold with an end beats one without, and any hold beats "never". `firsts` ask about the first channel of each.
    """
    answers = _may_we(scene, firsts)
    return [
        answer if isinstance(answer, Choice) else _another_way(scene, first, answer)
        for first, answer in zip(firsts, answers, strict=True)
    ]


def _another_way(scene: Scene, first: Question, refused: Verdict) -> Choice | Refusal:
    refusals = [(first.channel, refused)]
    for channel in first.step.channels[1:]:
        (answer,) = _may_we(scene, [Question(first.person, first.row, first.step, channel)])
        if isinstance(answer, Choice):
            return answer
        refusals.append((channel, answer))
    return min(refusals, key=_kindness)


def _kindness(refusal: tuple[Channel, Verdict]) -> tuple[int, float]:
    match refusal[1]:
        case answers.Hold(until=datetime() as until):
            return 0, until.timestamp()
        case answers.Hold():
            return 1, 0.0
        case answers.Suppress() if refusal[1] is not NO_ADDRESS:
            return 2, 0.0
        case _:  # says the least: told only when nothing else was in the way
            return 3, 0.0


def _may_we(scene: Scene, questions: Sequence[Question]) -> list[Choice | Verdict]:
    bounds = [_bounds(scene, asked) for asked in questions]
    cases = [
        case_of(scene, asked.person, asked.row, asked.channel, bound[0])
        for asked, bound in zip(questions, bounds, strict=True)
        if isinstance(bound, tuple)
    ]
    verdicts = _judged(cases, bounds)
    return [
        _choice(scene, asked, *bound, verdict) if isinstance(bound, tuple) and isinstance(verdict, Allow) else verdict
        for asked, bound, verdict in zip(questions, bounds, verdicts, strict=True)
    ]


def _bounds(scene: Scene, asked: Question) -> tuple[Reach, RuleSet] | Suppress:
    """Where they would be reached, and the rules that apply to them there."""
    row, reach = asked.row, asked.person.reaches.get(REACHED_BY[asked.channel])
    if reach is None:
        return NO_ADDRESS
    where = row.residence, reach.country
    rules = scene.rules.get(where)
    if rules is None:
        rules = scene.rules[where] = scene.release.packs.applying(
            residence=row.residence,
            number_country=reach.country,
            licence=scene.lender.licence,
            on=scene.now.date(),
        )
    return rules if isinstance(rules, Suppress) else (reach, rules)


def _judged(cases: Iterable[Case], bounds: Sequence[tuple[Reach, RuleSet] | Suppress]) -> list[Verdict]:
    """The verdict on each; `cases` are those of whom the bounds are known."""
    case = iter(cases)
    return [judge(next(case), bound[1]) if isinstance(bound, tuple) else bound for bound in bounds]


def _choice(scene: Scene, asked: Question, reach: Reach, rules: RuleSet, allow: Allow) -> Choice | Suppress:
    channel, row = asked.channel, asked.row
    if channel in BY_A_PERSON:
        return Choice(channel, reach, rules, allow, row.locale)
    locale = scene.release.catalogue.locale_for(asked.step.message, channel, row.locale)
    if locale is None:
        return NO_COPY
    return Choice(channel, reach, rules, allow, locale)


def _join(
    scene: Scene, person: Person, row: Due, choice: Choice, waiting: list[tuple[Due, Step]], decisions: Decisions
) -> list[tuple[Due, Step]]:
    """The other due debts that the same message may cover: each is judged for itself, barred ones drop out.

    Words that only a person may speak never merge, nor do debts in another currency.
    """
    joined: list[tuple[Due, Step]] = []
    for other, step in list(waiting):
        if other.currency != row.currency or choice.channel not in step.channels:
            continue
        verdict = judge(case_of(scene, person, other, choice.channel, choice.reach), choice.rules)
        if isinstance(verdict, Allow):
            joined.append((other, step))
        else:
            _bar(scene, person, other, (choice.channel, verdict), decisions)
        waiting.remove((other, step))
    return joined


def _bar(scene: Scene, person: Person, row: Due, refusal: tuple[Channel, Verdict], decisions: Decisions) -> None:
    channel, verdict = refusal
    because = verdict.because
    match verdict:
        case answers.Hold(until=datetime() as until):
            _answer(scene, row, channel, because, "hold", until, decisions)
            decisions.postponed.append(Postponed(row.party_id, row.reminder_id, until, because.rule, channel.value))
        case answers.Hold():  # only a person can lift it: look again when it is lifted, or let the step expire
            _answer(scene, row, channel, because, "hold", None, decisions)
            decisions.postponed.append(
                Postponed(row.party_id, row.reminder_id, row.expires_at, because.rule, channel.value)
            )
        case _:
            _answer(scene, row, channel, because, "suppress", None, decisions)
            _finish(scene, person, row, ReminderState.SUPPRESSED, because.rule, decisions)


# ------------------------------------------------------------------------------------------------------- what to write


def _draft(scene: Scene, person: Person, covered: Sequence[tuple[Due, Step]], choice: Choice) -> Draft:
    if len(covered) == 1:  # nearly always
        ((row, step),) = covered
        return Draft(person, (row,), (step,), choice, _successor(scene, person, row))
    rows, steps = zip(*covered, strict=True)
    successors = chain.from_iterable(_successor(scene, person, row) for row in rows)
    return Draft(person, rows, steps, choice, tuple(successors))


def _send(scene: Scene, drafts: Sequence[Draft], decisions: Decisions) -> None:
    for draft, letter in zip(drafts, write_letters(scene, drafts), strict=True):
        if isinstance(letter, Suppress):
            for row in draft.rows:
                _bar(scene, draft.person, row, (draft.choice.channel, letter), decisions)
            continue
        decisions.letters.append(letter)
        # Not of the person, whose history this is: nobody looks for a ring of values, and it would stay for ever.
        draft.person.history.append(scene.now, partial(_past_contact, scene, draft.rows, draft.choice))


def _past_contact(scene: Scene, covered: Sequence[Due], choice: Choice) -> PastContact:
    """What has just been decided, as what is still to be decided about the same party counts it."""
    return PastContact(
        scene.now, choice.channel, _INTENDED, tuple([str(row.account_id) for row in covered]),
        choice.reach.lookup.hex(), _OUT, _REMINDER, scene.lender.actor, scene.lender.id, covered[0].household,
    )  # fmt: skip


def _hand_over(scene: Scene, person: Person, row: Due, step: Step, kind: str, decisions: Decisions) -> None:
    """To a person: the task reserves nothing, and the dial click is judged again."""
    decisions.tasks.append(
        Task(
            party_id=row.party_id,
            customer_id=row.customer_id,
            lender_id=scene.lender.id,
            account_ids=[row.account_id],
            kind=kind,
            reason=f"step {step.id}",
            message=step.message,
            stage=step.stage.value,
            queued_at=scene.now,
            not_before=scene.now,
            expires_at=None if kind == "specialist" else scene.now + step.expires_after,
        )
    )
    _finish(scene, person, row, ReminderState.HANDED, HANDED.rule, decisions)


def _finish(scene: Scene, person: Person, row: Due, state: ReminderState, reason: str, decisions: Decisions) -> None:
    decisions.ended.append(Ended(row.party_id, row.reminder_id, state, reason))
    decisions.planned.extend(_successor(scene, person, row))


def _answer(
    scene: Scene,
    row: Due,
    channel: Channel,
    because: Because,
    verdict: str,
    until: datetime | None,
    decisions: Decisions,
) -> None:
    decisions.answers.append(
        Answer(
            row.party_id, scene.now, row.reminder_id, row.account_id, scene.lender.id, channel.value, row.step,
            row.stage, verdict, because.rule, because.pack, until, scene.release.hash,
        )
    )  # fmt: skip


def _successor(scene: Scene, person: Person, row: Due) -> tuple[NewReminder, ...]:
    ladder = scene.release.ladders.get(row.ladder)
    return _rows_for(scene, person, row, row.ladder, _coming(scene, row, ladder) if ladder else None)


def _coming(scene: Scene, row: Due, ladder: Ladder) -> PlannedStep | None:
    """The next step: the same for all who owe since the same day, between the same bounds, on the same clock."""
    between = bisect(ladder.bounds(row.currency), row.balance_minor)
    key = (ladder.id, row.step, row.planned_for, row.due_on, planning_zone(row.zones), row.currency, between)
    coming = scene.coming
    if key not in coming:
        coming[key] = next_step(ladder, _owed(row), Done(row.step, row.planned_for), now=scene.now)
    return coming[key]


def _after_expiry(
    scene: Scene, person: Person, row: Due, ladder: Ladder, *, has_spoken: bool
) -> tuple[NewReminder, ...]:
    gone = Done(row.step, row.planned_for)
    planned = step_after_expiry(ladder, _owed(row), gone, has_spoken=has_spoken, now=scene.now)
    return _rows_for(scene, person, row, row.ladder, planned)


def _first(scene: Scene, person: Person, row: Due, ladder: Ladder | None) -> tuple[NewReminder, ...]:
    """Begin again under the lender's present choice of ladder."""
    name = row.ladder if ladder is not None else scene.lender.ladder_for(row.product, row.balance_minor)
    chosen = scene.release.ladders.get(name) if name else None
    planned = first_step(chosen, _owed(row), now=scene.now) if chosen else None
    return _rows_for(scene, person, row, name or row.ladder, planned)


def _rows_for(
    scene: Scene, person: Person, row: Due, ladder: str, planned: PlannedStep | None
) -> tuple[NewReminder, ...]:
    if planned is None:
        return ()
    return (
        reminder_for(
            planned, party_id=row.party_id, account_id=row.account_id, lender_id=scene.lender.id, ladder=ladder,
            reachable=person.reaches.keys(),
        ),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------- rows to values


def _step(ladder: Ladder | None, step_id: str) -> Step | None:
    position = ladder.index(step_id) if ladder else None
    return ladder.steps[position] if ladder is not None and position is not None else None


def _owed(row: Due) -> Owed:
    return Owed(row.due_on, row.balance_minor, row.currency, planning_zone(row.zones))


def _by_customer(rows: Sequence[OfCustomer]) -> dict[tuple[int, int], list[OfCustomer]]:
    grouped: dict[tuple[int, int], list[OfCustomer]] = defaultdict(list)
    for owner, row in zip(map(_OWNER, rows), rows, strict=True):
        grouped[owner].append(row)
    return grouped


def _by_party(rows: Iterable[Stop]) -> dict[int, list[Stop]]:
    grouped: dict[int, list[Stop]] = defaultdict(list)
    for row in rows:
        grouped[row.party_id].append(row)
    return grouped
