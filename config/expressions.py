"""The small language of import profiles: values worked out from a row's columns, and nothing else.

An expression is checked node by node against the list below when the profile is loaded and only then compiled, so a
profile can neither name an attribute nor call anything that is not in FUNCTIONS. Randomness is a hash of a key that the
expression names: the same row always gives the same value.
"""

import ast
import hashlib
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from types import CodeType
from typing import Any, Final

#: Longest text that an expression may build: a runaway profile must not fill the memory.
LONGEST_TEXT: Final = 2000

#: Longest expression: what is longer belongs into a value of its own.
LONGEST_SOURCE: Final = 1000


#: Copying a hash that has seen nothing costs less than making one.
_EMPTY: Final = hashlib.blake2b(digest_size=8, person=b"duly profile")


class BadExpression(ValueError):
    """An expression that is refused when the profile is loaded."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. `names` are the columns and values that it reads."""

    source: str
    names: frozenset[str]
    _code: CodeType

    def value(self, values: Mapping[str, Any]) -> Any:
        """What it gives for one row. Raises whatever the arithmetic raises: ValueError, TypeError, KeyError."""
        return eval(self._code, _SCOPE, values)  # noqa: S307 - checked node by node, see compile_expression


def compile_expression(source: str, *, known: frozenset[str]) -> Expression:
    """Check and compile. Raises BadExpression saying what is not allowed or not known."""
    if len(source) > LONGEST_SOURCE:
        raise BadExpression(f"longer than {LONGEST_SOURCE} characters: name a part of it in [values]")
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise BadExpression(f"not an expression: {getattr(error, 'msg', 'it cannot be read')}") from None
    checked = ast.fix_missing_locations(_Checked(known).visit(tree))
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) & known
    return Expression(source, names, compile(checked, "<profile>", "eval"))


class _Checked(ast.NodeTransformer):
    """Lets the listed nodes pass and turns arithmetic that could run away into calls of checked functions."""

    _PLAIN: Final = (
        ast.Expression, ast.Load, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.IfExp, ast.Compare,
        ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Tuple, ast.List,
    )  # fmt: skip
    _ARITHMETIC: Final[Mapping[type[ast.operator], str]] = {
        ast.Add: "_plus", ast.Sub: "_minus", ast.Mult: "_times", ast.FloorDiv: "_quotient", ast.Mod: "_remainder",
    }  # fmt: skip
    _CONSTANTS: Final = {"true": True, "false": False, "none": None}

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, self._PLAIN):
            raise BadExpression(f"{type(node).__name__.lower()} is not allowed in an expression")
        return super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str | int):
            raise BadExpression("only whole numbers and texts in quotes are allowed")
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._CONSTANTS:
            return ast.copy_location(ast.Constant(self._CONSTANTS[node.id]), node)
        if node.id not in self._known:
            raise BadExpression(f"{node.id!r} is no column, no value above this one and no function")
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        name = self._ARITHMETIC.get(type(node.op))
        if name is None:
            raise BadExpression("only + - * // % are allowed")
        call = ast.Call(ast.Name(name, ast.Load()), [self.visit(node.left), self.visit(node.right)], [])
        return ast.copy_location(call, node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise BadExpression(f"unknown function: there are {', '.join(sorted(FUNCTIONS))}")
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise BadExpression(f"{node.func.id}() takes its arguments by position")
        arguments = [self.visit(argument) for argument in node.args]
        return ast.copy_location(ast.Call(node.func, arguments, []), node)


def _drawn(key: Any, below: int) -> int:
    """A number in [0, below) that depends on nothing but the key; 64 bits make the bias of % invisible."""
    digest = _EMPTY.copy()
    digest.update(str(key).encode())
    return int.from_bytes(digest.digest(), "big") % below


def _plus(left: Any, right: Any) -> Any:
    if isinstance(left, str) or isinstance(right, str):
        joined = f"{left}{right}"
        if len(joined) > LONGEST_TEXT:
            raise ValueError(f"text longer than {LONGEST_TEXT} characters")
        return joined
    return _whole(left) + _whole(right)


def _minus(left: Any, right: Any) -> int:
    return _whole(left) - _whole(right)


def _times(left: Any, right: Any) -> int:
    return _whole(left) * _whole(right)


def _quotient(left: Any, right: Any) -> int:
    return _whole(left) // _divisor(right)


def _remainder(left: Any, right: Any) -> int:
    return _whole(left) % _divisor(right)


def _divisor(value: Any) -> int:
    if value == 0:
        raise ValueError("division by zero")
    return _whole(value)


def _whole(value: Any) -> int:
    """A whole number that stays in reach: products of products must not grow without end."""
    if not isinstance(value, int) or abs(value) > 10**18:
        raise ValueError("arithmetic needs whole numbers")
    return value


def pick(words: Sequence[Any], key: Any) -> Any:
    """One of a list, always the same one for a key."""
    return words[_drawn(key, len(words))]


def nth(words: Sequence[Any], position: int) -> Any:
    """The entry of a list at a position counted from 0; after the last comes the first again."""
    return words[position % len(words)]


def weighted(table: Mapping[str, int], key: Any) -> str:
    """A key of a table of weights, drawn in proportion to them."""
    point = _drawn(key, sum(table.values()))
    for name, weight in table.items():
        if point < weight:
            return name
        point -= weight
    raise ValueError("a table of weights needs weights above zero")


def lookup(table: Mapping[str, Any], key: Any) -> Any:
    """The entry of a table. Raises ValueError when it has none."""
    if str(key) not in table:
        raise ValueError("the table has no such entry")
    return table[str(key)]


def spread(key: Any, low: int, high: int) -> int:
    """A whole number from low to high, both included, drawn for a key."""
    return low + _drawn(key, high - low + 1)


def share(key: Any, percent: int) -> bool:
    """True for that many of a hundred keys."""
    return _drawn(key, 100) < percent


def digits(key: Any, count: int) -> str:
    """That many digits drawn for a key. Two keys may draw the same ones: see scrambled()."""
    if not 0 < count <= 18:
        raise ValueError("digits() gives 1 to 18 digits")
    return f"{_drawn(key, 10**count):0{count}d}"


def scrambled(value: Any, count: int) -> str:
    """A whole number as `count` digits in another order: different numbers below 10**count stay different."""
    if not 0 < count <= 18 or not 0 <= (whole := number(value)) < 10**count:
        raise ValueError("scrambled() needs a number that fits its digits")
    # 7919 is prime to 10, so this is a permutation of the numbers below 10**count.
    return f"{(whole * 7919 + 104729) % 10**count:0{count}d}"


def number(value: Any) -> int:
    """A text as a whole number."""
    return int(value)


def text(value: Any) -> str:
    """Any value as text."""
    return "" if value is None else str(value)


def padded(value: Any, width: int) -> str:
    """A text filled with zeros from the left."""
    return str(value).rjust(min(width, LONGEST_TEXT), "0")


def lower(value: str) -> str:
    """A text in small letters, without spaces around it."""
    return value.strip().lower()


def first(*values: Any) -> Any:
    """The first value that is there; none when none is."""
    return next((value for value in values if value not in ("", None)), None)


def listed(value: str) -> tuple[str, ...]:
    """The words of a text, parted by spaces, commas, semicolons or bars."""
    return tuple("".join(" " if letter in ",;|" else letter for letter in value).split())


def yes(value: str) -> bool:
    """True for yes, y, true, 1; false for no, n, false, 0 and nothing at all."""
    word = value.strip().lower()
    if word not in {"yes", "y", "true", "1", "no", "n", "false", "0", ""}:
        raise ValueError("neither yes nor no")
    return word in {"yes", "y", "true", "1"}


def days_after(day: date, count: int) -> date:
    """The date that many days later (earlier when negative)."""
    return day + timedelta(days=count)


def months_after(day: date, count: int) -> date:
    """The same day of a later month (earlier when negative), or that month's last day."""
    index = day.year * 12 + day.month - 1 + count
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def next_day_of_month(after: date, day: int) -> date:
    """The first date after `after` that is the day-th of its month, or the last day of a shorter month."""
    here = after.replace(day=min(day, monthrange(after.year, after.month)[1]))
    if here > after:
        return here
    later = months_after(after.replace(day=1), 1)
    return later.replace(day=min(day, monthrange(later.year, later.month)[1]))


#: What an expression may call.
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        pick, nth, weighted, lookup, spread, share, digits, scrambled, number, text, padded, lower, first, listed, yes,
        days_after, months_after, next_day_of_month,
    )
}  # fmt: skip

_SCOPE: Final[dict[str, Any]] = {
    "__builtins__": {},
    "_plus": _plus,
    "_minus": _minus,
    "_times": _times,
    "_quotient": _quotient,
    "_remainder": _remainder,
    **FUNCTIONS,
}
