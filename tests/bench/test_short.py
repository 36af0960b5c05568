"""What measures duly still runs: each benchmark of the engine, with so few reminders that only that is shown."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import roomy_memory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test's own: a benchmark clears the homes of those before it in the same one."""
    made = Path(tempfile.mkdtemp(prefix="duly-bench-", dir=roomy_memory()))
    yield made
    shutil.rmtree(made)


def run(folder: Path, *words: str) -> str:
    """What `python -m bench` said there, once it has done its work."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--short", *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    return said


def test_a_benchmark_runs_in_a_process_of_its_own(folder: Path) -> None:
    assert "stages: measured" in run(folder, "stages")


@pytest.mark.parametrize("name", ["limit", "latency", "fleet", "memory", "growth", "soak"])
def test_a_benchmark_runs(name: str, folder: Path) -> None:
    figures = folder / "figures.json"
    run(folder, name, "--out", str(figures))
    assert all(figure["name"].startswith(name) for figure in json.loads(figures.read_text()))
