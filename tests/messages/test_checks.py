"""The checks let our own copy pass whole and refuse a bad one of each kind, with its place."""

import pytest

from messages.checks import Finding, check
from messages.rules import Severity
from tests.messages.copies import only, shipped, with_sms

GOOD_EN = shipped()["first_notice/sms.en.txt"]
GOOD_ZH = shipped()["first_notice/sms.zh-Hans.txt"]


def of(findings: tuple[Finding, ...], rule: str) -> list[Finding]:
    return [finding for finding in findings if finding.rule == rule]


def test_our_own_copy_has_nothing_to_change() -> None:
    assert [str(finding) for finding in check(shipped())] == []


def test_the_small_folder_of_these_tests_is_sound_but_for_its_missing_locales() -> None:
    assert {finding.rule for finding in check(with_sms(GOOD_EN))} == {"LOCALE"}


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("C01", '{% include "hello" %}', "Hi {{ name }},"),
        ("C03", "{{ amount }}", "some money"),
        ("C03", "As of {{ as_of }}", "By now"),
        ("C04", "due on {{ due_on }}", "due"),
        ("C04", "has not come in", "has not come in; pay soon"),
        ("C05", '{% include "pay" %}', "Pay in the app."),
        ("C05", '{% include "pay" %}', "To pay: bit.ly/abc or {{ pay_url }}."),
        ("C05", '{% include "pay" %}', "To pay: {{ pay_url }} or https://other.example/x."),
        ("C06", '{% include "way_out" %}', "Call {{ help_phone }}."),
        ("C07", '{% include "wrong" %}', "Paid? Nothing to do."),
        ("C08", '{% include "opt_out" %}', ""),
        ("C11", "due on", "on card 4929 1234 5678 9012, due on"),
        ("C12", "has not come in", "has not come in and legal action will be taken"),
        ("C12", "has not come in", "has not come in, as we will tell your employer"),
        ("C12", "has not come in", "has not come in; the police will call"),
        ("C12", "has not come in", "has not come in; it will go on your credit record"),
        ("C12", "has not come in", "has not come in and will ruin your credit"),
        ("C01", "has not come in", "has not come in. The Ministry was told"),
        ("C13", "has not come in", "has not come in. Pay immediately"),
        ("C13", "has not come in", "has not come in. Pay by 9 July"),
        ("C14", "has not come in", "has not come in!!"),
        ("C14", "has not come in", "has not come in \U0001f622"),
        ("C19", "has not come in", "has not come in. Shame on you"),
        ("C20", "has not come in", "has not come in. Why not borrow from friends"),
        ("C20", "has not come in", "has not come in. You are pre-approved for more"),
        ("C02", "has not come in", "has not come in. You have a parcel"),
        ("C21", "has not come in", "has not come in 还没到"),
        ("BRANCH", "{% if several %}", "{% if count > 99 %}x{% endif %}{% if several %}"),
    ],
)
def test_an_english_text_that_breaks_a_rule_is_refused_by_that_rule(rule: str, old: str, new: str) -> None:
    assert old in GOOD_EN

    findings = check(with_sms(GOOD_EN.replace(old, new)))

    assert of(findings, rule), [str(finding) for finding in findings]
    assert all(finding.severity is Severity.ERROR for finding in of(findings, rule))


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("C01", '{% include "hello" %}', "您好，"),
        ("C12", "还没有到账", "还没有到账，我们将起诉"),
        ("C12", "还没有到账", "还没有到账，我们将起*诉"),
        ("C12", "还没有到账", "还没有到账，将通知您的家人"),
        ("C12", "还没有到账", "还没有到账，会影响征信"),
        ("C12", "还没有到账", "还没有到账，将列入黑名单"),
        ("C13", "还没有到账", "还没有到账，请立即付款"),
        ("C13", "还没有到账", "还没有到账，请于7月9日前付款"),
        ("C19", "还没有到账", "还没有到账，请讲良心"),
        ("C20", "还没有到账", "还没有到账，可提额"),
        ("C21", "还没有到账", "還沒有入帳"),
        ("C08", '{% include "opt_out" %}', ""),
        ("C06", '{% include "way_out" %}', ""),
    ],
)
def test_a_chinese_text_that_breaks_a_rule_is_refused_by_that_rule(rule: str, old: str, new: str) -> None:
    assert old in GOOD_ZH

    findings = check(with_sms(GOOD_ZH.replace(old, new), "zh-Hans"))

    assert any(finding.severity is Severity.ERROR for finding in of(findings, rule)), list(map(str, findings))


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("C14", "has not come in", "has NOT come in"),
        ("C15", "has not come in", "has not come in from the customer"),
        ("C16", "has not come in", "has not come in pursuant to the contract"),
        ("C18", "has not come in", "has not come in" + ", dear friend" * 5),
        ("C23", '{% include "wrong" %}', "Not yours? Tell us."),
        ("TONE", "has not come in", "is overdue"),
        ("C12", "has not come in", "has not come in. We will never call your employer"),
        ("C17", '{% include "pay" %}', "To pay: {{ pay_url }}. Again: {{ pay_url }}."),
    ],
)
def test_a_text_that_could_be_better_is_let_pass_with_a_warning(rule: str, old: str, new: str) -> None:
    findings = check(with_sms(GOOD_EN.replace(old, new)))

    assert of(findings, rule), [str(finding) for finding in findings]
    assert all(finding.severity is Severity.WARNING for finding in findings)


@pytest.mark.parametrize(
    "push",
    [
        "---\nsubject: {{ brand }}\n---\nYour payment is late.",
        "---\nsubject: Overdue\n---\nYou have a new message.",
        "---\nsubject: {{ brand }}\n---\nSomething about {{ amount }}.",
        "---\nsubject: {{ brand }}\n---\n您的账单来了",
    ],
)
def test_a_push_that_gives_the_debt_away_is_refused(push: str) -> None:
    assert of(check(only("first_notice", **{"first_notice/push.en.txt": push})), "C10")


@pytest.mark.parametrize(
    ("locale", "old", "new"),
    [
        ("en", "something may have slipped by", "your payment is overdue"),
        ("en", "Here is what to do.", "You owe {{ amount }}."),
        ("zh-Hans", "也许是一时忘了", "您的还款"),
    ],
)
def test_a_subject_or_preheader_that_gives_the_debt_away_is_refused(locale: str, old: str, new: str) -> None:
    path = f"first_notice/email.{locale}.txt"
    assert old in shipped()[path]

    assert of(check(only("first_notice", **{path: shipped()[path].replace(old, new)})), "C10")


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

    findings = check(shipped(**broken))

    assert {f.file for f in findings if f.severity is Severity.ERROR} >= set(broken)


def test_copy_that_breaks_on_an_edge_of_what_can_come_in_is_refused() -> None:
    long = "{% for debt in debts %}" + "{{ debt.amount }} for {{ debt.product }} and more words. " * 2 + "{% endfor %}"
    manifest = shipped()["first_notice/message.toml"]

    findings = check({**with_sms(GOOD_EN + long), "first_notice/message.toml": manifest.replace('"due_today"', '""')})

    assert any("longer than sms" in finding.problem for finding in findings)
