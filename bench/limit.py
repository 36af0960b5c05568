"""How near a drain comes to the physical limit: the same rows and bytes as bare SQL and Python in a loop.

Rounds are interleaved in one database; the bare loop runs in as many processes as the fleet. After each round of either
side the rows and the bytes of write-ahead log are counted, so that one sees that both wrote the same.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psutil

from bench.dispatch import drain
from bench.results import Figure, figure
from bench.rig import PROCESSES, Rig, cpu_seconds, heard, rig, screen, steps, worker
from bench.world import come_due, move_in, round_day, sent_at
from bench.yardsticks import Round
from config.bundle import read_bundle
from domain.channel import Channel
from domain.lane import SHARDS
from messages import samples
from messages.catalogue import Catalogue
from storage.rows import Conn
from worker.wiring import KEY_FILE, folders

REMINDERS = 32_000
ROUNDS = 5
GOAL = 0.6

#: What both sides write for a reminder, counted at the instant of the round.
WRITTEN = ("contact", "contact_event")


def run(*, rounds: int = ROUNDS, reminders: int = REMINDERS) -> list[Figure]:
    ours: list[Round] = []
    bare: list[Round] = []
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    with rig("limit") as house, steps("limit", 2 * rounds + 2) as step:
        step(f"{reminders:,} customers through the import")
        move_in(house, reminders)
        with worker(house) as fleet, _loops(house) as loops:
            step("rounds that are not counted")
            drain(house, fleet, come_due(house.conn, round_day(0)), reminders)
            _loop(house, loops, come_due(house.conn, round_day(1)), reminders)
            for number in range(1, rounds + 1):
                step(f"round {number} of {rounds}, ours")
                at, log = come_due(house.conn, round_day(2 * number)), _log_position(house.conn)
                ours.append(drain(house, fleet, at, reminders))
                seen["ours"].append(_written(house.conn, at, log, reminders))
                step(f"round {number} of {rounds}, the bare loop")
                at, log = come_due(house.conn, round_day(2 * number + 1)), _log_position(house.conn)
                bare.append(_loop(house, loops, at, reminders))
                seen["bare"].append(_written(house.conn, at, log, reminders))
    written = {
        side: {name: statistics.median(each[name] for each in rows) for name in rows[0]} for side, rows in seen.items()
    }
    screen.print(f"written for a reminder, ours: {written['ours']}")
    screen.print(f"written for a reminder, bare: {written['bare']}")
    return [
        figure(
            "limit",
            [each.per_second for each in ours],
            [each.per_second for each in bare],
            yardstick_name=f"the same rows as bare SQL and Python, {PROCESSES} processes",
            unit="1/s",
            goal=GOAL,
            cpu_us=statistics.median(each.cpu_us for each in ours),
            yardstick_cpu_us=statistics.median(each.cpu_us for each in bare),
            detail={"written": written},
        )
    ]


def _medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rows) for name in rows[0]}


@contextmanager
def _loops(house: Rig) -> Iterator[list[subprocess.Popen[str]]]:
    """The bare loops, connected and waiting."""
    given = json.dumps(_given(house))
    started: list[subprocess.Popen[str]] = []
    try:
        for _ in range(PROCESSES):
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "bench.bare"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
        for loop in started:
            _tell(loop, given)
        yield started
    finally:
        for loop in started:
            loop.kill()
            loop.wait(10)


def _given(house: Rig) -> Mapping[str, Any]:
    """All that a loop needs to know: where the rows are, the keys, and copy with its values ready-made."""
    bundle = read_bundle(*folders(house.settings))
    files = bundle.under("templates")
    catalogue = Catalogue.from_files(files)
    template = catalogue.templates["first_notice", Channel.SMS, "en"]
    facts = samples.ordinary(catalogue.messages["first_notice"], "en")
    return {
        "url": house.spine.database_url,
        "keys": str(house.settings.home / KEY_FILE),
        "template": _pasted(files, files["first_notice/sms.en.txt"]),
        "values": {
            name: value if isinstance(value, bool | int) else str(value)
            for name, value in template.values(facts).items()
        },
        "batch": house.settings.batch_size,
        "wave": house.settings.wave_size,
    }  # fmt: skip


def _pasted(files: Mapping[str, str], text: str) -> str:
    """Copy with its shared words in their places, however deep."""

    def words(found: re.Match[str]) -> str:
        own, shared = f"_shared/{found[1]}.sms.en.txt", f"_shared/{found[1]}.en.txt"
        return _pasted(files, (files.get(own) or files[shared]).strip())

    return re.sub(r'{%-? *include "(\w+)" *-?%}', words, text)


def _tell(loop: subprocess.Popen[str], line: str) -> dict[str, Any]:
    _send(loop, line)
    return _heard(loop)


def _send(loop: subprocess.Popen[str], line: str) -> None:
    assert loop.stdin is not None
    loop.stdin.write(line + "\n")
    loop.stdin.flush()


def _heard(loop: subprocess.Popen[str]) -> dict[str, Any]:
    return heard(loop, who="a bare loop")


def _loop(house: Rig, loops: Sequence[subprocess.Popen[str]], at: datetime, reminders: int) -> Round:
    trees = [psutil.Process(loop.pid) for loop in loops]
    before, began = cpu_seconds(*trees, *house.servers), time.perf_counter()
    for number, loop in enumerate(loops):
        shards = [shard for shard in range(SHARDS) if shard % len(loops) == number]
        _send(loop, json.dumps({"now": at.isoformat(), "shards": shards}))
    sent = sum(_heard(loop)["sent"] for loop in loops)
    seconds = time.perf_counter() - began
    used = cpu_seconds(*trees, *house.servers) - before
    if sent < reminders or sent_at(house.conn, at) < reminders:
        raise SystemExit(f"bench: the bare loop wrote {sent} of {reminders} reminders; the round measures nothing")
    return Round(sent / seconds, 1e6 * used / sent)


# ----------------------------------------------------------------------------------------------------- what was written


def _log_position(conn: Conn) -> str:
    row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


def _written(conn: Conn, at: datetime, log: str, reminders: int) -> dict[str, float]:
    """For one reminder of the round: rows and bytes by table, commits and bytes of write-ahead log."""
    found: dict[str, float] = {}
    row = conn.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s::pg_lsn)", (log,)).fetchone()
    assert row is not None
    found["log bytes"] = round(float(row[0]) / reminders, 1)
    for table in WRITTEN:
        row = conn.execute(
            f"SELECT count(*), sum(pg_column_size(t.*)) FROM {table} t WHERE intended_at = %s",
            (at,),
        ).fetchone()
        assert row is not None
        found[f"{table} rows"], found[f"{table} bytes"] = row[0] / reminders, round(float(row[1] or 0) / reminders, 1)
    row = conn.execute(
        "SELECT count(*), sum(pg_column_size(r.*)) FROM reminder r WHERE state = 'planned' OR ended_at = %s", (at,)
    ).fetchone()
    assert row is not None
    found["reminder rows"], found["reminder bytes"] = row[0] / reminders, round(float(row[1]) / reminders, 1)
    return found
