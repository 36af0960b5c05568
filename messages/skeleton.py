"""Texts with holes. Once its branches are taken, a piece of copy is a fixed text in which only a customer's own values
differ: it is rendered in full once for each shape, and filled in after that.

This holds because copy can ask whether a customer's value is there, and never what it says (messages/language.py).
A list of several debts has no such shape: its text is rendered in full each time.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

from messages.facts import Facts
from messages.fields import DEBT_FIELDS, FIELDS, DebtLine, Medium

#: What is the customer's own and written by us: cleaned names, amounts, dates, the end of a number.
OWN: Final = ("name", "amount", "due_on", "as_of", "ref")

#: The facts that a shared field is made from, where they are cheaper to compare than what is made of them.
_MADE_FROM: Final[Mapping[str, str]] = {
    "brand": "brand",
    "days_past_due": "days_past_due",
    "help_phone": "help_phone",
    "help_hours": "help_hours",
    "pay_url": "pay_url",
    "help_url": "help_url",
    "opt_out": "opt_out",
    "can_plan": "offers",
    "can_pause": "offers",
}

_FIRST_SIGN: Final = 0xF1000  # private use: no copy and no value has it, and no medium's rule touches it
_SIGN: Final = re.compile(f"([{chr(_FIRST_SIGN)}-{chr(_FIRST_SIGN + len(OWN) - 1)}])")

Own = Sequence[Any]
Look = Callable[[Facts, Medium], tuple[Own, Hashable | None]]


class Piece(NamedTuple):
    """One text with holes, and what picks the values that go into them."""

    pattern: str
    pick: Callable[[Own], object]

    def fill(self, own: Own) -> str:
        return self.pattern % self.pick(own)


class Skeleton(NamedTuple):
    """All the texts of one shape of a piece of copy."""

    text: Piece
    subject: Piece | None
    page: Piece | None


def look_for(fields: Iterable[str]) -> Look:
    """A function from facts to the customer's own values and the shape that they go into, None if there is none."""
    wanted = set(fields)
    lists = "debts" in wanted
    if lists:  # a list of one says again what the fields say
        wanted = (wanted - {"debts"}) | set(DEBT_FIELDS)
    own = [(place, FIELDS[field].get) for place, field in enumerate(OWN) if field in wanted]
    shared = sorted(wanted - set(OWN))
    attributes = sorted({_MADE_FROM[field] for field in shared if field in _MADE_FROM})
    plain: Callable[[Facts], object] = attrgetter(*attributes) if attributes else lambda _: None
    others = [FIELDS[field].get for field in shared if field not in _MADE_FROM]

    def look(facts: Facts, medium: Medium) -> tuple[Own, Hashable | None]:
        mine: list[Any] = [None] * len(OWN)
        for place, get in own:
            mine[place] = get(facts, medium)
        if lists and len(facts.debts) > 1:
            return mine, None
        shape = [plain(facts), *map(bool, mine)]
        for get in others:
            shape.append(get(facts, medium))
        return mine, tuple(shape)

    return look


def with_signs(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with a sign in place of each of the customer's own that is there."""
    signs = {field: chr(_FIRST_SIGN + number) for number, field in enumerate(OWN) if values.get(field)}
    lists = {"debts": tuple(_signed(line) for line in values["debts"])} if "debts" in values else {}
    return {**values, **signs, **lists}


def _signed(line: DebtLine) -> DebtLine:
    signs = {
        field: chr(_FIRST_SIGN + OWN.index(field)) for field in DEBT_FIELDS if field in OWN and getattr(line, field)
    }
    return replace(line, **signs)


def piece_of(text: str) -> Piece:
    """The text with holes for its signs."""
    parts = _SIGN.split(text)
    pattern = "".join("%s" if number % 2 else part.replace("%", "%%") for number, part in enumerate(parts))
    holes = [ord(sign) - _FIRST_SIGN for sign in parts[1::2]]
    return Piece(pattern, itemgetter(*holes) if holes else _nothing)


def _nothing(_: Own) -> tuple[()]:
    return ()
