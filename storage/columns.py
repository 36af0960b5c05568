"""Columns of a batch, encoded once: each wave cuts its own piece out of them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from storage import wire


class Numbers:
    """Of bigint."""

    __slots__ = ("_elements",)

    def __init__(self, values: Sequence[int]) -> None:
        self._elements = wire.int8_elements(values)

    def cut(self, start: int, end: int) -> wire.Int8s:
        return wire.int8s_of(self._elements[start * wire.INT8_WIDTH : end * wire.INT8_WIDTH])


class Ids:
    """Of uuid."""

    __slots__ = ("_elements",)

    def __init__(self, values: Sequence[UUID]) -> None:
        self._elements = wire.uuid_elements(values)

    def cut(self, start: int, end: int) -> wire.Uuids:
        return wire.uuids_of(self._elements[start * wire.UUID_WIDTH : end * wire.UUID_WIDTH])


class Words:
    """Of words that repeat: what all rows of the piece share, and an array that is silent where they share it."""

    __slots__ = ("_shared", "_values")

    def __init__(self, values: Sequence[str | None]) -> None:
        self._values = values
        self._shared = wire.text_column(values) if wire.are_alike(values) else None

    def cut(self, start: int, end: int) -> tuple[str | None, wire.Texts]:
        return self._shared or wire.text_column(self._values[start:end])


class Moments:
    """The same of timestamptz."""

    __slots__ = ("_shared", "_values")

    def __init__(self, values: Sequence[datetime | None]) -> None:
        self._values = values
        self._shared = wire.moment_column(values) if wire.are_alike(values) else None

    def cut(self, start: int, end: int) -> tuple[datetime | None, wire.Moments]:
        return self._shared or wire.moment_column(self._values[start:end])
