"""Everything that shows how the fleet does, taken at one moment: for `duly status`, and for whoever scrapes us."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from config.settings import Settings
from storage import standing, tallies
from storage.rows import Conn
from storage.standing import Database, Standing
from storage.tallies import Process
from worker import broker
from worker.broker import Broker
from worker.metrics import SENDS, SEPARATOR, STAGES, Family, SendResult, Stage
from worker.reporting import SILENT_FOR
from worker.retention import Keeping

#: The part of a histogram's series that is the sum of what was observed.
SUM: Final = "sum"


@dataclass(frozen=True, slots=True)
class Pulse:
    """The fleet at one moment. `recent` counts the last minutes, `totals` everything, by series."""

    standing: Standing
    database: Database
    broker: Broker
    processes: tuple[Process, ...]
    totals: Mapping[str, float]
    recent: Mapping[str, float]
    keep_days: int | None = None
    keeping: Keeping | None = None  # only where somebody looks: it reads the packs

    @property
    def living(self) -> list[Process]:
        """Processes that said something within the minute."""
        return [process for process in self.processes if process.silent_for <= SILENT_FOR]


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """What a provider answered in the last minutes, on one channel."""

    provider: str
    channel: str
    results: Mapping[str, int]

    @property
    def attempts(self) -> int:
        """What really went to the provider."""
        return sum(self.results.values()) - self.results.get(SendResult.HELD_BACK, 0)

    @property
    def accepted_share(self) -> float:
        """Of all attempts but those refused for the message's or the address's own sake."""
        judged = self.attempts - self.results.get(SendResult.REJECTED, 0)
        return self.results.get(SendResult.ACCEPTED, 0) / judged if judged else 1.0


@dataclass(frozen=True, slots=True)
class StageTime:
    """Where the time of the last minutes' batches went."""

    stage: str
    batches: int
    seconds: float


def take_pulse(conn: Conn, settings: Settings, broker_url: str) -> Pulse:
    """Look at everything once. `conn` must be in autocommit. Raises what a database that fails raises."""
    return Pulse(
        standing=standing.standing(conn),
        database=standing.database(conn),
        broker=broker.look(settings, broker_url),
        processes=tuple(tallies.processes(conn)),
        totals=tallies.totals(conn),
        recent=tallies.recently(conn, silent_for=SILENT_FOR),
        keep_days=settings.keep_ledger_days,
    )


def series(counts: Mapping[str, float], family: Family) -> Iterator[tuple[tuple[str, ...], str | None, float]]:
    """The series of a family: its labels, for a histogram the upper bound or `sum`, and the number."""
    for key, number in counts.items():
        name, *labels = key.split(SEPARATOR)
        if name != family.name:
            continue
        part = labels.pop() if family.buckets else None
        if len(labels) == len(family.labels):  # of another version of ours: it counted something else
            yield tuple(labels), part, number


def providers(recent: Mapping[str, float]) -> list[ProviderHealth]:
    """How each provider did lately."""
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for (provider, channel, result), _, number in series(recent, SENDS):
        found[provider, channel][result] = round(number)
    return [ProviderHealth(*who, results) for who, results in sorted(found.items())]


def stage_times(recent: Mapping[str, float]) -> list[StageTime]:
    """Where the time went lately, in the order of the way."""
    seconds: dict[str, float] = defaultdict(float)
    batches: dict[str, float] = defaultdict(float)
    for (stage,), part, number in series(recent, STAGES):
        if part == SUM:
            seconds[stage] += number
        else:
            batches[stage] += number
    return [StageTime(stage, round(batches[stage]), seconds[stage]) for stage in Stage if stage in seconds]


def by_label(counts: Mapping[str, float], family: Family) -> dict[str, int]:
    """A counter of one label."""
    return {labels[0]: round(number) for labels, _, number in series(counts, family)}
