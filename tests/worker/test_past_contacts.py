from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from storage import database
from tests.intake_kit import Desk, a_row
from worker.csv_file import ShapeError
from worker.past_contacts import ContactsReport, import_contacts

HEAD = "lender,account,customer,at,channel,outcome,actor\n"


@pytest.fixture
def desk(database_url: str, connection: psycopg.Connection[Any], tmp_path: Path) -> Desk:
    desk = Desk(database_url, connection, tmp_path)
    desk.do("UPDATE clock SET stepped_at = '2026-03-04T09:00Z'")
    desk.take(a_row(account_ref="A1"), a_row(account_ref="A2"))
    return desk


def take_file(desk: Desk, text: str) -> ContactsReport:
    path = desk.folder / "contacts.csv"
    path.write_text(text, encoding="utf-8")
    return import_contacts(desk.url, path, rejects_path=desk.rejects_path)


def test_what_others_did_becomes_history_that_the_judge_reads(desk: Desk) -> None:
    report = take_file(
        desk,
        HEAD
        + "lantern,A1,,2026-02-27T10:00:00+08:00,sms,delivered,creditor\n"
        + "lantern,,C1,2026-02-28T15:30:00+08:00,call,conversation,agency\n",
    )

    assert (report.new, report.rejected) == (2, 0)
    assert desk.all(
        """SELECT c.intended_at, c.channel, c.actor, c.origin, c.purpose, e.kind, cardinality(c.account_ids)
           FROM contact c JOIN contact_event e USING (contact_id) ORDER BY 1"""
    ) == [
        (datetime(2026, 2, 27, 2, tzinfo=UTC), "sms", "creditor", "imported", "reminder", "delivered", 1),
        (datetime(2026, 2, 28, 7, 30, tzinfo=UTC), "call", "agency", "imported", "reminder", "conversation", 2),
    ]
    assert desk.one("SELECT count(*) FROM contact_account") == 3
    assert desk.one("SELECT stop_epoch FROM party") == 1
    assert desk.one("SELECT count(*) FROM contact_other") == 0  # in a month's own partition


def test_the_same_file_again_changes_nothing_and_a_better_outcome_is_added(desk: Desk) -> None:
    row = "lantern,A1,,2026-02-27T10:00:00+08:00,sms,sent,creditor\n"
    take_file(desk, HEAD + row)

    again = take_file(desk, HEAD + row + row)
    better = take_file(desk, HEAD + row.replace("sent", "delivered"))

    assert (again.new, again.repeated, better.new) == (0, 1, 0)
    assert desk.one("SELECT count(*) FROM contact") == 1
    assert sorted(desk.all("SELECT kind FROM contact_event")) == [("delivered",), ("sent",)]
    assert desk.one("SELECT stop_epoch FROM party") == 1


def test_the_id_sorts_by_the_time_of_the_contact_and_is_of_version_seven(desk: Desk) -> None:
    take_file(desk, HEAD + "".join(f"lantern,A1,,2026-02-{day}T10:00,sms,sent,creditor\n" for day in (27, 11, 20)))

    ids = [row[0] for row in desk.all("SELECT contact_id FROM contact ORDER BY intended_at")]
    assert ids == sorted(ids)
    assert {uuid.version for uuid in ids} == {7}


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("lantern,A9,,2026-02-27,sms,sent,creditor", "account"),
        ("lantern,,C9,2026-02-27,sms,sent,creditor", "customer"),
        ("lantern,,,2026-02-27,sms,sent,creditor", "account"),
        ("lantern,A1,,last week,sms,sent,creditor", "at"),
        ("lantern,A1,,2027-02-27,sms,sent,creditor", "at"),
        ("lantern,A1,,2026-02-27,fax,sent,creditor", "channel"),
        ("lantern,A1,,2026-02-27,sms,shouted,creditor", "outcome"),
        ("lantern,A1,,2026-02-27,sms,sent,uncle", "actor"),
        ("lantern,A1", ""),
    ],
)
def test_a_bad_contact_is_put_aside_and_the_rest_is_taken(desk: Desk, row: str, column: str) -> None:
    report = take_file(desk, HEAD + row + "\nlantern,A2,,2026-02-20,sms,sent,creditor\n")

    assert (report.new, report.rejected) == (1, 1)
    assert [(reject["line"], reject["column"]) for reject in desk.rejects()] == [("2", column)]


def test_a_file_that_names_nobody_is_refused(desk: Desk) -> None:
    with pytest.raises(ShapeError, match=r"'account' missing.*or else 'customer'"):
        take_file(desk, "lender,at,channel,outcome,actor\nlantern,2026-02-27,sms,sent,creditor\n")


def test_a_month_that_cannot_be_made_takes_nothing_in_and_says_why(desk: Desk) -> None:
    with database.connect(desk.url) as backup:
        backup.execute("SELECT count(*) FROM contact")

        with pytest.raises(database.DatabaseDown, match="a backup perhaps"):
            take_file(desk, HEAD + "lantern,A1,,2019-02-27T10:00:00+08:00,sms,sent,creditor\n")

    assert desk.one("SELECT count(*) FROM contact") == 0
