"""The editors' commands: what they print, what they refuse, and with which exit code."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from console.wording import segments_command, templates_app

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
    assert "id='upcoming'" in page.read_text()


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
