"""From due to handed over at half load, through the true fleet: beat's real tick, wake-ups, workers, the null channel.

First everything is due at once, which says what this machine can do. Then reminders come due evenly at half that rate,
while business time flows as fast as real time. A reminder is handed over when its record says so: the clock of the
database at the insert of its `sent` event, a little after the hand-over itself.
"""

import time
from datetime import datetime, timedelta
from typing import NamedTuple

from bench.dispatch import drain
from bench.results import Figure, against_goal, quantile
from bench.rig import Rig, Step, beat, rig, steps, wait_for, worker
from bench.world import come_due, copies, flow_from, moment, move_in, remember_alike, round_day, tidy
from storage import lanes

#: Enough for half a minute at half of 16,000 a second.
CUSTOMERS = 240_000
SECONDS = 30
LOAD = 0.5
GOAL_SECONDS = 1.0

#: Customers whose reminders are all due at once, to learn what the fleet can do.
FULL = 16_000

#: Contacts of the past of each, at full load and at half; fewer than in `dispatch`, to be ready sooner.
HISTORY = 3

#: A fleet at half load should catch up at once; one that has not by then cannot carry it.
PATIENCE_SECONDS = 30.0


class Lag(NamedTuple):
    """Seconds from due to handed over, one for each reminder, and seconds from due to stamped."""

    handed: list[float]
    stamped: list[float]


def run(*, seconds: int = SECONDS, customers: int = CUSTOMERS, full: int = FULL) -> list[Figure]:
    with rig("latency") as house, steps("latency", 5 + seconds) as step:
        step("customers")
        move_in(house, full, history=HISTORY)
        with worker(house) as fleet:
            step("full load, not counted")
            drain(house, fleet, come_due(house.conn, round_day(0), history=HISTORY), full)
            step("full load")
            rate = drain(house, fleet, come_due(house.conn, round_day(1), history=HISTORY), full).per_second
            due = min(int(LOAD * rate * seconds), customers - full)
            step(f"{due:,} more customers")
            copies(house.conn, full + due)
            remember_alike(house.conn, after_party=full)
            lag, took = _flow(house, due, full, seconds, step)
    detail = {
        "p50": quantile(lag.handed, 0.5), "p90": quantile(lag.handed, 0.9), "p99": quantile(lag.handed, 0.99),
        "max": max(lag.handed), "stamped_p50": quantile(lag.stamped, 0.5), "stamped_p99": quantile(lag.stamped, 0.99),
        "full_rate": rate, "due_per_second": due / seconds, "seconds": took, "reminders": len(lag.handed),
        "tick_seconds": house.settings.tick_seconds,
    }  # fmt: skip
    said = f"the goal; half load, {due / seconds:,.0f} due a second"
    return [
        against_goal("latency", detail["p99"], GOAL_SECONDS, said=said, unit="s, p99", detail=detail),
        against_goal("latency_p50", detail["p50"], GOAL_SECONDS, said=said, unit="s, p50"),
    ]


def _flow(house: Rig, due: int, after_party: int, seconds: int, step: Step) -> tuple[Lag, float]:
    """Let the reminders of the copies come due evenly, and wait until all are sent."""
    conn = house.conn
    start = moment(round_day(2)) + timedelta(seconds=5)
    conn.execute(
        """
        UPDATE reminder SET due_at = v.at, planned_for = v.at, expires_at = v.at + interval '2 days'
        FROM (SELECT party_id, reminder_id, %s::timestamptz + make_interval(
                         secs => %s * (row_number() OVER (ORDER BY md5(party_id::text)) - 1) / %s::float) AS at
              FROM reminder WHERE state = 'planned' AND party_id > %s) v
        WHERE reminder.party_id = v.party_id AND reminder.reminder_id = v.reminder_id
        """,
        (start, seconds, due, after_party),
    )
    # The others sleep: their next step is for another day.
    conn.execute(
        "UPDATE reminder SET due_at = %s, expires_at = %s WHERE state = 'planned' AND party_id <= %s",
        (start + timedelta(days=30), start + timedelta(days=33), after_party),
    )
    lanes.ensure_partitions(conn, start)
    tidy(conn)
    began = time.perf_counter()
    with beat(house):
        step("beat's first tick")
        _see_it_tick(house, start - timedelta(hours=1))
        flow_from(conn, start - timedelta(seconds=1))
        end = time.monotonic() + seconds + PATIENCE_SECONDS
        while (left := _left(house, start, after_party)) and time.monotonic() < end:
            step(f"{left:,} to go")
            time.sleep(1)
    if left:
        raise SystemExit(f"bench: at half load {left} of {due} reminders were still due {PATIENCE_SECONDS:g} s later")
    return _lag(house, start, after_party), time.perf_counter() - began


def _see_it_tick(house: Rig, at: datetime) -> None:
    """Beat takes its time to start: one reminder goes through before the clock does."""
    conn = house.conn
    conn.execute("UPDATE reminder SET due_at = %s, planned_for = %s WHERE party_id = 1 AND state = 'planned'", (at, at))
    lanes.step_clock(conn, at)
    wait_for(lambda: not lanes.stillness(conn).due_reminders, what="beat's first tick", log_file=house.log_file)


def _left(house: Rig, start: datetime, after_party: int) -> int:
    row = house.conn.execute(
        """
        SELECT count(*) FROM reminder
        WHERE state = 'planned' AND party_id > %s AND due_at < %s::timestamptz + interval '10 minutes'
        """,
        (after_party, start),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _lag(house: Rig, start: datetime, after_party: int) -> Lag:
    """Business time flows: the shift between it and the real clock is the same for all."""
    rows = house.conn.execute(
        """
        WITH clocks AS (SELECT business_now() - clock_timestamp() AS shift)
        SELECT extract(epoch FROM e.recorded_at + shift - r.planned_for)::float,
               extract(epoch FROM r.stamped_at + shift - r.planned_for)::float
        FROM clocks, reminder r JOIN contact_event e ON e.party_id = r.party_id AND e.contact_id = r.contact_id
        WHERE r.state = 'sent' AND r.planned_for >= %s AND r.party_id > %s AND e.kind = 'sent'
        """,
        (start, after_party),
    ).fetchall()
    return Lag([row[0] for row in rows], [row[1] for row in rows])
