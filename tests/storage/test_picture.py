"""What a drain reads of the parties that it has locked."""

from datetime import timedelta

import pytest

from storage import picture
from tests.builders import TUESDAY_MORNING, a_customer, a_reminder, an_account
from tests.feedback_kit import KEYRING, a_ledger
from tests.plans import generic_plan


def test_what_is_read_comes_in_party_order_however_it_lies(database_url: str) -> None:
    """Parties are decided about a few at a time, and whoever comes later in a list belongs to a later party."""
    with a_ledger(database_url) as conn:
        customers = [a_customer(conn, KEYRING, number) for number in range(1, 6)]
        for number, customer in enumerate(customers, start=1):
            a_reminder(conn, customer, an_account(conn, customer, number))
        for table in ("consent", "address", "account", "reminder"):  # each is written anew, behind those after it
            for customer in reversed(customers):
                conn.execute(f"UPDATE {table} SET party_id = party_id WHERE party_id = %s", (customer.party_id,))

        conn.execute("UPDATE address SET priority = 100 - party_id")
        conn.execute("SET enable_indexscan = off")  # or the index would happen to put them in order
        conn.execute("SET enable_bitmapscan = off")
        with conn.transaction():
            seen = picture.read_picture(
                conn, [customer.party_id for customer in reversed(customers)], lender_id="lantern",
                now=TUESDAY_MORNING + timedelta(hours=1), lookback=lambda *_: timedelta(days=31),
            )  # fmt: skip

    parties = [customer.party_id for customer in customers]
    for rows in (seen.due, seen.reaches, seen.standings):
        assert [row.party_id for row in rows] == sorted(row.party_id for row in rows)
        assert {row.party_id for row in rows} == set(parties)


@pytest.mark.parametrize("tables_are", ["never analysed", "analysed when small", "analysed as they are"])
def test_what_is_due_is_merged_and_not_looked_up_row_by_row(database_url: str, tables_are: str) -> None:
    """Nor is a table read from end to end, whatever the planner believes about it."""
    with a_ledger(database_url) as conn:
        conn.execute("ALTER TABLE reminder SET (autovacuum_enabled = off)")
        if tables_are == "analysed when small":
            a_reminder(conn, customer := a_customer(conn, KEYRING, 1), an_account(conn, customer, 1))
            conn.execute("ANALYZE")
        for number in range(2, 300):
            customer = a_customer(conn, KEYRING, number)
            a_reminder(conn, customer, an_account(conn, customer, number))
        if tables_are == "analysed as they are":
            conn.execute("ANALYZE")
        conn.prepare_threshold = 0
        with conn.transaction():
            picture.open_drain(conn, "lantern")
            picture.read_picture(
                conn,
                list(range(1, 201)),
                lender_id="lantern",
                now=TUESDAY_MORNING,
                lookback=lambda *_: timedelta(days=31),
            )
            conn.execute(picture._PLAN_ONCE_AND_MERGE)
            plan = generic_plan(conn, "a.external_ref, a.product")

    assert "Nested Loop" not in plan, plan
    for table in ("reminder", "account", "customer", "customer_key"):
        assert f"Seq Scan on {table} " not in plan, plan
