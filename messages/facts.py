"""The facts a message is rendered from: read when it is decided, sealed beside the contact, enough to show it again."""

from datetime import date
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from domain.money import EXPONENTS, MAX_MINOR

#: One message lists no more debts than a person can read; more go to a person.
MAX_DEBTS = 20


class BadFacts(ValueError):
    """Facts that no message may be rendered from. The message never repeats a value."""


class Debt(Struct, frozen=True, gc=False):
    """`ref` is at most the last 4 characters of the account's number; `product` an id such as `card`; `due_on` as in
    the contract."""

    ref: str
    product: str
    balance_minor: int
    currency: str
    due_on: date

    def __post_init__(self) -> None:
        if len(self.ref) > 4:
            raise BadFacts("an account reference may show at most its last 4 characters")
        if not 0 < self.balance_minor <= MAX_MINOR:
            raise BadFacts("a reminder needs a balance above zero that fits; drop the account from the message")
        if self.currency not in EXPONENTS:
            raise BadFacts("unknown currency; use an ISO 4217 code that duly lists")


class Facts(Struct, frozen=True, gc=False):
    """What is true of one customer and one lender on `as_of`, and what may be offered.

    `brand`, `help_hours` are in the customer's language. `offers` are ids of what the customer may really have
    (`plan`, `pause`). `deadline_on` is a date of the contract or of a real offer, `report_on` the day on which the
    lender will report to a credit bureau: None unless it is so. `opt_out`: whether this channel must say how to stop.
    """

    customer_name: str
    brand: str
    debts: tuple[Debt, ...]
    days_past_due: int
    as_of: date
    help_phone: str
    help_hours: str
    pay_url: str
    help_url: str
    opt_out: bool = True
    offers: tuple[str, ...] = ()
    deadline_on: date | None = None
    report_on: date | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.debts) <= MAX_DEBTS:
            raise BadFacts(f"a message covers 1 to {MAX_DEBTS} debts; hand more to a person")
        if len(self.debts) > 1 and len({debt.currency for debt in self.debts}) > 1:
            raise BadFacts("the debts of one message must share one currency; send one message for each")

    @property
    def total_minor(self) -> int:
        return sum(debt.balance_minor for debt in self.debts)

    @property
    def currency(self) -> str:
        return self.debts[0].currency

    @property
    def due_on(self) -> date:
        """The earliest due date."""
        return min(debt.due_on for debt in self.debts)

    def to_json(self) -> bytes:
        """Plain JSON, UTF-8; `from_json` gives equal facts back."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> "Facts":
        """Raises BadFacts when the JSON is not ours."""
        try:
            return _from_plain(orjson.loads(data))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise BadFacts(f"not facts as JSON: {type(error).__name__}") from None


def _from_plain(plain: dict[str, Any]) -> Facts:
    plain = dict(plain)
    debts = tuple(Debt(**{**debt, "due_on": date.fromisoformat(debt["due_on"])}) for debt in plain.pop("debts"))
    for key in ("as_of", "deadline_on", "report_on"):
        if plain.get(key) is not None:
            plain[key] = date.fromisoformat(plain[key])
    plain["offers"] = tuple(plain.get("offers", ()))
    return Facts(debts=debts, **plain)
