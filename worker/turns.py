"""How long a turn lasts and how much is taken on at once, so that no lender and no channel keeps another waiting.

A batch is sized to what its channel sends in about a second, learned as we go: a thousand with a quick provider, a
wave with a slow one. After a second a drain gives its worker to whoever else waits. After a pause sending begins
gently.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from config.settings import Settings
from domain.channel import Channel
from domain.lane import Lane
from storage import turns
from storage.rows import Conn

#: A turn while others wait, and about what a batch should take.
TURN_SECONDS: Final = 1.0

#: A turn while nobody else waits; then the tick decides anew.
SLICE_SECONDS: Final = 5.0

#: About what a wave should take: a pause is felt between two of them, and within two seconds.
QUICK_WAVE_SECONDS: Final = 1.0

#: The smallest wave: less than the connections that any provider is given.
SMALLEST_WAVE: Final = 8

#: How much the last wave counts against all those before it.
LATEST_COUNTS: Final = 0.5

#: For so long after a pause sending is gentle: one lane of a lender and channel each tick, one wave each turn, and a
#: lane more every few seconds.
GENTLE_FOR: Final = timedelta(seconds=60)
ONE_LANE_MORE_EVERY: Final = timedelta(seconds=5)


class Pace:
    """What each channel has taken per message of late, in this process."""

    def __init__(self) -> None:
        self._seconds: dict[Channel, float] = {}

    def took(self, channel: Channel, *, messages: int, seconds: float) -> None:
        """Learn from a wave."""
        if messages <= 0:
            return
        latest = seconds / messages
        before = self._seconds.get(channel, latest)
        self._seconds[channel] = LATEST_COUNTS * latest + (1 - LATEST_COUNTS) * before

    def batch(self, channel: Channel, *, settings: Settings) -> int:
        """How many parties to take on at once: what is sent in one turn, and two waves while nothing is known."""
        most = settings.batch_size
        least = min(settings.wave_size, most)
        return self._within(TURN_SECONDS, channel, least=least, most=most, unknown=min(2 * least, most))

    def wave(self, channel: Channel, *, settings: Settings) -> int:
        """How many messages to send side by side."""
        most = settings.wave_size
        return self._within(QUICK_WAVE_SECONDS, channel, least=min(SMALLEST_WAVE, most), most=most, unknown=most)

    def _within(self, seconds: float, channel: Channel, *, least: int, most: int, unknown: int) -> int:
        each = self._seconds.get(channel)
        if each is None:
            return unknown
        return most if each * most <= seconds else max(least, int(seconds / each))


@dataclass(frozen=True, slots=True)
class Turn:
    """What one drain may do. `most` bounds the parties of a batch; None: as many as the pace allows."""

    lane: Lane
    seconds: float = SLICE_SECONDS
    most: int | None = None


def take(conn: Conn, named: Lane, settings: Settings) -> Turn | None:
    """Whose turn it is on the channel of the lane that a wake-up names; None when that was answered already."""
    taken = turns.take_turn(conn, named.channel, gentle_for=GENTLE_FOR)
    if taken is None:
        return None
    if taken.resumed_for is not None:  # one small batch, and the tick decides anew
        return Turn(taken.lane, seconds=0.0, most=settings.wave_size)
    return Turn(taken.lane)


def is_over(conn: Conn, lane: Lane, *, began: float, until: float) -> bool:
    """Whether a drain hands its worker back now: its slice is over, or it had its turn and somebody else waits."""
    now = time.monotonic()
    return now >= until or (now - began >= TURN_SECONDS and turns.others_wait(conn, lane))


def begin_gently(lanes: Iterable[Lane], resumed: Mapping[str, timedelta]) -> list[Lane]:
    """Of the lanes to wake, those that may be: all, but of lenders that were resumed lately only the first few."""
    woken: dict[tuple[str, Channel], int] = {}
    chosen: list[Lane] = []
    for lane in lanes:
        since = [resumed[scope] for scope in ("*", lane.lender) if scope in resumed]
        key = lane.lender, lane.channel
        if since and woken.get(key, 0) > min(since) // ONE_LANE_MORE_EVERY:
            continue
        woken[key] = woken.get(key, 0) + 1
        chosen.append(lane)
    return chosen
