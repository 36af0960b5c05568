"""`duly hold`, `holds` and `release-hold`, and `duly uncertain`: who, why, and until when."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from domain.hold import HoldKind
from storage import database, lanes
from tests.builders import TUESDAY_MORNING, a_customer, a_live_release, a_reminder, an_account
from tests.console.desk import duly, living_by, plain
from worker.wiring import keyring


@pytest.fixture
def conn(database_url: str, tmp_path: Path) -> Iterator[psycopg.Connection]:
    """A customer with two debts, one of them with a reminder that is due and was put off."""
    with living_by(database_url, tmp_path) as settings, database.connect(database_url, autocommit=True) as opened:
        a_live_release(opened)
        lanes.step_clock(opened, TUESDAY_MORNING)
        customer = a_customer(opened, keyring(settings))
        a_reminder(opened, customer, an_account(opened, customer, 1), due_at=TUESDAY_MORNING - timedelta(hours=1))
        an_account(opened, customer, 2)
        yield opened


def test_a_hold_on_an_account_is_set_shown_and_ended_with_who_and_why(conn: psycopg.Connection) -> None:
    made = plain(
        duly("hold", "A1-1", "--kind", "dispute", "--reason", "not theirs", "--until", "2026-03-20", "--by", "ana",
             "--json")
    )  # fmt: skip
    assert made["until"] == "2026-03-20T16:00:00+00:00", "the day's end where the customer lives"

    (shown,) = plain(duly("holds", "A1-1", "--json"))["holds"]
    assert (shown["accounts"], shown["kind"], shown["reason"], shown["source"]) == (
        "A1-1", "dispute", "not theirs", "ana, by hand",
    )  # fmt: skip
    assert plain(duly("holds", "A1-2", "--json"))["holds"] == []
    assert "dispute" in duly("holds").stdout

    assert duly("release-hold", str(made["hold"]), "--reason", "cleared up", "--by", "ben").exit_code == 0
    assert conn.execute("SELECT released_by, released_at FROM hold").fetchall() == [
        ("ben: cleared up", TUESDAY_MORNING)
    ]
    assert plain(duly("holds", "--json"))["holds"] == []
    assert conn.execute("SELECT stop_epoch FROM party").fetchone() == (2,)


def test_a_hold_on_a_customer_stops_all_their_accounts_until_somebody_ends_it(conn: psycopg.Connection) -> None:
    made = plain(duly("hold", "C1", "--reason", "a complaint", "--json"))

    assert (made["kind"], made["until"]) == ("complaint", None)
    (shown,) = plain(duly("holds", "A1-2", "--json"))["holds"]
    assert (shown["accounts"], shown["is_of_the_person"]) == ("A1-1, A1-2", True)
    assert "person)" in duly("holds", "C1").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("hold", "A9", "--reason", "x"), 1, "no account and no customer"),
        (("hold", "A1-1", "--reason", " "), 2, "--reason"),
        (("hold", "A1-1", "--reason", "x", "--kind", "whim"), 2, "--kind"),
        (("hold", "A1-1", "--reason", "x", "--kind", HoldKind.PROMISE.value), 2, "--kind"),
        (("hold", "A1-1", "--reason", "x", "--until", "tomorrow"), 2, "--until"),
        (("hold", "A1-1", "--reason", "x", "--until", "2026-03-02"), 2, "is over"),
        (("hold", "A1-1", "--reason", "x", "--lender", "nobody"), 1, "no account and no customer"),
        (("release-hold", "7", "--reason", "x"), 1, "no hold 7 stands"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    conn: psycopg.Connection, capsys: pytest.CaptureFixture, words: tuple[str, ...], code: int, said: str
) -> None:
    result = duly(*words)

    assert result.exit_code == code
    assert said in result.stderr
    assert conn.execute("SELECT count(*) FROM hold").fetchone() == (0,)


def test_what_is_uncertain_is_listed_without_anything_personal(conn: psycopg.Connection) -> None:
    assert plain(duly("uncertain", "--json"))["uncertain"] == []
    assert "Nothing is uncertain." in duly("uncertain").stdout
    conn.execute(
        """
        WITH made AS (
            INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, purpose,
                                 rule, pack)
            SELECT party_id, gen_random_uuid(), business_now(), customer_id, lender_id, 'creditor', 'email', 'reminder',
                   'r', 'p' FROM customer RETURNING party_id, contact_id)
        UPDATE reminder r SET state = 'uncertain', contact_id = m.contact_id, reason = 'drop',
               stamped_at = clock_timestamp() - interval '3 hours' FROM made m WHERE r.party_id = m.party_id
        """
    )

    (shown,) = plain(duly("uncertain", "--json"))["uncertain"]
    assert (shown["account_ref"], shown["channel"], shown["code"], shown["asked"]) == ("A1-1", "email", "drop", 0)
    assert shown["age"] >= 3 * 3600
    assert "3 h" in duly("uncertain").stdout


def test_who_cannot_be_decided_about_is_listed_with_why(conn: psycopg.Connection) -> None:
    assert "Nobody" in duly("poisonous").stdout
    conn.execute("INSERT INTO suspect (party_id, losses, why) SELECT party_id, 2, 'process_died' FROM party")

    (shown,) = plain(duly("poisonous", "--json"))["poisonous"]
    assert (shown["account_ref"], shown["state"], shown["losses"], shown["why"]) == (
        "A1-1", "suspect", 2, "process_died",
    )  # fmt: skip
    assert "suspect" in duly("poisonous").stdout
