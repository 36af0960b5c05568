"""The call desk: the next task, judged at the dial moment, and what follows from how a call ended.

A task in the queue reserves nothing. The dial is judged under the party's lock, like a message, and writes the intent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from channels.base import InboundMessage
from domain.channel import AddressChannel, Channel
from domain.contact import new_contact_id
from domain.days import ONE_DAY
from domain.disposition import NOT_RECORDED
from domain.purpose import Purpose
from domain.verdict import Allow, Because, Hold, Suppress
from messages.catalogue import CopyError
from messages.facts import BadFacts
from policy.judge import judge
from policy.packs import RuleSet
from storage import calls, inbox, intents, picture
from storage.calls import CallTask, Dial, Earlier
from storage.intents import Answer
from storage.picture import Due, Reach
from storage.rows import Conn
from storage.sealing import Unsealable
from worker.arrivals import Unreadable, read
from worker.cases import (
    Person,
    Scene,
    case_of,
    customer_facts,
    customer_key,
    days_late,
    facts_of,
    first_reaches,
    lookback,
    planning_zone,
    standing_hold,
)
from worker.letters import COPY_REFUSED, KEY_DESTROYED, NO_ADDRESS, our_own
from worker.wiring import Spine

log = structlog.get_logger()

#: How long a task is an agent's before another may take it (research notes, section 8.2).
LEASE: Final = timedelta(minutes=10)

#: Tasks that are looked at for one request: on a day when nobody may be called there are thousands.
MOST_TRIES: Final = 50

#: A task that only a person can set free is looked at again a day later, or as soon as its hold ends.
LOOK_AGAIN_AFTER: Final = timedelta(days=1)

#: A call whose ending nobody said for so long is closed.
FORGOTTEN_AFTER: Final = timedelta(hours=12)

#: Why a call is there: a time that the customer asked for, or something that came up at the desk.
REQUESTED: Final = "requested_callback"
FROM_DESK: Final = "desk: "

NOTHING_OWED = Suppress(our_own("nothing_owed"))
PAUSED = Hold(our_own("paused"), None)


class NotYours(Exception):
    """The task is not in this agent's hands; the message says what to do."""


class InHand(Exception):
    """The agent has a call without an ending: that one first."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A task on an agent's screen; what is personal stays out of its repr. `zone` is where their clock is read.

    `phone` and `window_ends` are there once it was dialled; `wrote` is what the customer wrote, for a reply.
    """

    task: CallTask
    zone: str
    because: Because | None = None
    window_ends: datetime | None = None
    earlier: Sequence[Earlier] = ()
    phone: str | None = field(default=None, repr=False)
    script: str | None = field(default=None, repr=False)
    wrote: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NotNow:
    """A dial that the judge refused, and until when."""

    task: CallTask
    verdict: Hold | Suppress


# -------------------------------------------------------------------------------------------------------- the next task


def next_call(spine: Spine, *, agent: str) -> Offer | None:
    """The agent's next task: a call is judged now and dialled; a reply or a specialist's case is to be read.

    None when nothing may be done now. Calls that may not be made wait in the queue for their time, or are cancelled.
    Raises InHand.
    """
    in_hand = calls.claimed_by(spine.conn, agent)
    if in_hand is not None and in_hand.contact_id is not None:
        raise InHand(f"task {in_hand.call_task_id} was dialled and has no ending: end it with `duly calls done` first")
    for _ in range(MOST_TRIES):
        task = in_hand or calls.claim(spine.conn, agent=agent, lease=LEASE)
        in_hand = None
        if task is None:
            return None
        if task.kind != "call":
            return _to_read(spine, task)
        answer = _dial(spine, task, agent=agent)
        if isinstance(answer, Offer):
            return answer
    return None


def dial(spine: Spine, call_task_id: int, *, agent: str) -> Offer | NotNow:
    """Dial for a task that the agent has in hand: judged now, under the party's lock. Raises NotYours."""
    task = calls.task(spine.conn, call_task_id)
    if task is None or task.state != "claimed" or task.claimed_by != agent or task.contact_id is not None:
        raise NotYours(
            f"task {call_task_id} is not in the hands of {agent}, or was dialled: `duly calls list` shows it"
        )
    answer = _dial(spine, task, agent=agent)
    if answer is None:
        raise NotYours(f"task {call_task_id} was taken by somebody else")
    return answer


def _to_read(spine: Spine, task: CallTask) -> Offer:
    debts = calls.debts_of(spine.conn, task)
    opening = picture.open_drain(spine.conn, task.lender_id)
    return Offer(
        task,
        planning_zone(debts[0].zones) if debts else "UTC",
        earlier=calls.earlier_contacts(spine.conn, task.party_id, before=opening.now + ONE_DAY),
        wrote=_what_they_wrote(spine, task),
    )


def _what_they_wrote(spine: Spine, task: CallTask) -> str | None:
    body = inbox.row(spine.conn, task.inbox_id) if task.inbox_id is not None else None
    if body is None:
        return None
    try:
        arrived = read(spine.keyring, body)
    except Unreadable as error:
        log.error("reply_unreadable", inbox_id=task.inbox_id, why=str(error))
        return None
    return arrived.text if isinstance(arrived, InboundMessage) else None


# ------------------------------------------------------------------------------------------------------------- the dial


@dataclass(frozen=True, slots=True)
class _Way:
    """A dial that the judge allows: for these debts, on this number."""

    debts: list[Due]
    reach: Reach
    rules: RuleSet
    allow: Allow


def _dial(spine: Spine, claimed: CallTask, *, agent: str) -> Offer | NotNow | None:
    """Judge and write the intent in one transaction; None when the task is no longer this agent's."""
    conn = spine.conn
    with conn.transaction():
        opening = picture.open_drain(conn, claimed.lender_id)
        epoch = calls.lock_party(conn, claimed.party_id)
        task = calls.lock_task(conn, claimed)
        if task is None or task.state != "claimed" or task.claimed_by != agent or task.contact_id is not None:
            return None
        lender = None
        if opening.release_hash is not None and not opening.is_paused:
            release = spine.release(opening.release_hash)
            lender = release.lenders.get(task.lender_id)
        if lender is None:
            return _refuse(conn, task, [], PAUSED, now=opening.now, release_hash=opening.release_hash)
        scene = Scene(opening.now, release, lender, spine.keyring)
        debts = [d for d in calls.debts_of(conn, task) if d.account_state == "open" and d.balance_minor > 0]
        if not debts:
            return _refuse(conn, task, [], NOTHING_OWED, now=scene.now, release_hash=release.hash)
        person = _person(conn, task, debts[0], epoch, scene)
        way = _find_way(scene, person, debts, _purpose(task))
        offer = _commit(conn, scene, person, task, way, agent=agent) if isinstance(way, _Way) else way
        if isinstance(offer, Offer):
            return offer
        return _refuse(conn, task, debts, offer, now=scene.now, release_hash=release.hash)


def _person(conn: Conn, task: CallTask, row: Due, epoch: int, scene: Scene) -> Person:
    seen = picture.read_picture(
        conn,
        [task.party_id],
        lender_id=task.lender_id,
        now=scene.now,
        lookback=lambda _, reaches: lookback(scene, [row], reaches),
    )
    return Person(
        due=row,
        stop_epoch=epoch,
        facts=customer_facts(row, scene.now),
        reaches=first_reaches(each for each in seen.reaches if each.customer_id == task.customer_id),
        standings=[each for each in seen.standings if each.customer_id == task.customer_id],
        holds=[standing_hold(each) for each in seen.stops],
        history=seen.past(task.party_id),
    )


def _purpose(task: CallTask) -> Purpose:
    """Who asked to be called, or waits for an answer, is not being reminded."""
    if task.reason == REQUESTED:
        return Purpose.REQUESTED_CALLBACK
    return Purpose.REPLY if task.kind == "reply" or task.reason.startswith(FROM_DESK) else Purpose.REMINDER


def _find_way(scene: Scene, person: Person, debts: Sequence[Due], purpose: Purpose) -> _Way | Hold | Suppress:
    """The debts that may be spoken about now; else the refusal that lasts the least."""
    reach = person.reaches.get(AddressChannel.PHONE)
    if reach is None:
        return NO_ADDRESS
    rules = scene.release.packs.applying(
        residence=person.due.residence,
        number_country=reach.country,
        licence=scene.lender.licence,
        on=scene.now.date(),
    )
    if isinstance(rules, Suppress):
        return rules
    verdicts = [(row, judge(case_of(scene, person, row, Channel.CALL, reach, purpose=purpose), rules)) for row in debts]
    allowed = [(row, verdict) for row, verdict in verdicts if isinstance(verdict, Allow)]
    if allowed:
        ends = [verdict.until for _, verdict in allowed if verdict.until is not None]
        allow = Allow(allowed[0][1].because, min(ends, default=None))
        return _Way([row for row, _ in allowed], reach, rules, allow)
    return min((verdict for _, verdict in verdicts if not isinstance(verdict, Allow)), key=_lasts)


def _lasts(verdict: Hold | Suppress) -> tuple[int, float]:
    match verdict:
        case Hold(until=datetime() as until):
            return 0, until.timestamp()
        case Hold():
            return 1, 0.0
        case _:
            return 2, 0.0


def _commit(conn: Conn, scene: Scene, person: Person, task: CallTask, way: _Way, *, agent: str) -> Offer | Suppress:
    """Open the customer's envelope, write the script, and commit to the call."""
    row = way.debts[0]
    catalogue = scene.release.catalogue
    locale = catalogue.locale_for(task.message, Channel.CALL, row.locale) if task.message else None
    try:
        key = customer_key(scene.keyring, row)
        phone = key.open(way.reach.sealed).decode()
        facts = facts_of(scene, row, way.debts, locale or row.locale, name=key.open(row.name_sealed or b"").decode())
        script = catalogue.render(task.message, Channel.CALL, locale, facts).text if task.message and locale else None
        sealed = key.seal(facts.to_json())
    except Unsealable:
        return KEY_DESTROYED
    except (CopyError, BadFacts) as error:
        log.error("copy_refused", message=task.message, channel="call", locale=locale, why=type(error).__name__)
        return COPY_REFUSED
    earlier = calls.earlier_contacts(conn, task.party_id, before=scene.now + ONE_DAY)
    calls.write_dial(conn, task, _intent(scene, person, task, way, locale, sealed), agent=agent, lease=LEASE)
    zone = planning_zone(row.zones)
    return Offer(task, zone, way.allow.because, way.allow.until, earlier, phone, script)


def _intent(scene: Scene, person: Person, task: CallTask, way: _Way, locale: str | None, facts: bytes) -> Dial:
    zones = (*person.facts.zones, *(() if person.facts.zone_confirmed else way.reach.zones))
    return Dial(
        contact_id=new_contact_id(scene.now),
        intended_at=scene.now,
        actor=scene.lender.actor.value,
        address_id=way.reach.address_id,
        address_lookup=way.reach.lookup,
        purpose=_purpose(task).value,
        message=task.message,
        locale=locale,
        rule=way.allow.because.rule,
        pack=way.allow.because.pack,
        packs=list(way.rules.ids),
        zones=list(dict.fromkeys(zones)),
        window_ends=way.allow.until,
        stop_epoch=person.stop_epoch,
        release_hash=scene.release.hash,
        inputs={
            "call_task_id": task.call_task_id,
            "days_past_due": [days_late(row, scene.now) for row in way.debts],
            "zone_confirmed": person.facts.zone_confirmed,
            "residence": person.due.residence,
            "number_country": way.reach.country,
            "number_zones": way.reach.zones,
            "address_kind": way.reach.kind,
        },
        facts_sealed=facts,
        account_ids=[row.account_id for row in way.debts],
    )


def _refuse(
    conn: Conn,
    task: CallTask,
    debts: Sequence[Due],
    verdict: Hold | Suppress,
    *,
    now: datetime,
    release_hash: str | None,
) -> NotNow:
    """Put the answer on record; a call goes back for its time or is cancelled. What is being read stays in hand."""
    because = verdict.because
    until = verdict.until if isinstance(verdict, Hold) else None
    intents.write_answers(
        conn,
        [
            Answer(
                task.party_id, now, 0, row.account_id, task.lender_id, Channel.CALL.value, f"task {task.call_task_id}",
                task.stage or "", "suppress" if isinstance(verdict, Suppress) else "hold", because.rule, because.pack,
                until, release_hash,
            )
            for row in debts
        ],
    )  # fmt: skip
    if task.kind == "call":
        if isinstance(verdict, Suppress):
            calls.cancel(conn, task, reason=because.rule)
        elif verdict is PAUSED:
            calls.put_back(conn, task, not_before=task.not_before)
        else:
            calls.put_back(conn, task, not_before=until or now + LOOK_AGAIN_AFTER)
    return NotNow(task, verdict)


# --------------------------------------------------------------------------------------------------------- housekeeping


def expire_calls(conn: Conn) -> int:
    """End tasks past their time, free claims that ran out, close calls without an ending; how many tasks ended."""
    return calls.expire_tasks(conn) + calls.close_forgotten(conn, disposition=NOT_RECORDED, after=FORGOTTEN_AFTER)
