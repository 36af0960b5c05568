"""The command line for every test of it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli_kit import Duly, run_duly


@pytest.fixture
def duly(database_url: str, broker_url: str, tmp_path: Path) -> Duly:
    """Run `duly` on a database and a broker of the test's own."""

    def run(*words: str, **settings: str) -> subprocess.CompletedProcess:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DULY_")}
        own = {"DULY_HOME": str(tmp_path / "home"), "DULY_DATABASE_URL": database_url, "DULY_BROKER_URL": broker_url}
        return run_duly(words, cwd=tmp_path, env={**environment, **own, **settings})

    return run
