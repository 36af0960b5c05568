from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.expressions import BadExpression, compile_expression, months_after, next_day_of_month, scrambled, spread


def value(source: str, **values: Any) -> Any:
    return compile_expression(source, known=frozenset(values)).value(values)


@pytest.mark.parametrize(
    "source",
    [
        "().__class__",
        "ID.upper()",
        "open('/etc/passwd')",
        "__import__('os')",
        "eval('1')",
        "_plus(1, 2)",
        "[x for x in ID]",
        "lambda: 1",
        "ID[0]",
        "f'{ID}'",
        "(ID := 3)",
        "2 ** 99999",
        "1.5",
        "b'x'",
        "pick(*ID)",
        "pick(words=ID, key=1)",
        "{}",
        "yes",
        "nobody",
        "1 +",
        "not " * 2000 + "ID",
        "(" * 500 + "1" + ")" * 500,
    ],
)
def test_what_is_not_listed_is_refused_when_the_profile_is_loaded(source: str) -> None:
    with pytest.raises(BadExpression):
        compile_expression(source, known=frozenset({"ID"}))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'C' + padded(ID, 4)", "C0007"),
        ("ID % 5 * 10 - 1", 19),
        ("-ID // 2", -4),
        ("'late' if ID > 3 and not ID == 9 else 'early'", "late"),
        ("ID in (6, 7)", True),
        ("none if true else false", None),
        ("first(NAME, none, 'x')", "x"),
        ("listed('sms, email;push')", ("sms", "email", "push")),
        ("yes(' Y ')", True),
        ("nth(words, ID)", "b"),
        ("lookup(table, 'a') + '!'", "1!"),
    ],
)
def test_the_language_says_what_it_looks_like(source: str, expected: Any) -> None:
    assert value(source, ID=7, NAME="", words=("a", "b", "c"), table={"a": 1}) == expected


@pytest.mark.parametrize(
    "source",
    [
        "'a' * ID",
        "'%s' % ID",
        "ID // 0",
        "ID - 'a'",
        "big * big * big",
        "long + long",
        "yes('maybe')",
        "digits(ID, 99)",
    ],
)  # fmt: skip
def test_arithmetic_that_could_run_away_fails_for_the_row(source: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reason is shown to people, not matched
        value(source, ID=7, big=10**12, long="x" * 1500)


@given(st.integers(0, 10**6 - 1), st.integers(0, 10**6 - 1))
def test_scrambled_numbers_stay_different(one: int, other: int) -> None:
    assert (scrambled(one, 6) == scrambled(other, 6)) == (one == other)


def test_a_key_always_draws_the_same_and_keys_together_draw_evenly() -> None:
    drawn = Counter(spread(f"{n} due", 1, 28) for n in range(28_000))

    assert drawn == Counter(spread(f"{n} due", 1, 28) for n in range(28_000))
    assert set(drawn) == set(range(1, 29))
    assert 850 < min(drawn.values()) <= max(drawn.values()) < 1150


@given(st.dates(date(2000, 1, 1), date(2040, 1, 1)), st.integers(1, 31))
def test_the_next_day_of_a_month_comes_after_and_within_a_month(after: date, day: int) -> None:
    found = next_day_of_month(after, day)

    assert after < found <= after + timedelta(days=31)
    assert found.day == day or (found.day < day and (found + timedelta(days=1)).day == 1)


@given(st.dates(date(2000, 1, 1), date(2040, 1, 1)), st.integers(-24, 24))
def test_months_count_as_the_calendar_does(day: date, count: int) -> None:
    moved = months_after(day, count)

    assert (moved.year * 12 + moved.month) - (day.year * 12 + day.month) == count
    assert moved.day == day.day or (moved + timedelta(days=1)).day == 1
