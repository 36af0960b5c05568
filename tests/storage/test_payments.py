from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import psycopg
import pytest

from storage import database, payments
from storage.payments import NewPayment
from tests.intake_kit import Desk, a_row

NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)


@pytest.fixture
def desk(database_url: str, connection: psycopg.Connection[Any], tmp_path: Path) -> Desk:
    desk = Desk(database_url, connection, tmp_path)
    desk.take(*[a_row(customer_ref=f"C{n}", account_ref=f"A{n}", balance="100") for n in range(6)])
    return desk


def everybody(desk: Desk) -> list[tuple[int, int]]:
    return [(party, account) for party, account in desk.all("SELECT party_id, account_id FROM account ORDER BY 1")]


def test_writers_that_lock_in_any_order_never_wait_in_a_circle_and_lose_nothing(desk: Desk) -> None:
    accounts = everybody(desk)
    together = Barrier(2)
    failures: list[BaseException] = []

    def pay_all(order: list[tuple[int, int]], name: str) -> None:
        try:
            with database.connect(desk.url) as conn:
                together.wait(10)
                for turn in range(10):
                    with conn.transaction():
                        payments.lock_parties(conn, [party for party, _ in order])
                        rows = [
                            NewPayment(p, a, "lantern", f"{name}-{turn}-{a}", "payment", None, 100, NOW)
                            for p, a in order
                        ]
                        payments.write_payments(conn, rows)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=pay_all, args=(accounts, "up")), Thread(target=pay_all, args=(accounts[::-1], "down"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert failures == []
    assert {row[0] for row in desk.all("SELECT balance_minor FROM account")} == {100_00 - 20 * 100}
    assert {row[0] for row in desk.all("SELECT stop_epoch FROM party")} == {20}


def test_only_accounts_that_owe_and_have_no_open_step_are_to_be_planned(desk: Desk) -> None:
    accounts = everybody(desk)
    ids = [account for _, account in accounts]
    desk.do("UPDATE reminder SET state = 'sent' WHERE account_id = ANY(%s)", ids[:4])
    desk.do("UPDATE account SET balance_minor = 0 WHERE account_id = %s", ids[0])
    desk.do("UPDATE account SET state = 'recalled' WHERE account_id = %s", ids[1])

    rows = payments.to_plan(desk.conn, accounts)

    assert [row.account_id for row in rows] == ids[2:4]
    assert [(row.last_step, row.reachable) for row in rows] == [("upcoming", ["email", "phone"])] * 2


def test_nothing_given_is_nothing_done(desk: Desk) -> None:
    before = desk.ledger()

    assert payments.write_payments(desk.conn, []) == []
    assert payments.cancel(desk.conn, [], reason="paid", at=NOW) == 0
    assert payments.settle_promises(desk.conn, [], at=NOW) == 0
    assert payments.to_plan(desk.conn, []) == []
    assert desk.ledger() == before
