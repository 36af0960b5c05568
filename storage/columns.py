"""Columns of a batch, encoded once: each wave cuts its own piece out of them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from storage import wire

Value = TypeVar("Value")
Array = TypeVar("Array")


class Packed(Generic[Array]):
    """Elements of one width that hardly repeat: a piece is some of their bytes."""

    __slots__ = ("_array_of", "_elements", "_width")

    def __init__(self, elements: bytes, width: int, array_of: Callable[[bytes], Array]) -> None:
        self._elements, self._width, self._array_of = elements, width, array_of

    def cut(self, start: int, end: int) -> Array:
        return self._array_of(self._elements[start * self._width : end * self._width])


class Shared(Generic[Value, Array]):
    """Values that repeat: what all rows of a piece share, and an array that is silent where they share it."""

    __slots__ = ("_column_of", "_shared", "_values")

    def __init__(
        self, values: Sequence[Value | None], column_of: Callable[[Sequence[Value | None]], tuple[Value | None, Array]]
    ) -> None:
        self._values, self._column_of = values, column_of
        self._shared = column_of(values) if wire.are_alike(values) else None

    def cut(self, start: int, end: int) -> tuple[Value | None, Array]:
        return self._shared or self._column_of(self._values[start:end])


def numbers(values: Sequence[int]) -> Packed[wire.Int8s]:
    """Of bigint."""
    return Packed(wire.int8_elements(values), wire.INT8_WIDTH, wire.int8s_of)


def ids(values: Sequence[UUID]) -> Packed[wire.Uuids]:
    """Of uuid."""
    return Packed(wire.uuid_elements(values), wire.UUID_WIDTH, wire.uuids_of)


def words(values: Sequence[str | None]) -> Shared[str, wire.Texts]:
    """Of text."""
    return Shared(values, wire.text_column)


def moments(values: Sequence[datetime | None]) -> Shared[datetime, wire.Moments]:
    """Of timestamptz."""
    return Shared(values, wire.moment_column)
