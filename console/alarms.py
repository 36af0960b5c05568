"""What an operator must look at: each alarm says what was seen and what to do. The alert rules have the same numbers.

Red: people are not reached, or might be wronged, until somebody acts. Amber: look at it today. docs/operating.md tells
more about each; `deploy/prometheus/alerts.yml` raises the same ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from console.pulse import ProviderHealth, Pulse, by_label, providers
from storage.standing import MOST_COUNTED, LaneLag
from worker.metrics import REFUSED, SendResult

#: The goal is a second from due to handed over; a restart of everything takes ten.
LAG_AMBER: Final = timedelta(seconds=10)
LAG_RED: Final = timedelta(seconds=60)

#: Leases are looked through every five seconds: what is past its end for longer, nobody sweeps.
OVERDUE_RED: Final = timedelta(seconds=30)

#: A STOP that waits here is not obeyed yet.
INBOX_AMBER: Final = timedelta(seconds=10)
INBOX_RED: Final = timedelta(seconds=60)

#: Of so many attempts in the last minutes, fewer accepted than this. With less one cannot tell.
ENOUGH_ATTEMPTS: Final = 20
ACCEPTED_AMBER: Final = 0.9
ACCEPTED_RED: Final = 0.5

#: Partitions are made three months ahead, every night.
PARTITIONS_AMBER: Final = timedelta(days=31)
PARTITIONS_RED: Final = timedelta(days=7)

#: A nightly job that is due for so long has not run.
JOBS_AMBER: Final = timedelta(hours=1)

#: A month that is kept no longer goes the next night; after so long it should have gone.
MONTHS_AMBER: Final = timedelta(days=3)

CONNECTIONS_AMBER: Final = 0.75
CONNECTIONS_RED: Final = 0.9
REPLAY_AMBER: Final = timedelta(seconds=30)

#: What holds a transaction open for so long keeps dead rows from being cleaned up.
TRANSACTION_AMBER: Final = timedelta(minutes=10)

#: Dead rows for each living one in the hot table, where there are enough of them to matter.
BLOAT_AMBER: Final = 1.0
ENOUGH_ROWS: Final = 100_000

#: Wake-ups are dropped after a minute: so many that wait mean that nobody takes them.
QUEUE_AMBER: Final = 10_000
MEMORY_RED: Final = 0.9


class Colour(StrEnum):
    RED = "red"
    AMBER = "amber"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing to look at. Nothing personal in it."""

    colour: Colour
    subject: str
    seen: str
    remedy: str


def alarms(pulse: Pulse) -> list[Alarm]:
    """Everything that is wrong now, the worst first."""
    found = [alarm for check in CHECKS for alarm in check(pulse)]
    return sorted(found, key=lambda alarm: alarm.colour is not Colour.RED)


def _red(subject: str, seen: str, remedy: str) -> Alarm:
    return Alarm(Colour.RED, subject, seen, remedy)


def _amber(subject: str, seen: str, remedy: str) -> Alarm:
    return Alarm(Colour.AMBER, subject, seen, remedy)


# ------------------------------------------------------------------------------------------------------------ the fleet


def _lanes(pulse: Pulse) -> Iterator[Alarm]:
    for lane in _late(pulse):
        colour = Colour.RED if lane.lag >= LAG_RED else Colour.AMBER
        yield Alarm(
            colour, "lag", f"{lane.lender_id} {lane.channel}: {counted(lane.due)} due, the first {span(lane.lag)} ago",
            "see whether workers live, their queue is taken, and the provider accepts; then add workers",
        )  # fmt: skip


def _workers(pulse: Pulse) -> Iterator[Alarm]:
    workers = [process for process in pulse.living if process.role == "worker"]
    if not workers and _late(pulse):
        yield _red("workers", "no worker was heard within the minute, and reminders are due", "start workers: duly up")
    live = pulse.standing.release_hash
    holding_on = {w.release_hash for w in workers if w.release_hash is not None and w.release_hash != live}
    if live is not None and holding_on:
        yield _amber(
            "release", f"workers work by {', '.join(sorted(each[:12] for each in holding_on))}, live is {live[:12]}",
            "normal until their next batch; if it lasts, their logs say why the live release was refused",
        )  # fmt: skip


def _late(pulse: Pulse) -> list[LaneLag]:
    """Lanes that are late though nobody paused them."""
    stopped = {scope for scope, _ in pulse.standing.paused}
    return [lane for lane in pulse.standing.lanes if lane.lag >= LAG_AMBER and not stopped & {"*", lane.lender_id}]


def _leases(pulse: Pulse) -> Iterator[Alarm]:
    overdue = pulse.standing.overdue_for
    if overdue is not None and overdue >= OVERDUE_RED:
        yield _red(
            "leases", f"{pulse.standing.overdue_leases} batches are past their lease, one for {span(overdue)}",
            "nobody sweeps: see whether a beat and a worker for the queue `maintenance` live",
        )  # fmt: skip


def _uncertain(pulse: Pulse) -> Iterator[Alarm]:
    if pulse.standing.uncertain_today:
        yield _amber(
            "uncertain", f"{counted(pulse.standing.uncertain_today)} reminders of the last 24 hours may have been sent",
            "they are never sent again by themselves: ask the provider, see docs/operating.md",
        )  # fmt: skip


def _inbox(pulse: Pulse) -> Iterator[Alarm]:
    waits = pulse.standing.inbox_waits
    if waits is None or waits < INBOX_AMBER:
        return
    colour = Colour.RED if waits >= INBOX_RED else Colour.AMBER
    yield Alarm(
        colour, "inbox", f"{counted(pulse.standing.inbox_waiting)} replies and receipts wait, the first {span(waits)}",
        "a STOP among them is not obeyed yet: see whether a worker for the queue `feedback` lives",
    )  # fmt: skip


def _jobs(pulse: Pulse) -> Iterator[Alarm]:
    late, until = pulse.standing.jobs_late, pulse.standing.partitions_until
    if late is not None and late >= JOBS_AMBER:
        yield _amber("nightly jobs", f"one is {span(late)} late", "see the logs of the queue `maintenance`")
    if until is None or until - pulse.standing.business_now < PARTITIONS_AMBER:
        left = until - pulse.standing.business_now if until is not None else timedelta()
        colour = Colour.RED if left < PARTITIONS_RED else Colour.AMBER
        yield Alarm(colour, "partitions", f"the last one ends in {span(left)}", "see the nightly job `partitions`")


def _retention(pulse: Pulse) -> Iterator[Alarm]:
    kept = pulse.keeping
    if kept is None:
        return
    if kept.refused is not None:
        yield _amber(
            "retention", f"nothing is dropped: {kept.refused}", "docs/operating.md, How long the ledger is kept"
        )
    if kept.wanted is None or kept.first is None or not kept.is_late(pulse.standing.business_now - MONTHS_AMBER):
        return
    seen = f"{kept.first:%Y-%m} is still there, though only {kept.wanted:%Y-%m} and later are to be kept"
    if kept.held_by is not None and kept.before is not None and kept.before <= kept.first:
        yield _amber(
            "retention", f"{seen}: {kept.held_by.what} goes back to {kept.held_by.since:%Y-%m-%d}",
            "let somebody end it, and the months go the next night",
        )  # fmt: skip
    else:
        yield _amber(
            "retention", seen,
            "see the nightly job `retention`: something holds its tables each night, a dump or an open transaction",
        )  # fmt: skip


def _release(pulse: Pulse) -> Iterator[Alarm]:
    if pulse.standing.release_hash is None:
        colour = Colour.RED if _late(pulse) else Colour.AMBER
        yield Alarm(colour, "release", "none is live: nothing is sent", "duly release publish")


def _pauses(pulse: Pulse) -> Iterator[Alarm]:
    for scope, reason in pulse.standing.paused:
        yield _amber("paused", f"{'everyone' if scope == '*' else scope} ({reason})", f"duly resume '{scope}'")


def _suspects(pulse: Pulse) -> Iterator[Alarm]:
    if pulse.standing.suspects:
        yield _amber(
            "suspects", f"{counted(pulse.standing.suspects)} parties in whose batches processes died",
            "see docs/operating.md: they are decided about alone, or kept aside",
        )  # fmt: skip


# --------------------------------------------------------------------------------------------------------- what it uses


def _providers(pulse: Pulse) -> Iterator[Alarm]:
    for health in providers(pulse.recent):
        subject = f"provider {health.provider} ({health.channel})"
        if health.results.get(SendResult.MISCONFIGURED):
            yield _red(subject, f"{_shares(health)}: our credentials or senders are refused", "duly doctor")
        elif health.attempts >= ENOUGH_ATTEMPTS and health.accepted_share < ACCEPTED_AMBER:
            colour = Colour.RED if health.accepted_share < ACCEPTED_RED else Colour.AMBER
            yield Alarm(colour, subject, _shares(health), "see the provider's status page; what it refuses waits")


def _breakers(pulse: Pulse) -> Iterator[Alarm]:
    for breaker in pulse.standing.breakers:
        if breaker.state == "closed":
            continue
        is_red = breaker.state == "misconfigured" or breaker.channel_stopped
        why = f" ({breaker.code})" if breaker.code else ""
        yield Alarm(
            Colour.RED if is_red else Colour.AMBER, f"provider {breaker.provider} ({breaker.channel})",
            f"its breaker is {breaker.state} since {span(breaker.lasts)}{why}"
            + (", and nobody else carries the channel" if breaker.channel_stopped else ""),
            f"correct our credentials and restart the workers, or `duly providers reset {breaker.provider}`"
            if breaker.state == "misconfigured"
            else "it is tried again by itself; see the provider's status page",
        )  # fmt: skip


def _shares(health: ProviderHealth) -> str:
    return ", ".join(f"{number:,} {result}" for result, number in sorted(health.results.items()))


def _database(pulse: Pulse) -> Iterator[Alarm]:
    seen = pulse.database
    used = seen.connections / seen.max_connections
    if seen.is_standby:
        yield _red("database", "a standby: nothing can be written", "point DULY_DATABASE_URL at the primary")
    if (seen.fsync, seen.synchronous_commit) != ("on", "on"):
        yield _red(
            "database", f"fsync {seen.fsync}, synchronous_commit {seen.synchronous_commit}",
            "turn both on: a stamp that a crash forgets is a second message",
        )  # fmt: skip
    if used >= CONNECTIONS_AMBER:
        colour = Colour.RED if used >= CONNECTIONS_RED else Colour.AMBER
        yield Alarm(
            colour, "database", f"{seen.connections} of {seen.max_connections} connections are taken",
            "raise max_connections, put a pooler before it, or run fewer processes",
        )  # fmt: skip
    if seen.replay_lag is not None and seen.replay_lag >= REPLAY_AMBER:
        yield _amber("database", f"a replica is {span(seen.replay_lag)} behind", "a failover would lose that much")
    if seen.longest_transaction is not None and seen.longest_transaction >= TRANSACTION_AMBER:
        yield _amber(
            "database", f"a transaction is open for {span(seen.longest_transaction)}",
            "end it: dead rows cannot be cleaned up meanwhile",
        )  # fmt: skip
    if seen.rows >= ENOUGH_ROWS and seen.dead_rows > BLOAT_AMBER * seen.rows:
        yield _amber(
            "database", f"{seen.dead_rows:,} dead rows in the reminders, {seen.rows:,} living",
            "see whether autovacuum comes through: pg_stat_progress_vacuum",
        )  # fmt: skip


def _broker(pulse: Pulse) -> Iterator[Alarm]:
    seen = pulse.broker
    if not seen.is_up:
        yield _red("broker", f"{seen.place} does not answer: {seen.trouble}", "start it; nothing is lost meanwhile")
    for queue, waiting in seen.queues.items():
        if waiting >= QUEUE_AMBER:
            yield _amber("broker", f"{waiting:,} messages wait in {queue}", f"start workers for the queue `{queue}`")
    if seen.memory_bytes and seen.most_memory_bytes and seen.memory_bytes > MEMORY_RED * seen.most_memory_bytes:
        yield _red("broker", "its memory is nearly full", "give it more; a full one refuses wake-ups")
    refused = by_label(pulse.recent, REFUSED)
    if refused:
        told = ", ".join(f"{number:,} ({reason})" for reason, number in refused.items())
        yield _amber("broker", f"messages were refused lately: {told}", "somebody else writes to it: see who may")


CHECKS: Final[tuple[Callable[[Pulse], Iterator[Alarm]], ...]] = (
    _lanes, _workers, _leases, _uncertain, _inbox, _release, _breakers, _providers, _database, _broker, _jobs,
    _retention, _pauses, _suspects,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------ how we say them


def counted(number: int) -> str:
    """A number that was counted no further than MOST_COUNTED."""
    return f"{number:,}" if number < MOST_COUNTED else f"at least {MOST_COUNTED:,}"


def span(lasting: timedelta) -> str:
    """A time as people say it."""
    seconds = lasting.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
