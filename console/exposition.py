"""`/metrics`: what the whole fleet counted, and how it stands, in Prometheus' text form.

Everything comes from the database and the broker at the moment of the scrape, so one console is one target for the
whole fleet, however many workers there are and whoever of them died since. Names and labels are few: lenders, channels,
stages, rules, providers; never a person, an account or an address.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final

import psycopg
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from config.settings import Settings
from console.pulse import SUM, Pulse, series, take_pulse
from storage import database
from worker.broker import Broker
from worker.metrics import FAMILIES, Family

log = structlog.get_logger()

#: Several Prometheuses and impatient people share one look at the database.
CACHED_SECONDS: Final = 5.0

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: Every gauge, with its labels and what it says. A test holds dashboard and alert rules to these and to FAMILIES.
GAUGES: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "duly_up": ((), "1 while the database answers; everything else is missing when it does not."),
    "duly_business_time_seconds": ((), "Business time as a Unix time: the real clock, or the stepped one."),
    "duly_due_lag_seconds": (("lender", "channel"), "How long the first due reminder has been due, business time."),
    "duly_due_reminders": (("lender", "channel"), "Reminders that are due; counted up to 10,000."),
    "duly_planned_reminders": ((), "Reminders that are planned; an estimate beyond 10,000."),
    "duly_uncertain_reminders": ((), "Reminders of the last 24 hours that may or may not have been sent."),
    "duly_open_batches": ((), "Batches in the hands of workers."),
    "duly_oldest_lease_seconds": ((), "Age of the oldest open batch."),
    "duly_overdue_leases": ((), "Batches past their lease that no sweep has taken back yet."),
    "duly_overdue_lease_seconds": ((), "How long the first of them is past its lease."),
    "duly_inbox_waiting": ((), "Replies and receipts that wait to be understood; counted up to 10,000."),
    "duly_inbox_lag_seconds": ((), "How long the first of them has waited. A STOP may be among them."),
    "duly_inbox_early": ((), "Receipts that came before what they are about; looked at again."),
    "duly_call_tasks": (("kind", "state"), "Work that waits for people."),
    "duly_paused": (("scope",), "1 for each pause that stands; scope * is everyone."),
    "duly_provider_state": (("provider", "channel", "state"), "1, with the state of each provider's breaker."),
    "duly_provider_weight": (("provider", "channel"), "The provider's share of its channel now."),
    "duly_channel_stopped": (("channel",), "1 for a channel that no provider may carry now."),
    "duly_suspect_parties": ((), "Parties in whose batches processes died."),
    "duly_release_live": (("release",), "1, with the first digits of the live release."),
    "duly_partitions_ahead_seconds": ((), "Until the last partition of the ledger ends."),
    "duly_ledger_overdue_seconds": (
        (),
        "How long the oldest month should be gone by DULY_KEEP_LEDGER_DAYS; missing where all is kept.",
    ),
    "duly_jobs_late_seconds": ((), "How long the latest nightly job has been due."),
    "duly_processes": (("role", "release"), "Processes heard of within the minute, by the release they work with."),
    "duly_process_resident_memory_bytes": (("role",), "Memory of the largest of these processes."),
    "duly_database_connections": ((), "Connections to the database server, of everybody."),
    "duly_database_max_connections": ((), "Connections that it allows."),
    "duly_database_lock_waits": ((), "Sessions that wait for a lock now."),
    "duly_database_longest_transaction_seconds": ((), "Age of the oldest open transaction in our database."),
    "duly_database_replicas": ((), "Replicas that are attached."),
    "duly_database_replay_lag_seconds": ((), "How far the slowest replica is behind."),
    "duly_database_size_bytes": ((), "Size of our database."),
    "duly_database_is_standby": ((), "1 on a standby, which cannot be written to."),
    "duly_database_is_durable": ((), "1 while fsync and synchronous_commit are on."),
    "duly_database_schema": (("version",), "1, with the version of the schema."),
    "duly_reminder_dead_rows": ((), "Dead rows of the hot table that wait for vacuum, by the server's statistics."),
    "duly_reminder_rows": ((), "Living rows of the hot table, by the server's statistics."),
    "duly_broker_up": ((), "1 while the broker answers."),
    "duly_broker_queue_messages": (("queue",), "Wake-ups that wait."),
    "duly_broker_unacked_messages": ((), "Wake-ups that were taken and not acknowledged yet."),
    "duly_broker_connections": ((), "Connections to the broker."),
    "duly_broker_memory_bytes": ((), "Memory that the broker uses."),
    "duly_broker_max_memory_bytes": ((), "Memory that it may use; missing where it may use all."),
    "duly_scrape_seconds": ((), "How long this look took."),
}

Sample = tuple[str, tuple[str, ...], float | None]


class Exposition:
    """The text that is scraped, made anew when it is older than a few seconds. Safe from several threads."""

    def __init__(
        self,
        settings: Settings,
        database_url: str,
        broker_url: str,
        *,
        cached_seconds: float = CACHED_SECONDS,
    ) -> None:
        self._settings = settings
        self._urls = database_url, broker_url
        self._cached_seconds = cached_seconds
        self._lock = threading.Lock()
        self._text: tuple[float, bytes] | None = None

    def text(self) -> bytes:
        """The present text; one caller at a time looks, the others get what it found."""
        with self._lock:
            if self._text is None or time.monotonic() - self._text[0] >= self._cached_seconds:
                self._text = time.monotonic(), self._look()
            return self._text[1]

    def _look(self) -> bytes:
        began = time.perf_counter()
        try:
            with database.connect(
                self._urls[0], autocommit=True, application_name="duly metrics", patience_seconds=0
            ) as conn:
                pulse = take_pulse(conn, self._settings, self._urls[1])
        except (psycopg.Error, database.DatabaseDown) as error:
            log.warning("metrics_without_database", error=type(error).__name__)
            return render([("duly_up", (), 0.0)], {})
        took = time.perf_counter() - began
        return render([*gauges(pulse), ("duly_scrape_seconds", (), took)], pulse.totals)


def render(samples: Iterable[Sample], totals: Mapping[str, float]) -> bytes:
    """Gauges, counters and histograms as text. What has no value is left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed([*_gauge_metrics(samples), *_counted_metrics(totals)]))
    return generate_latest(registry)


class _Fixed(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _gauge_metrics(samples: Iterable[Sample]) -> Iterator[Metric]:
    by_name: dict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    for name, labels, value in samples:
        if value is not None:
            by_name[name].append((labels, value))
    for name, (label_names, says) in GAUGES.items():
        if name in by_name:
            metric = GaugeMetricFamily(name, says, labels=label_names)
            for labels, value in by_name[name]:
                metric.add_metric(labels, value)
            yield metric


def _counted_metrics(totals: Mapping[str, float]) -> Iterator[Metric]:
    for family in FAMILIES:
        yield _histogram(family, totals) if family.buckets else _counter(family, totals)


def _counter(family: Family, totals: Mapping[str, float]) -> Metric:
    metric = CounterMetricFamily(family.name.removesuffix("_total"), family.says, labels=family.labels)
    for labels, _, number in series(totals, family):
        metric.add_metric(labels, number)
    return metric


def _histogram(family: Family, totals: Mapping[str, float]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.says, labels=family.labels)
    counts: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for labels, part, number in series(totals, family):
        counts[labels][part or SUM] = number
    for labels, parts in counts.items():
        metric.add_metric(labels, _cumulative(family, parts), parts.get(SUM, 0.0))
    return metric


def _cumulative(family: Family, parts: Mapping[str, float]) -> list[tuple[str, float]]:
    buckets, below = [], 0.0
    for bound in (*map(str, family.buckets), "inf"):
        below += parts.get(bound, 0.0)
        buckets.append(("+Inf" if bound == "inf" else bound, below))
    return buckets


# ----------------------------------------------------------------------------------------------------------- the gauges


def gauges(pulse: Pulse) -> Iterator[Sample]:
    """How the fleet stands, as gauges."""
    stands = pulse.standing
    yield "duly_up", (), 1.0
    yield "duly_business_time_seconds", (), stands.business_now.timestamp()
    for lane in stands.lanes:
        yield "duly_due_lag_seconds", (lane.lender_id, lane.channel), lane.lag.total_seconds()
        yield "duly_due_reminders", (lane.lender_id, lane.channel), lane.due
    yield "duly_planned_reminders", (), stands.planned
    yield "duly_uncertain_reminders", (), stands.uncertain_today
    yield "duly_open_batches", (), stands.open_batches
    yield "duly_oldest_lease_seconds", (), _seconds(stands.oldest_lease)
    yield "duly_overdue_leases", (), stands.overdue_leases
    yield "duly_overdue_lease_seconds", (), _seconds(stands.overdue_for)
    yield "duly_inbox_waiting", (), stands.inbox_waiting
    yield "duly_inbox_lag_seconds", (), _seconds(stands.inbox_waits)
    yield "duly_inbox_early", (), stands.inbox_early
    for task in stands.call_tasks:
        yield "duly_call_tasks", (task.name, task.state), task.number
    for scope, _ in stands.paused:
        yield "duly_paused", (scope,), 1.0
    for breaker in stands.breakers:
        yield "duly_provider_state", (breaker.provider, breaker.channel, breaker.state), 1.0
        yield "duly_provider_weight", (breaker.provider, breaker.channel), breaker.weight
    for channel in sorted({breaker.channel for breaker in stands.breakers if breaker.channel_stopped}):
        yield "duly_channel_stopped", (channel,), 1.0
    yield "duly_suspect_parties", (), stands.suspects
    if stands.release_hash is not None:
        yield "duly_release_live", (stands.release_hash[:12],), 1.0
    if stands.partitions_until is not None:
        yield "duly_partitions_ahead_seconds", (), (stands.partitions_until - stands.business_now).total_seconds()
    yield "duly_ledger_overdue_seconds", (), _ledger_overdue(pulse)
    yield "duly_jobs_late_seconds", (), _seconds(stands.jobs_late)
    yield from _processes(pulse)
    yield from _database(pulse)
    yield from _broker(pulse.broker)


def _ledger_overdue(pulse: Pulse) -> float | None:
    """Seconds since the oldest month lies wholly before the days to keep; whatever still holds it."""
    ends, days = pulse.standing.first_month_ends, pulse.keep_days
    if ends is None or days is None:
        return None
    return max(0.0, (pulse.standing.business_now - timedelta(days=days) - ends).total_seconds())


def _processes(pulse: Pulse) -> Iterator[Sample]:
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    largest: dict[str, int] = defaultdict(int)
    for process in pulse.living:
        numbers[process.role, (process.release_hash or "none")[:12]] += 1
        largest[process.role] = max(largest[process.role], process.memory_bytes)
    for (role, release), number in numbers.items():
        yield "duly_processes", (role, release), number
    for role, memory in largest.items():
        yield "duly_process_resident_memory_bytes", (role,), memory


def _database(pulse: Pulse) -> Iterator[Sample]:
    seen = pulse.database
    yield "duly_database_connections", (), seen.connections
    yield "duly_database_max_connections", (), seen.max_connections
    yield "duly_database_lock_waits", (), seen.waiting_for_locks
    yield "duly_database_longest_transaction_seconds", (), _seconds(seen.longest_transaction)
    yield "duly_database_replicas", (), seen.replicas
    yield "duly_database_replay_lag_seconds", (), _seconds(seen.replay_lag)
    yield "duly_database_size_bytes", (), seen.size_bytes
    yield "duly_database_is_standby", (), float(seen.is_standby)
    yield "duly_database_is_durable", (), float((seen.fsync, seen.synchronous_commit) == ("on", "on"))
    yield "duly_database_schema", (seen.schema or "none",), 1.0
    yield "duly_reminder_dead_rows", (), seen.dead_rows
    yield "duly_reminder_rows", (), seen.rows


def _broker(seen: Broker) -> Iterator[Sample]:
    yield "duly_broker_up", (), float(seen.is_up)
    for queue, waiting in seen.queues.items():
        yield "duly_broker_queue_messages", (queue,), waiting
    yield "duly_broker_unacked_messages", (), seen.unacked
    yield "duly_broker_connections", (), seen.connections
    yield "duly_broker_memory_bytes", (), seen.memory_bytes
    yield "duly_broker_max_memory_bytes", (), seen.most_memory_bytes


def _seconds(lasting: timedelta | None) -> float:
    """Nothing that waits has waited for no time."""
    return lasting.total_seconds() if lasting is not None else 0.0
