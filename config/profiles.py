"""Loads `profiles/*.toml`: how the columns of a lender's file become customers, addresses and accounts.

A profile says what a column holds, works values out by expressions (`config/expressions.py`), and makes up
deterministically what a source lacks. What must never enter a decision cannot be mapped at all: see PROTECTED.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import available_timezones

from pydantic import Field

from config.expressions import FUNCTIONS, BadExpression, Expression, compile_expression
from config.files import ConfigError, Strict, read_toml
from domain.channel import AddressChannel, AddressKind

#: Words of column names that say what a person is, not what they owe. Credit law in most places bars them from
#: decisions (for one: US ECOA, 15 USC 1691(a), read 2026), and a reminder needs none of them.
PROTECTED: Final = frozenset(
    {
        "sex", "sexual", "gender", "age", "birth", "birthday", "birthdate", "dob", "yob", "marital", "marriage",
        "married", "education", "race", "racial", "ethnic", "ethnicity", "religion", "religious", "nationality",
        "disability", "pregnancy", "pregnant", "caste", "political",
    }
)  # fmt: skip
PROTECTED_CJK: Final = (
    "性别", "性別", "年龄", "年齡", "生日", "出生", "婚姻", "学历", "學歷", "教育", "民族", "种族", "種族", "宗教",
)  # fmt: skip

#: Names that expressions already give a meaning to.
RESERVED: Final = frozenset(FUNCTIONS) | {"true", "false", "none", "as_of"}

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

Source = Annotated[str, Field(min_length=1)]
Kind = Literal["text", "integer", "date", "text?", "integer?", "date?"]


class _Customer(Strict):
    lender: Source
    ref: Source
    name: Source
    locale: Source
    residence: Source
    zones: Source
    zone_confirmed_on: Source
    consents: Source
    consented_on: Source
    refused: Source = "''"
    household: Source = "none"


class _Address(Strict):
    channel: AddressChannel
    kind: AddressKind = AddressKind.MOBILE
    value: Source


class _Account(Strict):
    when: Source = "true"
    ref: Source
    product: Source
    currency: Source
    balance: Source
    due_on: Source


class _Column(Strict):
    header: Annotated[str, Field(min_length=1)]
    holds: Kind


class _File(Strict):
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
    about: str
    zone: str
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    ignored_columns: tuple[str, ...] = ()
    columns: Annotated[Mapping[str, Kind | _Column], Field(min_length=1)]
    words: Mapping[str, Annotated[tuple[str | int, ...], Field(min_length=1)]] = Field(default_factory=dict)
    tables: Mapping[str, Mapping[str, str | int]] = Field(default_factory=dict)
    values: Mapping[str, Source] = Field(default_factory=dict)
    customer: _Customer
    address: tuple[_Address, ...] = ()
    account: Annotated[tuple[_Account, ...], Field(min_length=1)]


class RowFault(Exception):
    """A row that cannot be taken in: the column to look at, what it holds (to be masked), and why."""

    def __init__(self, column: str, value: str, reason: str) -> None:
        super().__init__(column, value, reason)
        self.column, self.value, self.reason = column, value, reason


class SaidAddress(NamedTuple):
    """One address as a row gives it, not yet checked. `source` is the column to name when it is wrong."""

    channel: AddressChannel
    kind: AddressKind
    value: Any


class SaidAccount(NamedTuple):
    """One debt as a row gives it, not yet checked. `balance` is in major units."""

    ref: Any
    product: Any
    currency: Any
    balance: Any
    due_on: Any


class SaidCustomer(NamedTuple):
    """What a row says about its customer, not yet checked."""

    lender: Any
    ref: Any
    name: Any
    locale: Any
    residence: Any
    zones: Any
    zone_confirmed_on: Any
    consents: Any
    consented_on: Any
    refused: Any
    household: Any


class Said(NamedTuple):
    """All that one row says."""

    customer: SaidCustomer
    addresses: list[SaidAddress]
    accounts: list[SaidAccount]


class _Target(NamedTuple):
    """An expression with the key it is written under and the column to blame when it fails."""

    key: str
    expression: Expression
    column: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column that the file must have: its name in expressions, its header, and what it holds."""

    name: str
    header: str
    holds: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A loaded profile. `zone` is where its dates are read: an as-of date ends at that zone's midnight."""

    id: str
    about: str
    zone: str
    delimiter: str
    ignored_columns: tuple[str, ...]
    columns: tuple[Column, ...]
    _constants: Mapping[str, Any]
    _values: tuple[_Target, ...]
    _customer: tuple[_Target, ...]
    _addresses: tuple[tuple[_Address, _Target], ...]
    _accounts: tuple[tuple[_Target, tuple[_Target, ...]], ...]

    def places(self, header: Sequence[str]) -> list[int]:
        """Where each column stands in a file with this header. Raises KeyError for one that is missing."""
        where = {name: position for position, name in enumerate(header)}
        return [where[column.header] for column in self.columns]

    def read(self, row: Sequence[str], places: Sequence[int], *, as_of: date) -> Said:
        """What a row says. Raises RowFault."""
        values: dict[str, Any] = {**self._constants, "as_of": as_of}
        for column, place in zip(self.columns, places, strict=True):
            values[column.name] = _parsed(column, row[place])
        for target in self._values:
            values[target.key] = self._value(target, values)
        return Said(
            SaidCustomer(*[self._value(target, values) for target in self._customer]),
            [
                SaidAddress(address.channel, address.kind, value)
                for address, target in self._addresses
                if (value := self._value(target, values)) not in ("", None)
            ],
            [
                SaidAccount(*[self._value(target, values) for target in targets])
                for when, targets in self._accounts
                if self._value(when, values)
            ],
        )

    def account_refs(self, row: Sequence[str], places: Sequence[int], *, as_of: date) -> list[tuple[str, str]] | None:
        """Which accounts (lender, reference) a faulty row is about, as far as that can be told; None when it cannot."""
        values: dict[str, Any] = {**self._constants, "as_of": as_of}
        try:
            for column, place in zip(self.columns, places, strict=True):
                values[column.name] = row[place].strip()
            lender = self._customer[0].expression.value(_Eager(values, self._values))
            return [
                (str(lender), str(targets[0].expression.value(_Eager(values, self._values))))
                for _, targets in self._accounts
            ]
        except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError):
            return None

    def blamed(self, key: str) -> str:
        """The column behind a key such as `account.1.balance`, for a value that turns out wrong later."""
        targets = (
            *self._customer,
            *(target for _, target in self._addresses),
            *(target for _, group in self._accounts for target in group),
        )
        return next((target.column for target in targets if target.key == key), key)

    def address_key(self, channel: AddressChannel) -> str | None:
        """The key under which the profile gives an address of this channel, when it gives exactly one."""
        keys = [target.key for address, target in self._addresses if address.channel is channel]
        return keys[0] if len(keys) == 1 else None

    @staticmethod
    def _value(target: _Target, values: Mapping[str, Any]) -> Any:
        try:
            return target.expression.value(values)
        except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError) as error:
            reason = str(error) if isinstance(error, ValueError) else "cannot be worked out from this row"
            held = str(values.get(target.column, ""))
            raise RowFault(target.column, held, f"{target.key}: {_without_value(reason)}") from error


class _Eager(dict[str, Any]):
    """Values worked out only when a reference asks for them, so that a fault elsewhere in the row does not matter."""

    def __init__(self, values: Mapping[str, Any], targets: Sequence[_Target]) -> None:
        super().__init__(values)
        self._targets = {target.key: target for target in targets}

    def __missing__(self, name: str) -> Any:
        return self.setdefault(name, self._targets[name].expression.value(self))


def load_profile(files: Mapping[str, str], name: str) -> Profile:
    """The profile `name` among the files of the folder. Raises ConfigError naming file, line, key and remedy."""
    text = files.get(f"{name}.toml")
    if text is None:
        there = ", ".join(sorted(path.removesuffix(".toml") for path in files)) or "none"
        raise ConfigError(f"no import profile {name!r}: there is {there} (profiles/*.toml)")
    return parse_profile(text, name=f"profiles/{name}.toml")


def parse_profile(text: str, *, name: str) -> Profile:
    """The same for one text. `name` is what errors call it."""
    file = read_toml(text, _File, name=name)
    return _Loader(file, text, name).profile()


class _Loader:
    """Turns a checked file into a profile, expression by expression, with the line of each for its errors."""

    def __init__(self, file: _File, text: str, name: str) -> None:
        self._file, self._lines, self._name = file, text.splitlines(), name
        self._columns = tuple(_column(key, value) for key, value in file.columns.items())
        self._behind: dict[str, str] = {column.name: column.header for column in self._columns}

    def profile(self) -> Profile:
        file = self._file
        if file.zone not in available_timezones():
            raise self._fault("", 0, "zone", f"unknown time zone {file.zone!r}: write one such as Asia/Taipei")
        if file.id != self._name.rpartition("/")[2].removesuffix(".toml"):
            raise self._fault("", 0, "id", "must be the file's own name")
        self._check_columns()
        constants = {**file.words, **file.tables}
        for name in constants:
            if name in RESERVED or name in self._behind or (name in file.words and name in file.tables):
                raise self._fault(
                    "words" if name in file.words else "tables", 0, name, "this name is taken: choose another"
                )
        known = frozenset(self._behind) | frozenset(constants) | {"as_of"}
        values: list[_Target] = []
        for key, source in file.values.items():
            if key in known or key in RESERVED or not key.isidentifier():
                raise self._fault("values", 0, key, "this name is taken: choose another")
            values.append(self._target("values", 0, key, source, known, label=key))
            self._behind[key] = values[-1].column
            known |= {key}
        return Profile(
            id=file.id,
            about=file.about,
            zone=file.zone,
            delimiter=file.delimiter,
            ignored_columns=file.ignored_columns,
            columns=self._columns,
            _constants=constants,
            _values=tuple(values),
            _customer=tuple(self._table("customer", 0, file.customer, SaidCustomer._fields, known)),
            _addresses=tuple(
                (row, self._target("address", index, "value", row.value, known))
                for index, row in enumerate(file.address)
            ),
            _accounts=tuple(
                (
                    self._target("account", index, "when", row.when, known),
                    tuple(self._table("account", index, row, SaidAccount._fields, known)),
                )
                for index, row in enumerate(file.account)
            ),
        )

    def _check_columns(self) -> None:
        headers = [column.header for column in self._columns]
        for column in self._columns:
            for called in {column.name, column.header}:
                if (word := protected_word(called)) is not None:
                    why = f"{called!r} may not be read: {word!r} says what a person is, and must never enter a decision"
                    raise self._fault("columns", 0, column.name, f"{why}; list it in ignored_columns")
            if not column.name.isidentifier() or column.name in RESERVED:
                raise self._fault(
                    "columns", 0, column.name, 'give it a plain name: name = {header = "...", holds = ...}'
                )
            if headers.count(column.header) > 1 or column.header in self._file.ignored_columns:
                raise self._fault("columns", 0, column.name, f"header {column.header!r} is named twice")

    def _table(
        self, table: str, index: int, row: Strict, keys: Sequence[str], known: frozenset[str]
    ) -> Iterator[_Target]:
        for key in keys:
            yield self._target(table, index, key, getattr(row, key), known)

    def _target(
        self, table: str, index: int, key: str, source: str, known: frozenset[str], *, label: str | None = None
    ) -> _Target:
        try:
            expression = compile_expression(source, known=known)
        except BadExpression as error:
            raise self._fault(table, index, key, str(error)) from error
        column = next((self._behind[name] for name in sorted(expression.names) if name in self._behind), "")
        label = label or f"{table}.{index + 1}.{key}" if table != "customer" else f"{table}.{key}"
        return _Target(label, expression, column or label)

    def _fault(self, table: str, index: int, key: str, reason: str) -> ConfigError:
        return ConfigError(f"{self._name}: line {self._line(table, index, key)}: {key}: {reason}")

    def _line(self, table: str, index: int, key: str) -> int:
        """The line on which a key of a table stands; tomllib keeps no positions, so the text is searched."""
        here, seen, start = "", -1, 1
        for number, line in enumerate(self._lines, start=1):
            if heading := re.match(r"\s*\[\[?\s*([\w.-]+)\s*\]\]?", line):
                here = heading[1]
                seen += here == table
                start = number if here == table and seen == index else start
            elif here == table and max(seen, 0) == index and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
                return number
        return start


def _column(name: str, value: str | _Column) -> Column:
    return Column(name, value.header, value.holds) if isinstance(value, _Column) else Column(name, name, value)


def protected_word(name: str) -> str | None:
    """The protected word in a column's name, or None: `Customer_Age` has one, `agency` has none."""
    words = [part.lower() for part in _PARTS.findall(name)]
    joined = [a + b for a, b in pairwise(words)]
    return next(
        (word for word in (*words, *joined) if word in PROTECTED), next((w for w in PROTECTED_CJK if w in name), None)
    )


def _parsed(column: Column, raw: str) -> Any:
    held = raw.strip()
    kind = column.holds
    if not held:
        if kind.endswith("?"):
            return "" if kind == "text?" else None
        raise RowFault(column.header, raw, "empty: it must be filled in")
    if kind[0] == "t":
        return held
    try:
        return int(held) if kind[0] == "i" else date.fromisoformat(held)
    except ValueError:
        expected = "a whole number" if kind[0] == "i" else "a date such as 2026-03-31"
        raise RowFault(column.header, raw, f"not {expected}") from None


def _without_value(reason: str) -> str:
    """Python's own complaints quote the value; ours do not."""
    return reason.split(":", 1)[0].split("'", 1)[0].strip() or "wrong value"
