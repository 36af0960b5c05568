"""Gates: debts that are too young, too old, or too small to be contacted about at all."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.case import Case
from domain.days import ONE_DAY, day_start, local_day
from policy.table import Table
from policy.terms import Defaults, Terms, read_terms


@dataclass(frozen=True)
class GateRule:
    """Bounds are inclusive; `min_amount_minor` is by currency, and a currency it does not list is refused."""

    terms: Terms
    min_days_past_due: int | None
    max_days_past_due: int | None
    min_amount_minor: Mapping[str, int]

    def opens_at(self, case: Case, zones: Iterable[str]) -> datetime | None:
        """The start of the first local day on which the debt is old enough; None when it need not be."""
        return None if self.min_days_past_due is None else self._start_of(self.min_days_past_due, case, zones, max)

    def closes_at(self, case: Case, zones: Iterable[str]) -> datetime | None:
        """The start of the first local day on which the debt is too old; None when it never is."""
        return None if self.max_days_past_due is None else self._start_of(self.max_days_past_due + 1, case, zones, min)

    def refuses_amount(self, case: Case) -> bool:
        if not self.min_amount_minor:
            return False
        lowest = self.min_amount_minor.get(case.account.currency)
        return lowest is None or case.account.amount_minor < lowest

    @staticmethod
    def _start_of(
        days_past_due: int, case: Case, zones: Iterable[str], pick: Callable[[Iterable[datetime]], datetime]
    ) -> datetime:
        ahead = (days_past_due - case.account.days_past_due) * ONE_DAY
        return pick(day_start(local_day(case.now, zone) + ahead, zone) for zone in zones)


def read_gate(table: Table, inherited: Defaults) -> GateRule:
    terms = read_terms(table, "gate", inherited)
    lowest, highest = table.optional_integer("min_days_past_due"), table.optional_integer("max_days_past_due")
    amounts = table.amounts("min_amount_minor")
    if lowest is None and highest is None and not amounts:
        raise table.error("min_days_past_due", "a gate needs min_days_past_due, max_days_past_due or min_amount_minor")
    if lowest is not None and highest is not None and highest < lowest:
        raise table.error("max_days_past_due", f"{highest} is below min_days_past_due {lowest}; correct one of them")
    table.finish()
    return GateRule(terms, lowest, highest, amounts)
