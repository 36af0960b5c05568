from datetime import UTC, date, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import database, intake
from storage.fresh import CustomerIds, Fresh, new_ids
from tests.intake_kit import Desk, a_row

NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)


@pytest.fixture
def desk(database_url: str, connection: psycopg.Connection[Any], tmp_path: Path) -> Desk:
    return Desk(database_url, connection, tmp_path)


def test_two_files_wait_for_each_other(desk: Desk) -> None:
    entered: list[str] = []

    def second() -> None:
        with database.connect(desk.url) as conn:
            intake.begin(conn)
            entered.append("second")

    with database.connect(desk.url) as first:
        intake.begin(first)
        thread = Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert entered == []
    thread.join(10)

    assert entered == ["second"]


def test_the_same_file_from_two_hands_at_once_is_taken_once(desk: Desk) -> None:
    path = desk.file(*[a_row(customer_ref=f"C{n}", account_ref=f"A{n}") for n in range(300)])
    reports: list[Any] = []
    threads = [Thread(target=lambda: reports.append(desk.take_file(path))) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(report.accounts_new for report in reports) == [0, 300]
    assert desk.one("SELECT count(*) FROM account") == 300


def test_an_import_that_dies_leaves_nothing(desk: Desk) -> None:
    with database.connect(desk.url) as conn:
        intake.begin(conn)
        intake.add_lenders(conn, ["lantern"])
        (ids,), _ = new_ids(conn, customers=1, accounts=0)
        add_customer(ids, "C1").write(conn)
        desk.conn.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")

    assert desk.all("SELECT * FROM party") == []
    assert desk.all("SELECT * FROM lender") == []


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


def add_customer(ids: CustomerIds, ref: str, *, sealed: bytes = b"s", household: str | None = None) -> Fresh:
    fresh = Fresh()
    fresh.add_customer(
        ids,
        lender_id="lantern",
        external_ref=ref,
        locale="en",
        residence=None,
        zones=("Asia/Taipei", "Asia/Tokyo"),
        zone_confirmed_at=NOW,
        refused_channels=(),
        household=household,
        name_sealed=sealed,
        row_hash=sealed[::-1],
        master_key_id="k",
        wrapped_key=b"\\.",
    )
    return fresh


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ref=TEXT, household=TEXT, sealed=st.binary(min_size=1, max_size=60))
def test_any_text_and_any_bytes_arrive_as_they_were(desk: Desk, ref: str, household: str, sealed: bytes) -> None:
    with desk.conn.transaction(force_rollback=True):
        intake.add_lenders(desk.conn, ["lantern"])
        (ids,), (account,) = new_ids(desk.conn, customers=1, accounts=1)
        fresh = add_customer(ids, ref, sealed=sealed, household=household)
        fresh.add_account(
            ids, account, lender_id="lantern", external_ref=ref, product=household, currency="TWD",
            balance_minor=-1, due_on=date(2026, 3, 8), ladder="small", as_of=NOW, row_hash=sealed,
        )  # fmt: skip
        fresh.write(desk.conn)

        assert desk.conn.execute(
            """SELECT c.external_ref, c.household, c.name_sealed, c.row_hash, c.zones, c.zone_confirmed_at, c.residence,
                      k.wrapped_key, a.product, a.row_hash, a.state
               FROM customer c JOIN customer_key k USING (party_id) JOIN account a USING (party_id)"""
        ).fetchall() == [
            (ref, household, sealed, sealed[::-1], ["Asia/Taipei", "Asia/Tokyo"], NOW, None, b"\\.", household, sealed,
             "paid")
        ]  # fmt: skip
