"""The command line as an operator meets it: one sentence and an exit code, whatever is wrong."""

import json
import subprocess
from pathlib import Path

import pytest

from storage import database
from tests.cli_kit import Duly

HEADER = (
    "lender,customer_ref,name,phone,email,push_token,locale,residence,zone,zone_confirmed_on,account_ref,product,"
    "currency,balance,due_on,consents,consented_on"
)
ROW = (
    "lantern,C1,Ana Lee,+886912345678,ana@mail.example,,en,TW,Asia/Taipei,2026-01-01,A1,card,TWD,1234.00,2026-03-05,"
    "sms email,2025-01-01"
)


def a_file(folder: Path, *rows: str, header: str = HEADER) -> Path:
    file = folder / "accounts.csv"
    file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return file


def an_import(duly: Duly, file: Path, *more: str, **settings: str) -> subprocess.CompletedProcess:
    return duly("import", str(file), "--profile", "demo", "--as-of", "2026-03-01", *more, **settings)


def assert_says(done: subprocess.CompletedProcess, code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr.replace("\n", " "), done.stderr


def test_a_good_file_is_taken_in_and_the_same_again_changes_nothing(duly: Duly, tmp_path: Path):
    file = a_file(tmp_path, ROW)

    first, again = (json.loads(an_import(duly, file, "--json").stdout) for _ in range(2))

    assert (first["schema"], first["accounts_new"], first["planned"]) == (1, 1, 1)
    assert (again["accounts_new"], again["accounts_unchanged"], again["planned"]) == (0, 1, 0)


@pytest.mark.parametrize(
    ("cell", "bad", "column"),
    [
        ("1234.00", "12 coins", "balance"),
        ("1234.00", "1.234", "balance"),
        ("TWD", "QQQ", "currency"),
        ("+886912345678", "12", "phone"),
        ("Asia/Taipei", "Asia/Nowhere", "zone"),
        ("2026-03-05", "05/03/2026", "due_on"),
    ],
)
def test_a_bad_cell_goes_to_the_rejects_and_the_rest_is_taken(
    duly: Duly, tmp_path: Path, cell: str, bad: str, column: str
):
    good = ROW.replace("C1", "C2").replace("A1", "A2").replace("12345678", "12345679").replace("ana@", "bob@")
    file = a_file(tmp_path, ROW.replace(cell, bad, 1), good)

    done = an_import(duly, file, "--json")
    report = json.loads(done.stdout)

    assert done.returncode == 0
    assert (report["rejected"], report["accounts_new"]) == (1, 1)
    rejects = Path(report["rejects"]).read_text(encoding="utf-8")
    assert column in rejects
    assert "Ana" not in rejects
    assert an_import(duly, file, "--strict").returncode == 1


def test_money_as_a_spreadsheet_writes_it_is_money(duly: Duly, tmp_path: Path, database_url: str):
    an_import(duly, a_file(tmp_path, ROW.replace("1234.00", "5.00E+05")))

    with database.connect(database_url) as conn:
        assert conn.execute("SELECT balance_minor FROM account").fetchone() == (50_000_000,)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        ("名字,金額\n".encode("big5"), "UTF-8"),
        (b"a,b,c\n1,2,3\n", "missing"),
    ],
)
def test_a_file_that_is_not_what_was_promised_changes_nothing(
    duly: Duly, tmp_path: Path, content: bytes, says: str, database_url: str
):
    file = tmp_path / "accounts.csv"
    file.write_bytes(content)

    assert_says(an_import(duly, file), 1, "accounts.csv", says)

    with database.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM intake").fetchone() == (0,)


def test_a_missing_file_an_unknown_profile_and_a_bad_day_are_named(duly: Duly, tmp_path: Path):
    file = a_file(tmp_path, ROW)

    assert_says(an_import(duly, tmp_path / "nowhere.csv"), 1, "nowhere.csv", "cannot be read")
    assert_says(duly("import", str(file), "--profile", "none", "--as-of", "2026-03-01"), 1, "no import profile 'none'")
    assert_says(duly("import", str(file), "--profile", "demo", "--as-of", "yesterday"), 2, "not a date")
    assert_says(duly("imprt"), 2, "imprt")


def test_a_database_that_is_down_is_said_so_without_its_password(duly: Duly):
    done = duly("status", DULY_DATABASE_URL="postgresql://duly:hunter2@127.0.0.1:9/duly")

    assert_says(done, 1, "no connection", "DULY_DATABASE_URL")
    assert "hunter2" not in done.stderr + done.stdout


def test_a_database_of_a_newer_schema_is_left_alone(duly: Duly, database_url: str):
    with database.connect(database_url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")

    assert_says(duly("status"), 1, "9999", "does not know")


def test_a_database_without_a_schema_asks_for_migrate(duly: Duly, empty_database_url: str):
    assert_says(duly("status", DULY_DATABASE_URL=empty_database_url), 1, "duly migrate")
    assert duly("migrate", DULY_DATABASE_URL=empty_database_url).returncode == 0
    assert "business time" in duly("status", DULY_DATABASE_URL=empty_database_url).stdout


def test_a_broker_that_is_down_keeps_the_fleet_from_starting(duly: Duly):
    assert_says(duly("up", DULY_BROKER_URL="redis://:hunter2@127.0.0.1:9/0"), 1, "broker", "DULY_BROKER_URL")


def test_wrong_settings_name_the_key(duly: Duly):
    assert_says(duly("status", DULY_TICK_SECONDS="often"), 2, "DULY_TICK_SECONDS")
    assert_says(duly("status", DULY_TYPO="1"), 2, "DULY_TYPO")


def test_the_stepped_clock_is_refused_with_real_providers_and_backwards(duly: Duly):
    live = {
        "DULY_PROVIDERS": "live", "DULY_MASTER_KEYS": "k1:" + "A" * 43 + "=", "DULY_LOOKUP_KEY": "A" * 43 + "=",
    }  # fmt: skip

    assert_says(duly("up", "--from", "2026-03-01", "--until", "2026-03-02", **live), 2, "live")
    assert_says(duly("up", "--from", "2026-03-02", "--until", "2026-03-01"), 2, "--until")
    assert_says(duly("up", "--from", "2026-03-02"), 2, "go together")


def test_pausing_is_shown_and_taken_back(duly: Duly, tmp_path: Path):
    an_import(duly, a_file(tmp_path, ROW))

    assert duly("pause", "lantern", "--reason", "a storm").returncode == 0
    paused = json.loads(duly("status", "--json").stdout)
    resumed, again = (json.loads(duly("resume", "lantern", "--json").stdout) for _ in range(2))

    assert resumed == {"schema": 1, "scope": "lantern", "paused": False, "changed": True}
    assert again["changed"] is False
    assert "lantern" in json.dumps(paused)
    assert "a storm" in json.dumps(paused)
    assert_says(duly("pause", "nobody"), 2, "nobody")


def test_a_release_is_checked_published_and_rolled_back(duly: Duly):
    assert duly("release", "check").returncode == 0
    assert duly("release", "publish").returncode == 0
    first = json.loads(duly("release", "history", "--json").stdout)["releases"][0]

    assert first["state"] == "live"
    assert duly("release", "rollback", first["release_hash"][:10]).returncode == 0
    assert_says(duly("release", "rollback", "ffffffffffff"), 2, "no release")


def test_the_doctor_finds_a_healthy_house_well(duly: Duly):
    duly("release", "publish")

    done = duly("doctor", "--json")

    findings = {each["subject"]: each for each in json.loads(done.stdout)["findings"]}
    assert all(each["well"] for subject, each in findings.items() if subject != "durability"), findings
    assert {"clock", "time zones", "packs", "templates", "keys", "providers", "release"} <= findings.keys()


def test_explain_names_an_account_that_is_not_there(duly: Duly):
    assert_says(duly("explain", "A999"), 1, "no account has that reference")


def test_a_payment_ends_the_open_reminder_and_a_repeated_file_changes_nothing(
    duly: Duly, tmp_path: Path, database_url: str
):
    an_import(duly, a_file(tmp_path, ROW))
    payments = tmp_path / "payments.csv"
    payments.write_text(
        "lender,account,payment_ref,amount,currency,paid_at,kind,reverses\n"
        "lantern,A1,P1,1234.00,TWD,2026-03-02T10:00:00,payment,\n",
        encoding="utf-8",
    )

    first, again = (
        json.loads(duly("import-payments", str(payments), "--zone", "Asia/Taipei", "--json").stdout) for _ in range(2)
    )

    assert (first["new"], first["accounts_paid"], first["cancelled"]) == (1, 1, 1)
    assert (again["new"], again["repeated"]) == (0, 1)
    with database.connect(database_url) as conn:
        assert conn.execute("SELECT state, reason FROM reminder").fetchall() == [("cancelled", "paid")]
    assert_says(duly("import-payments", str(payments), "--zone", "Asia/Nowhere"), 2, "Asia/Nowhere")
