"""A sandbox and workers as processes of their own, so that they can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from config.settings import Settings, child_environment
from domain.lane import Lane
from storage import database
from storage.rows import Conn
from tests.builders import HOUSE, TUESDAY_MORNING, a_live_release
from worker.wiring import Spine

PATIENCE_SECONDS = 90.0


@dataclass
class Sandbox:
    """The judge: what the provider accepted, whatever the ledger says."""

    http_url: str
    smtp_url: str

    def counts(self) -> dict:
        with urlopen(f"{self.http_url}/sandbox/counts", timeout=5) as answer:
            return json.load(answer)

    def accepted(self) -> int:
        return sum(self.counts()["accepted"].values())

    def recipients(self) -> list[str]:
        with urlopen(f"{self.http_url}/sandbox/messages?after=0", timeout=5) as answer:
            return [message["to"] for message in json.load(answer)["messages"]]

    def arm(self, *rules: dict) -> None:
        body = json.dumps(rules).encode()
        urlopen(Request(f"{self.http_url}/sandbox/faults", body, method="POST"), timeout=5).close()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "simulator.sandbox", "--outbox", str(tmp_path / "outbox"),
            "--parent-pid", str(os.getpid()),
        ],
        stdout=subprocess.PIPE, cwd=HOUSE,
    )  # fmt: skip
    try:
        ready = json.loads(process.stdout.readline())
        yield Sandbox(ready["http_url"], ready["smtp_url"])
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@dataclass
class Fleet:
    """One database with a live release, and workers that drain it when told to."""

    settings: Settings
    database_url: str
    conn: Conn

    def start(self, lane: Lane) -> subprocess.Popen:
        """A worker process that drains the lane once and ends."""
        environment = child_environment(
            self.settings,
            database_url=self.database_url,
            sandbox_http_url=self.settings.sandbox_http_url,
            sandbox_smtp_url=self.settings.sandbox_smtp_url,
            lease_seconds=str(self.settings.lease_seconds),
            wave_size=str(self.settings.wave_size),
        )
        return subprocess.Popen([sys.executable, "-m", "tests.chaos.drainer", str(lane)], env=environment, cwd=HOUSE)

    def spine(self) -> Spine:
        return Spine(self.settings, self.database_url, role="tests")

    def reminders(self) -> dict[str, int]:
        return dict(self.conn.execute("SELECT state, count(*) FROM reminder GROUP BY state").fetchall())


@pytest.fixture
def fleet(database_url: str, sandbox: Sandbox, tmp_path: Path) -> Iterator[Fleet]:
    home = tmp_path / "home"
    home.mkdir()
    settings = Settings(
        home=home, sandbox_http_url=sandbox.http_url, sandbox_smtp_url=sandbox.smtp_url, lease_seconds=10, wave_size=10
    )
    with database.connect(database_url, autocommit=True) as conn:
        a_live_release(conn)
        conn.execute("UPDATE clock SET stepped_at = %s", (TUESDAY_MORNING,))
        yield Fleet(settings, database_url, conn)


def kill(process: subprocess.Popen) -> None:
    """End a process of ours without a word of warning."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def eventually(what: Callable[[], bool], *, why: str) -> None:
    """Wait for something that must happen soon."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < until, f"never came true: {why}"
        time.sleep(0.02)
