"""What is encoded by hand is what PostgreSQL reads, and what the driver would have sent."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import wire

Connection = psycopg.Connection[Any]

SMALL = st.integers(-(2**15), 2**15 - 1)
BIG = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
ROWS = st.tuples(
    st.none() | BIG, st.uuids(), st.none() | MOMENTS, st.none() | WORDS, st.none() | st.binary(max_size=9),
    st.lists(WORDS, max_size=3).map(tuple), st.lists(BIG, max_size=3), st.dictionaries(WORDS, st.none() | WORDS),
)  # fmt: skip

same_connection = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def row(connection: Connection) -> Connection:
    connection.execute(
        "CREATE TEMP TABLE made (place bigint, i bigint, u uuid, m timestamptz, t text, b bytea, ts text[],"
        " ns bigint[], j jsonb)"
    )
    return connection


@same_connection
@given(rows=st.lists(ROWS, max_size=4))
def test_copied_rows_come_back(row: Connection, rows: list[Any]) -> None:
    row.execute("TRUNCATE made")
    wire.copy_rows(
        row,
        "made",
        ("place", "i", "u", "m", "t", "b", "ts", "ns", "j"),
        (
            (
                wire.int8(place), wire.int8(i), wire.uuid(u), wire.moment(m), wire.text(t), wire.raw(b), wire.words(ts),
                wire.int8s(ns), wire.raw(wire.jsonb(j)),
            )
            for place, (i, u, m, t, b, ts, ns, j) in enumerate(rows)
        ),
    )  # fmt: skip

    back = row.execute("SELECT i, u, m, t, b, ts, ns, j FROM made ORDER BY place").fetchall()

    assert [(*each[:5], tuple(each[5]), *each[6:]) for each in back] == rows


@same_connection
@given(
    small=st.lists(SMALL, max_size=4),
    big=st.lists(BIG, max_size=4),
    words=st.lists(st.none() | WORDS, max_size=4),
    refs=st.lists(st.none() | WORDS, max_size=4),
    ids=st.lists(st.uuids(), max_size=4),
    moments=st.lists(st.none() | MOMENTS, max_size=4),
)
def test_encoded_parameters_are_the_arrays_they_stand_for(
    connection: Connection,
    small: list[int],
    big: list[int],
    words: list[str | None],
    refs: list[str | None],
    ids: list[UUID],
    moments: list[datetime | None],
) -> None:
    encoded = (
        wire.int2_array(small), wire.int8_array(big), wire.text_array(words), wire.ref_array(refs),
        wire.uuid_array(ids), wire.moment_array(moments),
    )  # fmt: skip

    back = connection.execute("SELECT %s, %s, %s, %s, %s, %s", encoded).fetchone()

    assert back == (small, big, words, refs, ids, moments)


@same_connection
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.sampled_from(("sent", "")),
            st.none() | st.sampled_from((datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC))),
        ),
        max_size=4,
    )
)
def test_a_column_says_once_what_all_rows_share(
    connection: Connection, rows: list[tuple[str | None, datetime | None]]
) -> None:
    (word, words), (at, moments) = (
        wire.text_column([row[0] for row in rows]),
        wire.moment_column([row[1] for row in rows]),
    )

    back = connection.execute(
        """
        SELECT coalesce(v.word, %s), coalesce(v.at, %s)
        FROM unnest(%s, %s, %s) WITH ORDINALITY AS v(number, word, at, place) ORDER BY place
        """,
        (word, at, wire.int8_array(range(len(rows))), words, moments),
    ).fetchall()

    assert back == rows


@given(at=MOMENTS)
def test_an_instant_is_the_same_there_and_back(at: datetime) -> None:
    assert wire.instant(wire.microseconds(at)) == at


def test_other_arrays_are_still_the_drivers(connection: Connection) -> None:
    connection.execute("CREATE TEMP TABLE plain (ts text[])")
    with connection.cursor() as cursor, cursor.copy("COPY plain FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text[]"])
        copy.write_row([[]])
        copy.write_row([["a", "b"]])

    assert connection.execute("SELECT ts FROM plain").fetchall() == [([],), (["a", "b"],)]
