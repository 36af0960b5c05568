"""What the planner makes of a statement of ours as the fleet runs it: prepared, and planned once for all values."""

from typing import Any

import psycopg
from psycopg import sql


def generic_plan(conn: psycopg.Connection[Any], part: str) -> str:
    """The plan of the one statement with this text in it that the connection has prepared (`prepare_threshold = 0`)."""
    [(name, parameters)] = conn.execute(
        "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements WHERE strpos(statement, %s) > 0",
        (part,),
        prepare=False,
    ).fetchall()
    with conn.transaction():
        conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        values = sql.SQL(", ").join([sql.NULL] * parameters)
        lines = conn.execute(sql.SQL("EXPLAIN EXECUTE {}({})").format(sql.Identifier(name), values)).fetchall()
    return "\n".join(line for (line,) in lines)
