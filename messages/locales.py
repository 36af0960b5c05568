"""How a locale writes money, dates and products, and which locale may stand in for which.

Read from `_shared/locales.toml`. babel's patterns are taken apart once per release: writing an amount or a date on the
hot path costs about a microsecond.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import NumberPattern, get_currency_symbol, parse_pattern

from domain.money import EXPONENTS
from messages.fault import CopyError

FILE = "_shared/locales.toml"

Formatter = Callable[[int], str]

#: A date is written once per day and year in which it is read; a portfolio has a few hundred days.
_DATES_KEPT = 4096


@dataclass(frozen=True, slots=True)
class LocaleWords:
    """One `[locales.X]` table. `day_pattern` leaves the year out, for dates of the year in which we write."""

    id: str
    name: str
    babel: Locale
    joins_lines_with: str
    day_pattern: str
    day_pattern_with_year: str
    products: Mapping[str, str]
    money: Mapping[str, Formatter]
    _written: dict[tuple[date, int | None], str] = field(default_factory=dict, repr=False, compare=False)

    def product(self, id: str) -> str:
        return self.products.get(id) or self.products["other"]

    def amount(self, minor: int, currency: str) -> str:
        return self.money[currency](minor)

    def day(self, day: date, *, year_of: date | None) -> str:
        """The date in words; without its year when it is the year of `year_of`."""
        key = day, None if year_of is None else year_of.year
        return self._written.get(key) or self._write(*key)

    def _write(self, day: date, year: int | None) -> str:
        if len(self._written) >= _DATES_KEPT:
            self._written.clear()
        pattern = self.day_pattern if day.year == year else self.day_pattern_with_year
        written = self._written[day, year] = format_date(day, pattern, locale=self.babel)
        return written


@dataclass(frozen=True, slots=True)
class Locales:
    words: Mapping[str, LocaleWords]
    fall_back: Mapping[str, tuple[str, ...]]

    def chain(self, wanted: str) -> tuple[str, ...]:
        """The locales a customer who asked for `wanted` can read, best first, as declared; never a guess."""
        wanted = canonical(wanted)
        declared = self.fall_back.get(wanted)
        if declared is None:
            parts = wanted.split("-")
            prefixes = ("-".join(parts[:n]) + "-*" for n in range(len(parts) - 1, 0, -1))
            declared = next((self.fall_back[p] for p in prefixes if p in self.fall_back), ())
        return (wanted, *declared)


def canonical(tag: str) -> str:
    """A BCP 47 tag in its usual case: `zh_hant_hk` is `zh-Hant-HK`."""
    language, *rest = tag.replace("_", "-").split("-")
    return "-".join([language.lower(), *(_subtag(part) for part in rest)])


def _subtag(part: str) -> str:
    if len(part) == 4:
        return part.title()
    return part.upper() if len(part) == 2 else part.lower()


def read(text: str) -> Locales:
    """Raises CopyError naming the key."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CopyError(FILE, None, f"not TOML: {error}", "Compare it with the shipped file") from None
    words = {canonical(id): _words(canonical(id), table) for id, table in _table(raw, "locales", FILE).items()}
    fall_back = {_key(tag): tuple(chain) for tag, chain in raw.get("fall_back", {}).items()}
    for tag, chain in fall_back.items():
        for target in chain:
            if target not in words:
                raise CopyError(FILE, None, f"[fall_back] {tag} names the unknown locale {target!r}", "Add [locales]")
            if target.split("-")[0] != tag.split("-")[0]:
                raise CopyError(
                    FILE, None, f"[fall_back] {tag} falls back to {target}, another language", "Name the same language"
                )
    return Locales(words, fall_back)


def _key(tag: str) -> str:
    return canonical(tag.removesuffix("-*")) + "-*" if tag.endswith("-*") else canonical(tag)


def _table(raw: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = raw.get(key)
    if not isinstance(table, dict) or not table:
        raise CopyError(FILE, None, f"{where} has no table [{key}]", "Compare it with the shipped file")
    return table


def _words(id: str, table: dict[str, Any]) -> LocaleWords:
    try:
        locale = Locale.parse(id.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise CopyError(FILE, None, f"[locales.{id}] is no locale that babel knows", "Use a tag like zh-Hant") from None
    texts = {}
    for key in ("name", "joins_lines_with", "date", "date_with_year", "money"):
        if not isinstance(table.get(key), str):
            raise CopyError(FILE, None, f"[locales.{id}] lacks the text {key!r}", "Compare it with another locale")
        texts[key] = table[key]
    products = _table(table, "products", f"[locales.{id}]")
    if "other" not in products:
        raise CopyError(FILE, None, f"[locales.{id}.products] lacks 'other'", "Say what an unnamed product is called")
    special = table.get("money_of", {})
    money = {
        currency: money_formatter(special.get(currency, texts["money"]), currency, locale, own=currency in special)
        for currency in EXPONENTS
    }
    _written_once(id, texts, locale)
    return LocaleWords(
        id=id, name=texts["name"], babel=locale, joins_lines_with=texts["joins_lines_with"], day_pattern=texts["date"],
        day_pattern_with_year=texts["date_with_year"], products=products, money=money,
    )  # fmt: skip


def _written_once(id: str, texts: Mapping[str, str], locale: Locale) -> None:
    for key in ("date", "date_with_year"):
        written = format_date(date(2026, 7, 3), texts[key], locale=locale)
        if written == texts[key]:
            raise CopyError(FILE, None, f"[locales.{id}] {key} is no date pattern", 'Write it like "d MMMM yyyy"')


def money_formatter(pattern: str, currency: str, locale: Locale, *, own: bool) -> Formatter:
    """A function from minor units to text, equal to babel's `format_currency` with this pattern.

    A locale's general pattern takes the currency's own decimals; a currency's own pattern (`own`) says its decimals
    itself, and never fewer than are needed to show the amount exactly.
    """
    parsed = parse_pattern(pattern)
    exponent = EXPONENTS[currency]
    if not _is_plain(parsed):
        raise CopyError(FILE, None, f"money pattern {pattern!r} is not plain", 'Write it like "¤¤ #,##0.00"')
    fewest = min(parsed.frac_prec[0], exponent) if own else exponent
    if own and parsed.frac_prec[1] < exponent:
        raise CopyError(
            FILE, None, f"money pattern {pattern!r} would round {currency}", f"Show {exponent} decimals, # for optional"
        )
    symbols = locale.number_symbols.get("latn", {})
    group, point = symbols.get("group", ","), symbols.get("decimal", ".")
    prefix = _with_symbol(parsed.prefix[0], currency, locale)
    suffix = _with_symbol(parsed.suffix[0], currency, locale)
    return _formatter(prefix, suffix, group, point, fewest, exponent)


def _formatter(prefix: str, suffix: str, group: str, point: str, fewest: int, exponent: int) -> Formatter:
    unit, digits = 10**exponent, f"%0{exponent}d"

    def write(minor: int) -> str:
        whole, rest = divmod(minor, unit)
        grouped = f"{whole:,}" if group == "," else f"{whole:,}".replace(",", group)
        if not exponent or (not fewest and not rest):
            return f"{prefix}{grouped}{suffix}"
        decimals = digits % rest
        if fewest < exponent:
            decimals = decimals[:fewest] + decimals[fewest:].rstrip("0")
        return f"{prefix}{grouped}{point}{decimals}{suffix}"

    return write


def _is_plain(parsed: NumberPattern) -> bool:
    grouped_by_three = parsed.grouping == (3, 3) and parsed.int_prec[0] == 1
    return grouped_by_three and parsed.exp_prec is None and parsed.scale == 0 and "@" not in parsed.pattern


def _with_symbol(text: str, currency: str, locale: Locale) -> str:
    return text.replace("¤¤", currency).replace("¤", get_currency_symbol(currency, locale=locale))


def major(minor: int, currency: str) -> Decimal:
    """The amount as babel takes it; for tests of equality and for samples."""
    return Decimal(minor).scaleb(-EXPONENTS[currency])
