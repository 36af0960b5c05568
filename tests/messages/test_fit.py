"""Ladders and lenders that do not fit the words are named; those that come with the package fit."""

from dataclasses import replace

import pytest

from config.ladders import load_ladders
from config.lenders import load_lenders
from domain.channel import Channel
from domain.ladder import Ladder, Stage
from domain.lender import Lender
from messages.catalogue import Catalogue
from messages.fit import check_fit
from messages.rules import Severity
from tests.intake_kit import texts
from tests.messages.copies import shipped

CATALOGUE = Catalogue.untried(shipped())
LADDERS, LENDERS = load_ladders(texts("ladders")), load_lenders(texts("lenders"))
STANDARD, LANTERN = LADDERS["standard"], LENDERS["lantern"]


def of_step(**changes: object) -> list[tuple[str, str, Severity]]:
    """What is found when the first step after the due date is changed."""
    steps = tuple(replace(step, **changes) if step.id == "first_notice" else step for step in STANDARD.steps)
    return found({"standard": replace(STANDARD, steps=steps)}, {})


def of_lender(**changes: object) -> list[tuple[str, str, Severity]]:
    return found({}, {"lantern": replace(LANTERN, **changes)})


def found(ladders: dict[str, Ladder], lenders: dict[str, Lender]) -> list[tuple[str, str, Severity]]:
    findings = check_fit(CATALOGUE, ladders, lenders)
    assert all(finding.problem and finding.suggestion for finding in findings)
    return [(finding.rule, finding.file, finding.severity) for finding in findings]


def test_the_packaged_ladders_and_lenders_fit_the_packaged_words() -> None:
    assert [str(finding) for finding in check_fit(CATALOGUE, LADDERS, LENDERS)] == []


@pytest.mark.parametrize(
    ("changes", "rule", "severity"),
    [
        ({"message": "formal_letter", "channels": (Channel.EMAIL,), "day": 20}, "TONE", Severity.ERROR),
        ({"stage": Stage.PRE_DUE}, "TONE", Severity.ERROR),
        ({"true_until_day": 40}, "DAYS", Severity.WARNING),
        ({"day": -2}, "DAYS", Severity.WARNING),
        ({"channels": (Channel.LETTER,)}, "COPY", Severity.ERROR),
        ({"message": "frist_notice"}, "COPY", Severity.ERROR),
    ],
)
def test_a_step_that_misuses_a_message_is_named(changes: dict[str, object], rule: str, severity: Severity) -> None:
    assert (rule, "ladders/standard.toml", severity) in of_step(**changes)


@pytest.mark.parametrize(
    ("changes", "rule", "severity"),
    [
        ({"brand": {**LANTERN.brand, "en": "Lantern Debt Collection"}}, "C10", Severity.ERROR),
        ({"email_sender": "Overdue Payments <notice@lantern.example>"}, "C10", Severity.ERROR),
        ({"pay_url": "https://bit.ly/pay"}, "C05", Severity.ERROR),
        ({"pay_url": "https://lantern.example/pay now"}, "C05", Severity.ERROR),
        ({"help_phone": "ask for Ana"}, "C09", Severity.ERROR),
        ({"sms_sender": "LANTERN"}, "C08", Severity.WARNING),
        ({"brand": {"en": "Lantern"}, "help_hours": {"en": "9-17"}}, "LOCALE", Severity.WARNING),
        ({"help_hours": {**LANTERN.help_hours, "en": "every day but Sunday from nine o'clock until five o'clock"}},
         "C18", Severity.WARNING),
        ({"help_hours": {**LANTERN.help_hours, "en": "or we will sue"}}, "EDGE", Severity.ERROR),
    ],
)  # fmt: skip
def test_a_lenders_own_words_that_spoil_a_message_are_named(
    changes: dict[str, object], rule: str, severity: Severity
) -> None:
    assert (rule, "lenders/lantern.toml", severity) in of_lender(**changes)
