"""Reads a bundle at a commit, without touching the work tree: what is proposed is what was reviewed and merged."""

import subprocess
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from config.bundle import CHANNELS, FOLDERS, OPTIONAL, bundle_of_bytes, check_size, is_debris
from config.files import ConfigError
from domain.bundle import Bundle

#: A local repository answers at once; a hung one (a network file system) should not hang us.
GIT_SECONDS: Final = 60

#: Object modes of git: a link, and another repository inside this one.
_LINK: Final = "120000"
_SUBMODULE: Final = "160000"

#: Only what stands in the object store counts, and nothing of the operator's work tree is touched.
_GIT: Final = ("git", "--no-replace-objects", "--no-optional-locks", "-c", "core.fsmonitor=false")


class Entry(NamedTuple):
    mode: str
    object_id: str
    size: int


class FromGit(NamedTuple):
    """A bundle and the commit that it was read at, in full."""

    bundle: Bundle
    commit: str


def read_at(repo: Path, revision: str, *, config: str = "config", templates: str = "templates") -> FromGit:
    """The bundle as the folders stood at a revision (a branch, a tag, a commit). Raises ConfigError.

    `config` and `templates` are paths within the repository. Nothing is checked out, and no hook or filter runs.
    """
    top = Path(_git(repo, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
    commit = _commit(repo, revision)
    entries = _entries(top, commit, (config, templates))
    wanted: dict[str, Entry] = {}
    for path, entry in entries.items():
        place = _place(PurePosixPath(path), PurePosixPath(config), PurePosixPath(templates))
        if place is not None:
            _refuse(path, entry)
            wanted[place] = entry
    if CHANNELS not in wanted or not any(place.startswith("templates/") for place in wanted):
        raise ConfigError(
            f"{revision}: {config}/{CHANNELS} or {templates}/ is not there at commit {commit[:12]}: name the "
            "folders' places in the repository with --config and --templates"
        )
    contents = _contents(top, [entry.object_id for entry in wanted.values()])
    return FromGit(bundle_of_bytes(dict(zip(wanted, contents, strict=True))), commit)


def _commit(repo: Path, revision: str) -> str:
    try:
        found = _git(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except ConfigError:
        raise ConfigError(f"{revision}: {repo} has no such revision: name a branch, a tag or a commit") from None
    return found.decode().strip()


def _entries(repo: Path, commit: str, folders: tuple[str, ...]) -> dict[str, Entry]:
    listed = _git(repo, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, "--", *folders)
    entries: dict[str, Entry] = {}
    for line in listed.decode("utf-8", "replace").split("\0"):
        if line:
            about, _, path = line.partition("\t")
            mode, _, object_id, size = about.split()
            entries[path] = Entry(mode, object_id, int(size) if size.isdigit() else 0)
    return entries


def _place(path: PurePosixPath, config: PurePosixPath, templates: PurePosixPath) -> str | None:
    """The path in the bundle, or None for what a release does not carry."""
    if path.is_relative_to(templates):
        inside = path.relative_to(templates)
        return None if any(map(is_debris, inside.parts)) else f"templates/{inside}"
    if not path.is_relative_to(config):
        return None
    inside = path.relative_to(config)
    carried = str(inside) == CHANNELS or (len(inside.parts) > 1 and inside.parts[0] in (*FOLDERS, *OPTIONAL))
    return str(inside) if carried and not any(map(is_debris, inside.parts)) else None


def _refuse(path: str, entry: Entry) -> None:
    if entry.mode in (_LINK, _SUBMODULE):
        raise ConfigError(f"{path}: a link to another place: put the file itself here, a release holds what it says")
    check_size(path, entry.size)


def _contents(repo: Path, object_ids: list[str]) -> list[bytes]:
    """The contents of blobs, in order, by one process."""
    answer = _git(repo, "cat-file", "--batch", stdin="".join(f"{each}\n" for each in object_ids).encode())
    contents, at = [], 0
    for _ in object_ids:
        header, _, _ = answer[at : at + 200].partition(b"\n")
        size = int(header.split()[2])
        begin = at + len(header) + 1
        contents.append(answer[begin : begin + size])
        at = begin + size + 1
    return contents


def _git(repo: Path, *words: str, stdin: bytes = b"") -> bytes:
    """Run one git command that only reads. Raises ConfigError with what git said."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [*_GIT, "-C", str(repo), *words], input=stdin, capture_output=True, timeout=GIT_SECONDS, check=False
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed: install it, or propose from a folder") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{repo}: git did not answer within {GIT_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ConfigError(f"{repo}: git: {said[0].removeprefix('fatal: ') if said else 'failed'}")
    return done.stdout
