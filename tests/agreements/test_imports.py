"""The house keeps its order: who may import whom, and which things happen in one place only."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Whom each package may import, besides itself.
MAY_IMPORT = {
    "domain": set(),
    "config": {"domain"},
    "policy": {"domain"},
    "messages": {"domain"},
    "channels": {"domain"},
    "storage": {"domain"},
    "worker": {"domain", "config", "policy", "messages", "channels", "storage"},
    "simulator": {"domain", "config", "policy", "messages", "channels", "storage", "worker"},
    "console": {"domain", "config", "policy", "messages", "channels", "storage", "worker", "simulator"},
}
PACKAGES = tuple(MAY_IMPORT)
BELOW_WORKER = ("domain", "config", "policy", "messages", "channels", "storage")

KNOW_CELERY = {"worker/app.py", "worker/door.py", "worker/schedule.py", "worker/tasks.py"}
READS_THE_ENVIRONMENT = {"config/settings.py"}

ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}

#: Reading a clock; `time.monotonic` measures and is allowed, `datetime.fromisoformat` and the like read none.
CLOCKS = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}

#: A statement, not a sentence: upper-case keywords in the order that SQL has them.
SQL = re.compile(
    r"\b(SELECT\b[\s\S]+\b(FROM|WHERE)\b|SELECT\s+\w+\s*\(|INSERT\s+INTO\b|UPDATE\s+\w+\s+SET\b|DELETE\s+FROM\b"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|DATABASE|SCHEMA|TYPE|ROLE)\b|TRUNCATE\s+\w+|COPY\s+\w+\s*(\(|FROM|TO)"
    r"|FOR\s+(NO\s+KEY\s+)?UPDATE\b|SKIP\s+LOCKED\b|ON\s+CONFLICT\b)"
)

FILES = {
    path.relative_to(ROOT).as_posix(): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
}

Rule = Callable[[str, ast.Module], Iterator[str]]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def package_of(name: str) -> str:
    return name.split("/")[0]


def imports(module: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and module of every import, inside functions too; `from os import environ` counts as `os.environ`."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            yield node.lineno, source
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def looked_up(module: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every attribute: `datetime.now`, `os.environ`."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            yield node.lineno, ast.unparse(node)


def texts(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and content of every string that is not a docstring; what an f-string fills in reads as x."""
    with_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    firsts = [node.body[0] for node in ast.walk(module) if isinstance(node, with_docstring) and node.body]
    docstrings = {first.value for first in firsts if isinstance(first, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values),
            )


def imports_point_one_way(name: str, module: ast.Module) -> Iterator[str]:
    allowed = MAY_IMPORT[package_of(name)] | {package_of(name)}
    for line, imported in imports(module):
        other = imported.split(".")[0]
        if imported.startswith("."):
            yield f"{name}:{line} imports relatively"
        elif other in PACKAGES and other not in allowed:
            yield f"{name}:{line} imports {imported}"


def nothing_is_imported_inside_functions(name: str, module: ast.Module) -> Iterator[str]:
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (f"{name}:{line} imports {imported}" for line, imported in imports(function))


def celery_is_known_to_three_files(name: str, module: ast.Module) -> Iterator[str]:
    for line, imported in imports(module):
        if imported.split(".")[0] in {"celery", "kombu", "billiard"} and name not in KNOW_CELERY:
            yield f"{name}:{line} imports {imported}"


def the_environment_is_read_in_one_file(name: str, module: ast.Module) -> Iterator[str]:
    for line, used in (*imports(module), *looked_up(module)):
        if (used in ENVIRONMENT or used.split(".")[0] == "dotenv") and name not in READS_THE_ENVIRONMENT:
            yield f"{name}:{line} uses {used}"


def sql_lives_in_storage(name: str, module: ast.Module) -> Iterator[str]:
    if package_of(name) != "storage":
        yield from (f"{name}:{line} says {found[0]!r}" for line, text in texts(module) if (found := SQL.search(text)))


def no_clock_is_read_below_the_worker(name: str, module: ast.Module) -> Iterator[str]:
    if package_of(name) not in BELOW_WORKER:
        return
    for line, used in (*imports(module), *looked_up(module)):
        parts = used.split(".")
        if len(parts) > 1 and parts[-1] in CLOCKS.get(parts[-2], ()):
            yield f"{name}:{line} reads {used}"


def the_domain_rests_on_the_standard_library(name: str, module: ast.Module) -> Iterator[str]:
    for line, imported in imports(module):
        package = imported.split(".")[0]
        if package_of(name) == "domain" and package not in {"domain", *sys.stdlib_module_names}:
            yield f"{name}:{line} imports {imported}"


def every_module_says_what_it_is_for(name: str, module: ast.Module) -> Iterator[str]:
    if not ast.get_docstring(module):
        yield f"{name} has no docstring"


def package_files_hold_a_docstring_and_nothing_else(name: str, module: ast.Module) -> Iterator[str]:
    if name.endswith("__init__.py") and len(module.body) != 1:
        yield f"{name} holds more than a docstring"


#: Each rule with a file that breaks it, so that no rule can pass by never looking.
RULES: dict[Rule, tuple[str, str]] = {
    imports_point_one_way: ("policy/x.py", "from storage import database"),
    nothing_is_imported_inside_functions: ("worker/x.py", "def f():\n    import json"),
    celery_is_known_to_three_files: ("console/x.py", "from kombu import Queue"),
    the_environment_is_read_in_one_file: ("worker/x.py", "from os import environ"),
    sql_lives_in_storage: ("worker/x.py", "query = f'SELECT {columns} FROM account'"),
    no_clock_is_read_below_the_worker: ("policy/x.py", "import datetime as d\nd.datetime.now(d.UTC)"),
    the_domain_rests_on_the_standard_library: ("domain/x.py", "import pydantic"),
    every_module_says_what_it_is_for: ("domain/x.py", "x = 1"),
    package_files_hold_a_docstring_and_nothing_else: ("domain/__init__.py", '"""The nouns."""\nx = 1'),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    assert len(FILES) > 50
    assert not [offence for name, path in FILES.items() for offence in rule(name, tree(path))]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_sees_who_breaks_it(rule: Rule) -> None:
    name, text = RULES[rule]

    assert list(rule(name, ast.parse(text)))


def test_the_templates_hold_words_and_no_python() -> None:
    assert not list((ROOT / "templates").rglob("*.py*"))


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base_service"}

    assert not [name for name, path in FILES.items() if path.stem in drawers]


def test_tests_are_no_packages_and_mirror_the_house() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert folders <= {*PACKAGES, "agreements", "contracts", "journeys", "chaos", "bench", "templates"}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id FROM account",
        "SELECT pg_reload_conf()",
        "INSERT INTO contact VALUES (%s)",
        "UPDATE reminder SET state = %s",
        "DELETE FROM inbox",
        "COPY account (id) FROM STDIN",
        "CREATE TABLE x ()",
    ],
)
def test_sql_is_recognised(text: str) -> None:
    assert SQL.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "Select a customer from the list",
        "update your address",
        "UPDATE: the office moved",
        "insert coins into the slot",
        "COPY of this letter",
    ],
)
def test_sentences_are_no_sql(text: str) -> None:
    assert not SQL.search(text)
