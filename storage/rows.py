"""Rows to columns and rows to COPY: the two ways in which many rows go in at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import Connection, sql

Conn = Connection[Any]


def transpose(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows to columns, for unnest; `width` empty columns when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def copy_in(conn: Conn, table: str, types: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> int:
    """COPY rows into a table, columns and their PostgreSQL types as named; how many. No rows, no statement."""
    rows = list(rows)
    if not rows:
        return 0
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in types)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table), columns)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(types.values()))
        for row in rows:
            copy.write_row(row)
    return len(rows)
