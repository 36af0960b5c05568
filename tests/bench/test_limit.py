"""The yardstick of `make bench limit` is honest: the bare loop writes what a drain writes, no less."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest

from bench import limit
from bench.bare import Bare, master_of
from bench.rig import Rig
from bench.world import come_due, copies, move_in, round_day, sent_at
from config.settings import Settings
from domain.channel import Channel
from domain.lane import SHARDS, Lane
from storage.rows import Conn
from worker import dispatch
from worker.wiring import KEY_FILE, Spine

CUSTOMERS = 40


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[Rig]:
    settings = Settings(
        home=tmp_path, sandbox_http_url="http://127.0.0.1:9", sandbox_smtp_url="smtp://127.0.0.1:9", wave_size=10
    )
    spine = Spine(settings, database_url)
    rig = Rig(settings, spine, ())
    move_in(rig, CUSTOMERS // 2, history=2)
    copies(spine.conn, CUSTOMERS)
    yield rig
    spine.close()


def test_the_bare_loop_writes_the_rows_that_a_drain_writes(house: Rig) -> None:
    """Half of the customers are copies: they are judged, opened and sent like those that were imported."""
    theirs = come_due(house.conn, round_day(0))
    for shard in range(SHARDS):
        dispatch.drain(house.spine, Lane("bench", Channel.NULL, shard))
    assert sent_at(house.conn, theirs) == CUSTOMERS
    drained = _rows(house.conn, theirs)

    at = come_due(house.conn, round_day(1))
    assert _bare(house).drain(at, range(SHARDS)) == CUSTOMERS

    assert sent_at(house.conn, at) == CUSTOMERS
    assert _rows(house.conn, at) == drained


def _bare(house: Rig) -> Bare:
    given = limit._given(house)
    keys = house.settings.home / KEY_FILE
    template = jinja2.Template(given["template"])
    return Bare(house.conn, master_of(keys), template, given["values"], given["batch"], given["wave"])


def _rows(conn: Conn, at: datetime) -> dict[str, Any]:
    """By table: how many rows a round wrote, and which columns they fill."""
    found = {}
    for table, where in (
        ("contact", "intended_at = %(at)s"),
        ("contact_event", "intended_at = %(at)s"),
        ("reminder", "ended_at = %(at)s"),
        ("reminder", "state = 'planned'"),
    ):
        row = conn.execute(
            f"""
            SELECT count(DISTINCT t.ctid), array_agg(DISTINCT filled.key ORDER BY filled.key)
            FROM {table} t, jsonb_each(jsonb_strip_nulls(to_jsonb(t))) filled WHERE {where}
            """,
            {"at": at},
        ).fetchone()
        found[f"{table} {where}"] = row
    return found
