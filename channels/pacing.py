"""How fast messages may leave: limits that the whole fleet shares, taken from Redis or Valkey in blocks.

Tokens are leased a block at a time into a purse of this process, and every message spends one of each limit that it
meets. The counting is throttled-py's GCRA on the server's own clock (docs/decisions/0007-pacing-by-leased-blocks.md).
While the server is away, or one worker cannot reach it, each keeps to its own share of the limit.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog
from throttled import RateLimiterType, Throttled, rate_limiter
from throttled.exceptions import StoreUnavailableError
from throttled.store import BaseStore, MemoryStore, RedisStore

from domain.route import Limit, Rate

log = structlog.get_logger()

#: What a limit lets pass in this time may be saved up, and as much again is in the hands of workers on its way to the
#: wire: so no second sees more than the limit and a block (`block_of`), however many workers there are.
SAVED_SECONDS = 0.25

#: A leased token that is not spent by then is lost: it belonged to a second that is over.
TOKEN_LASTS_SECONDS = 1.0

#: The server answers in a tenth of a millisecond; a worker that cannot reach it must not wait for it.
ANSWER_SECONDS = 0.25

#: How long a server that did not answer is left alone.
AWAY_SECONDS = 1.0

#: A message that found no token waits no longer than this before it is judged again, whatever the queue.
LONGEST_WAIT_SECONDS = 300.0

#: A limit that nobody met for this long is leased for no more.
DEMAND_LASTS_SECONDS = 30.0

#: Keys of the limiter in the broker's database; nothing personal is among them.
PREFIX = "duly:pace"


class CannotCount(Exception):
    """The shared count cannot be reached."""


class Count(Protocol):
    """Where tokens are counted."""

    def take(self, limit: Limit, wanted: int) -> int:
        """Up to `wanted` tokens, as many as the limit has now. Raises CannotCount."""
        ...


def block_of(rate: Rate) -> int:
    """How far a limit may be run ahead: what is saved up, and what workers have in hand."""
    return 2 * _saved(rate)


def lease_of(rate: Rate, workers: int) -> int:
    """How many tokens one worker leases at once. There may be a worker more than are known."""
    return max(1, _saved(rate) // (max(workers, 2) + 1))


def _saved(rate: Rate) -> int:
    return max(1, int(rate.per_second * SAVED_SECONDS))


class Buckets:
    """Token counts in one store. `share` divides every limit by that number."""

    def __init__(self, store: BaseStore, *, share: int = 1) -> None:
        self._store = store
        self._share = share
        self._throttles: dict[Limit, Throttled] = {}

    def take(self, limit: Limit, wanted: int) -> int:
        throttle = self._throttles.get(limit) or self._add(limit)
        wanted = min(wanted, self._burst(limit.rate))
        try:
            result = throttle.limit(limit.key, cost=wanted)
            if not result.limited:
                return wanted
            left = result.state.remaining
            # What is left may go to another worker meanwhile: then there is none for us.
            return left if left and not throttle.limit(limit.key, cost=left).limited else 0
        except StoreUnavailableError as error:
            raise CannotCount from error

    def _add(self, limit: Limit) -> Throttled:
        rate = limit.rate
        # Times the share, not divided by it: whole seconds and whole messages stay exact.
        quota = rate_limiter.per_duration(
            timedelta(seconds=rate.seconds * self._share), rate.count, burst=self._burst(rate)
        )
        made = self._throttles[limit] = Throttled(
            using=RateLimiterType.GCRA.value, quota=quota, store=self._store, key_prefix=PREFIX
        )
        return made

    def _burst(self, rate: Rate) -> int:
        return max(1, _saved(rate) // self._share)


def shared_buckets(url: str) -> Buckets:
    """The fleet's count in the Redis or Valkey at this address; connects when first used."""
    options = {"SOCKET_TIMEOUT": ANSWER_SECONDS, "SOCKET_CONNECT_TIMEOUT": ANSWER_SECONDS}
    return Buckets(RedisStore(server=url.replace("redis+socket://", "unix://", 1), options=options))


@dataclass(slots=True)
class _Purse:
    """Tokens in hand of one limit. Times are of the monotonic clock."""

    tokens: int = 0
    good_until: float = 0.0
    wanted: int = 0
    wanted_until: float = 0.0
    queue_ends: float = 0.0


class Pacer:
    """One process's purses. `clock` is monotonic; `count` None means that limits are never shared.

    `fleet_shares` is False while some worker of the fleet cannot reach the shared count: then none uses it, or those
    who can would spend the whole limit beside the shares of those who cannot.
    """

    def __init__(self, count: Count | None, *, clock: Callable[[], float]) -> None:
        self.workers = 1
        self.fleet_shares = True
        self._count = count
        self._clock = clock
        self._is_alone = False
        self._away_until = 0.0
        self._memory = MemoryStore()
        self._own: tuple[int, Buckets] = (0, Buckets(self._memory))
        self._purses: dict[str, _Purse] = {}

    @property
    def is_sharing(self) -> bool:
        """Whether this process reaches the shared count, as far as it knows."""
        return self._count is not None and not self._is_alone

    def room(self, limits: Iterable[Limit], wanted: int) -> int:
        """How many of `wanted` messages these limits let leave now; leases what is missing, in blocks."""
        for limit in limits:
            if wanted <= 0:
                return 0
            wanted = min(wanted, self._fill(limit, wanted))
        return wanted

    def prepare(self, limits: Iterable[Limit]) -> None:
        """Lease for limits that messages met of late. Which ones a batch will meet is only known once it is judged."""
        now = self._clock()
        for limit in limits:
            purse = self._purses.get(limit.key)
            if purse is not None and purse.wanted and purse.wanted_until > now:
                self._fill(limit, purse.wanted)
                purse.wanted = 0

    def spend(self, limits: Sequence[Limit]) -> float:
        """Spend a token of each: 0 if the message may leave, else after how many seconds it shall be judged again.

        Touches no network.
        """
        now = self._clock()
        purses = [(limit, self._purse(limit)) for limit in limits]
        short = [(limit, purse) for limit, purse in purses if purse.tokens < 1 or purse.good_until <= now]
        if not short:
            for _, purse in purses:
                purse.tokens -= 1
                purse.wanted += 1  # the next batch will likely meet it as well
                purse.wanted_until = now + DEMAND_LASTS_SECONDS
            return 0.0
        return max(self._queue(limit, purse, now) for limit, purse in short)

    def _queue(self, limit: Limit, purse: _Purse, now: float) -> float:
        """A place in the queue of a limit: each message's comes one token later than the one before."""
        purse.wanted += 1
        purse.wanted_until = now + DEMAND_LASTS_SECONDS
        spacing = self.workers / limit.rate.per_second
        purse.queue_ends = max(purse.queue_ends, now) + spacing
        return min(purse.queue_ends - now, LONGEST_WAIT_SECONDS)

    def _fill(self, limit: Limit, wanted: int) -> int:
        """How many of `wanted` are in hand, after leasing a block if there were none: a purse never holds two."""
        purse, now = self._purse(limit), self._clock()
        if purse.tokens < 1 or purse.good_until <= now:
            purse.tokens = self._lease(limit, lease_of(limit.rate, self.workers))
            purse.good_until = now + TOKEN_LASTS_SECONDS
        return min(purse.tokens, wanted)

    def _lease(self, limit: Limit, wanted: int) -> int:
        if self._count is not None and self._may_ask():
            try:
                leased = self._count.take(limit, wanted)
            except CannotCount as error:
                if not self._is_alone:
                    log.warning("pacing_alone", why=type(error.__cause__ or error).__name__, workers=self.workers)
                self._is_alone, self._away_until = True, self._clock() + AWAY_SECONDS
            else:
                self._is_alone = False
                return leased
        return self._own_share().take(limit, wanted)

    def _may_ask(self) -> bool:
        """Once alone, this process looks for the shared count by itself: all the others may be doing the same."""
        return self._clock() >= self._away_until if self._is_alone else self.fleet_shares

    def _own_share(self) -> Buckets:
        """One more than are known: a worker that has just begun must not be what breaks a limit."""
        share = self.workers + 1
        if self._own[0] != share:
            self._own = share, Buckets(self._memory, share=share)
        return self._own[1]

    def _purse(self, limit: Limit) -> _Purse:
        purse = self._purses.get(limit.key)
        if purse is None:
            purse = self._purses[limit.key] = _Purse()
        return purse
