"""Alarms: nothing when all is well, each red or amber thing named with what to do, the worst first."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.alarms import MONTHS_AMBER, Alarm, Colour, alarms
from console.exposition import gauges
from console.pulse import Pulse
from policy.keeping import Bounds
from storage.retention import Need
from storage.standing import Breaker, Database, LaneLag, Standing
from storage.tallies import Process
from tests.builders import TUESDAY_MORNING
from worker.broker import Broker
from worker.metrics import REFUSED, SENDS, series_of
from worker.retention import Keeping

NOW = TUESDAY_MORNING
LIVE, OLD = "a" * 64, "b" * 64

STANDING = Standing(
    business_now=NOW, stepped_at=None, release_hash=LIVE, paused=[], lanes=[], planned=0, open_batches=0,
    oldest_lease=None, overdue_leases=0, overdue_for=None, uncertain=0, uncertain_today=0, inbox_waiting=0,
    inbox_waits=None, inbox_early=0, suspects=0, call_tasks=[], breakers=[],
    partitions_until=NOW + timedelta(days=90), first_month_ends=NOW, jobs_late=None,
)  # fmt: skip
DATABASE = Database(
    version="18", schema="0001", is_standby=False, connections=9, max_connections=100, waiting_for_locks=0,
    longest_transaction=None, replicas=0, replay_lag=None, size_bytes=1, dead_rows=0, rows=0, fsync="on",
    synchronous_commit="on",
)  # fmt: skip
BROKER = Broker("valkey", is_up=True)
WORKER = Process("worker@h:1", "worker", NOW, timedelta(seconds=3), LIVE, 1)
NO_BOUNDS = Bounds(None, ())
WELL = Pulse(STANDING, DATABASE, BROKER, (WORKER,), {}, {})


def late(seconds: float, lender: str = "lantern") -> LaneLag:
    return LaneLag(lender, "sms", NOW, timedelta(seconds=seconds), 7)


def stands(**changes: Any) -> Pulse:
    return replace(WELL, standing=STANDING._replace(**changes))


def database(**changes: Any) -> Pulse:
    return replace(WELL, database=DATABASE._replace(**changes))


def answers(**results: int) -> Pulse:
    return replace(WELL, recent={series_of(SENDS, ("twilio", "sms", name)): n for name, n in results.items()})


def breaker(state: str, *, stopped: bool = False) -> Pulse:
    return stands(breakers=[Breaker("twilio", "sms", state, timedelta(minutes=3), 10, 100, "20429", stopped)])


def kept(*, first: date, days: int = 700, before: date = date(2024, 4, 1), held_by: Need | None = None) -> Pulse:
    return replace(WELL, keeping=Keeping(days, first, NO_BOUNDS, (), None, date(2024, 4, 1), before, held_by))


RED = {
    "lag": stands(lanes=[late(61)]),
    "workers": replace(stands(lanes=[late(11)]), processes=()),
    "leases": stands(overdue_leases=1, overdue_for=timedelta(seconds=31)),
    "inbox": stands(inbox_waiting=1, inbox_waits=timedelta(seconds=61)),
    "release": stands(release_hash=None, lanes=[late(11)]),
    "partitions": stands(partitions_until=NOW + timedelta(days=6)),
    "provider twilio (sms), misconfigured": answers(accepted=900, misconfigured=1),
    "provider twilio (sms), refuses": answers(accepted=9, later=11),
    "provider twilio (sms), breaker": breaker("misconfigured"),
    "provider twilio (sms), channel": breaker("open", stopped=True),
    "database, standby": database(is_standby=True),
    "database, forgets": database(synchronous_commit="off"),
    "database, full": database(connections=91),
    "broker, down": replace(WELL, broker=replace(BROKER, is_up=False, trouble="ConnectionError")),
    "broker, memory": replace(WELL, broker=replace(BROKER, memory_bytes=95, most_memory_bytes=100)),
}

AMBER = {
    "lag": stands(lanes=[late(11)]),
    "release, held back": replace(WELL, processes=(WORKER, WORKER._replace(name="x", release_hash=OLD))),
    "release, none": stands(release_hash=None),
    "uncertain": stands(uncertain_today=1),
    "inbox": stands(inbox_waiting=1, inbox_waits=timedelta(seconds=11)),
    "nightly jobs": stands(jobs_late=timedelta(hours=2)),
    "partitions": stands(partitions_until=NOW + timedelta(days=20)),
    "paused": stands(paused=[("lantern", "a storm")]),
    "suspects": stands(suspects=2),
    "retention, refused": replace(WELL, keeping=Keeping(9, date(2020, 1, 1), NO_BOUNDS, refused="set 93 or more")),
    "retention, locked": kept(first=date(2024, 2, 1)),
    "retention, held back": kept(
        first=date(2024, 2, 1),
        before=date(2024, 2, 1),
        held_by=Need("a promise that is open", NOW - timedelta(days=750)),
    ),
    "provider twilio (sms), falters": answers(accepted=80, later=20),
    "provider twilio (sms), breaker": breaker("half_open"),
    "database, fills": database(connections=80),
    "database, replica": database(replay_lag=timedelta(seconds=31)),
    "database, transaction": database(longest_transaction=timedelta(minutes=11)),
    "database, bloat": database(rows=100_000, dead_rows=100_001),
    "broker, queue": replace(WELL, broker=replace(BROKER, queues={"sms": 10_000})),
    "broker, refused": replace(WELL, recent={series_of(REFUSED, ("not JSON",)): 3}),
}

#: What looks alarming and is not.
CALM = {
    "everything is kept": replace(WELL, keeping=Keeping(None, date(2020, 1, 1), NO_BOUNDS)),
    "a month that went over its days last night": kept(first=date(2024, 3, 1), days=701),
    "open work that goes back to months that stay anyway": kept(
        first=date(2024, 4, 1), held_by=Need("a promise that is open", NOW)
    ),
    "a late lender who is paused": stands(lanes=[late(900)], paused=[("lantern", "x")]),
    "everything paused": stands(lanes=[late(900)], paused=[("*", "x")]),
    "a lease just over": stands(overdue_leases=1, overdue_for=timedelta(seconds=4)),
    "few attempts": answers(accepted=1, later=18),
    "addresses that are no good": answers(accepted=20, rejected=80),
    "a small table full of dead rows": database(rows=10, dead_rows=99_999),
    "no worker and only a paused lender due": replace(
        stands(lanes=[late(900)], paused=[("lantern", "x")]), processes=()
    ),
    "no worker and nothing due": replace(WELL, processes=()),
    "a worker before its first batch": replace(WELL, processes=(WORKER._replace(release_hash=None),)),
    "the last process of an old release, gone silent": replace(
        WELL, processes=(WORKER, WORKER._replace(release_hash=OLD, silent_for=timedelta(minutes=2)))
    ),
    "a closed breaker": breaker("closed"),
}


def colours(found: list[Alarm], subject: str) -> set[Colour]:
    return {alarm.colour for alarm in found if alarm.subject == subject.partition(",")[0]}


def test_nothing_is_said_when_all_is_well() -> None:
    assert alarms(WELL) == []


@pytest.mark.parametrize("case", RED)
def test_what_must_be_acted_on_now_is_red(case: str) -> None:
    assert Colour.RED in colours(alarms(RED[case]), case)


@pytest.mark.parametrize("case", AMBER)
def test_what_must_be_looked_at_today_is_amber_and_nothing_is_red(case: str) -> None:
    found = alarms(AMBER[case])

    assert colours(found, case) == {Colour.AMBER}
    assert {alarm.colour for alarm in found} == {Colour.AMBER}


@pytest.mark.parametrize("case", CALM)
def test_what_only_looks_alarming_raises_nothing_but_a_pause(case: str) -> None:
    assert {alarm.subject for alarm in alarms(CALM[case])} <= {"paused"}


def test_the_worst_comes_first_and_everything_says_what_to_do() -> None:
    pulse = replace(
        stands(lanes=[late(61)], suspects=1, paused=[("northbank", "x")]), broker=replace(BROKER, is_up=False)
    )

    found = alarms(pulse)

    assert [alarm.colour for alarm in found] == sorted((a.colour for a in found), key=lambda c: c is not Colour.RED)
    assert len(found) == 4
    assert all(alarm.seen and alarm.remedy for alarm in found)


@given(
    st.dates(date(2020, 1, 1), date(2030, 12, 1)), st.integers(93, 4000),
    st.timedeltas(timedelta(days=-40), timedelta(days=40)),
)  # fmt: skip
def test_status_and_metrics_agree_on_a_month_that_should_be_gone(day: date, days: int, beside: timedelta) -> None:
    first = day.replace(day=1)
    ends = datetime.combine((first + timedelta(days=31)).replace(day=1), time(), UTC)
    now = ends + timedelta(days=days) + MONTHS_AMBER + beside
    pulse = replace(WELL, keep_days=days, standing=STANDING._replace(business_now=now, first_month_ends=ends))

    overdue = {name: value for name, _, value in gauges(pulse)}["duly_ledger_overdue_seconds"]

    assert overdue is not None
    assert (overdue >= MONTHS_AMBER.total_seconds()) == Keeping(days, first, NO_BOUNDS).is_late(now - MONTHS_AMBER)
