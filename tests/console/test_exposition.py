"""What is scraped: the whole fleet's counts, few labels, nobody's name; and little when the database is away."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from config.settings import Settings
from console.exposition import GAUGES, Exposition, render
from storage import lanes, retention
from tests.builders import MadeCustomer, a_customer, a_reminder, an_account
from tests.console.caller import Caller, serving
from tests.rehearsal import Fleet, fleet, sandbox
from worker import dispatch
from worker.metrics import FAMILIES, LATENCY, REMINDERS, TALLY, series_of
from worker.reporting import Reporter
from worker.ticking import look
from worker.wiring import keyring

__all__ = ["fleet", "sandbox"]

NOBODY = "redis://127.0.0.1:1/0"


def scraped(fleet: Fleet) -> str:
    return Exposition(fleet.settings, fleet.database_url, NOBODY).text().decode()


def series(text: str) -> dict[tuple[str, frozenset], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def live_through(fleet: Fleet, people: int, first: int) -> list[MadeCustomer]:
    """So many people have something due, and the fleet works until nothing is."""
    made = [a_customer(fleet.conn, keyring(fleet.settings), n) for n in range(first, first + people)]
    for person in made:
        a_reminder(fleet.conn, person, an_account(fleet.conn, person))
    spine = fleet.spine()
    reporter = Reporter(fleet.database_url, name="worker@tests:1", role="worker")
    for lane in look(fleet.conn).lanes:
        dispatch.drain(spine, lane)
    reporter.report(fleet.conn)
    spine.close()
    return made


def test_a_rehearsal_shows_what_happened_and_nobody_in_it(fleet: Fleet, sandbox) -> None:
    TALLY.begin()
    sandbox.arm(
        {"channel": "sms", "kind": "refuse", "code": "21211", "every": 7},
        {"channel": "sms", "kind": "drop_after", "every": 5},
    )
    made = live_through(fleet, 40, 1)

    text = scraped(fleet)

    counted = series(text)

    def of(metric: str, **wanted: str) -> float:
        return sum(value for (name, pairs), value in counted.items() if name == metric and labels(**wanted) <= pairs)

    sent = of("duly_reminders_total", outcome="sent")
    assert sent == of("duly_sends_total", result="accepted") == of("duly_due_to_handed_seconds_count") > 0
    assert sent + of("duly_sends_total", result="uncertain") == sandbox.accepted()
    assert of("duly_sends_total", result="rejected") > 0
    assert of("duly_reminders_total", outcome="uncertain") > 0
    assert counted["duly_stage_seconds_count", labels(stage="decide")] >= 1
    personal = [
        *(each for person in made for each in (person.phone, person.phone[4:], person.email, f'"{person.ref}"')),
        "Ana Example",
        *(str(row[0]) for row in fleet.conn.execute("SELECT external_ref FROM account")),
        *(str(row[0]) for row in fleet.conn.execute("SELECT contact_id FROM contact")),
        *(row[0] for row in fleet.conn.execute("SELECT provider_ref FROM contact_event WHERE provider_ref <> ''")),
    ]
    assert [each for each in personal if each in text] == []
    values = {value for _, pairs in counted for _, value in pairs}
    assert [
        value for value in values if re.search(r"@|\+\d|\d{6}", value) and not re.fullmatch(r"[0-9a-f]{12}", value)
    ] == []


def labels(**pairs: str) -> frozenset:
    return frozenset(pairs.items())


def test_more_people_are_no_more_series(fleet: Fleet) -> None:
    TALLY.begin()
    live_through(fleet, 5, 1)
    few = set(series(scraped(fleet)))
    live_through(fleet, 60, 100)

    many = set(series(scraped(fleet)))

    assert many == few


def test_every_metric_is_described_and_carries_its_labels(fleet: Fleet) -> None:
    TALLY.begin()
    live_through(fleet, 2, 1)
    known = {name: names for name, (names, _) in GAUGES.items()}
    known |= {family.name.removesuffix("_total"): family.labels for family in FAMILIES}

    for family in text_string_to_metric_families(scraped(fleet)):
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(known[family.name]), family.name


def test_without_the_database_one_number_says_so(tmp_path) -> None:
    exposition = Exposition(Settings(home=tmp_path), "postgresql://nobody@127.0.0.1:9/none", NOBODY)

    assert series(exposition.text().decode())["duly_up", frozenset()] == 0


def test_a_month_that_should_be_gone_is_told_where_months_go(fleet: Fleet) -> None:
    first = retention.first_month(fleet.conn)
    assert first is not None
    ends = datetime.combine((first + timedelta(days=31)).replace(day=1), time(), UTC)
    lanes.step_clock(fleet.conn, ends + timedelta(days=100, seconds=7))
    forgetful = fleet.settings.model_copy(update={"keep_ledger_days": 93})

    told = Exposition(forgetful, fleet.database_url, NOBODY).text().decode()

    assert series(told)["duly_ledger_overdue_seconds", frozenset()] == pytest.approx(7 * 86_400 + 7, abs=60)
    assert "duly_ledger_overdue_seconds" not in scraped(fleet)


@given(st.lists(st.floats(0, 100_000), max_size=40))
def test_buckets_grow_and_end_with_the_count(waits: list[float]) -> None:
    text = render([], observed(waits)).decode()

    counted = series(text)
    buckets = [
        counted["duly_due_to_handed_seconds_bucket", labels(channel="sms", le=str(bound))]
        for bound in (*LATENCY.buckets, "+Inf")
        if waits
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1:] == ([len(waits)] if waits else [])
    for bound, below in zip(LATENCY.buckets, buckets, strict=False):
        assert below == sum(wait <= bound for wait in waits)


def observed(waits: list[float]) -> dict[str, float]:
    TALLY.begin()
    for wait in waits:
        TALLY.observe(LATENCY, ("sms",), wait)
    return TALLY.counts()


def test_a_series_of_another_version_is_left_out() -> None:
    text = render([], {series_of(REMINDERS, ("lantern", "sms")): 3, "duly_forgotten_total|x": 4}).decode()

    assert series(text) == {}


@pytest.fixture
def console(fleet: Fleet) -> Iterator[Caller]:
    settings = Settings(home=fleet.settings.home, metrics_token="sesame")
    with serving(settings, fleet.database_url) as caller:
        yield caller


def test_the_console_shows_it_to_who_has_the_token(console: Caller) -> None:
    status, text = console.ask("GET", "/metrics", Authorization="Bearer sesame")

    assert (status, series(text)["duly_up", frozenset()]) == (200, 1)
    assert console.ask("GET", "/metrics")[0] == 401
    assert console.ask("GET", "/metrics", Authorization="Bearer open")[0] == 401
