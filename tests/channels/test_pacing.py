"""Limits hold for the whole fleet while it can count together, and more tightly while it cannot."""

import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from throttled.store import MemoryStore

from channels.pacing import (
    AWAY_SECONDS,
    LONGEST_WAIT_SECONDS,
    TOKEN_LASTS_SECONDS,
    Buckets,
    CannotCount,
    Pacer,
    block_of,
    lease_of,
    shared_buckets,
)
from domain.route import Limit, Rate

#: Forty a second: ten saved up, and three leased at once by each of two workers.
QUICK = Rate(40, 1)


def a_limit(rate: Rate = QUICK) -> Limit:
    return Limit(f"tests:{uuid4().hex}", rate)


def taken(takes: list[Callable[[], int]], *, seconds: float) -> tuple[int, float]:
    """How many tokens these takers get when they take in turn for a while, and how long it really was."""
    began, total = time.monotonic(), 0
    for take in cycle(takes):
        total += take()
        if time.monotonic() - began >= seconds:
            return total, time.monotonic() - began
        time.sleep(0.005)
    raise AssertionError


def test_the_fleet_shares_one_limit_over_valkey(broker_url: str) -> None:
    limit = a_limit()
    workers = [shared_buckets(broker_url) for _ in range(3)]
    block = block_of(limit.rate)

    total, elapsed = taken([lambda each=each: each.take(limit, block) for each in workers], seconds=1.2)

    assert block < total <= limit.rate.per_second * elapsed + block


def test_a_block_is_one_question_to_the_server(broker_url: str) -> None:
    asked = []

    class Asked:
        shared = shared_buckets(broker_url)

        def take(self, limit: Limit, wanted: int) -> int:
            asked.append(wanted)
            return self.shared.take(limit, wanted)

    pacer, limit = Pacer(Asked(), clock=time.monotonic), a_limit()

    assert pacer.room([limit], 500) == 3 == lease_of(limit.rate, 2)
    assert [pacer.spend([limit]) for _ in range(3)] == [0.0] * 3
    assert asked == [3]


def test_what_is_left_of_a_limit_is_given_in_part(broker_url: str) -> None:
    limit = a_limit(Rate(4, 60))  # slow enough that nothing comes back meanwhile
    first = shared_buckets(broker_url)

    assert first.take(limit, 5) == 1
    assert first.take(limit, 5) == 0


def test_without_the_server_every_worker_keeps_to_its_share(tmp_path: Path) -> None:
    limit, workers = a_limit(Rate(100, 1)), 4
    pacer = Pacer(shared_buckets(f"redis+socket://{tmp_path}/gone.sock"), clock=time.monotonic)
    pacer.workers = workers

    def take() -> int:
        room = pacer.room([limit], 100)
        return sum(pacer.spend([limit]) == 0.0 for _ in range(room))

    total, elapsed = taken([take], seconds=0.6)

    assert not pacer.is_sharing
    assert 0 < total <= 100 * elapsed / workers + block_of(limit.rate) / workers + 1


def test_a_server_that_comes_back_is_used_again(broker_url: str, tmp_path: Path) -> None:
    now = [1000.0]
    socket = tmp_path / "valkey.sock"
    pacer, limit = Pacer(shared_buckets(f"redis+socket://{socket}"), clock=lambda: now[0]), a_limit()
    pacer.room([limit], 1)
    assert not pacer.is_sharing

    socket.symlink_to(urlsplit(broker_url).path)
    now[0] += AWAY_SECONDS + TOKEN_LASTS_SECONDS
    pacer.fleet_shares = False  # as everybody thinks while all of them are looking
    pacer.room([limit], 1)

    assert pacer.is_sharing


def test_nobody_spends_the_whole_limit_beside_somebody_who_cannot_count(broker_url: str) -> None:
    limit = a_limit()
    pacer = Pacer(shared_buckets(broker_url), clock=time.monotonic)
    pacer.workers, pacer.fleet_shares = 4, False

    assert pacer.room([limit], 100) == lease_of(limit.rate, 4) == 2
    assert shared_buckets(broker_url).take(limit, 100) == 10, "nothing was counted together"


@pytest.fixture
def local() -> tuple[Pacer, list[float]]:
    """A pacer over a count of its own, with a clock to turn."""
    now = [1000.0]
    return Pacer(Buckets(MemoryStore()), clock=lambda: now[0]), now


def test_leased_tokens_are_lost_when_their_second_is_over(local: tuple[Pacer, list[float]]) -> None:
    pacer, now = local
    limit = a_limit()
    pacer.room([limit], 5)

    now[0] += TOKEN_LASTS_SECONDS

    assert pacer.spend([limit]) > 0


def test_who_finds_no_token_is_queued_one_token_apart(local: tuple[Pacer, list[float]]) -> None:
    pacer, _ = local
    pacer.workers = 2
    limit = a_limit(Rate(4, 1))

    assert [pacer.spend([limit]) for _ in range(3)] == pytest.approx([0.5, 1.0, 1.5])
    assert max(pacer.spend([limit]) for _ in range(2000)) == LONGEST_WAIT_SECONDS


def test_a_limit_that_was_met_is_leased_for_the_next_batch(local: tuple[Pacer, list[float]]) -> None:
    pacer, _ = local
    always, country = a_limit(), a_limit(Rate(8, 1))
    pacer.room([always], 10)
    assert pacer.spend([always, country]) > 0

    pacer.prepare([country])

    assert pacer.spend([always, country]) == 0.0
    assert pacer.room([always], 10) == 2, "one was spent, and none by the message that had to wait"


def test_the_tightest_limit_decides(local: tuple[Pacer, list[float]]) -> None:
    pacer, _ = local

    assert pacer.room([a_limit(Rate(400, 1)), a_limit(Rate(24, 1)), a_limit(Rate(80, 1))], 500) == 2
    assert pacer.room([], 500) == 500


def test_a_server_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CannotCount):
        shared_buckets(f"redis+socket://{tmp_path}/gone.sock").take(a_limit(), 1)
