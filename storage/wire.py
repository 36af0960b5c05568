"""PostgreSQL's binary forms, written by hand for the few statements that carry thousands of values a second.

The driver's own dumpers are Python, value by value; here a value that repeats is encoded once and a column of numbers
in one call. Formats: PostgreSQL documentation, COPY (binary), and the `*_send` and `*_recv` functions of each type.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain, islice, repeat
from operator import attrgetter
from struct import Struct
from typing import Any, Final
from uuid import UUID

import orjson
from psycopg import adapters, postgres, pq, sql
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper

from storage.rows import Conn

#: Where PostgreSQL's timestamps count from, in microseconds.
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

length: Final = Struct(">i").pack  # what goes before the bytes of a field
_INT2: Final = Struct(">ih").pack
_INT8: Final = Struct(">iq").pack
_ONE_INT8: Final = Struct(">iiiiiiiq").pack
_UUID_LENGTH: Final = length(16)
_INT_OF: Final = attrgetter("int")
NULL: Final = b"\xff\xff\xff\xff"

#: An element of an array, in bytes: its length and itself.
INT8_WIDTH: Final = 12
UUID_WIDTH: Final = 20

#: What a row of COPY BINARY begins and a file of it begins and ends with.
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"

#: Rows that COPY is given at once.
_GROUP: Final = 64

#: Encoded values kept: a fleet's columns repeat a few hundred words.
_KEPT: Final = 1 << 13


# ------------------------------------------------------------------------------------------------------------- fields


def int8(value: int | None) -> bytes:
    return NULL if value is None else _INT8(8, value)


def raw(value: bytes | None) -> bytes:
    """A bytea, or what is encoded already."""
    return NULL if value is None else length(len(value)) + value


@lru_cache(maxsize=_KEPT)
def text(value: str | None) -> bytes:
    """Only for words that repeat: they stay in memory."""
    return NULL if value is None else raw(value.encode())


@lru_cache(maxsize=_KEPT)
def words(values: tuple[str, ...]) -> bytes:
    """A text[]; only for words that repeat."""
    return raw(_array(_TEXT_OID, [text(each) for each in values]))


def uuid(value: UUID) -> bytes:
    return _UUID_LENGTH + value.int.to_bytes(16)  # what its own `bytes` does, less a call


def int8s(values: Sequence[int]) -> bytes:
    """A bigint[]."""
    if len(values) == 1:  # the accounts of nearly every contact, in one call
        return _ONE_INT8(32, 1, 1, _INT8_OID, 1, 1, 8, *values)
    return raw(int8_array(values))


@lru_cache(maxsize=_KEPT)
def moment(at: datetime | None) -> bytes:
    """A timestamptz; `at` is aware."""
    return NULL if at is None else _INT8(8, microseconds(at))


@lru_cache(maxsize=_KEPT)
def microseconds(at: datetime) -> int:
    """Since PostgreSQL's epoch."""
    return (at - EPOCH) // _MICROSECOND


@lru_cache(maxsize=_KEPT)
def instant(since_epoch: int) -> datetime:
    """The other way round."""
    return EPOCH + since_epoch * _MICROSECOND


def jsonb(value: Any) -> bytes:
    """Without its length."""
    return b"\x01" + orjson.dumps(value)


# --------------------------------------------------------------------------------------------------------------- COPY


def copy_rows(conn: Conn, table: str, columns: Sequence[str], rows: Iterable[tuple[bytes, ...]]) -> None:
    """COPY rows of encoded fields into a table. No rows, no statement.

    What a row gives in one piece may be several fields. They are sent as they are encoded, a group at a time, which
    leaves the memory of the last one to the next.
    """
    pieces = map((Struct(">h").pack(len(columns)),).__add__, rows)
    groups = iter(lambda: b"".join(chain.from_iterable(islice(pieces, _GROUP))), b"")
    first = next(groups, None)
    if first is None:
        return
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_SIGNATURE + first)
        for group in groups:
            copy.write(group)
        copy.write(_TRAILER)


# ------------------------------------------------------------------------------------------------------------- arrays


class _Encoded(bytes):
    """A parameter that is encoded already."""


class Int2s(_Encoded):
    """A smallint[] parameter."""


class Int8s(_Encoded):
    """A bigint[] parameter."""


class Texts(_Encoded):
    """A text[] parameter."""


class Uuids(_Encoded):
    """A uuid[] parameter."""


class Moments(_Encoded):
    """A timestamptz[] parameter."""


_TEXT_OID: Final = postgres.types["text"].oid
_UUID_OID: Final = postgres.types["uuid"].oid
_INT2_OID: Final = postgres.types["int2"].oid
_INT8_OID: Final = postgres.types["int8"].oid
_MOMENT_OID: Final = postgres.types["timestamptz"].oid


def int2_array(values: Sequence[int]) -> Int2s:
    return Int2s(_array_head(_INT2_OID, len(values)) + _elements("ih", 2, values))


def int8_array(values: Sequence[int]) -> Int8s:
    return int8s_of(int8_elements(values))


def int8_elements(values: Sequence[int]) -> bytes:
    """The elements of an array, each INT8_WIDTH bytes."""
    return _elements("iq", 8, values)


def int8s_of(elements: bytes) -> Int8s:
    """The array of encoded elements."""
    return Int8s(_array_head(_INT8_OID, len(elements) // INT8_WIDTH) + elements)


def moment_array(values: Sequence[datetime | None]) -> Moments:
    return Moments(_array_of(_MOMENT_OID, moment, values))


def text_array(values: Sequence[str | None]) -> Texts:
    """Of words that repeat."""
    return Texts(_array_of(_TEXT_OID, text, values))


def text_column(values: Sequence[str | None]) -> tuple[str | None, Texts]:
    """What all rows have, and a text[] that is silent where they have the same: `coalesce(v.word, %s)` reads it.

    To unpack a value from an array costs the database 0.15 us, and most columns of a wave hold the same in every row.
    """
    if are_alike(values):
        return values[0] and str(values[0]), text_array(())
    return None, text_array(values)


def moment_column(values: Sequence[datetime | None]) -> tuple[datetime | None, Moments]:
    """The same of moments."""
    if are_alike(values):
        return values[0], moment_array(())
    return None, moment_array(values)


def ref_array(values: Sequence[str | None]) -> Texts:
    """Of texts that do not repeat."""
    return Texts(_array(_TEXT_OID, [NULL if value is None else raw(value.encode()) for value in values]))


def uuid_array(values: Sequence[UUID]) -> Uuids:
    return uuids_of(uuid_elements(values))


def uuid_elements(values: Sequence[UUID]) -> bytes:
    """The elements of an array, each UUID_WIDTH bytes."""
    if not values:
        return b""
    return _UUID_LENGTH + _UUID_LENGTH.join(map(int.to_bytes, map(_INT_OF, values), repeat(16)))


def uuids_of(elements: bytes) -> Uuids:
    """The array of encoded elements."""
    return Uuids(_array_head(_UUID_OID, len(elements) // UUID_WIDTH) + elements)


def _array_of(oid: int, encode: Callable[[Any], bytes], values: Sequence[object]) -> bytes:
    """Encoded one by one, unless they are all the same."""
    if are_alike(values):
        return _array_head(oid, len(values)) + encode(values[0]) * len(values)
    return _array(oid, list(map(encode, values)))


def are_alike(values: Sequence[object]) -> bool:
    """Whether there are any, and all the same."""
    return bool(values) and values.count(values[0]) == len(values)


def _array(oid: int, elements: Sequence[bytes]) -> bytes:
    return _array_head(oid, len(elements)) + b"".join(elements)


def _elements(form: str, width: int, values: Sequence[int]) -> bytes:
    interleaved = [width] * (2 * len(values))
    interleaved[1::2] = values
    return _struct(form, len(values)).pack(*interleaved)


@lru_cache(maxsize=_KEPT)
def _array_head(oid: int, length: int) -> bytes:
    """Dimensions, whether there may be nulls, element type; then the one dimension's length and lower bound."""
    if length == 0:
        return Struct(">iii").pack(0, 0, oid)
    return Struct(">iiiii").pack(1, 1, oid, length, 1)


@lru_cache(maxsize=32)  # batches and waves have few sizes, and a Struct of a thousand pairs takes 64 KB
def _struct(form: str, times: int) -> Struct:
    return Struct(">" + form * times)


def _register(kind: type[_Encoded], element: str) -> None:
    oid = postgres.types[element].array_oid

    class Encoded(Dumper):
        format = pq.Format.BINARY

        def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
            super().__init__(cls, context)
            # Not of the class: there it would make this the dumper of every array of the kind, encoded or not.
            self.oid = oid

        def dump(self, obj: Any) -> bytes:
            return bytes(obj)

    adapters.register_dumper(kind, Encoded)


for _kind, _element in ((Int2s, "int2"), (Int8s, "int8"), (Texts, "text"), (Uuids, "uuid"), (Moments, "timestamptz")):
    _register(_kind, _element)
