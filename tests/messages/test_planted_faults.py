"""Every rule fires on a fault planted in a copy of the shipped words, with its place and a way to mend it.

That each is silent on the shipped words is the first test of `test_checks.py`: nothing at all is found there.
"""

from collections.abc import Mapping

import pytest

from messages.checks import Finding, check
from messages.rules import Severity
from tests.messages.copies import only, shipped

SMS, MAIL, PUSH = "first_notice/sms.en.txt", "first_notice/email.en.txt", "first_notice/push.en.txt"
HANS, HANT = "first_notice/sms.zh-Hans.txt", "first_notice/sms.zh-Hant.txt"
CALL, LETTER, OPTIONS = "talk/call.en.md", "formal_letter/letter.en.html", "options/email.en.txt"
IN, ARRIVED = "has not come in", "还没有到账"

#: rule, file, what stands there, what is planted
ERRORS = [
    ("C01", SMS, '{% include "hello" %}', "Hi {{ name }},"),
    ("C01", SMS, IN, f"{IN}. The Ministry was told"),
    ("C01", HANS, '{% include "hello" %}', "您好，我是{{ brand }}，"),
    ("C02", SMS, "your {{ product }} payment of {{ amount }}", "{{ amount }}"),
    ("C02", SMS, IN, f"{IN}. You have a parcel"),
    ("C03", SMS, "{{ amount }}", "some money"),
    ("C03", SMS, "As of {{ as_of }}", "By now"),
    ("C04", SMS, "due on {{ due_on }}", "due"),
    ("C04", SMS, IN, f"{IN}; pay soon"),
    ("C05", SMS, '{% include "pay" %}', "Pay in the app."),
    ("C05", SMS, '{% include "pay" %}', "To pay: bit.ly/abc or {{ pay_url }}."),
    ("C05", SMS, '{% include "pay" %}', "To pay: {{ pay_url }} or https://other.example/x."),
    ("C06", SMS, '{% include "way_out" %}', 'Call {% include "help" %}.'),
    ("C06", HANS, '{% include "way_out" %}', '客服{% include "help" %}。'),
    ("C07", SMS, '{% include "wrong" %}', "Paid? Nothing to do."),
    ("C08", SMS, '{% include "opt_out" %}', ""),
    ("C08", HANS, '{% include "opt_out" %}', ""),
    ("C10", PUSH, "subject: {{ brand }}", "subject: Overdue"),
    ("C10", PUSH, '{% include "push" %}', "Your payment is late."),
    ("C10", PUSH, '{% include "push" %}', "Something about {{ amount }}."),
    ("C10", PUSH, '{% include "push" %}', "您的账单来了"),
    ("C10", MAIL, "something may have slipped by", "your payment is overdue"),
    ("C10", MAIL, "Here is what to do.", "You owe {{ amount }}."),
    ("C10", "first_notice/email.zh-Hans.txt", "也许是一时忘了", "您的还款"),
    ("C11", SMS, "due on", "on card 4929 1234 5678 9012, due on"),
    ("C12", SMS, IN, f"{IN} and legal action will be taken"),
    ("C12", SMS, IN, f"{IN}, as we will tell your employer"),
    ("C12", SMS, IN, f"{IN}; the police will call"),
    ("C12", SMS, IN, f"{IN}; it will go on your credit record"),
    ("C12", SMS, IN, f"{IN} and will ruin your credit"),
    ("C12", HANS, ARRIVED, f"{ARRIVED}，我们将起诉"),
    ("C12", HANS, ARRIVED, f"{ARRIVED}，我们将起*诉"),
    ("C12", HANS, ARRIVED, f"{ARRIVED}，将通知您的家人"),
    ("C12", HANS, ARRIVED, f"{ARRIVED}，会影响征信"),
    ("C12", HANT, "還沒有入帳", "還沒有入帳，將列入黑名單"),
    ("C13", SMS, IN, f"{IN}. Pay immediately"),
    ("C13", SMS, IN, f"{IN}. Pay by 9 July"),
    ("C13", HANS, ARRIVED, f"{ARRIVED}，请立即付款"),
    ("C13", HANS, ARRIVED, f"{ARRIVED}，请于7月9日前付款"),
    ("C14", SMS, IN, f"{IN}!!"),
    ("C14", SMS, IN, f"{IN} \U0001f622"),
    ("C14", LETTER, "color: #23302b", "color: #c00"),
    ("C19", SMS, IN, f"{IN}. Shame on you"),
    ("C19", HANS, ARRIVED, f"{ARRIVED}，请讲良心"),
    ("C20", SMS, IN, f"{IN}. Why not borrow from friends"),
    ("C20", SMS, IN, f"{IN}. You are pre-approved for more"),
    ("C20", HANS, ARRIVED, f"{ARRIVED}，可提额"),
    ("C21", SMS, IN, f"{IN} 还没到"),
    ("C21", HANS, ARRIVED, "還沒有入帳"),
    ("C21", HANT, "還沒有入帳", "還沒有確认"),
    ("C21", HANT, "還沒有入帳", "還沒有确認"),
    ("BRANCH", SMS, "{% if several %}", "{% if count > 99 %}x{% endif %}{% if several %}"),
    ("COPY", SMS, "{{ product }}", "{{ prodcut }}"),
    ("COPY", LETTER, "<table>", '<img src="https://tracker.example/x.gif"><table>'),
    ("COPY", LETTER, "<table>", "<script>alert(1)</script><table>"),
    ("COPY", LETTER, "<table>", '<p onclick="x()">a</p><table>'),
    ("COPY", LETTER, "<table>", '<a href="https://other.example">a</a><table>'),
    ("COPY", LETTER, "@page {", "@import 'https://other.example/x.css'; @page {"),
    ("COPY", LETTER, "</table>", ""),
    ("FACTS", SMS, '{% include "way_out" %}', "Money tight? Reply PLAN."),
]

WARNINGS = [
    ("C09", "gentle_follow_up/sms.en.txt", '{% include "help" %}', "{{ help_phone }}"),
    ("C12", SMS, IN, f"{IN}. We will never call your employer"),
    ("C14", SMS, IN, "has NOT come in"),
    ("C15", SMS, IN, f"{IN} from the customer"),
    ("C16", SMS, IN, f"{IN} pursuant to the contract"),
    ("C16", SMS, IN, f"{IN}" + " and so on and so forth" * 5),
    (
        "C16",
        MAIL,
        "It is easy to miss a date",
        "Inadvertently overlooking contractual obligations is unremarkable",
    ),
    ("C16", "first_notice/email.zh-Hans.txt", "日子很容易记错，", "日子很容易记错" + "而且很多人都会这样" * 5 + "，"),
    ("C16", HANS, ARRIVED, "迄未到账，甚憾，殊觉龃龉"),
    ("C17", SMS, '{% include "pay" %}', "To pay: {{ pay_url }}. Again: {{ pay_url }}."),
    ("C17", OPTIONS, "2. A pause", "2. A gift.\n3. A pause"),
    ("C18", SMS, IN, IN + ", dear friend" * 5),
    ("C18", HANS, ARRIVED, ARRIVED + "，请您有空的时候看一看" * 3),
    ("C19", SMS, IN, f"{IN}. Oops"),
    ("C19", SMS, IN, f"{IN}. We know how you feel"),
    ("C23", SMS, '{% include "wrong" %}', "Not yours? Tell us."),
    ("TONE", SMS, IN, "is overdue"),
    ("TONE", "upcoming/sms.en.txt", "A reminder:", "You are late:"),
    ("TONE", HANS, ARRIVED, "已逾期"),
]


def alone(path: str, text: str, **manifest: str) -> dict[str, str]:
    """The shared words and one message with this one copy: quick to check. `manifest` are lines of its message.toml."""
    message = path.split("/")[0]
    files = {name: words for name, words in only(message).items() if not name.startswith(f"{message}/")}
    declared = only(message)[f"{message}/message.toml"]
    lines = "".join(f'{key} = "{value}"\n' for key, value in manifest.items())
    kept = [line for line in declared.split("\n") if line.split(" ")[0] not in manifest]
    return {**files, path: text, f"{message}/message.toml": lines + "\n".join(kept)}


def planted(path: str, old: str, new: str, **manifest: str) -> tuple[Finding, ...]:
    text = shipped()[path]
    assert old in text, "the shipped words have changed: plant it elsewhere"
    return check(alone(path, text.replace(old, new), **manifest))


def fires(findings: tuple[Finding, ...], rule: str, severity: Severity, path: str) -> None:
    of_rule = [finding for finding in findings if finding.rule == rule]
    assert any(finding.severity is severity for finding in of_rule), [str(finding) for finding in findings]
    for finding in of_rule:
        assert finding.file.split("/")[0] in (path.split("/")[0], "_shared")
        assert finding.problem
        assert finding.suggestion


@pytest.mark.parametrize(("rule", "path", "old", "new"), ERRORS)
def test_a_planted_fault_is_refused_by_its_rule(rule: str, path: str, old: str, new: str) -> None:
    fires(planted(path, old, new), rule, Severity.ERROR, path)


@pytest.mark.parametrize(("rule", "path", "old", "new"), WARNINGS)
def test_a_planted_weakness_is_let_pass_with_a_warning_by_its_rule(rule: str, path: str, old: str, new: str) -> None:
    findings = planted(path, old, new)

    fires(findings, rule, Severity.WARNING, path)
    assert all(finding.severity is Severity.WARNING for finding in findings), [str(finding) for finding in findings]


def test_a_machine_that_speaks_must_say_so() -> None:
    """C24."""
    silent = planted(CALL, "# Call", "# Call", spoken_by="machine")
    said = planted(CALL, "# Call", "> This is an automated call.\n\n# Call", spoken_by="machine")
    person = planted(CALL, "# Call", "# Call")

    fires(silent, "C24", Severity.ERROR, CALL)
    assert "C24" not in {finding.rule for finding in (*said, *person)}


def test_a_message_that_is_nearly_the_one_before_is_let_pass_with_a_warning() -> None:
    """C22."""
    second = {
        "gentle_follow_up/message.toml": shipped()["gentle_follow_up/message.toml"],
        "gentle_follow_up/sms.en.txt": shipped()[SMS].replace(IN, "is not here"),
    }

    findings = check({**alone(SMS, shipped()[SMS]), **second})

    fires(findings, "C22", Severity.WARNING, "gentle_follow_up/sms.en.txt")


PURPOSES: Mapping[str, tuple[str, str]] = {
    "survey": ("{{ pay_url }}", "How was our help? Answer 1 to 5."),
    "education": ("{{ amount }}", "How to read your bill."),
    "reward": ("{{ due_on }}", "Thank you for a year with us."),
    "optout_confirmation": ("", "We have stopped these texts."),
}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_text_does_what_its_purpose_says_and_is_no_reminder_in_disguise(purpose: str) -> None:
    smuggled, honest = PURPOSES[purpose]
    words = '{% include "hello" %} ' + honest + ' {% include "opt_out" %}'
    declared = [
        line for line in only("first_notice")["first_notice/message.toml"].split("\n") if "required" not in line
    ]

    def found(sms: str) -> set[str]:
        files = alone(SMS, sms)
        files["first_notice/message.toml"] = "\n".join(declared).replace('"reminder"', f'"{purpose}"')
        return {finding.rule for finding in check(files)}

    assert found(words) <= {"LOCALE", "COPY"}, "languages and fields that this one text does without"
    assert "PURPOSE" in found(words.replace(honest, smuggled or "Have a nice day."))


def test_a_statutory_notice_names_the_law_that_it_rests_on() -> None:
    unfounded = planted(SMS, IN, IN, purpose="statutory_notice")
    founded = planted(SMS, IN, IN, purpose="statutory_notice", legal_basis="Consumer Credit Act, section 86B")

    fires(unfounded, "PURPOSE", Severity.ERROR, SMS)
    assert "PURPOSE" not in {finding.rule for finding in founded}


def test_every_numbered_rule_has_a_planted_fault() -> None:
    elsewhere = {"C22", "C24"}  # the two tests above

    assert {f"C{number:02}" for number in range(1, 25)} == elsewhere | {
        rule for rule, *_ in (*ERRORS, *WARNINGS) if rule.startswith("C") and rule != "COPY"
    }
