"""A lender: the creditor or brand in whose name we write, or an agency acting for one."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.purpose import Actor


@dataclass(frozen=True, slots=True)
class LadderChoice:
    """The ladder of a product and a range of balances (minor units; `max_minor` exclusive, None unbounded)."""

    ladder: str
    product: str | None = None
    min_minor: int = 0
    max_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Lender:
    """`licence` is the jurisdiction of its licence, a pack id such as `tw`. Texts are by locale."""

    id: str
    brand: Mapping[str, str]
    actor: Actor
    licence: str
    creditor_group: str
    sms_sender: str
    email_sender: str
    help_phone: str
    help_hours: Mapping[str, str]
    pay_url: str
    help_url: str
    ladders: tuple[LadderChoice, ...]

    def ladder_for(self, product: str | None, balance_minor: int) -> str | None:
        """The first choice that fits, in the file's order; None when the file names none."""
        for choice in self.ladders:
            if choice.product in (None, product) and choice.min_minor <= balance_minor < (
                balance_minor + 1 if choice.max_minor is None else choice.max_minor
            ):
                return choice.ladder
        return None
