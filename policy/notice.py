"""Notices: something in writing that must have gone out before the channels of the rule may be used."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.channel import Channel
from policy.cap import Subject
from policy.counting import Counts, selector
from policy.table import Table
from policy.terms import Defaults, Terms, read_terms


@dataclass(frozen=True)
class NoticeRule:
    """Bars until a contact on one of `by` is on record within the last `within_days` days."""

    terms: Terms
    by: frozenset[Channel]
    within_days: int
    subject: Subject
    table: bytes

    @property
    def reach(self) -> timedelta:
        return timedelta(days=self.within_days)

    def is_given(self, times: Iterable[datetime], at: datetime) -> bool:
        return any(at - self.reach <= time <= at for time in times)


def read_notice(table: Table, inherited: Defaults) -> NoticeRule:
    by = table.words("by", Channel)
    terms = read_terms(table, "notice", inherited, channels=tuple(channel for channel in Channel if channel not in by))
    rule = NoticeRule(
        terms=terms,
        by=by,
        within_days=table.count("within_days", 730),
        subject=table.word("subject", Subject, Subject.ACCOUNT),
        table=selector(Counts.CONTACT, by),
    )
    table.finish()
    return rule
