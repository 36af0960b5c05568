"""Providers' rows move by compare-and-set, each move is on record, and a stopped channel's lanes stay asleep."""

from datetime import timedelta
from uuid import uuid4

import psycopg

from domain.channel import Channel
from storage import database, lanes, picture, providers
from storage.providers import Answers, Named, Standing, Turned
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, a_customer, a_lender, a_reminder, an_account

MINUTE = timedelta(minutes=1)
TWO = [Named("twilio", "sms", 70), Named("second", "sms", 30)]


def standing(conn: psycopg.Connection, provider: str) -> Standing:
    return next(each for each in providers.standings(conn, window=MINUTE, weighing=MINUTE) if each.provider == provider)


def stop(conn: psycopg.Connection, provider: str, *, state: str = "open", wait: timedelta | None = MINUTE) -> bool:
    retry_at = lanes.business_now(conn) + wait if wait is not None else None
    return providers.turn(conn, standing(conn, provider), Turned(state, retry_at, 1, "connect"), by="w", reason="tests")


def a_due_text(conn: psycopg.Connection) -> int:
    keys = Keyring.from_text("k1:" + "A" * 43 + "=", "A" * 43 + "=")
    customer = a_customer(conn, keys)
    return a_reminder(conn, customer, an_account(conn, customer))


def test_registering_again_changes_nothing_and_a_new_weight_begins_anew(connection: psycopg.Connection) -> None:
    providers.register(connection, TWO, by="release a")
    providers.weigh(connection, "twilio", 1, 40, by="w", reason="slow")
    providers.register(connection, TWO, by="release a")
    assert standing(connection, "twilio").weight == 40

    providers.register(connection, [Named("twilio", "sms", 60)], by="release b")

    assert (standing(connection, "twilio").weight, standing(connection, "twilio").configured) == (60, 60)
    history = [(each.provider, each.weight, each.by_whom, each.reason) for each in providers.changes(connection)]
    assert sorted(history) == [
        ("second", 30, "release a", "configured"), ("second", 30, "release b", "not named any more"),
        ("twilio", 40, "w", "slow"), ("twilio", 60, "release b", "configured"),
        ("twilio", 70, "release a", "configured"),
    ]  # fmt: skip


def test_of_two_workers_that_see_the_same_one_writes_it_down(connection: psycopg.Connection) -> None:
    providers.register(connection, TWO, by="release")
    seen = standing(connection, "twilio")
    turned = Turned("open", lanes.business_now(connection), 1, "connect")

    assert providers.turn(connection, seen, turned, by="one", reason="failed")
    assert not providers.turn(connection, seen, turned, by="other", reason="failed")
    assert not providers.weigh(connection, "twilio", seen.version, 10, by="other", reason="failed")
    assert [each.by_whom for each in providers.changes(connection, "twilio")] == ["one", "release"]


def test_answers_count_from_the_last_turn_on(connection: psycopg.Connection) -> None:
    providers.register(connection, TWO, by="release")
    providers.note(connection, [Answers("twilio", 5, 1, 6, "connect"), Answers("second", 9, 0, 0, None)])
    providers.note(connection, [Answers("twilio", 1, 0, 1, "timeout")])
    before = standing(connection, "twilio")
    assert (before.good, before.failed, before.weighed_slow, standing(connection, "second").good) == (6, 7, 1, 9)

    stop(connection, "twilio")
    providers.note(connection, [Answers("twilio", 2, 0, 0, None)])

    after = standing(connection, "twilio")
    assert (after.good, after.failed, after.weighed_failed) == (2, 0, 7)


def test_one_worker_at_a_time_tries_a_provider_and_only_when_its_cool_down_is_over(
    connection: psycopg.Connection, database_url: str
) -> None:
    connection.autocommit = True
    lanes.step_clock(connection, TUESDAY_MORNING)
    providers.register(connection, TWO, by="release")
    stop(connection, "twilio")
    assert not providers.claim_probe(connection, "twilio", by="one", lasts=MINUTE)

    lanes.step_clock(connection, TUESDAY_MORNING + MINUTE)
    with database.connect(database_url) as other:
        assert providers.claim_probe(other, "twilio", by="other", lasts=MINUTE)
        assert not providers.claim_probe(connection, "twilio", by="one", lasts=MINUTE), "and nobody waits for a lock"
        other.rollback()

    assert providers.claim_probe(connection, "twilio", by="one", lasts=MINUTE), "who dies in it leaves it to others"
    assert not providers.claim_probe(connection, "twilio", by="other", lasts=MINUTE)


def test_a_channel_is_still_while_none_of_its_providers_may_be_used(connection: psycopg.Connection) -> None:
    connection.autocommit = True
    lanes.step_clock(connection, TUESDAY_MORNING)
    a_lender(connection, "lantern")
    a_due_text(connection)
    providers.register(connection, TWO, by="release")

    stop(connection, "twilio", state="misconfigured", wait=None)
    assert picture.due_lanes(connection), "the other one takes them"

    stop(connection, "second")
    assert not picture.due_lanes(connection)
    assert not lanes.stillness(connection).due_reminders
    assert lanes.next_moment(connection) == TUESDAY_MORNING + MINUTE

    lanes.step_clock(connection, TUESDAY_MORNING + MINUTE)
    assert [lane.channel for lane in picture.due_lanes(connection)] == [Channel.SMS], "it may be tried"
    assert lanes.stillness(connection).due_reminders


def test_a_stop_of_a_clock_that_was_set_back_lasts_no_longer(connection: psycopg.Connection) -> None:
    connection.autocommit = True
    lanes.step_clock(connection, TUESDAY_MORNING)
    a_lender(connection, "lantern")
    a_due_text(connection)
    providers.register(connection, [Named("twilio", "sms", 70)], by="release")
    lanes.step_clock(connection, TUESDAY_MORNING + timedelta(days=1))
    stop(connection, "twilio")

    lanes.step_clock(connection, TUESDAY_MORNING)

    assert picture.due_lanes(connection)
    assert providers.claim_probe(connection, "twilio", by="one", lasts=MINUTE)
    assert not picture.due_lanes(connection), "one tries it, and the others wait"


def test_whoever_waits_for_a_provider_is_called_back_and_nobody_else(connection: psycopg.Connection) -> None:
    connection.autocommit = True
    lanes.step_clock(connection, TUESDAY_MORNING)
    a_lender(connection, "lantern")
    reminder = a_due_text(connection)
    providers.register(connection, TWO, by="release")
    stop(connection, "twilio")

    def put_off(reason: str) -> None:
        connection.execute(
            "UPDATE reminder SET due_at = %s, reason = %s WHERE reminder_id = %s",
            (TUESDAY_MORNING + MINUTE, reason, reminder),
        )

    put_off("hours.quiet")
    assert providers.recall(connection, "sms", within=MINUTE) == 0
    for reason in ("provider_stopped", "duly.provider_stopped", "connect"):
        put_off(reason)
        assert providers.recall(connection, "sms", within=MINUTE) == 1


def test_a_worker_hears_who_else_sends_and_whether_all_can_count(connection: psycopg.Connection) -> None:
    def seen(worker: str, *, is_sharing: bool) -> providers.Fleet:
        return providers.seen_sending(connection, worker, is_sharing=is_sharing, lasts=MINUTE)

    assert seen("one", is_sharing=True) == (1, True)
    assert seen("other", is_sharing=False) == (2, True), "it hears of the others"
    assert seen("one", is_sharing=True) == (2, False)
    assert seen("other", is_sharing=True) == (2, True)

    connection.execute("UPDATE sender_seen SET seen_at = seen_at - interval '2 minutes' WHERE worker = 'one'")
    assert seen("other", is_sharing=True) == (1, True)


def test_the_past_is_forgotten(connection: psycopg.Connection) -> None:
    providers.register(connection, TWO, by="release")
    providers.note(connection, [Answers("twilio", 5, 1, 6, "connect")])
    providers.seen_sending(connection, uuid4().hex, is_sharing=True, lasts=MINUTE)

    providers.forget(connection, answers_older_than=timedelta())

    counts = "SELECT (SELECT count(*) FROM provider_answer), (SELECT count(*) FROM sender_seen)"
    assert connection.execute(counts).fetchone() == (0, 0)
