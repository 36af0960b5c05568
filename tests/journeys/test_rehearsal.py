"""Weeks of the true fleet on the stepped clock: it keeps its promises, and lives the same life twice."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest

from config.settings import Settings
from simulator.portfolio import write_portfolio
from storage import database, lanes, ledger
from storage.rows import Conn
from tests.builders import HOUSE
from tests.rehearsal import eventually
from worker import engines

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(170)]


class Rehearsal:
    """A home of its own, a portfolio in it, and `duly` as a person runs it."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.settings = Settings(home=home)
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("DULY_")}

    def start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "console.cli", *words], cwd=self.settings.home,
            env={**self._environment, "DULY_HOME": str(self.settings.home), "PYTHONPATH": str(HOUSE),
                 "DULY_LEASE_SECONDS": "10"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *words: str) -> str:
        process = self.start(*words)
        said = process.communicate(timeout=150)[0]
        assert process.returncode == 0, said
        return said

    def take_in(self, accounts: int) -> None:
        file = self.settings.home / "portfolio.csv"
        write_portfolio(file, accounts=accounts, as_of=date(2026, 2, 28), seed=5)
        self.run("import", str(file), "--profile", "demo", "--as-of", "2026-02-28")

    def connect(self) -> Conn:
        return database.connect(engines.ensure(self.settings).database_url, autocommit=True)


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    made = Rehearsal(tmp_path / "home")
    try:
        yield made
    finally:
        made.run("down")


def the_life_in(conn: Conn) -> str:
    """All that happened to whom and when, without what is random in it: ids of contacts and batches, real times."""
    rows = conn.execute(
        """
        SELECT a.external_ref, r.step, r.channel, r.attempt, r.state, r.reason, r.ended_at FROM reminder r
        JOIN account a USING (party_id, account_id)
        UNION ALL
        SELECT a.external_ref, c.message, c.channel, 0, e.kind, e.code, e.at FROM contact c
        JOIN contact_event e USING (party_id, contact_id, intended_at)
        JOIN account a ON a.party_id = c.party_id AND a.account_id = ANY(c.account_ids)
        UNION ALL
        SELECT a.external_ref, 'payment', '', 0, p.kind, p.amount_minor::text, p.paid_at FROM payment p
        JOIN account a USING (party_id, account_id)
        ORDER BY 1, 7, 2, 3, 5, 6, 4
        """
    ).fetchall()
    assert len(rows) > 300
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def test_the_same_weeks_are_lived_twice_alike_and_keep_every_promise(tmp_path: Path):
    lives = []
    for name in ("first", "second"):
        rehearsal = Rehearsal(tmp_path / name)
        try:
            rehearsal.take_in(200)
            rehearsal.run("up", "--from", "2026-03-01", "--until", "2026-03-11", "--seed", "3")
            with rehearsal.connect() as conn:
                lives.append(the_life_in(conn))
                assert set(ledger.proofs(conn).values()) == {0}
        finally:
            rehearsal.run("down")

    assert lives[0] == lives[1]


def test_a_fleet_whose_worker_and_engines_are_killed_goes_on_and_contacts_nobody_twice(rehearsal: Rehearsal):
    rehearsal.take_in(300)
    with rehearsal.start("up", "--from", "2026-03-01", "--until", "2026-03-06", "--seed", "3") as fleet:
        try:
            with rehearsal.connect() as conn:
                eventually(lambda: lanes.stepped_clock(conn) is not None, why="the first day begins")
            for pattern in ("worker.app", "valkey-server", "postgres"):
                time.sleep(2)
                kill_one(rehearsal.settings.home, pattern)
            said = fleet.communicate(timeout=150)[0]
        finally:
            fleet.terminate()

    assert fleet.returncode == 0, said
    with rehearsal.connect() as conn:
        assert set(ledger.proofs(conn).values()) == {0}
        open_past_due = conn.execute(
            "SELECT count(*) FROM reminder WHERE state = 'planned' AND due_at <= business_now()"
        ).fetchone()[0]
    assert open_past_due == 0


def kill_one(home: Path, pattern: str) -> None:
    """kill -9 the oldest process of this home's that fits: a worker's parent, Valkey, PostgreSQL's postmaster."""
    found: list[tuple[float, int]] = []

    def is_there() -> bool:
        found.extend(processes_of(home, pattern))
        return bool(found)

    eventually(is_there, why=f"{pattern} runs")
    os.kill(min(found)[1], signal.SIGKILL)


def processes_of(home: Path, pattern: str) -> Iterator[tuple[float, int]]:
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            ours = str(home) in line or str(home) in process.cwd() or process.environ().get("DULY_HOME") == str(home)
            if ours and pattern in f"{process.name()} {line}" and "beat" not in line:
                yield process.create_time(), process.pid
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def test_a_second_fleet_in_one_home_is_refused_and_down_ends_the_first(rehearsal: Rehearsal):
    home = rehearsal.settings.home
    with rehearsal.start("up") as first:
        try:
            eventually((home / "run" / "fleet.json").exists, why="the first fleet is up")
            second = rehearsal.start("up")
            said = second.communicate(timeout=60)[0]

            assert second.returncode == 1
            assert f"process {first.pid}" in said
            assert first.poll() is None, "and the first goes on"

            rehearsal.run("down")
            first.communicate(timeout=60)
        finally:
            first.terminate()

    assert first.returncode == 0
    assert list(processes_of(home, "worker.app")) == []
