"""Drain a lane: lock, read, judge, render, intend, commit; then stamp, send and record, wave by wave.

One transaction up to the intents, so a crash before it is a plain roll-back. No transaction is open while anything is
sent. After a crash the sweeps find the rest.
"""

import time
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, count
from operator import attrgetter
from uuid import UUID, uuid4

import structlog

from channels.base import Receipt
from domain.channel import REACHED_BY, AddressChannel, Channel
from domain.ladder import Done, Owed, next_step
from domain.lane import Lane
from domain.reminder import ReminderState
from storage import batches, feedback, intents, lanes, picture, sweeps, waves
from storage.rows import Conn
from worker import poison, turns
from worker.cases import Scene, lookback, planning_zone
from worker.deciding import Decisions, decide
from worker.feedback import ways_to
from worker.letters import Letter
from worker.metrics import BatchMeter, Stage
from worker.outages import stages_spoken
from worker.planner import reminder_for
from worker.releases import Release
from worker.sending import (
    WAVE_SECONDS,
    Answer,
    accepted,
    answer_at_once,
    opted_out_by,
    refused,
    retired_by,
    send_wave,
)
from worker.wiring import Spine

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain did, for logs and metrics. No person in it."""

    batches: int = 0
    reminders: int = 0
    sent: int = 0


def drain(spine: Spine, lane: Lane, *, slice_seconds: float = turns.SLICE_SECONDS, most: int | None = None) -> Drained:
    """Work on a lane until nothing is due in it or the slice is over. Safe to run anywhere, at any time, twice."""
    began = time.monotonic()
    until = began + slice_seconds
    total = Drained()
    cause = lanes.begin_wake_up(spine.conn, lane)
    while True:
        meter = BatchMeter(lane, cause=cause)
        try:
            batch = drain_once(spine, lane, meter, most=most)
        except Exception as error:  # somebody in the batch cannot be decided about: the others must not wait for it
            meter.fail(error)
            spine.watch.failed(error)
            batch = Drained()
        total = Drained(total.batches + 1, total.reminders + batch.reminders, total.sent + batch.sent)
        if batch.reminders == 0 or turns.is_over(spine.conn, lane, began=began, until=until):
            spine.watch.put_down()
            return total


def drain_once(spine: Spine, lane: Lane, meter: BatchMeter, *, most: int | None = None) -> Drained:
    """One batch of a lane, from the lock to the last record."""
    batch_id = uuid4()
    conn = spine.conn
    with conn.transaction():
        opening = picture.open_drain(conn, lane.lender)
        if opening.is_paused or opening.release_hash is None:
            return Drained()
        release = spine.release(opening.release_hash)
        lender = release.lenders.get(lane.lender)
        if lender is None:
            log.error("lender_not_in_release", lender=lane.lender, release=release.hash[:12])
            return Drained()
        limit = most or spine.pace.batch(lane.channel, settings=spine.settings)
        routes = spine.routes(release)
        limit = spine.traffic.room(conn, routes, lender, lane.channel, wanted=limit, now=opening.now)
        if not limit:  # every provider of the channel is stopped, or every rate is met: its lane stays as it is
            return Drained()
        epochs = picture.lock_parties(conn, lane, now=opening.now, limit=limit)
        if not epochs:
            return Drained()
        epochs = spine.watch.take_up(lane, epochs)
        if not epochs:
            return Drained()
        meter.lap(Stage.LOCK)
        scene = Scene(opening.now, release, lender, spine.keyring, spine.public_url)
        seen = picture.read_picture(
            conn, list(epochs), lender_id=lane.lender, now=opening.now, lookback=partial(lookback, scene)
        )
        meter.lap(Stage.READ)
        due = len(seen.due)
        decisions = decide(scene, seen, epochs, spoken=stages_spoken(conn, release, seen.due, now=opening.now))
        spine.traffic.route(routes, lender, decisions, release_hash=release.hash, now=opening.now)
        meter.lap(Stage.DECIDE)
        sheet = _write(conn, batch_id, lane, decisions, spine=spine, now=opening.now)
        poison.set_aside(conn, decisions.stumbles)
    spine.watch.decided()
    meter.lap(Stage.INTEND)
    meter.judged(due, decisions.ended, decisions.answers)
    sent = 0 if sheet is None else send_batch(spine, sheet, release, decisions.letters, meter)
    spine.watch.came_through(but=decisions.stumbles)
    meter.close()
    return Drained(1, due, sent)


def _write(
    conn: Conn, batch_id: UUID, lane: Lane, decisions: Decisions, *, spine: Spine, now: datetime
) -> batches.Sheet | None:
    """Write down what was decided; the letters as they stand in the batch, None where there are none."""
    intents.write_answers(conn, decisions.answers)
    intents.write_tasks(conn, decisions.tasks)
    intents.postpone(conn, decisions.postponed)
    intents.end(conn, decisions.ended, at=now)
    intents.plan(conn, decisions.planned)
    letters = decisions.letters
    if not letters:
        return None
    sheet = batches.Sheet(batch_id, list(map(_INTENT, letters)), list(map(_SUCCESSORS, letters)))
    batches.open_batch(conn, sheet, lane, worker=spine.name, lease=timedelta(seconds=spine.settings.lease_seconds))
    return sheet


# ------------------------------------------------------------------------------------------------------------ the waves


_INTENT = attrgetter("intent")
_SUCCESSORS = attrgetter("successors")


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be done about a wave that was answered."""

    record: batches.Record
    back: Sequence[waves.Result] = ()  # to policy
    dead: Sequence[tuple[int, int, str]] = ()  # addresses
    unsure: Set[int] = frozenset()  # parties


def send_batch(
    spine: Spine, sheet: batches.Sheet, release: Release, letters: Sequence[Letter], meter: BatchMeter
) -> int:
    """Send committed intents in waves; how many were accepted. What may not go any more returns to policy, unsent.

    The record of one wave and the stamp of the next are one statement: half the commits.
    """
    adapters, batch_id = spine.adapters(release), sheet.batch_id
    usual = letters[0].outbound.channel
    taken = start = 0
    passage = waves.Passage(batch_id, lease=timedelta(seconds=spine.settings.lease_seconds))
    turn, numbers = partial(_turn, passage=passage), count()
    nothing = told = Told(waves.record_of(batch_id, (), ()))
    while start < len(letters):
        end = min(start + spine.pace.wave(usual, settings=spine.settings), len(letters))
        wave = going = letters[start:end]
        asked = time.monotonic()
        stamped = spine.persist(
            partial(turn, told=told, wave=sheet.asked(start, end), number=next(numbers), tries=count())
        )
        told = nothing
        meter.lap(Stage.STAMP)
        # A worker that stood still since it asked has lost its lease, whatever it was told then.
        if stamped is None or time.monotonic() - asked > spine.settings.lease_seconds:
            log.warning("lease_lost", batch_id=str(batch_id), unsent=len(letters) - start)
            return taken
        if len(stamped) < len(wave):
            going = [letter for letter in wave if letter.intent.contact_id in stamped]
            spine.persist(partial(_give_back, batch_id=batch_id, wave=wave, stamped=stamped))
        if going:
            channel = sheet.channel(start, end)
            began = time.monotonic()
            answers = answer_at_once(adapters, channel, going)
            if answers is None:
                answers = spine.loop.run(send_wave(adapters, going), within_seconds=WAVE_SECONDS + 5)
            spine.pace.took(usual, messages=len(going), seconds=time.monotonic() - began)
            receipts = [answer for answer in answers if isinstance(answer, Receipt)]
            taken += len(receipts)
            meter.lap(Stage.SEND)
            if channel is not None and len(receipts) == len(wave):  # nearly always
                providers = [receipt.provider for receipt in receipts]
                refs = [receipt.provider_ref for receipt in receipts]
                told = Told(sheet.accepted(start, end, providers=providers, refs=refs))
                meter.accepted(channel, wave, providers, reminders=sheet.reminders(start, end))
            else:
                told = _told(spine, batch_id, going, answers, meter)
        start = end
    end = len(letters)
    spine.persist(partial(turn, told=told, wave=sheet.asked(end, end), number=next(numbers), tries=count()))
    spine.settle()
    meter.lap(Stage.RECORD)
    return taken


def _told(spine: Spine, batch_id: UUID, going: Sequence[Letter], answers: Sequence[Answer], meter: BatchMeter) -> Told:
    """What a wave's answers come to, letter by letter."""
    pairs = list(zip(going, answers, strict=True))
    _obey(spine, [pair for pair in pairs if not isinstance(pair[1], Receipt)])
    results = [
        accepted(letter.intent, answer)
        if isinstance(answer, Receipt)
        else refused(letter, answer, provider=spine.provider_of(letter.outbound))
        for letter, answer in pairs
    ]
    meter.answered(going, answers, results)
    planned, uncertain = ReminderState.PLANNED, ReminderState.UNCERTAIN
    over = [letter for letter, result in zip(going, results, strict=True) if result.state is not planned]
    following = list(chain.from_iterable(map(_SUCCESSORS, over)))
    return Told(
        waves.record_of(batch_id, results, following),
        back=[result for result in results if result.state is planned],
        dead=[row for letter, answer in pairs if (row := retired_by(letter, answer)) is not None],
        unsure={result.party_id for result in results if result.state is uncertain},
    )


def _obey(spine: Spine, errors: Sequence[tuple[Letter, Answer]]) -> None:
    """An opt-out that the provider knows of counts at once, for everyone who shares the address."""
    refusals = [
        (lookup, letter.outbound.channel)
        for letter, answer in errors
        if (lookup := opted_out_by(letter, answer)) is not None
    ]
    if refusals:
        spine.persist(partial(_withdraw, refusals=refusals))


def _withdraw(conn: Conn, *, refusals: Sequence[tuple[bytes, Channel]]) -> None:
    at = lanes.business_now(conn)
    feedback.withdraw_consent(
        conn, [feedback.Wish(lookup, ways_to(REACHED_BY[channel]), at, "provider") for lookup, channel in refusals]
    )


def _turn(
    conn: Conn,
    *,
    passage: waves.Passage,
    told: Told,
    wave: batches.Asked,
    number: int,
    tries: Iterator[int],
) -> Collection[UUID] | None:
    """Record the wave before and stamp the next, or close the batch after the last; which contacts may go.

    None when the lease is lost. If the connection dies at the commit this is done again: recording twice changes
    nothing, and a stamp of our own that was committed unseen counts, since nothing has been sent on it.
    """
    turn = partial(passage.turn, conn, record=told.record, asked=wave, number=number, again=next(tries) > 0)
    if wave.contact_ids and not told.back and not told.dead:  # a statement of its own: nothing to open, or to commit
        stamped = turn()
    else:
        with conn.transaction():
            # First: it takes the batch's row, and whoever holds that may wait for a reminder of ours.
            stamped = turn()
            waves.go_back(conn, told.back)
            waves.retire_addresses(conn, told.dead)
            if not wave.contact_ids:
                batches.close_batch(conn, passage.batch_id)
    if told.unsure:  # what the provider reported while its answer was awaited found nothing uncertain
        feedback.prove_uncertain(conn, told.unsure)
    return stamped


def _give_back(conn: Conn, *, batch_id: UUID, wave: Sequence[Letter], stamped: Collection[UUID]) -> None:
    """What may not go any more returns to policy in the same breath, unsent."""
    back = [letter.intent for letter in wave if letter.intent.contact_id not in stamped]
    waves.release_unstamped(conn, batch_id, back, code="changed_since_judged")


# ----------------------------------------------------------------------------------------------------------- the sweeps


@dataclass(frozen=True, slots=True)
class Sweep:
    batches: int
    uncertain: int
    back: int


def sweep(spine: Spine) -> Sweep:
    """Take back what dead workers held and plan on for what is uncertain. Idempotent; any worker may run it."""
    conn = spine.conn
    with conn.transaction():
        ended, uncertain, back = sweeps.sweep_batches(conn)
        if uncertain:
            opening = picture.open_drain(conn, "*")
            if opening.release_hash is not None:
                plan_after(
                    conn,
                    spine.release(opening.release_hash),
                    [(row.party_id, row.reminder_id) for row in uncertain],
                    now=opening.now,
                )
        feedback.prove_uncertain(conn)
    if ended:
        log.warning("swept", batches=ended, uncertain=len(uncertain), back=back)
    lanes.forget_batches(conn)
    spine.look_after_providers()
    return Sweep(ended, len(uncertain), back)


def plan_after(conn: Conn, release: Release, ended: Sequence[tuple[int, int]], *, now: datetime) -> int:
    """Plan the next steps after reminders (party, reminder) that ended outside a wave; how many were new."""
    planned = []
    for row in sweeps.owed_after(conn, ended):
        ladder = release.ladders.get(row.ladder)
        if ladder is None:
            continue
        owed = Owed(row.due_on, row.balance_minor, row.currency, planning_zone(row.zones))
        following = next_step(ladder, owed, Done(row.step, row.planned_for), now=now)
        if following is not None:
            planned.append(
                reminder_for(
                    following, party_id=row.party_id, account_id=row.account_id, lender_id=row.lender_id,
                    ladder=row.ladder, reachable={AddressChannel(name) for name in row.reachable},
                )
            )  # fmt: skip
    return intents.plan(conn, planned)
