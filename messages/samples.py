"""Made-up facts to see copy with: an ordinary customer, one for every branch, and the edges of what can come in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from msgspec.structs import replace

from domain.ladder import Stage
from domain.money import MAX_MINOR, Money
from messages.facts import MAX_DEBTS, Debt, Facts
from messages.manifest import Message

_AS_OF = date(2026, 7, 6)

Value = TypeVar("Value")


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
    """One debt of one customer, early in the message's days: the samples of its message.toml, made up where it has
    none."""
    person = _person(locale)
    owed = _sample(Money, message, "amount", locale, Money(person.balance_minor, person.currency))
    as_of = _sample(date, message, "as_of", locale, _AS_OF)
    first, last = message.days
    due_on = _sample(date, message, "due_on", locale, as_of - timedelta(days=min(first + 1, last)))
    ref, product = _sample(str, message, "ref", locale, "4821"), _sample(str, message, "product", locale, "card")
    return Facts(
        customer_name=_sample(str, message, "name", locale, person.name),
        brand=_sample(str, message, "brand", locale, person.brand),
        debts=(Debt(ref, product, owed.amount_minor, owed.currency, due_on),),
        days_past_due=(as_of - due_on).days,
        as_of=as_of,
        help_phone=_sample(str, message, "help_phone", locale, person.help_phone),
        help_hours=_sample(str, message, "help_hours", locale, person.help_hours),
        pay_url=_sample(str, message, "pay_url", locale, "northbank.example/pay"),
        help_url=_sample(str, message, "help_url", locale, "northbank.example/help"),
        opt_out=True,
        offers=("plan", "pause"),
    )


def _person(locale: str) -> _Person:
    language = locale.split("-")[0]
    same = (person for at, person in _PEOPLE.items() if at.split("-")[0] == language)
    return _PEOPLE.get(locale) or next(same, _PEOPLE["en"])


def _sample(kind: type[Value], message: Message, field: str, locale: str, otherwise: Value) -> Value:
    given = message.sample(field, locale)
    return given if isinstance(given, kind) else otherwise


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
        Sample("last year", replace(one, debts=(replace(first, due_on=date(one.as_of.year - 1, 12, 30)),))),
    )
    if message.stage not in (Stage.MIDDLE, Stage.FINAL):
        return made
    deadline = _sample(date, message, "deadline_on", locale, one.as_of + timedelta(days=14))
    report = _sample(date, message, "report_on", locale, one.as_of + timedelta(days=30))
    return (
        *made,
        Sample("a deadline", replace(one, deadline_on=deadline)),
        Sample("a reporting day", replace(one, report_on=report)),
        Sample("both dates", replace(one, deadline_on=deadline, report_on=report)),
    )


def edges(message: Message, locale: str) -> tuple[Sample, ...]:
    """What can come in and should still come out well. A balance of zero cannot: `Facts` refuses it."""
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
        Sample("an amount without cents", replace(one, debts=(replace(first, balance_minor=100_000),))),
        Sample("a huge amount", replace(one, debts=(replace(first, balance_minor=MAX_MINOR),))),
        Sample("many debts", replace(one, debts=(first,) * MAX_DEBTS)),
        Sample("its first day", _on_day(one, message.days[0])),
        Sample("its last day", _on_day(one, message.days[1])),
        Sample("zero days late", _on_day(one, 0)),
    )


def _on_day(one: Facts, days_past_due: int) -> Facts:
    due_on = one.as_of - timedelta(days=days_past_due)
    return replace(one, debts=(replace(one.debts[0], due_on=due_on),), days_past_due=days_past_due)


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
