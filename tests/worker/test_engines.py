"""The embedded engines against what happens to them on real machines: kills, races, leftovers, odd folders."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kombu import Connection

from config.settings import Settings
from storage import database
from tests.conftest import roomy_memory
from worker import engines
from worker.daemons import EngineFailed, account_for, in_folder, run_as
from worker.embedded import LEAST_CACHE_MB
from worker.engines import Engines

ROOT = Path(__file__).parents[2]

START = """
import sys
from pathlib import Path
from config.settings import Settings
from worker import engines
print(engines.ensure(Settings(home=Path(sys.argv[1]))).database_url, flush=True)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    outside = Path(tempfile.mkdtemp(prefix="duly-engines-", dir=roomy_memory()))
    yield outside / "home"
    engines.stop(Settings(home=outside / "home"))
    shutil.rmtree(outside)


def ensure(home: Path) -> Engines:
    return engines.ensure(Settings(home=home))


def starter(home: Path) -> subprocess.Popen[str]:
    """Another process that ensures the engines and ends, as a command of the CLI does."""
    return subprocess.Popen(
        [sys.executable, "-c", START, str(home)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def pids(home: Path) -> tuple[int | None, int | None]:
    postgres, valkey = engines.status(Settings(home=home))
    return postgres.pid, valkey.pid


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lives(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def remember(running: Engines, value: int) -> None:
    with database.connect(running.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


def remembered(running: Engines) -> list[int]:
    with database.connect(running.database_url) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM kept ORDER BY value").fetchall()]


def ping(running: Engines) -> bool:
    with engines.redis_client(running.broker_url) as client:
        return bool(client.ping())


def test_four_processes_that_start_at_once_share_one_pair_of_servers(home: Path) -> None:
    starters = [starter(home) for _ in range(4)]
    said = [process.communicate(timeout=60)[0] for process in starters]

    assert [process.returncode for process in starters] == [0, 0, 0, 0], said
    assert len(set(said)) == 1
    assert len(in_folder((home / "engines/valkey").resolve(), "valkey-server")) == 1
    data = (home / "engines/postgres").resolve()
    servers = in_folder(data, "postgres")
    assert sum(process.ppid() not in {other.pid for other in servers} for process in servers) == 1


def test_the_servers_outlive_the_command_that_started_them_and_are_joined(home: Path) -> None:
    command = starter(home)
    command.communicate(timeout=60)
    before = pids(home)

    running = ensure(home)

    assert None not in before
    assert pids(home) == before
    assert running.embedded
    assert ping(running)


def test_the_database_takes_a_cache_that_fits_the_machine(home: Path) -> None:
    with database.connect(ensure(home).database_url) as conn:
        row = conn.execute(
            """
            SELECT pg_size_bytes(current_setting('shared_buffers')) >> 20,
                   pg_size_bytes(current_setting('effective_cache_size')) >> 20
            """
        ).fetchone()

    assert row is not None
    own, all_together = row
    memory = psutil.virtual_memory().total >> 20
    assert LEAST_CACHE_MB <= own <= max(LEAST_CACHE_MB, 0.6 * memory)
    assert own <= all_together <= max(2 * LEAST_CACHE_MB, 0.75 * memory)


def test_servers_orphaned_by_a_kill_are_adopted(home: Path) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", START + "import time; time.sleep(60)", str(home)], cwd=ROOT, stdout=subprocess.PIPE
    )
    with command:
        assert command.stdout is not None
        assert command.stdout.readline()
        command.kill()
    before = pids(home)

    ensure(home)

    assert None not in before
    assert pids(home) == before


@pytest.mark.parametrize("seconds", [0.45, 0.6, 0.8, 1.0])
def test_a_first_start_killed_at_any_moment_is_taken_up_again(home: Path, seconds: float) -> None:
    command = starter(home)
    with command:
        time.sleep(seconds)
        command.kill()

    running = ensure(home)

    remember(running, 1)
    assert ping(running)


def test_half_a_data_folder_is_made_again(home: Path) -> None:
    half = home / "engines/postgres.new-0"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    home.joinpath("engines").chmod(0o700)

    remember(ensure(home), 1)

    assert not half.exists()


def test_killing_both_servers_loses_nothing_that_was_committed(home: Path) -> None:
    running = ensure(home)
    remember(running, 1)
    with engines.redis_client(running.broker_url) as client:
        client.set("kept", "2")
        client.execute_command("WAITAOF", 1, 0, 2000)
    for pid in pids(home):
        kill(pid)

    again = ensure(home)

    assert again == running  # the same addresses: workers that were connected find their way back
    assert remembered(again) == [1]
    with engines.redis_client(again.broker_url) as client:
        assert client.get("kept") == b"2"


def test_a_pid_file_that_names_somebody_else_by_now_is_cleared_away(home: Path) -> None:
    ensure(home)
    remember(ensure(home), 1)
    for pid in pids(home):
        kill(pid)
    postmaster = home / "engines/postgres/postmaster.pid"
    postmaster.write_text("\n".join([str(os.getpid()), *postmaster.read_text().splitlines()[1:]]) + "\n")
    (home / "engines/valkey/valkey.pid").write_text(f"{os.getpid()}\n")

    running = ensure(home)

    assert remembered(running) == [1]
    assert ping(running)


def test_servers_that_lost_their_pid_files_are_replaced(home: Path) -> None:
    remember(ensure(home), 1)
    before = pids(home)
    (home / "engines/postgres/postmaster.pid").unlink()
    (home / "engines/valkey/valkey.pid").unlink()

    running = ensure(home)

    assert remembered(running) == [1]
    assert ping(running)
    assert not set(before) & set(pids(home))


def test_a_home_deleted_under_its_servers_starts_afresh(home: Path) -> None:
    remember(ensure(home), 1)
    before = pids(home)
    shutil.rmtree(home)

    running = ensure(home)

    remember(running, 2)
    assert remembered(running) == [2]
    assert ping(running)
    assert not any(lives(pid) for pid in before)


def test_servers_of_a_deleted_home_can_still_be_stopped(home: Path) -> None:
    ensure(home)
    shutil.rmtree(home)

    stopped = engines.stop(Settings(home=home))

    assert len(stopped) == 2
    assert not in_folder(home.resolve() / "engines/valkey", "valkey-server")


def test_taken_ports_do_not_matter(home: Path) -> None:
    with socket.socket() as postgres, socket.socket() as valkey:
        for taken, port in ((postgres, 5432), (valkey, 6379)):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", port))
                taken.listen()
            except OSError:
                continue  # taken by somebody else, which serves as well

        running = ensure(home)

    remember(running, 1)
    assert ping(running)


@pytest.mark.parametrize("name", ["a home with spaces", "ümläut 家", "it's 100% ours, really", "long" * 40])
def test_any_name_of_a_home_will_do(home: Path, name: str) -> None:
    odd = home / name
    try:
        running = ensure(odd)

        remember(running, 1)
        assert remembered(running) == [1]
        with Connection(running.broker_url) as connection, connection.SimpleQueue("lane") as queue:
            queue.put({"lane": 7})
            assert queue.get(timeout=5).payload == {"lane": 7}
    finally:
        engines.stop(Settings(home=odd))


def test_sockets_kept_elsewhere_are_cleared_away(home: Path) -> None:
    odd = home / ("long" * 40)
    folder = Path(engines.redis_client(ensure(odd).broker_url).get_connection_kwargs()["path"]).parent

    engines.stop(Settings(home=odd))

    assert odd not in folder.parents
    assert not folder.exists()


def test_a_name_that_a_shell_would_read_is_refused(home: Path) -> None:
    with pytest.raises(EngineFailed, match="dollar sign"):
        ensure(home / "$(date)")


def test_a_home_that_is_no_folder_is_refused(home: Path) -> None:
    home.parent.joinpath("file").touch()

    for taken in (home.parent / "file", home.parent / "file" / "within"):
        with pytest.raises(EngineFailed, match=r"DULY_HOME \(.*\) cannot be used"):
            ensure(taken)


def test_two_homes_live_side_by_side(home: Path) -> None:
    try:
        remember(ensure(home / "demo"), 1)
        remember(ensure(home / "own"), 2)

        assert remembered(ensure(home / "demo")) == [1]
        assert remembered(ensure(home / "own")) == [2]
        engines.stop(Settings(home=home / "demo"))
        assert remembered(ensure(home / "own")) == [2]
    finally:
        for name in ("demo", "own"):
            engines.stop(Settings(home=home / name))


def test_stopping_names_what_ran_and_leaves_nothing(home: Path) -> None:
    remember(ensure(home), 1)
    postgres, valkey = pids(home)

    stopped = engines.stop(Settings(home=home))

    assert stopped == [f"Valkey (process {valkey})", f"PostgreSQL (process {postgres})"]
    assert engines.stop(Settings(home=home)) == []
    assert pids(home) == (None, None)
    assert remembered(ensure(home)) == [1]


def test_a_damaged_database_is_refused_rather_than_begun_anew(home: Path) -> None:
    ensure(home)
    engines.stop(Settings(home=home))
    (home / "engines/postgres/global/pg_control").unlink()

    with pytest.raises(EngineFailed, match="is damaged"):
        ensure(home)


def test_the_data_of_another_major_version_is_refused(home: Path) -> None:
    ensure(home)
    engines.stop(Settings(home=home))
    (home / "engines/postgres/PG_VERSION").write_text("16\n")

    with pytest.raises(EngineFailed, match="made by PostgreSQL 16"):
        ensure(home)


def test_a_server_that_cannot_start_says_what_its_log_says(home: Path) -> None:
    ensure(home)
    engines.stop(Settings(home=home))
    (home / "engines/postgres/postgresql.auto.conf").write_text("shared_buffers = 'plenty'\n")

    with pytest.raises(EngineFailed, match="invalid value for parameter"):
        ensure(home)


def test_servers_of_the_operators_own_are_used_and_nothing_is_started(home: Path, engines_url: Settings) -> None:
    settings = engines_url.model_copy(update={"home": home})

    running = engines.ensure(settings)

    assert not running.embedded
    assert not home.exists()
    assert [(engine.running, engine.embedded) for engine in engines.status(settings)] == [(True, False), (True, False)]


def test_only_the_engine_without_an_address_is_embedded(home: Path, engines_url: Settings) -> None:
    running = engines.ensure(Settings(home=home, database_url=engines_url.database_url))

    assert running.embedded
    assert engines_url.database_url
    assert running.database_url == engines_url.database_url.get_secret_value()
    assert pids(home)[1] is not None
    assert not (home / "engines/postgres").exists()


def test_an_unreachable_server_is_reported_without_its_password() -> None:
    settings = Settings.model_validate(
        {"database_url": "postgresql://duly:sesame@127.0.0.1:1/duly", "broker_url": "redis://:sesame@127.0.0.1:1/0"}
    )

    report = engines.status(settings)

    assert [engine.running for engine in report] == [False, False]
    assert all(engine.trouble for engine in report)
    assert "sesame" not in repr(report)
    assert "sesame" not in repr(engines.ensure(settings))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another user")
def test_root_steps_down_and_opens_no_folder_for_it(home: Path) -> None:
    home.mkdir(mode=0o700)
    before = [folder.stat().st_mode for folder in home.parents]

    running = ensure(home)

    remember(running, 1)
    assert [folder.stat().st_mode for folder in home.parents] == before
    assert home.stat().st_mode & 0o777 == 0o700
    for pid in pids(home):
        assert psutil.Process(pid).uids().effective != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another user")
def test_programs_in_a_folder_closed_to_others_can_be_run_and_found(home: Path) -> None:
    home.mkdir(mode=0o700)
    program = home / "program"
    program.write_text(f"#!{sys.executable} -S\nimport os\nprint(os.getuid(), os.access(__file__, os.X_OK))\n")
    program.chmod(0o755)
    account = account_for(home / "engines", make=True)

    done = run_as(account, [program], home)

    assert done.stdout == f"{account.uid} True\n", done.stderr


@pytest.fixture
def engines_url(engines: Engines) -> Settings:
    """Settings that name running servers, as an operator's do."""
    return Settings.model_validate({"database_url": engines.database_url, "broker_url": engines.broker_url})
