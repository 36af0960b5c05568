"""What may happen on the way between any two: slow, thin, half-open, reset, refused."""

from collections.abc import Callable

from tests.chaos.arena import LEASE_SECONDS, SWEEP_SECONDS, Arena
from tests.chaos.links import FAIR, Link, Session, Weather
from tests.chaos.rounds import Fault, Script, Trial

#: The links by their ends.
LINKS: dict[str, Callable[[Arena], Link]] = {
    "worker - PostgreSQL": lambda arena: arena.database,
    "worker - broker": lambda arena: arena.broker,
    "worker - SMS provider": lambda arena: arena.sms,
    "worker - mail relay": lambda arena: arena.relay,
    "provider - console": lambda arena: arena.console,
}

#: 50 ms is another continent; here it is added to each piece in each direction.
SLOW = Weather(latency_seconds=0.05)
THIN = Weather(bytes_per_second=20_000)
SILENT = Weather(is_silent=True)

#: Beyond a send's deadline of ten seconds; a worker must not be believed alive for long beyond its lease.
SHORT_SECONDS = 5.0
PAST_A_DEADLINE_SECONDS = 12.0
#: Two workers hold two messages each; and some more.
ACKNOWLEDGEMENTS = 12

PAST_A_LEASE_SECONDS = float(LEASE_SECONDS + SWEEP_SECONDS + 2)


def weathered(link: Callable[[Arena], Link], weather: Weather, seconds: float) -> Callable[[Trial], Script]:
    """Bad weather for a while; what was held up then goes on, late."""

    def script(trial: Trial) -> Script:
        there = link(trial.arena)
        there.weather = weather
        yield seconds
        there.weather = FAIR

    return script


def half_open_then_reset(link: Callable[[Arena], Link]) -> Callable[[Trial], Script]:
    def script(trial: Trial) -> Script:
        there = link(trial.arena)
        there.weather = SILENT
        yield SHORT_SECONDS
        there.cut()
        there.weather = FAIR
        yield 0.2

    return script


def reset(link: Callable[[Arena], Link]) -> Callable[[Trial], Script]:
    def script(trial: Trial) -> Script:
        for _ in range(4):
            link(trial.arena).cut()
            yield trial.dice.uniform(0.1, 1.0)

    return script


def refused(link: Callable[[Arena], Link]) -> Callable[[Trial], Script]:
    def script(trial: Trial) -> Script:
        there = link(trial.arena)
        trial.arena.links.refuse(there)
        yield SHORT_SECONDS
        if not there.is_open:
            trial.arena.links.listen(there)

    return script


def acknowledgements_lost(trial: Trial) -> Script:
    """More messages than the workers may hold at once are never acknowledged: they go on all the same."""
    wire = trial.arena.trip("ack.asked", Session.cut, times=ACKNOWLEDGEMENTS)
    yield lambda: wire.trips == ACKNOWLEDGEMENTS


FAULTS = [
    *(Fault("slow link", name, weathered(link, SLOW, SHORT_SECONDS)) for name, link in LINKS.items()),
    *(Fault("thin link", name, weathered(link, THIN, SHORT_SECONDS)) for name, link in LINKS.items()),
    *(
        Fault("half-open link, goes on", name, weathered(link, SILENT, PAST_A_DEADLINE_SECONDS))
        for name, link in LINKS.items()
    ),
    Fault(
        "half-open link past the lease",
        "worker - PostgreSQL",
        weathered(LINKS["worker - PostgreSQL"], SILENT, PAST_A_LEASE_SECONDS),
    ),
    *(Fault("half-open link, reset", name, half_open_then_reset(link)) for name, link in LINKS.items()),
    *(Fault("link reset", name, reset(link)) for name, link in LINKS.items()),
    Fault("acknowledgements lost", "worker - broker", acknowledgements_lost),
    *(Fault("link refused", name, refused(link)) for name, link in LINKS.items()),
]
