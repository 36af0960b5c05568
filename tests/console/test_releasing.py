"""`duly release` and `duly users`, in the hands of three people."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import Result

from config import settings as configuration
from config.files import ConfigError
from config.settings import Settings
from console.house import enter, live_release, publish
from console.signing import WhoAreYou
from storage import database, releases
from tests.builders import a_small_bundle
from tests.console.desk import duly, living_by, plain
from worker.approvals import NotApproved, NotYourPart
from worker.releases import BadRelease


@dataclass
class Office:
    """Folders that people edit, a database, and the first release live in it."""

    folder: Path
    url: str

    def edit(self, path: str, before: str, after: str) -> None:
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert before in text
        file.write_text(text.replace(before, after), encoding="utf-8")

    def live(self) -> str | None:
        with database.connect(self.url) as conn:
            return releases.live_hash(conn)

    def user(self, name: str, *roles: str) -> None:
        assert duly("users", "key", name, "--no-passphrase").exit_code == 0
        told = [word for role in roles for word in ("--role", role)]
        done(duly("users", "add", name, *told, "--as", "olga"))


def done(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output.replace("\n", " ")


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Office]:
    for path, text in a_small_bundle().files.items():
        file = tmp_path / (path if path.startswith("templates/") else f"config/{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    with living_by(database_url, tmp_path / "home") as settings:
        own = {"config_dir": tmp_path / "config", "templates_dir": tmp_path / "templates"}
        configuration.adopt(Settings(**{**settings.model_dump(exclude_unset=True), **own}))
        with database.connect(database_url) as conn:
            publish(conn, a_small_bundle(), by="tests", why="the first one")
        yield Office(tmp_path, database_url)


GREETING = ("templates/_shared/hello.sms.en.txt", "Hi {{ name }}", "Good day {{ name }}")


def test_three_people_change_a_greeting_and_take_it_back(office: Office):
    first = office.live()
    office.user("olga", "operator")
    office.user("erin", "editor", "approver")
    office.user("anna", "approver")
    office.edit(*GREETING)

    with enter(configuration.load()) as spine:
        assert live_release(spine).hash == first  # a rehearsal no longer makes live what lies in the folders
    assert "Good day" in done(duly("release", "diff"))
    told = done(duly("release", "propose", "--as", "erin", "--why", "warmer"))
    release = told.split("Release ")[1][:12]
    with pytest.raises(NotYourPart, match="another person"):
        raise duly("release", "approve", release, "--as", "erin").exception
    with pytest.raises(NotApproved):
        raise duly("release", "go-live", release, "--as", "olga").exception
    assert office.live() == first
    done(duly("release", "approve", release, "--as", "anna"))
    done(duly("release", "go-live", release, "--as", "olga", "--why", "Monday"))
    assert office.live().startswith(release)
    done(duly("release", "rollback", "--as", "olga", "--why", "a typo"))
    assert office.live() == first

    told = plain(duly("release", "history", "--json"))
    assert [(each["kind"], each["by_whom"], each["is_signed"]) for each in told["events"]][:6] == [
        ("rolled_back", "olga", True), ("live", "olga", True), ("approved", "anna", True), ("proposed", "erin", True),
        ("stored", "erin", False), ("kept", "olga", True),
    ]  # fmt: skip
    assert [each["detail"].get("why") for each in told["events"]][:4] == ["a typo", "Monday", None, "warmer"]
    assert [user["user_id"] for user in plain(duly("users", "list", "--json"))["users"]] == ["olga", "erin", "anna"]


def test_the_difference_shows_files_and_what_readers_will_see(office: Office):
    office.edit(*GREETING)
    (office.folder / "templates/first_notice/push.en.txt").unlink()

    told = plain(duly("release", "diff", "--json"))

    assert {(each["path"], each["mark"]) for each in told["files"]} == {
        ("templates/_shared/hello.sms.en.txt", "changed"), ("templates/first_notice/push.en.txt", "removed"),
    }  # fmt: skip
    texts = {(each["channel"], each["locale"]): each for each in told["texts"]}
    assert texts["push", "en"]["after"] is None
    assert texts["sms", "en"]["after"].startswith("Good day")
    assert {channel for channel, _ in texts} == {"sms", "push"}


@pytest.mark.parametrize(
    ("path", "data", "says"),
    [
        ("templates/first_notice/sms.en.txt", b"{% if name %}Hi", r"first_notice/sms\.en\.txt:1"),
        ("templates/first_notice/sms.zh-Hans.txt", "您好，您的账单已到期".encode("gbk"), "looks like GBK"),
        ("templates/first_notice/sms.en.txt", b"Dear " * 1024 * 1024, r"sms\.en\.txt: 5\.0 MB"),
        ("config/ladders/null.toml", b"id = ", r"ladders/null\.toml"),
    ],
    ids=["broken", "GBK", "5 MB", "no TOML"],
)
def test_a_bad_release_is_refused_at_every_door_and_what_is_live_stays_live(
    office: Office, path: str, data: bytes, says: str
):
    live = office.live()
    (office.folder / path).write_bytes(data)

    for command in ("check", "publish", "propose"):
        refused = duly("release", command)
        assert refused.exit_code == 1
        assert isinstance(refused.exception, (BadRelease, ConfigError))
        with pytest.raises((BadRelease, ConfigError), match=says):
            raise refused.exception
    assert office.live() == live
    assert len(plain(duly("release", "history", "--json"))["releases"]) == 1


def test_a_release_comes_out_of_git_as_it_was_committed(office: Office):
    office.user("olga", "operator", "editor")
    office.edit(*GREETING)
    git(office.folder, "init", "-q")
    git(office.folder, "add", "config", "templates")
    git(office.folder, "commit", "-qm", "warmer")
    shutil.rmtree(office.folder / "templates")

    told = done(duly("release", "propose", "--from-git", "HEAD", "--repo", str(office.folder), "--as", "olga"))

    assert "1 files differ" in told
    proposed = plain(duly("release", "history", "--json"))["events"][0]
    assert len(proposed["detail"]["commit"]) == 40
    assert not (office.folder / "templates").exists()


def git(folder: Path, *words: str) -> None:
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "PATH": os.environ["PATH"]}
    who = ("-c", "user.name=t", "-c", "user.email=t@t.example")
    subprocess.run(["git", *who, "-C", str(folder), *words], env=quiet, check=True)


def test_a_schedule_is_listed_and_can_be_cancelled(office: Office):
    office.user("olga", "operator")
    release = office.live()

    for wrong in ("tomorrow", "2026-03-01T09:00"):
        assert duly("release", "go-live", release, "--at", wrong, "--as", "olga").exit_code == 2
    done(duly("release", "go-live", release, "--at", "2030-03-01T09:00+08:00", "--as", "olga"))
    (waiting,) = plain(duly("release", "history", "--json"))["scheduled"]
    assert waiting["at"].startswith("2030-03-01T01:00")
    done(duly("release", "cancel", str(waiting["release_switch_id"]), "--as", "olga"))
    assert plain(duly("release", "history", "--json"))["scheduled"] == []


def test_nobody_signs_as_nobody(office: Office):
    office.user("olga", "operator")

    with pytest.raises(WhoAreYou, match="--as NAME"):
        raise duly("release", "rollback", office.live()).exception


def test_the_back_test_of_an_empty_ledger_finds_no_difference(office: Office):
    told = plain(duly("release", "backtest", "--json"))

    assert (told["parties"], told["breaking_contacts"]) == (0, 0)
    assert told["cannot_know"]
