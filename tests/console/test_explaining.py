"""`duly explain`: reasons for people and for scripts, and nothing personal unless asked for."""

import io
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from channels.base import InboundMessage
from console.explaining import draw_report, draw_timeline
from domain.channel import Channel
from storage import feedback, inbox, lanes, retention
from storage.retention import Mark
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_live_release, a_reminder, an_account
from tests.console.desk import duly, living_by, plain
from worker.arrivals import sealed_message
from worker.calls import next_call
from worker.endings import Ending, end_call
from worker.feedback import fold_inbox
from worker.wiring import Spine


@pytest.fixture
def customer(database_url: str, tmp_path: Path) -> Iterator[MadeCustomer]:
    """Somebody who was called, promised, wrote to us, and has a reminder that waits."""
    with living_by(database_url, tmp_path) as settings:
        spine = Spine(settings, database_url)
        conn = spine.conn
        a_live_release(conn)
        lanes.step_clock(conn, TUESDAY_MORNING)
        made = a_customer(conn, spine.keyring)
        due = an_account(conn, made, due_on=date(2026, 2, 20))
        a_reminder(conn, made, due, due_at=TUESDAY_MORNING + timedelta(days=9))
        conn.execute(
            """
            INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, message, stage,
                                   queued_at, not_before)
            VALUES (%s, %s, 'lantern', %s, 'call', 'step talk', 'talk', 'middle', business_now(), business_now())
            """,
            (made.party_id, made.customer_id, [due]),
        )
        offer = next_call(spine, agent="agent7")
        end_call(conn, offer.task.call_task_id, Ending("promise", date(2026, 3, 9), "100"), agent="agent7")
        message = InboundMessage("twilio", "SM1", Channel.SMS, made.phone, "+886900000000", "STOP")
        inbox.store(conn, [sealed_message(spine.keyring, message)])
        fold_inbox(conn, spine.keyring)
        yield made
        spine.close()


def test_it_says_from_where_on_the_ledger_is_kept(customer: MadeCustomer, connection: psycopg.Connection) -> None:
    assert "kept no longer" not in duly("explain", "A1-1").stdout
    retention.set_mark(connection, Mark(date(2025, 4, 1)))
    connection.commit()

    assert "What was before 2025-04-01 is kept no longer." in duly("explain", "A1-1").stdout
    assert plain(duly("explain", "A1-1", "--json"))["forgotten_before"] == "2025-04-01"


def test_a_timeline_as_json_has_instants_local_times_rules_and_ends(customer: MadeCustomer) -> None:
    told = plain(duly("explain", "A1-1", "--json"))

    assert (told["zone"], told["account"]["lender_id"]) == ("Asia/Taipei", "lantern")
    by_kind = {entry["kind"]: entry for entry in told["entries"]}
    assert by_kind["contact"]["rule"]
    assert by_kind["contact"]["pack"]
    assert by_kind["contact"]["local"] == "2026-03-03T10:00:00+08:00"
    assert by_kind["hold"]["until"] == "2026-03-10T16:00:00+00:00"
    assert by_kind["consent"]["what"] == "withdrawn"
    assert told["entries"][-1]["kind"] == "plan"


def test_nothing_personal_is_shown_unless_it_is_asked_for(customer: MadeCustomer) -> None:
    shown = duly("explain", "A1-1").stdout + duly("explain", "A1-1", "--json").stdout + duly("status").stdout

    assert customer.phone not in shown
    assert "Ana" not in shown
    assert "Ana Example" in plain(duly("explain", "A1-1", "--reveal", "--json"))["entries"][0]["words"]


def test_the_words_of_an_erased_customer_cannot_be_shown_again(
    customer: MadeCustomer, connection: psycopg.Connection
) -> None:
    connection.execute("UPDATE customer_key SET wrapped_key = NULL, destroyed_at = now()")
    connection.commit()

    assert plain(duly("explain", "A1-1", "--reveal", "--json"))["entries"][0]["words"] == "[erased]"


def test_an_unknown_account_is_a_sentence_and_exit_code_1(customer: MadeCustomer) -> None:
    result = duly("explain", "nobody")

    assert result.exit_code == 1
    assert "no account has that reference" in result.stderr


def test_the_drawings_for_the_demonstration_hold_what_happened(
    customer: MadeCustomer, connection: psycopg.Connection
) -> None:
    connection.execute(
        "UPDATE reminder SET state = 'expired', reason = 'duly.expired_unsent', ended_at = %s", (TUESDAY_MORNING,)
    )
    screen = Console(record=True, width=200, file=io.StringIO())

    screen.print(draw_timeline(connection, "A1-1", "lantern"))
    screen.print(draw_report(connection))

    drawn = screen.export_text()
    assert "to pay on 2026-03-09: open" in drawn
    assert "duly.expired_unsent" in drawn


def test_ending_a_hold_shows_in_the_timeline(customer: MadeCustomer, connection: psycopg.Connection) -> None:
    hold_id, account_id = connection.execute("SELECT hold_id, account_id FROM hold").fetchone()
    assert account_id is not None
    feedback.end_hold(connection, customer.party_id, hold_id, by="agent7")
    connection.commit()

    entries = plain(duly("explain", "A1-1", "--json"))["entries"]

    assert ("hold", "promise ended", "agent7") in [(each["kind"], each["what"], each["code"]) for each in entries]
