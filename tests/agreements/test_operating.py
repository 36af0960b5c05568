"""Dashboard, alert rules, `duly status` and the operator's guide speak of the same numbers."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.settings import SECRETS, load_from
from console import alarms
from console.exposition import GAUGES
from worker.app import QUEUES
from worker.metrics import FAMILIES

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/duly.json").read_text())
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
GUIDE = (ROOT / "docs/operating.md").read_text()

#: Words of PromQL and of Grafana; what else looks like a name is a metric or a label.
PROMQL = {
    "sum", "max", "min", "by", "on", "and", "or", "unless", "rate", "increase", "topk", "histogram_quantile", "absent",
    "label_replace", "vector", "offset",
}  # fmt: skip

Labels = dict[str, set[str]]


def exposed() -> Labels:
    """Every series that /metrics shows, with its labels."""
    found = {name: set(labels) for name, (labels, _) in GAUGES.items()}
    for family in FAMILIES:
        if family.kind == "counter":
            found[family.name] = set(family.labels)
        else:
            found |= {family.name + "_bucket": {*family.labels, "le"}}
            found |= {f"{family.name}_{part}": set(family.labels) for part in ("sum", "count")}
    return found


EXPOSED = exposed()


def queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for each in DASHBOARD["annotations"]["list"]:
        yield each["name"], each["expr"]
    for name, rule in RULES.items():
        yield name, rule["expr"]


def without_strings(query: str) -> str:
    return re.sub(r'"[^"]*"', '""', query)


def selectors(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric in a query with the labels that it is selected by."""
    for name, matchers in re.findall(r"\b(duly_\w+)(\{[^}]*\})?", without_strings(query)):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_every_query_asks_for_what_is_exposed(where: str, query: str) -> None:
    asked = list(selectors(query))

    assert asked
    for name, labels in asked:
        assert name in EXPOSED, where
        assert labels <= EXPOSED[name], where
    grouped = {
        label.strip()
        for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query)
        for label in group.split(",")
        if label.strip()
    }
    assert grouped <= set().union(*(EXPOSED[name] for name, _ in asked)), where
    words = set(re.findall(r"(?<![\w$\"])[a-z_]{2,}\b", re.sub(r"\{[^}]*\}|\[[^\]]*\]|\([^()]*\)", " ", query)))
    assert not {word for word in words if not word.startswith("duly_")} - PROMQL, where


def test_what_a_legend_or_a_summary_names_is_a_label_of_its_query() -> None:
    shown = [
        (target["expr"], target["legendFormat"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
    ] + [(rule["expr"], rule["annotations"]["summary"]) for rule in RULES.values()]

    for query, text in shown:
        labels = set().union(*(EXPOSED[name] for name, _ in selectors(query)))
        named = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text)) | set(re.findall(r"\$labels\.(\w+)", text))
        assert named <= labels, text


def test_every_family_and_gauge_is_on_the_dashboard_or_raises_an_alert() -> None:
    used = " ".join(query for _, query in queries())

    missing = {name for name in [*GAUGES, *(family.name for family in FAMILIES)] if name not in used}

    assert missing == {"duly_business_time_seconds", "duly_scrape_seconds", "duly_database_schema"}


#: Each alert with the threshold of `duly status` that it shares.
SAME: dict[str, float] = {
    "DulyLag": alarms.LAG_RED.total_seconds(),
    "DulyLagGrows": alarms.LAG_AMBER.total_seconds(),
    "DulyNoWorkers": alarms.LAG_AMBER.total_seconds(),
    "DulyLeasesOverdue": alarms.OVERDUE_RED.total_seconds(),
    "DulyInboxWaits": alarms.INBOX_RED.total_seconds(),
    "DulyInboxGrows": alarms.INBOX_AMBER.total_seconds(),
    "DulyPartitionsEnd": alarms.PARTITIONS_RED.total_seconds(),
    "DulyPartitionsLate": alarms.PARTITIONS_AMBER.total_seconds(),
    "DulyLedgerKept": alarms.MONTHS_AMBER.total_seconds(),
    "DulyJobsLate": alarms.JOBS_AMBER.total_seconds(),
    "DulyProviderRefuses": 1 - alarms.ACCEPTED_RED,
    "DulyProviderFalters": round(1 - alarms.ACCEPTED_AMBER, 6),
    "DulyDatabaseFull": alarms.CONNECTIONS_RED,
    "DulyDatabaseFills": alarms.CONNECTIONS_AMBER,
    "DulyReplicaBehind": alarms.REPLAY_AMBER.total_seconds(),
    "DulyLongTransaction": alarms.TRANSACTION_AMBER.total_seconds(),
    "DulyBloat": alarms.ENOUGH_ROWS,
    "DulyBrokerMemory": alarms.MEMORY_RED,
    "DulyQueueGrows": alarms.QUEUE_AMBER,
}


@pytest.mark.parametrize(("alert", "threshold"), SAME.items())
def test_alerts_and_status_draw_the_line_in_the_same_place(alert: str, threshold: float) -> None:
    numbers = {float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", RULES[alert]["expr"])}

    assert threshold in numbers


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_has_a_colour_and_a_chapter_of_the_guide(alert: str) -> None:
    rule = RULES[alert]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.+)$", GUIDE)}

    assert rule["labels"]["severity"] in set(alarms.Colour)
    assert page == "docs/operating.md"
    assert anchor in anchors


def test_the_guide_explains_every_metric() -> None:
    missing = {name for name in [*GAUGES, *(family.name for family in FAMILIES)] if f"`{name}`" not in GUIDE}

    assert missing == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Prometheus) is not on this machine")
@pytest.mark.parametrize("words", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts.test.yml")])
def test_prometheus_itself_accepts_the_rules_and_raises_them_when_it_should(words: tuple[str, ...]) -> None:
    checked = subprocess.run(
        ["promtool", *words], cwd=ROOT / "deploy/prometheus", capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_compose_starts_prometheus_and_grafana_on_these_files() -> None:
    services = yaml.safe_load((ROOT / "deploy/observability.yml").read_text())["services"]

    mounted = [volume.partition(":")[0] for service in services.values() for volume in service["volumes"]]
    assert [path for path in mounted if path.startswith("./") and not (ROOT / path).exists()] == []
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service["ports"])


# ----------------------------------------------------------------------------------------------------------- kubernetes

CLUSTER: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/kubernetes/duly.yml").read_text())["items"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


PODS: dict[str, dict[str, Any]] = {
    each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in CLUSTER if "template" in each.get("spec", {})
}
COMMANDS = {name: pod["containers"][0]["command"] for name, pod in PODS.items()}


def in_the_cluster(command: list[str]) -> list[str]:
    """A command of compose's with the cluster's names of hosts."""
    return [word.replace("http://console:", "http://duly-console:") for word in command]


def test_the_cluster_runs_what_compose_runs() -> None:
    composed = [in_the_cluster(service["command"]) for service in COMPOSE.values() if service["image"] == "duly"]

    assert [name for name, command in COMMANDS.items() if command not in composed] == []
    taken = {
        queue
        for command in COMMANDS.values()
        if "worker" in command
        for queue in command[command.index("-Q") + 1].split(",")
    }
    assert taken == set(QUEUES)


def test_the_cluster_sets_what_is_a_setting_and_keeps_no_secret() -> None:
    [settings] = [each["data"] for each in CLUSTER if each["kind"] == "ConfigMap"]

    made = load_from(settings)

    assert not made.is_live
    assert not {f"DULY_{name.upper()}" for name in SECRETS} & settings.keys()


def test_a_worker_of_the_cluster_may_finish_its_wave_and_nobody_is_root() -> None:
    patience = int(COMPOSE["worker-channels"]["stop_grace_period"].removesuffix("s"))

    for name, pod in PODS.items():
        assert pod["securityContext"]["runAsNonRoot"], name
        if "worker" in COMMANDS[name]:
            assert pod["terminationGracePeriodSeconds"] == patience, name


def test_services_and_budgets_of_the_cluster_find_their_pods() -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in CLUSTER if each["kind"] == "Deployment"]

    for each in CLUSTER:
        if each["kind"] in ("Service", "PodDisruptionBudget"):
            wanted = each["spec"]["selector"]
            assert wanted.get("matchLabels", wanted) in labels, each["metadata"]["name"]
