"""How long the ledger is kept: what the operator says, unless a pack or open work needs it longer."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from config.settings import Settings
from storage import database, lanes, retention
from storage.rows import Conn
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, a_contact, a_customer, a_live_release, an_account
from worker import nightly
from worker.retention import SHORTEST_DAYS, Keeping, _month_of, keeping
from worker.wiring import Spine

KEYS = Keyring({"k1": os.urandom(32)}, os.urandom(32))

#: What cn.retention.consumer_finance asks for.
LONGEST = 1827

#: Business time of the first night, and the first day that is kept then.
NIGHT = datetime(2026, 3, 4, 0, 30, tzinfo=UTC)
KEPT = date(2021, 3, 1)


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    """A ledger that goes back to the year 2020, under the packs that come with duly."""
    with database.connect(database_url, autocommit=True) as opened:
        a_live_release(opened)
        lanes.step_clock(opened, TUESDAY_MORNING)
        lanes.ensure_partitions(opened, datetime(2021, 1, 10, tzinfo=UTC), back=12, ahead=4)
        nightly.schedule(opened, now=TUESDAY_MORNING)
        yield opened


def night(
    conn: Conn, database_url: str, home: Path, days: int | None, *, at: datetime = NIGHT
) -> list[dict[str, object]]:
    """Live to the first night and run its jobs; what retention said of itself."""
    lanes.step_clock(conn, at)
    spine = Spine(Settings(home=home, keep_ledger_days=days), database_url)
    try:
        with capture_logs() as said:
            nightly.run_due(spine)
    finally:
        spine.close()
    return [line for line in said if line["event"].startswith(("retention", "forgotten"))]


def first(conn: Conn) -> date | None:
    return retention.first_month(conn)


def kept(conn: Conn, days: int | None) -> Keeping:
    return keeping(conn, days, now=NIGHT)


def test_without_a_setting_nothing_ever_goes(conn: Conn, database_url: str, tmp_path: Path) -> None:
    assert night(conn, database_url, tmp_path, None) == []

    assert first(conn) == date(2020, 1, 1)
    assert retention.mark(conn) is None
    assert conn.execute("SELECT due_at > %s FROM nightly_job WHERE name = 'retention'", (NIGHT,)).fetchone() == (True,)


def test_what_is_older_goes_at_night(conn: Conn, database_url: str, tmp_path: Path) -> None:
    [said] = night(conn, database_url, tmp_path, LONGEST)

    assert (said["event"], said["before"]) == ("forgotten", str(KEPT))
    assert first(conn) == KEPT


@pytest.mark.parametrize("days", [1, 92, LONGEST - 1])
def test_fewer_days_than_a_pack_asks_for_are_refused_by_its_name_and_nothing_goes(
    conn: Conn, database_url: str, tmp_path: Path, days: int
) -> None:
    [said] = night(conn, database_url, tmp_path, days)

    assert (said["event"], said["log_level"]) == ("retention_refused", "error")
    assert said["why"] == (
        f"DULY_KEEP_LEDGER_DAYS is {days}, and cn.retention.consumer_finance of cn@2026.1 asks that "
        "consumer_finance_collection be kept for 1827 days: set 1827 or more, or take it out to keep everything"
    )
    assert first(conn) == date(2020, 1, 1)
    assert retention.mark(conn) is None


def test_while_no_release_is_live_nothing_goes(conn: Conn, database_url: str, tmp_path: Path) -> None:
    conn.execute("UPDATE release SET state = 'retired'")

    [said] = night(conn, database_url, tmp_path, 36_500)

    assert said["event"] == "retention_refused"
    assert "no release is live" in str(said["why"])
    assert kept(conn, None).refused is None


def test_a_call_that_waits_for_somebody_holds_its_months_back_and_no_others(
    conn: Conn, database_url: str, tmp_path: Path
) -> None:
    customer = a_customer(conn, KEYS)
    conn.execute(
        """
        INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, queued_at, not_before)
        VALUES (%s, %s, 'lantern', '{}', 'reply', 'wrote to us', '2020-11-20Z', '2020-11-20Z')
        """,
        (customer.party_id, customer.customer_id),
    )

    held, gone = night(conn, database_url, tmp_path, LONGEST)

    assert (held["event"], held["by"], held["since"]) == (
        "retention_held_back", "a call task that is open", "2020-11-20",
    )  # fmt: skip
    assert gone["before"] == "2020-11-01"
    assert first(conn) == date(2020, 11, 1)
    assert kept(conn, LONGEST).is_late(NIGHT)


def test_what_is_locked_is_said_and_left_for_the_next_night(conn: Conn, database_url: str, tmp_path: Path) -> None:
    with database.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM contact")
        said = night(conn, database_url, tmp_path, LONGEST)

    assert [(line["event"], line.get("table")) for line in said] == [("retention_left", "contact_2020_01")]
    assert first(conn) == date(2020, 1, 1)
    again = conn.execute("SELECT due_at FROM nightly_job WHERE name = 'retention'").fetchone()
    assert again == (NIGHT + timedelta(days=1),)


def test_the_fleet_goes_on_while_a_month_waits_for_its_lock(conn: Conn, database_url: str, tmp_path: Path) -> None:
    """Whoever comes after the job in the queue for the table is let through when it gives up."""
    account = an_account(conn, customer := a_customer(conn, KEYS))
    with database.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM contact_2020_01")
        night(conn, database_url, tmp_path, LONGEST)

        a_contact(conn, customer, account, TUESDAY_MORNING)
        a_contact(conn, customer, account, datetime(2020, 1, 5, tzinfo=UTC))

    assert conn.execute("SELECT count(*) FROM contact").fetchone() == (2,)


@given(st.integers(SHORTEST_DAYS, 9000), st.datetimes(datetime(2001, 1, 1), datetime(2060, 1, 1)))
def test_no_month_goes_that_is_made_behind_the_present_one_or_has_a_day_that_is_kept(days: int, now: datetime) -> None:
    begins = _month_of(now.replace(tzinfo=UTC) - timedelta(days=days))

    assert begins <= (now - timedelta(days=days)).date()
    months_behind = 12 * (now.year - begins.year) + now.month - begins.month
    assert months_behind > 2, "ensure_partitions makes two"


def test_a_maximum_is_told_once_the_ledger_is_older_and_never_acted_on(conn: Conn) -> None:
    [most] = kept(conn, None).exceeded

    assert (most.rule, most.days) == ("gr.retention", 183)
    assert kept(conn, LONGEST).exceeded == (most,)
    young = keeping(conn, None, now=datetime(2020, 5, 1, tzinfo=UTC))
    assert (young.exceeded, young.before) == ((), None)
    assert replace(young, days=None).is_late(NIGHT) is False


def test_a_release_that_cannot_be_read_drops_nothing(conn: Conn) -> None:
    conn.execute("ALTER TABLE release DISABLE TRIGGER release_stands")
    conn.execute("UPDATE release SET bundle = '\\x00'")

    found = kept(conn, 9000)

    assert found.before is None
    assert found.refused is not None
    assert "nobody can tell how long the packs ask for" in found.refused


def test_the_next_night_finds_nothing_left(conn: Conn, database_url: str, tmp_path: Path) -> None:
    assert len(night(conn, database_url, tmp_path, LONGEST)) == 1

    assert night(conn, database_url, tmp_path, LONGEST, at=NIGHT + timedelta(days=1)) == []
    assert first(conn) == KEPT


def test_a_clock_that_leaps_ahead_forgets_nothing_the_first_night(
    conn: Conn, database_url: str, tmp_path: Path
) -> None:
    night(conn, database_url, tmp_path, LONGEST)
    leapt = NIGHT + timedelta(days=400)

    said = night(conn, database_url, tmp_path, LONGEST, at=leapt)
    stood = first(conn)
    night(conn, database_url, tmp_path, LONGEST, at=leapt + timedelta(days=1))

    assert [(line["event"], line["days"]) for line in said] == [("retention_waits", 399)]
    assert stood == KEPT
    assert first(conn) > KEPT, "a clock that is still there the next night is believed"


def test_a_fleet_that_stood_still_for_a_month_forgets_as_ever(conn: Conn, database_url: str, tmp_path: Path) -> None:
    night(conn, database_url, tmp_path, LONGEST)

    said = night(conn, database_url, tmp_path, LONGEST, at=NIGHT + timedelta(days=31))

    assert [line["event"] for line in said] == ["forgotten"]


def test_a_night_that_was_too_short_goes_on_at_once(conn: Conn, database_url: str, tmp_path: Path) -> None:
    lanes.claim_job(conn, "retention")
    lanes.put_off_job(conn, "retention", by=timedelta())

    assert lanes.due_jobs(conn) == ["retention"]
