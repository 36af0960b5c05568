"""An experiment with words: a challenger takes a share of a message's customers, for a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Arm(StrEnum):
    CHAMPION = "champion"
    CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True)
class Experiment:
    """`percent` of the customers who would get `message` get `challenger`, from `begins` until `ends` (exclusive).

    `lenders` is empty when it holds for all.
    """

    id: str
    message: str
    challenger: str
    percent: int
    begins: datetime
    ends: datetime
    lenders: frozenset[str]

    def is_on(self, now: datetime, lender: str) -> bool:
        return self.begins <= now < self.ends and (not self.lenders or lender in self.lenders)

    def words(self, arm: Arm) -> str:
        """The message whose words this arm reads."""
        return self.challenger if arm is Arm.CHALLENGER else self.message


#: The experiments of a release, by the message that is challenged.
Experiments = Mapping[str, Experiment]
