"""The editors' commands: what they print, what they refuse, and with which exit code."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from config import settings as configuration
from config.settings import Settings
from console.wording import segments_command, templates_app
from storage import lanes
from tests.builders import TUESDAY_MORNING, a_customer, a_live_release, an_account
from tests.console.desk import duly, living_by
from worker.wiring import Spine

FOLDER = Path(__file__).parents[2] / "templates"

app = typer.Typer()
app.add_typer(templates_app, name="templates")
app.command("segments")(segments_command)


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shared words and one message, to spoil."""
    for name in ("_shared", "due_today", "upcoming"):
        shutil.copytree(FOLDER / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def test_sound_copy_passes_with_exit_code_0(folder: Path) -> None:
    result = run("templates", "check", "--folder", folder)

    assert (result.exit_code, result.stdout) == (0, "0 errors, 0 warnings.\n")


def test_bad_copy_is_named_by_file_and_line_with_exit_code_1(folder: Path) -> None:
    sms = folder / "due_today" / "sms.en.txt"
    sms.write_text(sms.read_text() + "Pay immediately.\n")

    plain = run("templates", "check", "--folder", folder)
    as_json = run("templates", "check", "--folder", folder, "--json")

    assert plain.exit_code == as_json.exit_code == 1
    assert "due_today/sms.en.txt:11: error C13: false urgency: 'immediately'." in plain.stdout
    found = json.loads(as_json.stdout)
    assert (found["schema"], found["errors"], found["findings"][0]["line"]) == (1, 1, 11)


def test_a_preview_draws_the_text_with_its_segments(folder: Path) -> None:
    result = run("templates", "preview", "due_today", "--channel", "sms", "--locale", "zh-HK", "--folder", folder)

    assert result.exit_code == 0
    assert "due_today · sms · zh-Hant" in result.stdout
    assert "【北岸消費】陳美玲您好" in result.stdout
    assert "2 segments · " in result.stdout


def test_all_branches_are_drawn_on_demand(folder: Path) -> None:
    result = run(
        "templates", "preview", "due_today", "--channel", "sms", "--locale", "en", "--all-branches", "--folder", folder
    )

    assert result.stdout.count("due_today · sms · en") > 5


def test_a_page_is_written_for_everything_at_once(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    result = run("templates", "preview", "--html", page, "--live", folder, "--folder", folder)

    assert result.exit_code == 0
    assert 'id="upcoming"' in page.read_text()
    assert f"Nothing differs from {folder}." in page.read_text()


def test_a_page_without_anything_live_compares_with_nothing_and_starts_no_engine(folder: Path, tmp_path: Path) -> None:
    configuration.adopt(Settings(home=tmp_path / "home"))

    result = run("templates", "preview", "--html", tmp_path / "page.html", "--folder", folder)

    assert result.exit_code == 0
    assert "differs from" not in (tmp_path / "page.html").read_text()
    assert not (tmp_path / "home").exists()


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[Spine]:
    """The package's release live, and one customer with a card debt of 1,234.00 that fell due on 20 February."""
    with living_by(database_url, tmp_path / "home") as settings:
        spine = Spine(settings, database_url)
        a_live_release(spine.conn)
        lanes.step_clock(spine.conn, TUESDAY_MORNING)
        customer = a_customer(spine.conn, spine.keyring, locale="zh-TW")
        an_account(spine.conn, customer, due_on=date(2026, 2, 20))
        yield spine
        spine.close()


def test_a_real_account_is_drawn_as_it_stands_and_nothing_of_it_is_logged(house: Spine) -> None:
    drawn = duly("templates", "preview", "options", "--channel", "sms", "--account", "A1-1")

    assert drawn.exit_code == 0, drawn.output
    shown = re.sub(r"[│\s]", "", drawn.stdout)
    assert "options·sms·zh-Hant" in shown, "the customer's own language"
    assert "【明燈銀行】AnaExample您好" in shown
    assert "2月20日的信用卡帳單截至3月2日為新臺幣1,234元" in shown
    assert "accountA1-1,asitstands" in shown
    assert "Ana" not in drawn.stderr
    assert house.conn.execute("SELECT count(*) FROM contact").fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["options", "--account", "A9-9"], 1, "no account has that reference"),
        (["--account", "A1-1", "--html", "x.html"], 2, "stays on the disk"),
        (["options", "--account", "A1-1", "--lender", "northbank"], 1, "no account of northbank"),
    ],
)
def test_an_account_that_cannot_be_drawn_is_refused_in_a_sentence(
    house: Spine, arguments: list[str], code: int, says: str
) -> None:
    result = duly("templates", "preview", *arguments)

    assert result.exit_code == code
    assert says in result.stderr


def test_an_erased_customer_is_drawn_no_more(house: Spine) -> None:
    house.conn.execute("UPDATE customer_key SET wrapped_key = NULL, destroyed_at = now()")

    result = duly("templates", "preview", "options", "--account", "A1-1", "--channel", "sms")

    assert (result.exit_code, "key is destroyed" in result.stderr) == (1, True)


def test_a_page_is_compared_with_the_release_that_is_live(house: Spine, folder: Path, tmp_path: Path) -> None:
    sms = folder / "due_today" / "sms.en.txt"
    sms.write_text(sms.read_text().replace("Hard today?", "Not today?"))
    page = tmp_path / "page.html"

    result = duly("templates", "preview", "due_today", "--html", str(page), "--folder", str(folder))

    assert result.exit_code == 0, result.output
    assert "Differs from what is live (" in page.read_text()
    assert "<del>Hard</del><ins>Not</ins>" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["due_todya"], "due_today"),
        ([], "--html"),
        (["due_today", "--locale", "fr"], "no such copy"),
        (["due_today", "--channel", "letter"], "no such copy"),
    ],
)
def test_a_preview_of_nothing_is_wrong_usage(folder: Path, arguments: list[str], says: str) -> None:
    result = run("templates", "preview", *arguments, "--folder", folder)

    assert result.exit_code == 2
    assert says in result.stderr


BAD: dict[str, tuple[bytes, str]] = {
    "a broken template": (b"Hi\n{% if several %}x", "due_today/sms.en.txt:2: error COPY: template syntax"),
    "a missing field": (b"Hi {{ nmae }}", "due_today/sms.en.txt:1: error COPY: unknown field 'nmae'. Did you mean"),
    "front matter where none is": (b"---\nsubject: x\n---\nHi", "due_today/sms.en.txt:2: error COPY: front matter has"),
    "an endless loop": (
        b"{% for i in range(10**9) %}x{% endfor %}", "due_today/sms.en.txt:1: error COPY: a loop may only go over debts"
    ),
    "a paste of 5 MB": (b"x" * 5_000_000, "due_today/sms.en.txt: error COPY: is larger than 64 KB. Copy is short"),
    "a file in GBK": (
        "Hi\n您的账单还没有到账".encode("gbk"), "due_today/sms.en.txt:2: error COPY: is not UTF-8. It looks like GBK"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_by_file_line_and_remedy_beside_all_else(folder: Path, what: str) -> None:
    data, says = BAD[what]
    (folder / "due_today" / "sms.en.txt").write_bytes(data)
    push = folder / "upcoming" / "push.en.txt"
    push.write_text(push.read_text().replace("subject: {{ brand }}", "subject: Overdue"))

    plain = run("templates", "check", "--folder", folder)

    assert plain.exit_code == 1
    assert says in plain.stdout
    assert "upcoming/push.en.txt:2: error C10" in plain.stdout, "the rest is checked all the same"


def test_a_message_toml_that_is_wrong_is_named_by_its_line(folder: Path) -> None:
    declared = folder / "due_today" / "message.toml"
    declared.write_text(declared.read_text().replace('purpose = "reminder"', 'purpose = "remainder"'))

    result = run("templates", "check", "--folder", folder)

    assert result.exit_code == 1
    assert (
        "due_today/message.toml:1: error COPY: purpose 'remainder' is unknown. Did you mean 'reminder'" in result.stdout
    )


def test_the_copy_in_use_is_also_held_against_ladders_and_lenders(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(FOLDER.parent / "config", config, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    lantern = config / "lenders" / "lantern.toml"
    lantern.write_text(lantern.read_text().replace('sms = "68101"', 'sms = "LANTERN"'))
    configuration.adopt(Settings(home=tmp_path / "home", config_dir=config))

    result = run("templates", "check")

    assert result.exit_code == 0
    assert "lenders/lantern.toml: warning C08: senders.sms is a name" in result.stdout


LINES = """{"id": "a", "text": "%s"}
{"id": 2, "text": "汉😀"}

{"id": 3}
nope
["x"]
{"id": 4, "text": 5}
"""


@pytest.mark.parametrize(
    ("route", "first"),
    [
        ("gsm", {"id": "a", "encoding": "GSM-7", "units": 161, "segments": 2}),
        ("auto", {"id": "a", "encoding": "GSM-7", "units": 161, "segments": 2}),
        ("cn", {"id": "a", "encoding": "UCS-2", "units": 161, "segments": 3}),
    ],
)
def test_segments_answers_each_line_and_names_the_bad_ones(route: str, first: dict[str, object]) -> None:
    result = run("segments", "--route", route, stdin=(LINES % ("a" * 161)).encode())

    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert answers[0] == first
    assert answers[1] == {"id": 2, "encoding": "UCS-2", "units": 3, "segments": 1}
    assert [(answer["id"], answer["line"]) for answer in answers[2:]] == [(3, 4), (None, 5), (None, 6), (4, 7)]
    assert all(answer["error"] for answer in answers[2:])


def test_segments_reads_a_file_and_ends_well(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('\ufeff{"id": 1, "text": ""}\n', encoding="utf-8")

    result = run("segments", file)

    assert (result.exit_code, json.loads(result.stdout)["segments"]) == (0, 1)


def test_segments_of_no_file_fails_in_a_sentence(tmp_path: Path) -> None:
    result = run("segments", tmp_path / "nowhere.jsonl")

    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
