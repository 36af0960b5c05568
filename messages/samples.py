"""Made-up facts to see copy with: an ordinary customer, one for every branch, and the edges of what can come in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from domain.ladder import Stage
from domain.money import MAX_MINOR
from messages.facts import MAX_DEBTS, Debt, Facts
from messages.manifest import Message

_AS_OF = date(2026, 7, 6)


@dataclass(frozen=True, slots=True)
class _Person:
    name: str
    brand: str
    help_phone: str
    help_hours: str
    currency: str
    balance_minor: int


#: Invented; the domain is reserved for examples (RFC 2606) and the numbers are not assigned.
_PEOPLE: Mapping[str, _Person] = {
    "en": _Person("Ana Silva", "Northbank", "0800 0100", "Mon-Fri 9-17", "EUR", 8420),
    "zh-Hans": _Person("王芳", "北岸消费", "95000", "9-18点", "CNY", 68_420),
    "zh-Hant": _Person("陳美玲", "北岸消費", "0800 000 100", "9-18點", "TWD", 260_000),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Facts with the reason why they are worth a look."""

    title: str
    facts: Facts


def ordinary(message: Message, locale: str) -> Facts:
    """One debt of one customer, in the middle of the message's days."""
    person = _PEOPLE.get(locale) or _PEOPLE["en"]
    days = sum(message.days) // 2
    return Facts(
        customer_name=person.name, brand=person.brand,
        debts=(Debt("4821", "card", person.balance_minor, person.currency, _AS_OF - timedelta(days=days)),),
        days_past_due=days, as_of=_AS_OF, help_phone=person.help_phone, help_hours=person.help_hours,
        pay_url="northbank.example/pay", help_url="northbank.example/help", opt_out=True,
    )  # fmt: skip


def branches(message: Message, locale: str) -> tuple[Sample, ...]:
    """Facts that between them enter every branch that copy can have over its fields."""
    one = ordinary(message, locale)
    first = one.debts[0]
    second = replace(first, ref="07", product="loan", balance_minor=120_000, due_on=first.due_on + timedelta(days=1))
    made = (
        Sample("one debt", one),
        Sample("two debts", replace(one, debts=(first, second))),
        Sample("no name", replace(one, customer_name="")),
        Sample("another product", replace(one, debts=(replace(first, product="other"),))),
        Sample("no reference", replace(one, debts=(replace(first, ref=""),))),
        Sample("a plan only", replace(one, offers=("plan",))),
        Sample("a pause only", replace(one, offers=("pause",))),
        Sample("no offers", replace(one, offers=())),
        Sample("no opt-out line", replace(one, opt_out=False)),
        Sample("last year", replace(one, debts=(replace(first, due_on=date(2025, 12, 30)),))),
    )
    if message.stage not in (Stage.MIDDLE, Stage.FINAL):
        return made
    deadline, report = _AS_OF + timedelta(days=14), _AS_OF + timedelta(days=30)
    return (
        *made,
        Sample("a deadline", replace(one, deadline_on=deadline)),
        Sample("a reporting day", replace(one, report_on=report)),
        Sample("both dates", replace(one, deadline_on=deadline, report_on=report)),
    )


def edges(message: Message, locale: str) -> tuple[Sample, ...]:
    """What can come in and should still come out well."""
    one = ordinary(message, locale)
    first = one.debts[0]
    names = {
        "a long name": "Maximiliana Wolfeschlegelsteinhausenbergerdorff de la Santísima Trinidad",
        "a name from right to left": "محمد بن عبد الله",
        "a name with an emoji": "Ana 🌻 Silva",
        "a name that is a link": "https://evil.example/x Ana",
        "a name that is markup": "<b>Ana</b> {{ amount }} {% if x %}",
        "a name of two lines": "Ana\r\nBcc: all@evil.example",
    }
    return (
        *(Sample(title, replace(one, customer_name=name)) for title, name in names.items()),
        Sample("the smallest amount", replace(one, debts=(replace(first, balance_minor=1),))),
        Sample("a huge amount", replace(one, debts=(replace(first, balance_minor=MAX_MINOR),))),
        Sample("many debts", replace(one, debts=(first,) * MAX_DEBTS)),
    )


def all_samples(message: Message, locale: str) -> tuple[Sample, ...]:
    return branches(message, locale) + edges(message, locale)


def extremes(message: Message, locale: str) -> tuple[Facts, ...]:
    """The few that a release is tried on when it is compiled: least and most of everything."""
    one = ordinary(message, locale)
    return (
        one,
        replace(one, customer_name="", offers=(), opt_out=False),
        replace(one, customer_name="W" * 200, debts=(replace(one.debts[0], balance_minor=MAX_MINOR),) * MAX_DEBTS),
    )
