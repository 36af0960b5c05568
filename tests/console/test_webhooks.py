"""Webhooks over a real socket: signed, bounded, committed before they are answered."""

import asyncio
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from channels.base import InboundMessage, ProviderEvent
from channels.credentials import SANDBOX_TOKEN
from channels.reports import sign
from config.settings import Settings
from console.callbacks import LARGEST_BODY_BYTES
from console.intake import LONGEST_QUEUE, Intake, StorageDown
from domain.contact import EventKind
from storage import database, inbox
from storage.inbox import Arrival
from storage.sealing import Keyring
from tests.console.caller import PUBLIC, Caller, serving
from worker.arrivals import read
from worker.unsubscribe import Unsubscribed, token_for
from worker.wiring import keyring


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, public_url=PUBLIC)


@pytest.fixture
def keys(home: Settings) -> Keyring:
    return keyring(home)


@pytest.fixture
def caller(home: Settings, database_url: str) -> Iterator[Caller]:
    with serving(home, database_url) as opened:
        yield opened


def a_status_path() -> str:
    return f"/callbacks/twilio/status?contact={uuid4()}&party=7"


def a_status(status: str = "delivered", sid: str | None = None) -> dict[str, str]:
    return {"MessageSid": sid or f"SM{uuid4().hex}", "MessageStatus": status, "To": "+886900000001"}


def stored(connection: psycopg.Connection) -> list[inbox.InboxRow]:
    connection.rollback()
    return inbox.take(connection, 1000)


def test_a_signed_status_is_stored_sealed_before_it_is_answered(
    caller: Caller, connection: psycopg.Connection, keys: Keyring
) -> None:
    status, _ = caller.signed(a_status_path(), a_status())

    assert status == 204
    (row,) = stored(connection)
    event = read(keys, row)
    assert isinstance(event, ProviderEvent)
    assert (event.kind, event.party_id) == (EventKind.DELIVERED, 7)


def test_a_reply_is_stored_without_its_words_or_number_in_the_clear(
    caller: Caller, connection: psycopg.Connection, keys: Keyring
) -> None:
    fields = {"MessageSid": f"SM{uuid4().hex}", "From": "+886900000001", "To": "+886900000002", "Body": "我失业了"}

    status, text = caller.signed("/callbacks/twilio/inbound", fields)

    assert (status, text) == (200, '<?xml version="1.0" encoding="UTF-8"?><Response/>')
    (row,) = stored(connection)
    assert b"886900000001" not in row.body_sealed
    message = read(keys, row)
    assert isinstance(message, InboundMessage)
    assert message.text == "我失业了"


def test_a_callback_that_comes_again_is_stored_once(caller: Caller, connection: psycopg.Connection) -> None:
    path, fields = a_status_path(), a_status()

    assert [caller.signed(path, fields)[0] for _ in range(3)] == [204] * 3
    assert len(stored(connection)) == 1


@pytest.mark.parametrize("how", ["unsigned", "other_url", "other_fields", "other_key"])
def test_what_is_forged_is_refused_counted_and_not_stored(
    caller: Caller, connection: psycopg.Connection, how: str
) -> None:
    path, fields = a_status_path(), a_status()
    signature = RequestValidator("another token").compute_signature(PUBLIC + path, fields)
    form = urlencode(fields).encode()
    match how:
        case "unsigned":
            status, _ = caller.ask("POST", path, form)
        case "other_url":
            status, _ = caller.signed(path, fields, url=PUBLIC + a_status_path())
        case "other_fields":
            good = RequestValidator(SANDBOX_TOKEN).compute_signature(PUBLIC + path, {**fields, "MessageStatus": "sent"})
            status, _ = caller.ask("POST", path, form, X_Twilio_Signature=good)
        case _:
            status, _ = caller.ask("POST", path, form, X_Twilio_Signature=signature)

    assert status == 403
    assert stored(connection) == []
    assert '"refused":1' in caller.ask("GET", "/healthz")[1]


def test_every_twilio_account_of_ours_is_heard_and_nobody_elses(
    tmp_path: Path, database_url: str, connection: psycopg.Connection
) -> None:
    key = "A" * 43 + "="
    home = Settings(
        home=tmp_path, public_url=PUBLIC, providers="live", master_keys=SecretStr(f"k1:{key}"),
        lookup_key=SecretStr(key), twilio_auth_token=SecretStr("first"),
        provider_urls=SecretStr("second=twilio://AC2:o%2Cther@api.twilio.com"),
    )  # fmt: skip
    with serving(home, database_url) as caller:
        answers = []
        for token in ("first", "o,ther", "a stranger's"):
            path, fields = a_status_path(), a_status()
            signature = RequestValidator(token).compute_signature(PUBLIC + path, fields)
            answers.append(caller.ask("POST", path, urlencode(fields).encode(), X_Twilio_Signature=signature)[0])

    assert answers == [204, 204, 403]
    assert len(stored(connection)) == 2


def test_a_status_that_is_signed_and_misshapen_is_refused(caller: Caller, connection: psycopg.Connection) -> None:
    assert caller.signed(a_status_path(), a_status("exploded"))[0] == 400
    assert caller.signed("/callbacks/twilio/status?contact=1&party=x", a_status())[0] == 400
    assert stored(connection) == []


def test_a_body_that_is_too_large_is_cut_off(caller: Caller, connection: psycopg.Connection) -> None:
    status, _ = caller.ask("POST", a_status_path(), b"a" * (LARGEST_BODY_BYTES + 1))

    assert status == 413
    assert stored(connection) == []


def test_a_storm_of_callbacks_is_stored_whole_in_few_transactions(
    caller: Caller, connection: psycopg.Connection
) -> None:
    answers: list[int] = []
    before = commits(connection)

    def call() -> None:
        answers.extend(caller.signed(a_status_path(), a_status())[0] for _ in range(15))

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [204] * 300
    assert len(stored(connection)) == 300
    assert commits(connection) - before < 300


def commits(connection: psycopg.Connection) -> int:
    """Transactions that wrote, by the ids the server has given out."""
    connection.rollback()
    number: int = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()[0]
    return number


def test_while_the_database_is_away_the_provider_is_asked_to_come_again(
    home: Settings, database_url: str, admin: psycopg.Connection
) -> None:
    name = conninfo_to_dict(database_url)["dbname"]
    with serving(home, database_url) as caller:
        path = a_status_path()
        assert caller.signed(path, a_status())[0] == 204
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

        assert caller.signed(path, a_status())[0] == 503
        assert caller.ask("GET", "/healthz")[0] == 503

        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert caller.signed(path, a_status())[0] == 204
        assert caller.ask("GET", "/healthz")[0] == 200


def an_unsubscribe_path(keys: Keyring) -> str:
    return f"/u/{token_for(keys, Unsubscribed(7, uuid4(), os.urandom(16)))}"


def test_one_click_unsubscribes_and_looking_does_not(
    caller: Caller, connection: psycopg.Connection, keys: Keyring
) -> None:
    path = an_unsubscribe_path(keys)

    status, page = caller.ask("GET", path, Accept_Language="zh-TW,zh;q=0.9")
    assert (status, "請停止寄送" in page) == (200, True)
    assert stored(connection) == []

    status, page = caller.ask("POST", path, b"List-Unsubscribe=One-Click")
    assert (status, "no more reminders" in page) == (200, True)
    (row,) = stored(connection)
    wish = read(keys, row)
    assert isinstance(wish, Unsubscribed)
    assert wish.party_id == 7


@pytest.mark.parametrize("token", ["x", "x" * 5000, "%00%ff", "..%2f..%2fetc", "AAAA" * 30])
def test_a_token_that_we_did_not_make_changes_nothing(
    caller: Caller, connection: psycopg.Connection, token: str
) -> None:
    assert caller.ask("GET", f"/u/{token}")[0] == 404
    assert caller.ask("POST", f"/u/{token}", b"")[0] == 404
    assert stored(connection) == []


def test_an_inbox_body_is_no_token_and_another_homes_token_neither(caller: Caller, keys: Keyring) -> None:
    other = Keyring({"k1": os.urandom(32)}, os.urandom(32))

    assert caller.ask("POST", an_unsubscribe_path(other), b"")[0] == 404


def test_nothing_else_is_served(caller: Caller) -> None:
    assert caller.ask("GET", "/docs")[0] == 404
    assert caller.ask("GET", "/openapi.json")[0] == 404
    assert caller.ask("GET", "/callbacks/twilio/status")[0] == 405


def test_a_database_that_answers_slowly_is_never_taken_for_stored(
    home: Settings, database_url: str, connection: psycopg.Connection
) -> None:
    with serving(home, database_url) as caller, database.connect(database_url) as other:
        other.execute("LOCK TABLE inbox IN EXCLUSIVE MODE")
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(caller.signed(a_status_path(), a_status())[0]))
        thread.start()
        thread.join(0.5)

        assert answers == []  # not answered before it is committed
        other.rollback()
        thread.join(10)
        assert answers == [204]
    assert len(stored(connection)) == 1


# -------------------------------------------------------------------------------------------------- bounces, complaints


@pytest.fixture
def reporter(tmp_path: Path, database_url: str) -> Iterator[Caller]:
    home = Settings(home=tmp_path, public_url=PUBLIC, callback_secret=SecretStr("shared"))
    with serving(home, database_url) as opened:
        yield opened


def report(caller: Caller, path: str, *events: dict[str, object], secret: str = "shared") -> int:
    body = json.dumps({"events": list(events)}).encode()
    return caller.ask("POST", path, body, Duly_Signature=sign(body, secret=secret, now=int(time.time())))[0]


def test_reports_about_mail_and_push_are_stored_whole_or_not_at_all(
    reporter: Caller, connection: psycopg.Connection
) -> None:
    gone = {"contact": str(uuid4()), "party": 7, "event": "unregistered"}
    complaint = {"contact": str(uuid4()), "party": 7, "event": "complaint"}

    assert report(reporter, "/callbacks/push", gone, {**gone, "event": "read"}) == 204
    assert report(reporter, "/callbacks/email", complaint) == 204
    assert report(reporter, "/callbacks/push", gone, complaint) == 400  # nobody complains about a push
    assert report(reporter, "/callbacks/push", gone, secret="guessed") == 403

    assert sorted(row.source for row in stored(connection)) == ["email_status", "push_status", "push_status"]


def test_without_a_secret_no_report_is_believed(caller: Caller, connection: psycopg.Connection) -> None:
    assert report(caller, "/callbacks/push", {"contact": str(uuid4()), "party": 7, "event": "read"}) == 403
    assert stored(connection) == []


def test_a_flood_beyond_the_queue_is_told_to_come_again_and_every_answer_was_kept(
    database_url: str, connection: psycopg.Connection
) -> None:
    async def told() -> list[str]:
        intake = Intake(database_url)
        rows = [Arrival("twilio_status", f"k{number}", b"sealed") for number in range(3 * LONGEST_QUEUE)]
        outcomes = await asyncio.gather(*(intake.store([row]) for row in rows), return_exceptions=True)
        await intake.close()
        return ["later" if isinstance(outcome, StorageDown) else "stored" for outcome in outcomes]

    answers = Counter(asyncio.run(told()))

    assert answers["later"] > 0
    assert connection.execute("SELECT count(*) FROM inbox").fetchone() == (answers["stored"],)


def test_the_algorithm_of_the_settings_is_the_one_that_counts(
    tmp_path: Path, database_url: str, connection: psycopg.Connection
) -> None:
    home = Settings(home=tmp_path, public_url=PUBLIC, twilio_webhook_algorithm="sha256")
    with serving(home, database_url) as caller:
        path, fields = a_status_path(), a_status()
        form = urlencode(fields).encode()
        strong = RequestValidator(SANDBOX_TOKEN).compute_signature(PUBLIC + path, fields, "HMAC_SHA256")

        assert caller.signed(path, fields)[0] == 403  # by SHA-1, whatever its header says
        assert caller.ask("POST", path, form, X_Twilio_Signature=strong)[0] == 204
    assert len(stored(connection)) == 1
