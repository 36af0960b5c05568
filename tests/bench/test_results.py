"""What a benchmark says is kept, compared and shown as it was measured."""

import json
import os
import threading
from pathlib import Path

import pytest

from bench import tables
from bench.peers import tally
from bench.results import Figure, against_goal, figure, figure_from, read, save, slope


def test_the_ratio_is_the_median_of_the_rounds_own() -> None:
    measured = figure("one", [10, 20, 90], [10, 10, 10], yardstick_name="other", unit="1/s", goal=2.5)

    assert measured.ratio == 2
    assert not measured.is_met


def test_a_limit_is_met_from_below() -> None:
    assert against_goal("memory", 150, 200, said="the goal", unit="MB").is_met
    assert not against_goal("memory", 250, 200, said="the goal", unit="MB").is_met


def test_what_was_not_measured_again_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "latest.json"
    save([_figure("one", 1), _figure("two", 2)], path)

    save([_figure("two", 3)], path)

    assert [figure_from(row) for row in read(path)] == [_figure("one", 1), _figure("two", 3)]


def test_figures_survive_being_written_down(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    measured = figure("one", [1, 2], [1, 1], yardstick_name="other", unit="1/s", detail={"rows": [1, 2]})

    save([measured], path)

    assert [figure_from(row) for row in json.loads(path.read_text())] == [measured]


def test_a_table_goes_between_its_comments_and_nowhere_else() -> None:
    page = "before\n<!-- soak -->\nold\n<!-- /soak -->\nafter\n"

    assert tables.filled(page, {"soak": "| new |"}) == "before\n<!-- soak -->\n| new |\n<!-- /soak -->\nafter\n"
    with pytest.raises(ValueError, match="no place for the table 'growth'"):
        tables.filled(page, {"growth": "| new |"})


def test_the_page_has_a_place_for_every_table() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")

    filled = tables.filled(page, dict.fromkeys(tables.TABLES, "| x |"))

    assert filled.count("| x |") == len(tables.TABLES)


def test_a_straight_line_rises_by_its_slope() -> None:
    assert slope([0, 1, 2], [5, 7, 9]) == pytest.approx(2)
    assert slope([1, 1], [5, 7]) == 0


def test_tasks_are_counted_in_every_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_TALLY", str(tmp_path))
    monkeypatch.setattr(tally, "_counters", {})

    threads = [threading.Thread(target=lambda: [tally.count() for _ in range(1_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert tally.total(tmp_path) == 4_000
    assert [path.name for path in tmp_path.iterdir()] == [str(os.getpid())]


def _figure(name: str, ours: float) -> Figure:
    return Figure(name, ours, 1.0, "other", ours, None, "1/s", 1)
