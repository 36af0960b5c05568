"""A bundle out of git: as it was committed, whatever lies about in the work tree."""

import os
import subprocess
from pathlib import Path

import pytest

from config.bundle import read_bundle
from config.files import ConfigError
from config.from_git import read_at


class Repo:
    """A repository with the folders of a release at its top."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        for name in ("channels.toml", "policies/cn.toml", "ladders/standard.toml", "lenders/lantern.toml"):
            self.write(f"config/{name}", f"# {name}\n")
        self.write("templates/first_notice/sms.en.txt", "Hello\r\n")
        self.write("templates/.draft.swp", "left by an editor")
        self.write("config/profiles/uci.toml", "# decides nothing")
        self.commit = self.save()

    def git(self, *words: str) -> str:
        quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "PATH": os.environ["PATH"]}
        done = subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t.example", "-C", str(self.folder), *words],
            env=quiet, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())

    def save(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", "words")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def test_what_was_committed_is_read_and_the_work_tree_is_left_alone(repo: Repo) -> None:
    folder = read_bundle(repo.folder / "config", repo.folder / "templates")
    repo.write("templates/first_notice/sms.en.txt", "An idea of tomorrow")
    before = repo.git("status", "--porcelain")

    found = read_at(repo.folder, "main")

    assert (found.bundle.hash, found.commit) == (folder.hash, repo.commit)
    assert repo.git("status", "--porcelain") == before


def test_any_revision_can_be_named_and_an_unknown_one_is_refused(repo: Repo) -> None:
    repo.write("templates/first_notice/sms.en.txt", "Good morning")
    repo.save()

    assert read_at(repo.folder, "HEAD~1").commit == repo.commit
    assert read_at(repo.folder, "main").bundle.files["templates/first_notice/sms.en.txt"] == "Good morning"
    for wrong in ("no-such-branch", "--upload-pack=touch x", ""):
        with pytest.raises(ConfigError, match="no such revision"):
            read_at(repo.folder, wrong)


def test_links_other_folders_and_no_repository_are_named(repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config and --templates"):
        read_at(repo.folder, "main", templates="words")
    with pytest.raises(ConfigError, match="not a git repository"):
        read_at(tmp_path, "main")
    (repo.folder / "templates/first_notice/sms.fr.txt").symlink_to("/etc/hostname")
    repo.save()
    with pytest.raises(ConfigError, match=r"sms\.fr\.txt: a link"):
        read_at(repo.folder, "main")
