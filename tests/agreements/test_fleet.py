"""docker-compose.yml, the queues, the settings and .env.example say the same."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.settings import SECRETS, Settings, load_from
from worker.app import QUEUES

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KEYS = {f"DULY_{name.upper()}" for name in Settings.model_fields}

#: Folders of the operator's own, which compose offers in comments.
MOUNTED = {"DULY_CONFIG_DIR", "DULY_TEMPLATES_DIR"}


def documented() -> dict[str, str]:
    """The settings that .env.example shows, commented out or not, with the defaults it claims."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    found = [match for line in lines if (match := re.fullmatch(r"#?(DULY_[A-Z_]+)=(.*)", line))]
    names = [match[1] for match in found]
    assert len(names) == len(set(names))
    return {match[1]: match[2] for match in found}


def interpolated(value: str) -> str:
    """A value of compose's as it is without any environment."""
    return re.sub(r"\$\{[A-Z_]+(?::-([^}]*))?\}", lambda found: found[1] or "", value)


def of_ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in SERVICES.items() if service["image"] == "duly"}


def words(service: dict[str, Any]) -> list[str]:
    return [str(word) for word in service["command"]]


def queues_of(service: dict[str, Any]) -> list[str]:
    said = words(service)
    return said[said.index("-Q") + 1].split(",") if "worker" in said else []


def test_the_example_documents_every_setting_and_no_other() -> None:
    assert set(documented()) == KEYS


def test_the_example_shows_the_true_defaults() -> None:
    assert load_from(documented()) == Settings()


def test_the_example_marks_every_secret() -> None:
    text = (ROOT / ".env.example").read_text()
    blocks = [block for block in text.split("\n\n") if "=" in block]

    for name in SECRETS:
        (block,) = [block for block in blocks if re.search(rf"^#DULY_{name.upper()}=", block, re.MULTILINE)]
        assert "*" in block, name


def test_every_queue_is_served_by_one_group_of_workers() -> None:
    served = [queue for service in SERVICES.values() for queue in queues_of(service)]

    assert sorted(served) == sorted(QUEUES)


def test_two_beats_tick_and_one_service_migrates_before_all_others() -> None:
    beats = [name for name, service in of_ours().items() if "beat" in words(service)]
    waiting = [name for name, service in of_ours().items() if "migrate" in service["depends_on"]]

    assert len(beats) == 2
    assert words(SERVICES["migrate"]) == ["duly", "migrate"]
    assert set(waiting) == set(of_ours()) - {"migrate", "sandbox"}


def test_every_service_of_ours_gets_every_setting() -> None:
    for name, service in of_ours().items():
        assert set(service["environment"]) == KEYS - MOUNTED, name


def test_what_compose_hands_over_without_any_environment_are_settings_that_stand() -> None:
    environment = {key: interpolated(str(value)) for key, value in SERVICES["console"]["environment"].items()}

    settings = load_from(environment)

    assert settings.database_url
    assert settings.broker_url
    assert not settings.is_live
    assert settings.database_url.get_secret_value() == "postgresql://duly:duly@postgres:5432/duly"


def test_the_sandbox_and_the_console_are_where_the_settings_say() -> None:
    environment = SERVICES["console"]["environment"]
    sandbox = words(SERVICES["sandbox"])

    assert environment["DULY_SANDBOX_HTTP_URL"] == f"http://sandbox:{sandbox[sandbox.index('--http-port') + 1]}"
    assert environment["DULY_SANDBOX_SMTP_URL"] == f"smtp://sandbox:{sandbox[sandbox.index('--smtp-port') + 1]}"
    assert sandbox[sandbox.index("--callback-base") + 1] == interpolated(environment["DULY_PUBLIC_URL"])
    assert f"127.0.0.1:{environment['DULY_CONSOLE_PORT']}:" in SERVICES["console"]["ports"][0]


def test_every_port_is_bound_to_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_variable_that_compose_reads_is_documented() -> None:
    read = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))

    assert read - {"POSTGRES_PASSWORD"} <= set(documented())


def test_the_broker_never_evicts_and_keeps_its_file() -> None:
    said = words(SERVICES["valkey"])

    assert said[said.index("--maxmemory-policy") + 1] == "noeviction"
    assert said[said.index("--appendonly") + 1] == "yes"


def compose_program() -> list[str] | None:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if plugin and plugin.returncode == 0 else None


@pytest.mark.skipif(
    compose_program() is None, reason="NOT RUN: docker-compose is not installed, its reading is untested"
)
def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    program = compose_program()
    assert program
    empty = tmp_path / "empty.env"  # a developer's own .env must not decide
    empty.touch()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DULY_")}

    read = subprocess.run(
        [*program, "--env-file", str(empty), "-f", str(ROOT / "docker-compose.yml"), "config"],
        capture_output=True,
        text=True,
        env=environment,
    )

    assert read.returncode == 0, read.stderr
    assert set(yaml.safe_load(read.stdout)["services"]) == set(SERVICES)


def test_the_image_installs_what_the_fleet_needs_and_runs_as_nobody_special() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()

    assert any("-c constraints.txt" in line for line in lines)
    assert [line for line in lines if line.startswith("USER ")] == ["USER duly"]
