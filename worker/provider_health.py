"""Which providers may be used now, how much of what is due may leave, and what the answers mean for tomorrow's share.

Each process watches what its providers answer, tells the database, and hears there what the whole fleet saw. Stops,
tries and weights are rows of the database; rates are counted in Redis or Valkey; nothing here is asked per message over
a network.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import structlog
from msgspec.structs import replace

from channels.breaker import PROBE_LASTS, PROBES, REMEDIES, WINDOW, Breaker, Seen, State, turn
from channels.choosing import WINDOW as WEIGHING
from channels.choosing import Weighed, choose, reweigh
from channels.pacing import Pacer
from channels.several import STOPPED_WAIT, Watch, fits
from domain.channel import Channel
from domain.lender import Lender
from domain.route import Limit, Route, Routes
from domain.verdict import Because
from storage import lanes, providers
from storage.intents import Answer, Postponed
from storage.providers import Answers, Named, Standing, Turned
from storage.rows import Conn
from worker.deciding import Decisions
from worker.letters import Letter, our_own
from worker.metrics import PACED, PROVIDER_TURNS, TALLY

log = structlog.get_logger()

#: How old a process's word about the fleet may be.
READ_SECONDS = 1.0

#: Good answers are told this often; failures at once.
NOTE_SECONDS = 1.0

#: A worker that sends under limits says so every READ_SECONDS while it does; one that is silent for so long is gone.
SENDER_LASTS = timedelta(seconds=15)

#: Answers are kept for as long as somebody may want to look at them.
KEPT = timedelta(hours=1)
FORGET_SECONDS = 300.0

#: Reminders that wait for a provider are asked back within this, when it is mended.
RECALLED_WITHIN = timedelta(minutes=20)

#: A letter for which nobody can be found is judged again no later than this.
LONGEST_STOPPED_WAIT = timedelta(minutes=15)

PACING = our_own("pacing")
STOPPED = our_own("provider_stopped")


class Traffic:
    """One process's part in it. The pacer is made when a release has limits; `fingerprints` hash our log-ins."""

    def __init__(self, worker: str, *, pacer: Callable[[], Pacer]) -> None:
        self.watches: Mapping[str, Watch] = {}
        self.fingerprints: Mapping[str, str] = {}
        self._worker = worker
        self._make_pacer = pacer
        self._pacer: Pacer | None = None
        self._standing: dict[str, Standing] = {}
        self._probes: dict[str, int] = {}
        self._read_at = self._noted_at = self._forgot_at = float("-inf")

    # ------------------------------------------------------------------------------------------ before anything is sent

    def room(self, conn: Conn, routes: Routes, lender: Lender, channel: Channel, *, wanted: int, now: datetime) -> int:
        """How many messages may leave on a channel now: 0 when nobody can carry them or every limit is met.

        `now` is business time. Leases tokens, so call it once per batch, before anybody is locked.
        """
        several = self._carriers(routes, channel)
        if not several:
            return wanted
        self._read(conn, several)
        open_now = self._usable(conn, several, lender, now)
        if not open_now:
            return 0
        if all(route.name in self._probes for route, _ in open_now):
            wanted = min(wanted, sum(self._probes[route.name] for route, _ in open_now))
        if not any(route.limits for route, _ in open_now):
            return wanted
        total = sum(weight for _, weight in open_now)
        return min(self._room_at(route, lender, wanted, weight / total) for route, weight in open_now)

    def route(self, routes: Routes, lender: Lender, decisions: Decisions, *, release_hash: str, now: datetime) -> None:
        """Choose a provider for every letter, and put those off for which no rate is left. Touches no network.

        Changes `decisions`: a letter that is put off becomes a reminder to judge again, on record with its reason.
        """
        if not decisions.letters or all(self._is_plain(routes, lender, channel) for channel in _channels(decisions)):
            return
        going: list[Letter] = []
        for letter in decisions.letters:
            routed = self._routed(routes, lender, letter, now)
            if isinstance(routed, Letter):
                going.append(routed)
            else:
                because, wait = routed
                _put_off(decisions, letter, because.rule, wait, release_hash=release_hash, now=now)
        decisions.letters = going

    def _routed(
        self, routes: Routes, lender: Lender, letter: Letter, now: datetime
    ) -> Letter | tuple[Because, timedelta]:
        several = self._carriers(routes, letter.outbound.channel)
        if not several:
            return letter
        fitting = [route for route in several if fits(route.kind, letter.outbound)]
        weights = [(route.name, self._weight(route, several, lender)) for route in fitting if self._may_use(route.name)]
        if letter.intent.inputs["attempt"] > 1:  # who was refused once is not the one to try a provider with
            weights = [each for each in weights if each[0] not in self._probes] or weights
        name = choose(letter.intent.contact_id, weights)
        if name is None:
            return STOPPED, self._stopped_for(fitting, now)
        route = next(each for each in fitting if each.name == name)
        sender = lender.sender_at(name) or letter.outbound.sender
        limits = _limits(route, sender, letter)
        wait = self._paced.spend(limits) if limits else 0.0
        if wait:
            TALLY.count(PACED, (name,))
            return PACING, timedelta(seconds=wait)
        if name in self._probes:
            self._probes[name] -= 1
        if len(several) == 1:
            return letter
        return replace(
            letter,
            outbound=replace(letter.outbound, provider=name, sender=sender),
            intent=replace(letter.intent, inputs={**letter.intent.inputs, "provider": name}),
        )

    def _stopped_for(self, several: Sequence[Route], now: datetime) -> timedelta:
        """Until one of them may be tried; whoever mends one calls back who waits."""
        standings = [self._standing[route.name] for route in several if route.name in self._standing]
        waits = [standing.retry_at - now for standing in standings if standing.retry_at is not None]
        return max(STOPPED_WAIT, min([*waits, LONGEST_STOPPED_WAIT]))

    def _carriers(self, routes: Routes, channel: Channel) -> tuple[Route, ...]:
        """A channel's providers; none where we can log in nowhere: its messages are answered with just that."""
        several = routes.get(channel, ())
        return several if any(self._has(route.name) for route in several) else ()

    def _is_plain(self, routes: Routes, lender: Lender, channel: Channel) -> bool:
        several = self._carriers(routes, channel)
        if not several:
            return True
        only = several[0]
        return len(several) == 1 and not only.limits and only.name not in self._probes and self._may_use(only.name)

    def _room_at(self, route: Route, lender: Lender, wanted: int, share: float) -> int:
        """How large a batch may be for this provider's share of it to fit its limits."""
        if not route.limits:
            return wanted
        sender = lender.sender_at(route.name) or _usual_sender(lender, route.channel)
        self._paced.prepare(_country_limits(route))
        fits_in = self._paced.room(list(route.standing_limits(sender)), max(1, round(wanted * share)))
        return min(wanted, int(fits_in / share))

    def _usable(self, conn: Conn, several: Sequence[Route], lender: Lender, now: datetime) -> list[tuple[Route, int]]:
        """The providers that may be used now with their weights; those whose cool-down is over may be tried."""
        for route in several:
            standing = self._standing.get(route.name)
            if standing is not None and _breaker(standing).may_be_tried(now) and self._has(route.name):
                self._try(conn, standing, now)
        weighed = [(route, self._weight(route, several, lender)) for route in several if self._may_use(route.name)]
        return [(route, weight) for route, weight in weighed if weight]

    def _try(self, conn: Conn, standing: Standing, now: datetime) -> None:
        if providers.claim_probe(conn, standing.provider, by=self._worker, lasts=PROBE_LASTS):
            self._standing[standing.provider] = standing._replace(
                state=State.HALF_OPEN, prober=self._worker, retry_at=now + PROBE_LASTS, since=min(standing.since, now)
            )
            self._probes[standing.provider] = PROBES
            self._let(standing.provider)

    def _may_use(self, name: str) -> bool:
        standing = self._standing.get(name)
        if not self._has(name):
            return False
        return standing is None or standing.state == State.CLOSED or self._probes.get(name, 0) > 0

    def _has(self, name: str) -> bool:
        """Whether this process can log in there; before its adapters are made nobody knows."""
        return not self.watches or name in self.watches

    def _weight(self, route: Route, several: Sequence[Route], lender: Lender) -> int:
        """The weight as it stands, or the lender's own, lowered by as much as the fleet has lowered it."""
        standing = self._standing.get(route.name)
        now = standing.weight if standing is not None else route.weight
        if not any(each.name in lender.providers for each in several):
            return now
        own = lender.providers.get(route.name)
        return 0 if own is None else max(1, own.weight * now // route.weight)

    # ------------------------------------------------------------------------------------------------- what came of it

    def settle(self, conn: Conn) -> None:
        """Tell what was seen, hear what the fleet saw, and turn breakers and weights that have to move."""
        seen = {name: watch for name, watch in self.watches.items() if watch.good or watch.failed or watch.wrong}
        is_urgent = any(watch.failed or watch.wrong or name in self._probes for name, watch in seen.items())
        if not seen or (not is_urgent and time.monotonic() - self._noted_at < NOTE_SECONDS):
            return
        fresh = {name: Seen(watch.good, watch.failed, watch.wrong, watch.code) for name, watch in seen.items()}
        providers.note(
            conn,
            [Answers(name, watch.good, watch.slow, watch.failed, watch.code) for name, watch in seen.items()],
        )
        for watch in seen.values():
            watch.begin()
        self._noted_at = time.monotonic()
        standings = self._hear(conn)
        now = lanes.business_now(conn)
        turned = [self._turn(conn, standing, fresh.get(standing.provider, Seen()), now) for standing in standings]
        if is_urgent or any(turned):  # of many workers that see the same, one has turned it
            self._hear(conn)
        self._weigh(conn, standings, now)

    def _turn(self, conn: Conn, standing: Standing, fresh: Seen, now: datetime) -> bool:
        recent = Seen(standing.good, standing.failed, code=standing.failed_code)
        is_prober = standing.prober == self._worker
        after = turn(_breaker(standing), fresh=fresh, recent=recent, is_prober=is_prober, now=now)
        if after is None:
            return False
        mark = self.fingerprints.get(standing.provider) if after.breaker.state is State.MISCONFIGURED else None
        row = Turned(
            after.breaker.state,
            after.breaker.retry_at,
            after.breaker.openings,
            fresh.code or standing.failed_code,
            mark,
        )
        return _turned(conn, standing, row, by=self._worker, reason=after.reason)

    def _weigh(self, conn: Conn, standings: Iterable[Standing], now: datetime) -> None:
        for _, of_channel in groupby(standings, key=lambda standing: standing.channel):
            several = {standing.provider: standing for standing in of_channel}
            for move in reweigh([_weighed(standing) for standing in several.values()], now):
                before = several[move.name]
                if providers.weigh(conn, move.name, before.version, move.weight, by=self._worker, reason=move.reason):
                    log.warning("provider_weight", provider=move.name, weight=move.weight, was=before.weight,
                                why=move.reason)  # fmt: skip

    def look_after(self, conn: Conn, fingerprints: Callable[[], Mapping[str, str]]) -> None:
        """What has to happen without any traffic: try again what was mended, bring weights back, forget the past.

        `fingerprints` hash the log-ins that this process has now.
        """
        standings = self._hear(conn)
        refused = [standing for standing in standings if standing.state == State.MISCONFIGURED]
        ours = fingerprints() if refused else {}
        for standing in refused:
            if ours.get(standing.provider, standing.fingerprint) != standing.fingerprint:
                try_again(conn, standing, by=self._worker, reason="its credentials were changed")
                self._hear(conn)
        self._weigh(conn, standings, lanes.business_now(conn))
        if time.monotonic() - self._forgot_at > FORGET_SECONDS:
            providers.forget(conn, answers_older_than=KEPT)
            self._forgot_at = time.monotonic()

    def register(self, conn: Conn, routes: Routes, *, release_hash: str) -> None:
        """Make the providers of a release known to the fleet."""
        named = [
            Named(route.name, channel.value, route.weight) for channel, several in routes.items() for route in several
        ]
        providers.register(conn, named, by=f"release {release_hash[:12]}")
        self._hear(conn)

    # ------------------------------------------------------------------------------------------------ the fleet's word

    def _read(self, conn: Conn, several: Sequence[Route]) -> None:
        if time.monotonic() - self._read_at < READ_SECONDS:
            return
        self._hear(conn)
        if any(route.limits for route in several):
            pacer = self._paced
            fleet = providers.seen_sending(conn, self._worker, is_sharing=pacer.is_sharing, lasts=SENDER_LASTS)
            pacer.workers, pacer.fleet_shares = fleet.workers, fleet.all_share

    def _hear(self, conn: Conn) -> list[Standing]:
        standings = providers.standings(conn, window=WINDOW, weighing=WEIGHING)
        self._standing = {standing.provider: standing for standing in standings}
        self._read_at = time.monotonic()
        self._probes = {
            name: left
            for name, left in self._probes.items()
            if (its := self._standing.get(name)) and its.state == State.HALF_OPEN and its.prober == self._worker
        }
        for name in self.watches:
            self._let(name)
        return standings

    def _let(self, name: str) -> None:
        """Let messages through to a provider, or not."""
        standing, watch = self._standing.get(name), self.watches.get(name)
        if watch is not None:
            is_closed = standing is None or standing.state == State.CLOSED
            watch.is_stopped = not is_closed and name not in self._probes

    @property
    def _paced(self) -> Pacer:
        if self._pacer is None:
            self._pacer = self._make_pacer()
        return self._pacer


def try_again(conn: Conn, standing: Standing, *, by: str, reason: str) -> bool:
    """Let a stopped provider be tried at once, and have those judged that wait for it."""
    now = lanes.business_now(conn)
    if not _turned(conn, standing, Turned(State.OPEN, now, 0, standing.code), by=by, reason=reason):
        return False
    providers.recall(conn, standing.channel, within=RECALLED_WITHIN)
    return True


def _turned(conn: Conn, standing: Standing, row: Turned, *, by: str, reason: str) -> bool:
    """Turn a breaker. Of all workers that see the same only one does, counts it and says so."""
    if not providers.turn(conn, standing, row, by=by, reason=reason):
        return False
    TALLY.count(PROVIDER_TURNS, (standing.provider, row.state))
    said = {"provider": standing.provider, "channel": standing.channel, "state": row.state, "why": reason}
    if row.state == State.MISCONFIGURED:
        log.error("provider_misconfigured", **said, remedy=REMEDIES[State.MISCONFIGURED])
    else:
        log.warning("provider_turned", **said)
    return True


def _breaker(standing: Standing) -> Breaker:
    return Breaker(State(standing.state), standing.since, standing.retry_at, standing.openings)


def _weighed(standing: Standing) -> Weighed:
    return Weighed(
        standing.provider, standing.weight, standing.configured, standing.weighed_at,
        standing.weighed_good + standing.weighed_failed, standing.weighed_slow, standing.weighed_failed,
    )  # fmt: skip


def _channels(decisions: Decisions) -> set[Channel]:
    return {letter.outbound.channel for letter in decisions.letters}


def _usual_sender(lender: Lender, channel: Channel) -> str:
    return lender.email_sender if channel is Channel.EMAIL else lender.sms_sender


def _limits(route: Route, sender: str, letter: Letter) -> list[Limit]:
    if not route.limits:
        return []
    country = route.country_limit(letter.intent.inputs.get("number_country"))
    return [*route.standing_limits(sender), *((country,) if country is not None else ())]


def _country_limits(route: Route) -> list[Limit]:
    found = (route.country_limit(country) for country in route.limits.countries)
    return [limit for limit in found if limit is not None]


def _put_off(
    decisions: Decisions, letter: Letter, rule: str, wait: timedelta, *, release_hash: str, now: datetime
) -> None:
    """Back to policy: its reminders are judged again when there may be room."""
    intent, channel, until = letter.intent, letter.outbound.channel.value, now + wait
    covered = zip(intent.reminder_ids, intent.account_ids, intent.steps, intent.stages, strict=True)
    for reminder_id, account_id, step, stage in covered:
        decisions.postponed.append(Postponed(intent.party_id, reminder_id, until, rule, channel))
        decisions.answers.append(
            Answer(
                intent.party_id, now, reminder_id, account_id, intent.lender_id, channel, step, stage, "hold", rule,
                "duly", until, release_hash,
            )
        )  # fmt: skip
