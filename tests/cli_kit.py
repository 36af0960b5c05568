"""`duly` without the wait for its start: each command forks from a process that has imported the command line.

To import it takes a second or two, and the tests run a hundred commands. That it starts from a shell as well is shown
where a command has to outlive its caller (`tests/journeys/test_rehearsal.py`, `tests/console/test_sandboxing.py`).
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from console import cli

PATIENCE_SECONDS = 180.0

#: Runs a command with these words, and these settings for the environment.
Duly = Callable[..., subprocess.CompletedProcess]

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["console.cli"])


def run_duly(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in that folder, with those variables and no others."""
    with NamedTemporaryFile("r") as out, NamedTemporaryFile("r") as err:
        child = _FORKS.Process(target=_run, args=(tuple(words), str(cwd), dict(env), out.name, err.name))
        child.start()
        child.join(PATIENCE_SECONDS)
        if child.exitcode is None:
            child.kill()
            raise subprocess.TimeoutExpired(["duly", *words], PATIENCE_SECONDS)
        return subprocess.CompletedProcess(["duly", *words], child.exitcode, out.read(), err.read())


def _run(words: Sequence[str], cwd: str, env: Mapping[str, str], out: str, err: str) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, name in enumerate((os.devnull, out, err)):
        opened = os.open(name, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["duly", *words]
    cli.main()
