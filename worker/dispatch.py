"""Drain a lane: lock, read, judge, render, intend, commit; then stamp, send and record, wave by wave.

One transaction up to the intents, so a crash before it is a plain roll-back. No transaction is open while anything is
sent. After a crash the sweeps find the rest.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import structlog

from channels.base import Adapter
from domain.channel import AddressChannel, Channel
from domain.ladder import Done, Owed, next_step
from domain.lane import Lane
from storage import intents, lanes, picture, sweeps, waves
from storage.rows import Conn
from worker.cases import Scene, planning_zone
from worker.deciding import Decisions, Letter, decide
from worker.planner import reminder_for
from worker.releases import Release
from worker.sending import WAVE_SECONDS, Answer, result_of, retired_by, send_wave
from worker.wiring import Spine

log = structlog.get_logger()

#: A drain hands its worker back after this long, so that no lane keeps the others waiting.
SLICE_SECONDS = 5.0

#: How far back history is read: a calendar month and a week, the longest window of any pack.
HISTORY = timedelta(days=40)


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain did, for logs and metrics. No person in it."""

    batches: int = 0
    reminders: int = 0
    sent: int = 0


def drain(spine: Spine, lane: Lane, *, slice_seconds: float = SLICE_SECONDS) -> Drained:
    """Work on a lane until nothing is due in it or the slice is over. Safe to run anywhere, at any time, twice."""
    until = time.monotonic() + slice_seconds
    total = Drained()
    lanes.begin_wake_up(spine.conn, lane)
    while True:
        batch = drain_once(spine, lane)
        total = Drained(total.batches + 1, total.reminders + batch.reminders, total.sent + batch.sent)
        if batch.reminders == 0 or time.monotonic() >= until:
            return total


def drain_once(spine: Spine, lane: Lane) -> Drained:
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
        epochs = picture.lock_parties(conn, lane, now=opening.now, limit=spine.settings.batch_size)
        if not epochs:
            return Drained()
        seen = picture.read_picture(
            conn, list(epochs), lender_id=lane.lender, now=opening.now, since=opening.now - HISTORY
        )
        scene = Scene(opening.now, release, lender, spine.keyring)
        decisions = decide(scene, seen, epochs)
        _write(conn, batch_id, lane, decisions, spine=spine, now=opening.now)
    sent = 0
    if decisions.letters:
        sent = send_batch(spine, batch_id, release, decisions.letters)
    return Drained(1, len(seen.due), sent)


def _write(conn: Conn, batch_id: UUID, lane: Lane, decisions: Decisions, *, spine: Spine, now: datetime) -> None:
    intents.write_answers(conn, decisions.answers)
    intents.write_tasks(conn, decisions.tasks)
    intents.postpone(conn, decisions.postponed)
    intents.end(conn, decisions.ended, at=now)
    intents.plan(conn, decisions.planned)
    if decisions.letters:
        lease = timedelta(seconds=spine.settings.lease_seconds)
        intents.open_batch(conn, batch_id, lane, worker=spine.name, lease=lease, size=len(decisions.letters))
        intents.write_intents(conn, batch_id, [letter.intent for letter in decisions.letters])


# ------------------------------------------------------------------------------------------------------------ the waves


def send_batch(spine: Spine, batch_id: UUID, release: Release, letters: Sequence[Letter]) -> int:
    """Send committed intents in waves; how many were accepted. What may not go any more returns to policy, unsent."""
    adapters = spine.adapters(release)
    lease = timedelta(seconds=spine.settings.lease_seconds)
    size = spine.settings.wave_size
    accepted = 0
    for start in range(0, len(letters), size):
        wave = letters[start : start + size]
        # Not repeated if the connection dies: whether the stamp was committed is then unknown, and the sweep decides.
        stamped = _stamp(spine.conn, batch_id, wave, lease)
        if stamped is None:
            log.warning("lease_lost", batch_id=str(batch_id), unsent=len(letters) - start)
            return accepted
        going = [letter for letter in wave if letter.intent.contact_id in stamped]
        if not going:
            continue
        answers = spine.loop.run(send_wave(adapters, going), within_seconds=WAVE_SECONDS + 5)
        accepted += spine.persist(partial(_record, adapters=adapters, wave=going, answers=answers))
    spine.persist(partial(waves.close_batch, batch_id=batch_id))
    return accepted


def _stamp(conn: Conn, batch_id: UUID, wave: Sequence[Letter], lease: timedelta) -> set[UUID] | None:
    """Stamp a wave; the contacts that may go, or None without a lease. The others are given back in the same breath."""
    asked = [(letter.intent.party_id, letter.intent.contact_id, letter.intent.window_ends) for letter in wave]
    with conn.transaction():
        allowed = waves.stamp(conn, batch_id, asked, lease=lease)
        if allowed is None:
            return None
        stamped = set(allowed)
        refused = [letter.intent for letter in wave if letter.intent.contact_id not in stamped]
        waves.release_unstamped(
            conn, batch_id, [(i.party_id, i.contact_id, i.intended_at) for i in refused], code="changed_since_judged"
        )
    return stamped


def _record(
    conn: Conn, *, adapters: Mapping[Channel, Adapter], wave: Sequence[Letter], answers: Sequence[Answer]
) -> int:
    """Record a wave's answers and plan what follows; how many were accepted."""
    with conn.transaction():
        now = lanes.business_now(conn)
        results = [
            result_of(letter, answer, provider=_provider(adapters, letter), now=now)
            for letter, answer in zip(wave, answers, strict=True)
        ]
        ended = waves.record(conn, results)
        waves.retire_addresses(conn, [row for row in map(retired_by, wave, answers) if row is not None])
        intents.plan(
            conn,
            [
                new
                for letter in wave
                if (letter.intent.party_id, letter.intent.contact_id) in ended
                for new in letter.successors
            ],
        )
    return sum(result.kind == "sent" for result in results)


def _provider(adapters: Mapping[Channel, Adapter], letter: Letter) -> str | None:
    adapter = adapters.get(letter.outbound.channel)
    return adapter.name if adapter else None


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
        batches, uncertain, back = sweeps.sweep_batches(conn)
        if uncertain:
            opening = picture.open_drain(conn, "*")
            if opening.release_hash is not None:
                plan_after(
                    conn,
                    spine.release(opening.release_hash),
                    [(row.party_id, row.reminder_id) for row in uncertain],
                    now=opening.now,
                )
    if batches:
        log.warning("swept", batches=batches, uncertain=len(uncertain), back=back)
    return Sweep(batches, len(uncertain), back)


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
