"""Servers of the embedded engines as processes: as whom they run, which of them run in a folder, and ending them.

A server is recognised by its program's name and its working folder, never by a recorded pid alone: pids are used again,
and a server that lost its parent or its pid file is still found.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: PostgreSQL refuses to run as root; root runs the engines as this user, made on first need.
SERVICE_USER = "duly"

#: Where the system keeps its programs; the caller's own PATH does not reach them.
SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"

#: What every system has, should the user above not be allowed to exist.
FALLBACK_USER = "nobody"


class EngineFailed(Exception):
    """An embedded engine does not run, and cannot be made to; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the servers run as. `drops` says that we are root and step down to it."""

    uid: int
    gid: int
    drops: bool


def account_for(folder: Path, *, make: bool = False) -> Account:
    """Ourselves, or for root the owner of the folder, or a service user (made if asked) while there is no folder."""
    owner = folder.stat() if folder.exists() else None
    if os.geteuid() != 0:
        _require_own(folder, owner)
        return Account(os.geteuid(), os.getegid(), drops=False)
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, drops=True)
    user = _service_user(make=make)
    return Account(user.pw_uid, user.pw_gid, drops=True)


def run_as(account: Account, command: Sequence[str | Path], *reached: Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end as the account. It need not be able to enter the folders above `reached` by itself."""
    words = [str(word) for word in command]
    if not account.drops:
        return _run(words)
    if _is_open(account, Path(words[0]), *reached):
        return _run(words, user=account.uid, group=account.gid, extra_groups=[])
    return _run([*_across_closed_folders(account, *reached), *words])


def in_folder(folder: Path, program: str) -> list[psutil.Process]:
    """The living processes of a program that work in the folder, oldest first; also if the folder was deleted."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == program and Path(process.cwd()) == folder and is_alive(process):
                found.append((process.create_time(), process.pid, process))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # gone, or somebody else's
    return [process for _, _, process in sorted(found, key=lambda entry: entry[:2])]


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a dead child that nobody collected does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(processes: Iterable[psutil.Process], *steps: tuple[signal.Signals, float]) -> list[psutil.Process]:
    """Send each signal in turn to those still alive and wait its seconds; returns who outlived them all."""
    left = [process for process in processes if is_alive(process)]
    for sign, patience_seconds in steps:
        for process in left:
            try:
                process.send_signal(sign)
            except psutil.NoSuchProcess:
                continue
        left = _outlive(left, patience_seconds)
    return left


def owned_folder(path: Path, account: Account) -> Path:
    """A folder that only the account may enter, made if need be. Raises EngineFailed if it is somebody else's."""
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        _require_ours(path, account)
        path.chmod(0o700)
    os.chown(path, account.uid, account.gid)
    return path


def write_owned(path: Path, text: str, account: Account) -> None:
    """Write a file of the account's, in one step: a reader sees the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    os.chown(fresh, account.uid, account.gid)
    fresh.replace(path)


def _outlive(processes: list[psutil.Process], patience_seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + patience_seconds
    left = processes
    while left := [process for process in left if is_alive(process)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.02)
    return left


def _require_own(folder: Path, owner: os.stat_result | None) -> None:
    if owner is not None and owner.st_uid != os.geteuid():
        raise EngineFailed(
            f"{folder} belongs to another user ({_user_name(owner.st_uid)}): run duly as that user, or set DULY_HOME "
            "to a folder of your own"
        )
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EngineFailed(
            f"PostgreSQL wants a name for the user it runs as, and user id {os.geteuid()} has none in /etc/passwd: run "
            "duly as a named user, or set DULY_DATABASE_URL"
        ) from None


def _require_ours(path: Path, account: Account) -> None:
    # Ours as well as the account's: a command may have been killed between making a folder and handing it over.
    if path.is_symlink() or not path.is_dir() or path.stat().st_uid not in (account.uid, os.geteuid()):
        raise EngineFailed(
            f"{path} must be a folder of the user {_user_name(account.uid)}: remove it, or set DULY_HOME"
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


def _service_user(*, make: bool) -> pwd.struct_passwd:
    if make and _user(SERVICE_USER) is None and (useradd := shutil.which("useradd", path=SYSTEM_PATH)):
        # Should it fail, `nobody` serves.
        _run([useradd, "--system", "--user-group", "--home-dir", "/", "--shell", "/usr/sbin/nologin", SERVICE_USER])
    found = _user(SERVICE_USER) or _user(FALLBACK_USER)
    if found is None:
        raise EngineFailed(
            f"PostgreSQL refuses to run as root, and there is no user {SERVICE_USER} or {FALLBACK_USER} to run it as: "
            "run duly as an ordinary user, or set DULY_DATABASE_URL"
        )
    return found


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _is_open(account: Account, *reached: Path) -> bool:
    """Whether everyone may walk down to these paths; a folder closed to others is taken as closed to the account."""
    return all(above.stat().st_mode & 0o001 for path in reached for above in path.resolve().parents)


def _across_closed_folders(account: Account, *reached: Path) -> list[str]:
    """A prefix that steps down to the account and keeps one right of root's: to pass folders closed to others.

    The other way, opening /root or a private checkout to everybody, would change what is not ours. The servers listen
    on a socket that only the account and root can reach, so nobody gains anything by that right.
    """
    setpriv = shutil.which("setpriv", path=SYSTEM_PATH)
    if setpriv is None:
        closed = next(above for path in reached for above in path.resolve().parents if not above.stat().st_mode & 0o001)
        raise EngineFailed(
            f"PostgreSQL refuses to run as root, and {closed} is closed to the user {_user_name(account.uid)} that it "
            "runs as instead: set DULY_HOME to a folder that others may pass through, or run duly as an ordinary user"
        )
    return [
        setpriv,
        f"--reuid={account.uid}",
        f"--regid={account.gid}",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--bounding-set=-all,+dac_override",
        "--securebits=+no_setuid_fixup",  # else access(2) forgets that right, and initdb asks by it
        "--",
    ]


def _run(
    words: list[str], user: int | None = None, group: int | None = None, extra_groups: list[int] | None = None
) -> subprocess.CompletedProcess[str]:
    # A bare environment: PGHOST, PGDATA and the like of whoever calls us must not reach the server.
    return subprocess.run(  # noqa: S603  # the wheels' programs and the system's, with paths of our own making
        words,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": SYSTEM_PATH, "LC_ALL": "C"},
        umask=0o077,
        user=user,
        group=group,
        extra_groups=extra_groups,
    )
