"""`duly judge` as its users see it: lines in, lines out, in order, and a sentence for what is not right."""

import copy
import io
from functools import cache
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from config.files import ConfigError
from console.cli import app
from console.judge_lines import LineJudge
from console.judging import pack_texts, read_book, write_answers
from domain.channel import Channel
from domain.contact import Outcome
from domain.purpose import Purpose
from policy.packs import PackBook

EXAMPLE = orjson.loads("""
{"case": "x", "packs": ["cn"], "now": "2026-03-02T14:00:00Z", "expires": null, "actor": "creditor",
 "customer": {"zones": ["Asia/Shanghai"], "zone_confirmed": true, "preferences": {"blocked": [{"days": ["mon"],
 "from": "09:00", "until": "17:00"}], "refused_channels": ["sms"]}},
 "account": {"id": "A1", "days_past_due": 5, "amount_minor": 10000, "currency": "CNY"},
 "contact": {"channel": "email", "address": "li@mail.example", "address_kind": "home", "purpose": "reminder"},
 "history": [{"at": "2026-03-01T02:00:00Z", "channel": "call", "direction": "out", "outcome": "no_answer",
 "account": "A1", "address": "+8613800000000", "actor": "agency"}],
 "holds": [{"kind": "dispute", "account": "A2", "from": "2026-03-01T00:00:00Z", "until": null}],
 "consents": [{"channel": "email", "address": "li@mail.example", "given": "2025-01-01T00:00:00Z", "withdrawn": null,
 "purpose": "reminder"}]}
""")

MISSING = object()


@cache
def the_book() -> PackBook:
    return read_book()


def altered(path: str, value: object) -> dict[str, object]:
    """The example with one value changed, or one key taken away."""
    line = copy.deepcopy(EXAMPLE)
    *parents, last = path.split(".")
    place = line
    for key in parents:
        place = place[int(key)] if key.isdigit() else place[key]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return line


def answer_to(line: object) -> dict[str, object]:
    raw = line if isinstance(line, bytes) else orjson.dumps(line)
    return orjson.loads(LineJudge(the_book()).answer(raw, 7).line)


def run(lines: list[bytes], processes: int = 1) -> tuple[int, list[bytes]]:
    out = io.BytesIO()
    code = write_answers(lines, out, pack_texts(None), processes=processes)
    return code, out.getvalue().splitlines()


def test_the_example_of_the_manual_gets_the_answer_of_the_manual() -> None:
    answer = answer_to(EXAMPLE)

    assert answer.pop("source")
    assert answer == {
        "case": "x", "verdict": "hold", "until": "2026-03-03T00:00:00Z", "rule": "cn.hours", "pack": "cn@2026.1",
        "confidence": "S", "severity": "hard",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("mood", "good", "the line: unknown key 'mood'"),
        ("customer.name", "Li", "customer: unknown key 'name'"),
        ("customer.preferences.quiet", 1, "customer.preferences: unknown key 'quiet'"),
        ("account.colour", 1, "account: unknown key 'colour'"),
        ("contact.body", "", "contact: unknown key 'body'"),
        ("history.0.kind", "", "history[0].the entry: unknown key 'kind'"),
        ("holds.0.why", "", "holds[0].the hold: unknown key 'why'"),
        ("consents.0.by", "", "consents[0].the consent: unknown key 'by'"),
        ("history", MISSING, "the line: history is missing"),
        ("now", "2026-03-02T14:00:00", "now: has no time zone"),
        ("now", "noon", "now: is not a time"),
        ("now", 5, "now: must be a time"),
        ("now", "9999-12-31T23:59:59Z", "now: the year is not between"),
        ("expires", "2026-03-02", "expires: has no time zone"),
        ("history.0.at", "2026-03-02T14:00:01Z", "history[0].at: lies in the future"),
        ("history.0.at", "2026-03-01T02:00:00", "history[0].at: has no time zone"),
        ("history.0.outcome", "shouted", "history[0].outcome: is unknown"),
        ("history.0.account", MISSING, "history[0].account: is missing"),
        ("history.0.accounts", ["A1"], "history[0].accounts: does not go with account"),
        ("packs", ["narnia"], "unknown pack 'narnia'"),
        ("packs", [], "no pack is named"),
        ("packs", "cn", "packs: must be a list"),
        ("customer.zones", ["Mars/Olympus"], "customer.zones: unknown time zone 'Mars/Olympus'"),
        ("customer.zone_confirmed", "yes", "customer.zone_confirmed: must be true or false"),
        ("customer.preferences.blocked.0.from", "9am", "blocked[0].from: is not a time of day"),
        ("customer.preferences.blocked.0.days", [], "blocked[0].days: is empty"),
        ("account.days_past_due", True, "account.days_past_due: must be a whole number"),
        ("account.amount_minor", 1.5, "account.amount_minor: must be a whole number"),
        ("account.currency", "yuan", "account.currency: must be an ISO 4217 code"),
        ("contact.channel", "fax", "contact.channel: is unknown"),
        ("contact.purpose", "threat", "contact.purpose: is unknown"),
        ("actor", "bailiff", "actor: is unknown"),
        ("holds.0.kind", "boredom", "holds[0].kind: is unknown"),
        ("holds.0.until", "2026-02-01T00:00:00Z", "holds[0].until: is not after from"),
        ("case", 5, "case: must be a text"),
    ],
)
def test_a_line_that_is_not_right_gets_a_sentence(path: str, value: object, says: str) -> None:
    answer = answer_to(altered(path, value))

    assert set(answer) == {"case", "line", "error"}
    assert answer["case"] == (None if path == "case" else "x")
    assert says in str(answer["error"])
    assert answer["line"] == 7


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff\xfe", b'"x"', b"null"])
def test_what_is_no_object_is_answered_too(line: bytes) -> None:
    assert answer_to(line)["case"] is None


def test_an_error_never_repeats_an_address() -> None:
    line = altered("contact.address", ["+886912345678"])

    assert "+886" not in str(answer_to(line)["error"])


@pytest.mark.parametrize("path", ["expires", "customer.preferences"])
def test_what_may_be_left_out_may_be_left_out(path: str) -> None:
    assert answer_to(altered(path, MISSING))["verdict"] == "hold"


@pytest.mark.parametrize(
    ("key", "values"),
    [("channel", Channel), ("purpose", Purpose)],
)
def test_every_word_of_the_manual_is_understood(key: str, values: type[Channel] | type[Purpose]) -> None:
    assert all("verdict" in answer_to(altered(f"contact.{key}", value)) for value in values)
    assert all("verdict" in answer_to(altered("history.0.outcome", value)) for value in Outcome)


def test_an_unconfirmed_zone_is_joined_by_those_of_the_number() -> None:
    line = altered(
        "contact", {"channel": "call", "address": "+12125550100", "address_kind": "mobile", "purpose": "reminder"}
    )
    line["customer"] = {"zones": ["America/Los_Angeles"], "zone_confirmed": False}
    line["packs"], line["now"] = ["us"], "2026-03-03T03:00:00Z"  # 19:00 in Los Angeles, 22:00 in New York

    assert answer_to(line)["verdict"] == "hold"
    line["customer"] = {"zones": ["America/Los_Angeles"], "zone_confirmed": True}
    assert answer_to(line)["verdict"] == "allow"


def test_an_opt_out_of_one_channel_leaves_the_others() -> None:
    hold = {"kind": "opt_out:sms", "account": None, "from": "2026-03-01T00:00:00Z", "until": None}
    line = altered("holds", [hold])
    line["now"] = "2026-03-03T03:00:00Z"

    assert answer_to(line)["verdict"] == "allow"


def test_a_fault_leaves_the_other_lines_alone_and_the_exit_code_is_one() -> None:
    lines = [orjson.dumps(EXAMPLE), b"{", b"", orjson.dumps(altered("case", "y"))]

    code, answers = run(lines)

    assert code == 1
    assert [(a["case"], a.get("line")) for a in map(orjson.loads, answers)] == [("x", None), (None, 2), ("y", None)]
    assert run(lines[:1])[0] == 0


def test_several_processes_answer_in_the_order_of_the_lines() -> None:
    lines = [orjson.dumps(altered("case", str(number))) for number in range(9000)]

    code, answers = run(lines, processes=2)

    assert code == 0
    assert [orjson.loads(answer)["case"] for answer in answers] == [str(number) for number in range(9000)]
    assert answers[:100] == run(lines[:100])[1]


def test_a_trace_lists_the_rules_that_were_asked() -> None:
    judge = LineJudge(the_book(), with_trace=True)

    trace = orjson.loads(judge.answer(orjson.dumps(EXAMPLE), 1).line)["trace"]

    assert [(entry["rule"], entry["answer"]) for entry in trace] == [("cn.hours", "hold")]


# --- the commands


def test_the_command_judges_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_bytes(orjson.dumps(EXAMPLE) + b"\n")

    result = CliRunner().invoke(app, ["judge", str(file)])

    assert result.exit_code == 0
    assert orjson.loads(result.stdout)["verdict"] == "hold"


def test_a_week_of_thailand_shows_its_holidays() -> None:
    result = CliRunner().invoke(app, ["policies", "hours", "th", "--zone", "Asia/Bangkok", "--on", "2026-04-10"])

    lines = result.stdout.splitlines()
    assert lines[2].endswith("08:00-20:00")
    assert lines[5].startswith("mon 2026-04-13 *")
    assert lines[5].endswith("08:00-18:00")
    assert len(lines[5].split()[3]) == 48


@pytest.mark.parametrize("pack", ["cn", "us", "ca-on", "gr", "baseline", "provider-a2p-north-america", "uk"])
def test_every_kind_of_rule_can_be_read(pack: str) -> None:
    result = CliRunner().invoke(app, ["policies", "show", pack])

    rules = the_book().packs[pack].rules
    assert result.exit_code == 0
    assert all(rule.terms.id in result.stdout and rule.terms.source in result.stdout for rule in rules)


def test_the_list_and_the_difference_of_packs() -> None:
    listed = orjson.loads(CliRunner().invoke(app, ["policies", "list", "--json"]).stdout)
    differing = CliRunner().invoke(app, ["policies", "diff", "br-sp", "br-rj"]).stdout.splitlines()

    assert listed["schema"] == 1
    assert len(listed["packs"]) == len(the_book().packs)
    assert [line[:2] for line in differing] == ["--", "++", "- ", "+ "]


def test_the_zones_of_a_number() -> None:
    result = CliRunner().invoke(app, ["zones", "+12705550100"])

    assert result.stdout.split() == ["country:", "US", "America/Chicago", "America/New_York"]


def test_a_folder_without_packs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        pack_texts(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"holds no \.toml file"):
        pack_texts(tmp_path)
