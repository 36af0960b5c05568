"""Reads one table of a pack and says exactly where it is wrong: file, rule and key, and what to write instead."""

from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import TypeVar

Word = TypeVar("Word", bound=StrEnum)


class PackError(ValueError):
    """A pack that may not be used; the message names the file, the rule and the key, and the remedy."""


class Table:
    """One TOML table. Every key must be asked for: `finish` refuses what nobody asked for."""

    def __init__(self, where: str, values: Mapping[str, object]) -> None:
        self.where = where
        self.values = values
        self._asked: set[str] = set()

    def error(self, key: str, problem: str) -> PackError:
        return PackError(f"{self.where}: {key}: {problem}")

    def has(self, key: str) -> bool:
        return key in self.values

    def finish(self) -> None:
        unknown = sorted(set(self.values) - self._asked)
        if unknown:
            known = ", ".join(sorted(self._asked))
            raise self.error(unknown[0], f"unknown key; remove it or use one of: {known}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "must be a text that is not empty")
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self._peek(key) else None

    def flag(self, key: str) -> bool:
        value = self._get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number of one or more."""
        value = self.integer(key, default)
        if value < 1:
            raise self.error(key, f"is {value}; must be 1 or more (to forbid altogether, use a channel_ban)")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(key, "must be a whole number")
        return value

    def optional_count(self, key: str) -> int | None:
        return self.count(key) if self._peek(key) else None

    def optional_integer(self, key: str) -> int | None:
        return self.integer(key) if self._peek(key) else None

    def optional_day(self, key: str) -> date | None:
        if not self._peek(key):
            return None
        value = self.values[key]
        if type(value) is not date:
            raise self.error(key, "must be a date such as 2026-09-01, without quotes and without a time")
        return value

    def day(self, key: str) -> date:
        found = self.optional_day(key)
        if found is None:
            raise self.error(key, "is missing; write a date such as 2027-12-31")
        return found

    def days(self, key: str) -> tuple[date, ...]:
        value = self._get(key, ())
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(type(v) is date for v in value):
            raise self.error(key, "must be a list of dates such as [2026-10-10], without quotes")
        return tuple(value)

    def texts(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        value = self._get(key, default)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
            raise self.error(key, "must be a list of texts")
        if len(set(value)) != len(value):
            raise self.error(key, "names something twice")
        return tuple(value)

    def word(self, key: str, words: type[Word], default: Word | None = None) -> Word:
        return self._as_word(key, self.text(key, default), words)

    def words(self, key: str, words: type[Word], default: Sequence[Word] | None = None) -> frozenset[Word]:
        """A list of known words; an empty list is refused, because it would make a rule that binds nothing."""
        found = frozenset(self._as_word(key, text, words) for text in self.texts(key, default))
        if not found and self.has(key):
            raise self.error(key, "is empty; name at least one, or leave the key out")
        return found

    def table(self, key: str) -> "Table":
        value = self._get(key, None)
        if not isinstance(value, Mapping):
            raise self.error(key, 'must be a table such as { kind = "rolling_days", length = 7 }')
        return Table(f"{self.where}: {key}", value)

    def tables(self, key: str) -> tuple["Table", ...]:
        value = self._get(key, ())
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, Mapping) for v in value):
            raise self.error(key, "must be a list of tables")
        return tuple(Table(f"{self.where}: {key}", row) for row in value)

    def amounts(self, key: str) -> dict[str, int]:
        """Minor units by currency, as in { EUR = 5000 }; empty when the key is missing."""
        if not self._peek(key):
            return {}
        table = self.table(key)
        return {currency: table.count(currency) for currency in table.values}

    def _peek(self, key: str) -> bool:
        self._asked.add(key)
        return key in self.values

    def _get(self, key: str, default: object) -> object:
        self._asked.add(key)
        value = self.values.get(key, default)
        if value is None:
            raise self.error(key, "is missing")
        return value

    def _as_word(self, key: str, text: str, words: type[Word]) -> Word:
        try:
            return words(text)
        except ValueError:
            known = ", ".join(words)
            raise self.error(key, f"{text!r} is unknown; use one of: {known}") from None
