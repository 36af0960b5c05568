"""The fields that copy may use: the whole vocabulary of a template, each with its type and where it comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from domain.segments import fits_gsm7
from messages import clean
from messages.facts import Debt, Facts
from messages.locales import LocaleWords


class FieldType(StrEnum):
    TEXT = "text"
    MONEY = "money"
    DATE = "date"
    NUMBER = "number"
    LINK = "link"
    YES_NO = "yes/no"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Medium:
    """What writing depends on besides the facts. `near_years` leaves the year of a date out when it is this year;
    `gsm7_names` keeps a name from turning a Latin SMS into UCS-2; `bare_links` leaves out `https://`, which a phone
    does not need and an SMS pays for."""

    words: LocaleWords
    near_years: bool
    gsm7_names: bool
    bare_links: bool

    def day(self, day: date, facts: Facts) -> str:
        return self.words.day(day, year_of=facts.as_of if self.near_years else None)


Getter = Callable[[Facts, Medium], Any]


@dataclass(frozen=True, slots=True)
class Field:
    type: FieldType
    get: Getter


@dataclass(frozen=True, slots=True)
class DebtLine:
    """One debt, written: what `{% for debt in debts %}` gives. Its fields are exactly what copy may ask of a debt."""

    amount: str
    due_on: str
    product: str
    ref: str


DEBT_FIELDS: Mapping[str, FieldType] = {
    "amount": FieldType.MONEY,
    "due_on": FieldType.DATE,
    "product": FieldType.TEXT,
    "ref": FieldType.TEXT,
}


def _name(facts: Facts, medium: Medium) -> str:
    cleaned = clean.name(facts.customer_name)
    if medium.gsm7_names and not (cleaned.isascii() or fits_gsm7(cleaned)):
        return clean.name_for_gsm7(cleaned)
    return cleaned


def _amount(facts: Facts, medium: Medium) -> str:
    debts = facts.debts
    first = debts[0]
    minor = first.balance_minor if len(debts) == 1 else facts.total_minor
    return medium.words.money[first.currency](minor)


def _due_on(facts: Facts, medium: Medium) -> str:
    debts = facts.debts
    return medium.day(debts[0].due_on if len(debts) == 1 else facts.due_on, facts)


def _product(facts: Facts, medium: Medium) -> str:
    debts = facts.debts
    product = debts[0].product
    if len(debts) > 1 and any(debt.product != product for debt in debts):
        product = "other"
    return medium.words.product(product)


def _debt_lines(facts: Facts, medium: Medium) -> tuple[DebtLine, ...]:
    return tuple(_debt_line(debt, facts, medium) for debt in facts.debts)


def _debt_line(debt: Debt, facts: Facts, medium: Medium) -> DebtLine:
    return DebtLine(
        amount=medium.words.amount(debt.balance_minor, debt.currency),
        due_on=medium.day(debt.due_on, facts),
        product=medium.words.product(debt.product),
        ref=clean.ref(debt.ref),
    )


def _link(raw: str, medium: Medium) -> str:
    url = clean.url(raw)
    return url.removeprefix("https://") if medium.bare_links else url


def _deadline_on(facts: Facts, medium: Medium) -> str:
    return medium.day(facts.deadline_on, facts) if facts.deadline_on else ""


def _report_on(facts: Facts, medium: Medium) -> str:
    return medium.day(facts.report_on, facts) if facts.report_on else ""


FIELDS: Mapping[str, Field] = {
    "name": Field(FieldType.TEXT, _name),
    "brand": Field(FieldType.TEXT, lambda facts, _: clean.stated(facts.brand)),
    "amount": Field(FieldType.MONEY, _amount),
    "due_on": Field(FieldType.DATE, _due_on),
    "as_of": Field(FieldType.DATE, lambda facts, medium: medium.day(facts.as_of, facts)),
    "product": Field(FieldType.TEXT, _product),
    "ref": Field(FieldType.TEXT, lambda facts, _: clean.ref(facts.debts[0].ref) if len(facts.debts) == 1 else ""),
    "debts": Field(FieldType.LIST, _debt_lines),
    "several": Field(FieldType.YES_NO, lambda facts, _: len(facts.debts) > 1),
    "count": Field(FieldType.NUMBER, lambda facts, _: len(facts.debts)),
    "days_past_due": Field(FieldType.NUMBER, lambda facts, _: facts.days_past_due),
    "help_phone": Field(FieldType.TEXT, lambda facts, _: clean.phone(facts.help_phone)),
    "help_hours": Field(FieldType.TEXT, lambda facts, _: clean.stated(facts.help_hours)),
    "pay_url": Field(FieldType.LINK, lambda facts, medium: _link(facts.pay_url, medium)),
    "help_url": Field(FieldType.LINK, lambda facts, medium: _link(facts.help_url, medium)),
    "opt_out": Field(FieldType.YES_NO, lambda facts, _: facts.opt_out),
    "can_plan": Field(FieldType.YES_NO, lambda facts, _: "plan" in facts.offers),
    "can_pause": Field(FieldType.YES_NO, lambda facts, _: "pause" in facts.offers),
    "deadline_on": Field(FieldType.DATE, _deadline_on),
    "report_on": Field(FieldType.DATE, _report_on),
}
