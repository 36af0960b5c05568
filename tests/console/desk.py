"""The command line in this process, against a test's own database."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from typer.testing import CliRunner, Result

from config import settings as configuration
from config.settings import Settings
from console.cli import app


@contextmanager
def living_by(
    database_url: str, home: Path, *, broker_url: str = "redis://127.0.0.1:1/0", keep_ledger_days: int | None = None
) -> Iterator[Settings]:
    """Let commands find this database; what they do to logging is undone, since their streams close behind them."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        # By default a broker that nobody listens at: most commands need none.
        yield configuration.adopt(
            Settings(home=home, database_url=database_url, broker_url=broker_url, keep_ledger_days=keep_ledger_days)
        )
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


def duly(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def plain(result: Result) -> dict:
    """The one JSON object that a command printed."""
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["schema"] == 1
    return answer
