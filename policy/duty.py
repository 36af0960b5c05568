"""Duties: what a jurisdiction asks that the judge cannot decide by a clock or a count.

They travel with the pack and its sources so that other rooms (opt-out keywords, retention, copy, the call desk) and
people find them in one place: opt-out words, identity, retention, minimum lengths of holds, content.
"""

from dataclasses import dataclass
from datetime import timedelta

from domain.hold import HoldKind
from policy.table import Table
from policy.terms import Defaults, Terms, read_terms

#: Kinds of rule that are duties.
DUTIES = ("hold", "optout", "identity", "retention", "content")


@dataclass(frozen=True)
class Duty:
    """`text` says it in a sentence; the other fields are filled as the kind asks."""

    terms: Terms
    text: str
    keywords: tuple[str, ...] = ()
    hold: HoldKind | None = None
    hold_days: int | None = None
    keep_at_least: timedelta | None = None
    keep_at_most: timedelta | None = None
    record: str | None = None


def read_duty(table: Table, inherited: Defaults, kind: str) -> Duty:
    terms = read_terms(table, kind, inherited)
    text = table.text("text")
    duty = Duty(terms, text)
    match kind:
        case "optout":
            duty = Duty(terms, text, keywords=table.texts("keywords", ()))
        case "hold":
            duty = Duty(terms, text, hold=table.word("hold", HoldKind), hold_days=table.optional_count("days"))
        case "retention":
            duty = _read_retention(table, terms, text)
    table.finish()
    return duty


def _read_retention(table: Table, terms: Terms, text: str) -> Duty:
    least, most = table.optional_count("min_days"), table.optional_count("max_days")
    if least is None and most is None:
        raise table.error("min_days", "retention needs min_days or max_days")
    if least is not None and most is not None and most < least:
        raise table.error("max_days", f"{most} is below min_days {least}; correct one of them")
    return Duty(
        terms,
        text,
        keep_at_least=None if least is None else timedelta(days=least),
        keep_at_most=None if most is None else timedelta(days=most),
        record=table.text("record"),
    )
