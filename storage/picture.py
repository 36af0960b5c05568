"""What a drain reads: the lanes that are due, the parties it locks, and all that the judge needs to know of them."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from itertools import starmap
from typing import Any, LiteralString, NamedTuple

from msgspec import Struct

from domain.case import History
from domain.channel import Channel
from domain.lane import SHARDS, Lane
from storage import history
from storage.lanes import LANES
from storage.rows import Conn
from storage.wire import int8_array


class Opening(NamedTuple):
    """What a drain must know before it looks at anybody. `now` is business time, aware UTC."""

    now: datetime
    release_hash: str | None
    is_paused: bool


class Due(Struct, frozen=True, gc=False):
    """One due reminder with its account, its customer and the customer's wrapped key."""

    party_id: int
    reminder_id: int
    account_id: int
    ladder: str
    step: str
    stage: str
    channel: str
    attempt: int
    planned_for: datetime
    expires_at: datetime
    customer_id: int
    account_ref: str
    product: str | None
    currency: str
    balance_minor: int
    due_on: date
    account_state: str
    as_of: datetime
    locale: str
    residence: str | None
    zones: list[str]
    zone_confirmed_at: datetime | None
    refused_channels: list[str] | None
    blocked_hours: list[dict[str, Any]] | None
    household: str | None
    name_sealed: bytes | None
    master_key_id: str | None
    wrapped_key: bytes | None
    due_at: datetime


class Reach(Struct, frozen=True, gc=False):
    """One living address of a customer."""

    party_id: int
    customer_id: int
    address_id: int
    channel: str
    kind: str
    sealed: bytes
    lookup: bytes
    country: str | None
    zones: list[str]


class Standing(Struct, frozen=True, gc=False):
    """A consent as it stands. `lookup` is None when it covers every address of the channel."""

    party_id: int
    customer_id: int
    channel: str
    lookup: bytes | None
    purpose: str
    given_at: datetime
    withdrawn_at: datetime | None


class Stop(NamedTuple):
    """A hold that has not ended."""

    party_id: int
    account_id: int | None
    kind: str
    since: datetime
    ends_at: datetime | None


class Picture(NamedTuple):
    """Everything read about the locked parties, by one query each, in party order. Their history stays packed until it
    is their turn: what is unpacked for one party is gone before the next one's is."""

    due: list[Due]
    reaches: list[Reach]
    standings: list[Standing]
    stops: list[Stop]
    packed: dict[int, bytes]
    outcomes: history.Told

    def past(self, party_id: int) -> History:
        """The party's history, oldest first: a new one, to which the caller may add."""
        return history.unpack(party_id, self.packed.get(party_id, b""), self.outcomes)


def due_lanes(conn: Conn) -> list[Lane]:
    """Lanes to wake, longest waiting first: of each lender and channel, one for every few reminders that are due.

    Not the paused, nor those in a worker's hands. Skips from lane to lane through the partial index: a probe per lane,
    however many reminders wait. A drain takes from the lanes beside its own what does not fill its batch, so a handful
    of reminders in sixteen lanes needs one worker and not sixteen.
    """
    rows = conn.execute(_DUE_LANES, (ENOUGH,)).fetchall()
    waiting: Counter[tuple[str, str]] = Counter()
    for lender, channel, _, count in rows:
        waiting[lender, channel] += count
    woken: Counter[tuple[str, str]] = Counter()
    lanes: list[Lane] = []
    for lender, channel, shard, _ in rows:
        if woken[lender, channel] * ENOUGH < waiting[lender, channel]:
            woken[lender, channel] += 1
            lanes.append(Lane(lender, Channel(channel), shard))
    return lanes


#: So many due reminders are worth a wake-up of their own.
ENOUGH = 32


_DUE_LANES: LiteralString = f"""
    SELECT l.lender_id, l.channel, l.shard, waiting.n FROM ({LANES}) l, LATERAL (
        SELECT count(*) AS n FROM (
            SELECT 1 FROM reminder r
            WHERE r.state = 'planned' AND r.lender_id = l.lender_id AND r.channel = l.channel AND r.shard = l.shard
              AND r.due_at <= (SELECT business_now()) AND r.reminder_id NOT IN (SELECT reminders_in_hand(''))
            LIMIT %s) few) waiting
    WHERE l.due_at <= (SELECT business_now()) AND waiting.n > 0
      AND NOT EXISTS (SELECT 1 FROM pause WHERE scope IN ('*', l.lender_id))
      AND l.channel <> ALL (ARRAY(SELECT stopped_channels()))
      AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.ended_at IS NULL AND b.lease_until > clock_timestamp()
                      AND b.lane = l.lender_id || ':' || l.channel || ':' || l.shard)
    ORDER BY l.due_at
"""  # noqa: S608 - one constant inside another


def open_drain(conn: Conn, lender_id: str) -> Opening:
    """Business time, the live release and whether sending is paused, in one look.

    For this transaction no table is read from end to end where there is an index: a month that was empty when the
    statement was planned would be, for every batch, until statistics are taken again (measured: a fifth of the
    database's time).
    """
    row = conn.execute(
        """
        SELECT business_now(), (SELECT release_hash FROM release WHERE state = 'live'),
               EXISTS (SELECT 1 FROM pause WHERE scope IN ('*', %s)), set_config('enable_seqscan', 'off', true)
        """,
        (lender_id,),
    ).fetchone()
    assert row is not None
    return Opening(*row[:3])


def lock_parties(conn: Conn, lane: Lane, *, now: datetime, limit: int) -> dict[int, int]:
    """Lock up to `limit` parties with something due in the lane, then in those beside it; their stop epochs by party.

    Locked in party order, skipping those that another transaction holds. What is read *after* this statement is
    current, since every writer of these rows takes the same lock first.
    """
    shards = [lane.shard, *(shard for shard in range(SHARDS) if shard != lane.shard)]
    rows = conn.execute(
        _LOCK, (shards, lane.lender, lane.channel.value, now, f"{lane.lender}:", limit, limit)
    ).fetchall()
    return dict(rows)


_LOCK: LiteralString = """
    SELECT p.party_id, p.stop_epoch FROM party p
    WHERE p.party_id = ANY (ARRAY(
        SELECT due.party_id FROM unnest(%b::smallint[]) AS s(shard), LATERAL (
            SELECT r.party_id FROM reminder r
            WHERE r.state = 'planned' AND r.lender_id = %s AND r.channel = %s AND r.shard = s.shard AND r.due_at <= %s
              AND r.reminder_id NOT IN (SELECT reminders_in_hand(%s))
            ORDER BY r.due_at LIMIT %s) due
        LIMIT %s))
    ORDER BY p.party_id
    FOR NO KEY UPDATE SKIP LOCKED
"""


def read_picture(
    conn: Conn,
    parties: Sequence[int],
    *,
    lender_id: str,
    now: datetime,
    lookback: Callable[[Sequence[Due], Sequence[Reach]], timedelta],
) -> Picture:
    """All that is due for these parties with this lender, and all that the judge needs to know about them.

    `lookback` says how far back their history matters, once it is known who they are and where.

    From here to the transaction's end no statement is planned for its values: to plan for each batch anew costs more
    than the rows of some (measured: a millisecond for those of the ledger's months). What is due is never looked up row
    by row: each table is read once, in party order, and the four are merged (measured: 2 to 3 us less for a reminder).
    """
    who = int8_array(parties)
    with conn.pipeline(), conn.cursor(binary=True) as due, conn.cursor(binary=True) as reach:
        standing, stop, past, telling = (conn.cursor(binary=True) for _ in range(4))
        conn.execute(_PLAN_ONCE_AND_MERGE)
        due.execute(_DUE, (who, who, who, who, lender_id, now, f"{lender_id}:"))
        conn.execute(_LOOK_UP)
        reach.execute(_REACHES, (who,))
        standing.execute(_STANDINGS, (who,))
        stop.execute(_STOPS, (who, now))
        dues = list(starmap(Due, due.fetchall()))
        reaches = list(starmap(Reach, reach.fetchall()))
        since = now - lookback(dues, reaches)
        past.execute(history.READ, (who, since))
        telling.execute(history.TELLING, (who, since))
        standings = list(starmap(Standing, standing.fetchall()))
        stops = [Stop._make(row) for row in stop.fetchall()]
        packed = dict(past.fetchall())
        found = telling.fetchone()
        told = conn.execute(history.TOLD, found, binary=True).fetchall() if found else ()
        return Picture(dues, reaches, standings, stops, packed, history.told(told))


_PLAN_ONCE_AND_MERGE: LiteralString = """
    SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_nestloop', 'off', true)
"""

_LOOK_UP: LiteralString = "SELECT set_config('enable_nestloop', 'on', true)"

_DUE: LiteralString = """
    SELECT r.party_id, r.reminder_id, r.account_id, r.ladder, r.step, r.stage, r.channel, r.attempt, r.planned_for,
           r.expires_at, a.customer_id, a.external_ref, a.product, a.currency, a.balance_minor, a.due_on, a.state,
           a.as_of, c.locale, c.residence, c.zones, c.zone_confirmed_at, NULLIF(c.refused_channels, '{}'),
           NULLIF(c.blocked_hours, '[]'), c.household, c.name_sealed, k.master_key_id, k.wrapped_key, r.due_at
    FROM reminder r
    JOIN account a ON a.party_id = r.party_id AND a.account_id = r.account_id AND a.party_id = ANY(%s)
    JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id AND c.party_id = ANY(%s)
    LEFT JOIN customer_key k ON k.party_id = c.party_id AND k.customer_id = c.customer_id AND k.party_id = ANY(%s)
    WHERE r.party_id = ANY(%s) AND r.lender_id = %s AND r.state = 'planned' AND r.due_at <= %s
      AND r.reminder_id NOT IN (SELECT reminders_in_hand(%s))
    ORDER BY r.party_id, a.customer_id, r.reminder_id
"""

_REACHES: LiteralString = """
    SELECT party_id, customer_id, address_id, channel, kind, sealed, lookup, country, zones FROM address
    WHERE party_id = ANY(%s) AND retired_at IS NULL ORDER BY party_id, priority, address_id
"""

_STANDINGS: LiteralString = """
    SELECT party_id, customer_id, channel, lookup, purpose, given_at, withdrawn_at FROM consent
    WHERE party_id = ANY(%s) ORDER BY party_id
"""

_STOPS: LiteralString = """
    SELECT party_id, account_id, kind, since, ends_at FROM hold
    WHERE party_id = ANY(%s) AND released_at IS NULL AND (ends_at IS NULL OR ends_at > %s)
"""
