"""The checks let our own copy pass whole, name the place of what is wrong, and report all of it in one go."""

from messages.checks import Finding, check
from messages.rules import Severity
from tests.messages.copies import only, shipped, with_sms

GOOD_EN = shipped()["first_notice/sms.en.txt"]


def of(findings: tuple[Finding, ...], rule: str) -> list[Finding]:
    return [finding for finding in findings if finding.rule == rule]


def test_our_own_copy_has_nothing_to_change() -> None:
    assert [str(finding) for finding in check(shipped())] == []


def test_the_small_folder_of_these_tests_is_sound_but_for_its_missing_locales() -> None:
    findings = check(with_sms(GOOD_EN))

    assert {finding.rule for finding in findings} == {"LOCALE", "COPY"}
    assert {f.problem for f in findings if f.rule == "COPY"} == {
        "'debts' is in no words of it",
        "'help_url' is in no words of it",
    }


def test_a_finding_names_the_line_of_its_words_in_the_file_that_holds_them() -> None:
    own = check(with_sms(GOOD_EN.replace("has not come in", "has not come in; we will sue")))
    shared = check(
        only("first_notice", **{"_shared/wrong.sms.en.txt": "Paid? Nothing to do. Not yours? Tell us immediately."})
    )

    assert ("first_notice/sms.en.txt", 5) in [(f.file, f.line) for f in of(own, "C12")]
    assert {(f.file, f.line) for f in of(shared, "C13")} == {("_shared/wrong.sms.en.txt", 1)}


def test_one_language_that_says_less_than_the_others_is_refused() -> None:
    path = "formal_letter/letter.zh-Hans.html"
    less = shipped()[path].replace("{% if report_on %}", "{% if deadline_on %}").replace("{{ report_on }}", "届时")

    findings = of(check(only("formal_letter", **{path: less})), "FACTS")

    assert [(f.file, "report_on" in f.problem) for f in findings] == [(path, True)]


def test_words_of_law_pass_only_in_a_final_message_that_somebody_approved() -> None:
    path = "specialist/call.en.md"
    with_law = shipped()[path].replace("## Before anything else", "The court may be asked.\n\n## Before anything else")
    manifest = only("specialist")["specialist/message.toml"]
    approved = 'legal_approved_by = "A. Jurist"\nlegal_basis = "the contract, section 9"\n' + manifest

    def severities(files: dict[str, str]) -> set[Severity]:
        return {finding.severity for finding in check(files) if "'court'" in finding.problem}

    assert severities(only("specialist", **{path: with_law})) == {Severity.ERROR}
    assert severities(only("specialist", **{path: with_law, "specialist/message.toml": approved})) == {Severity.WARNING}


def test_every_broken_file_is_reported_in_one_go_and_the_rest_is_still_checked() -> None:
    broken = {
        "first_notice/sms.en.txt": "{{ nmae }}",
        "options/sms.en.txt": "{% if %}",
        "upcoming/message.toml": "stage = 1",
        "due_today/push.en.txt": "---\nsubject: Debt\n---\nHello",
    }

    few = {path: words for path, words in shipped().items() if path.split("/")[0] in ("_shared", *_messages(broken))}
    findings = check({**few, **broken})

    assert {f.file for f in findings if f.severity is Severity.ERROR} >= set(broken)


def _messages(files: dict[str, str]) -> set[str]:
    return {path.split("/")[0] for path in files}


def test_copy_that_breaks_on_an_edge_of_what_can_come_in_is_refused() -> None:
    long = "{% for debt in debts %}" + "{{ debt.amount }} for {{ debt.product }} and more words. " * 2 + "{% endfor %}"
    manifest = shipped()["first_notice/message.toml"]

    findings = check({**with_sms(GOOD_EN + long), "first_notice/message.toml": manifest.replace('"due_today"', '""')})

    assert any("longer than sms" in finding.problem for finding in findings)
