"""Money as integer minor units with an ISO 4217 currency; no floats anywhere."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

#: Minor-unit digits by currency, ISO 4217 (list one, read 2026). Currencies that are not here are refused at the door.
EXPONENTS: dict[str, int] = {
    "AUD": 2, "BRL": 2, "CAD": 2, "CHF": 2, "CLP": 0, "CNY": 2, "CZK": 2, "DKK": 2, "EUR": 2, "GBP": 2, "HKD": 2,
    "HUF": 2, "IDR": 2, "INR": 2, "JPY": 0, "KES": 2, "KRW": 0, "KWD": 3, "MXN": 2, "MYR": 2, "NGN": 2, "NOK": 2,
    "NZD": 2, "PHP": 2, "PLN": 2, "RON": 2, "SEK": 2, "SGD": 2, "THB": 2, "TWD": 2, "USD": 2, "VND": 0, "ZAR": 2,
}  # fmt: skip

#: Largest amount we carry: fits a PostgreSQL bigint with room for sums over a portfolio.
MAX_MINOR = 10**15


class BadMoney(ValueError):
    """An amount that cannot be carried exactly; the message never repeats the amount."""


@dataclass(frozen=True, slots=True)
class Money:
    amount_minor: int
    currency: str

    def __add__(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise BadMoney(f"cannot add {other.currency} to {self.currency}")
        return Money(self.amount_minor + other.amount_minor, self.currency)

    @property
    def major(self) -> Decimal:
        return Decimal(self.amount_minor).scaleb(-EXPONENTS[self.currency])


def parse_major(text: str, currency: str) -> Money:
    """Read an amount in major units, as files write it: `1,234.50`, `5.00E+05`, `-3`.

    Raises BadMoney for anything else: no number, not finite, finer than the currency's minor unit, or beyond 10**15.
    """
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise BadMoney(f"unknown currency {currency!r}: use an ISO 4217 code that duly lists")
    try:
        amount = Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        raise BadMoney("not an amount") from None
    if not amount.is_finite() or amount.adjusted() > 15:
        raise BadMoney("not an amount that fits")
    minor = amount.scaleb(exponent)
    if minor != minor.to_integral_value():
        raise BadMoney(f"finer than the smallest unit of {currency}")
    if abs(minor) > MAX_MINOR:
        raise BadMoney("not an amount that fits")
    return Money(int(minor), currency)
