"""Segments as carriers count them: golden vectors (research notes, section 6.1) and a slow packer that agrees."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.segments import Encoding, Route, Segments, count, fits_gsm7

EXTENSION = "^{}\\[~]|€\f"


@pytest.mark.parametrize(
    ("text", "route", "encoding", "units", "segments"),
    [
        ("a" * 160, "gsm", "GSM-7", 160, 1),
        ("a" * 161, "gsm", "GSM-7", 161, 2),
        ("a" * 306, "gsm", "GSM-7", 306, 2),
        ("a" * 307, "gsm", "GSM-7", 307, 3),
        ("€" * 80, "gsm", "GSM-7", 160, 1),
        ("€" * 81, "gsm", "GSM-7", 162, 2),
        ("a" * 152 + "€" + "a" * 152, "gsm", "GSM-7", 306, 3),
        ("汉" * 70, "auto", "UCS-2", 70, 1),
        ("汉" * 71, "auto", "UCS-2", 71, 2),
        ("汉" * 134, "auto", "UCS-2", 134, 2),
        ("汉" * 135, "auto", "UCS-2", 135, 3),
        ("😀" * 35, "auto", "UCS-2", 70, 1),
        ("😀" * 36, "auto", "UCS-2", 72, 2),
        ("汉" * 66 + "😀" + "汉" * 66, "auto", "UCS-2", 134, 3),
        ("a" * 160, "cn", "UCS-2", 160, 3),
        ("【华为云】", "cn", "UCS-2", 5, 1),
        ("", "auto", "GSM-7", 0, 1),
        ("", "cn", "UCS-2", 0, 1),
    ],
)
def test_the_golden_vectors_count_as_carriers_count_them(
    text: str, route: str, encoding: str, units: int, segments: int
) -> None:
    assert count(text, Route(route)) == Segments(Encoding(encoding), units, segments)


def test_one_character_outside_gsm7_turns_the_whole_text_into_ucs2() -> None:
    for character in "ç`\t—’汉😀":
        assert count("a" * 70 + character, Route.GSM) == Segments(Encoding.UCS2, 71 + (character == "😀"), 2), (
            f"U+{ord(character):04X}"
        )


def test_the_alphabet_has_128_codes_less_escape_and_ten_extensions() -> None:
    basic = [c for c in map(chr, range(0x10000)) if fits_gsm7(c) and c not in EXTENSION]

    assert len(basic) == 127
    assert all(count(c * 2).units == 4 for c in EXTENSION)


def test_a_joined_emoji_may_be_split_between_its_code_points_but_not_inside_one() -> None:
    family = "👨‍👩‍👧"  # 2 + 1 + 2 + 1 + 2 units

    assert count("汉" * 64 + family + "汉" * 60) == Segments(Encoding.UCS2, 132, 2)


def slow_pack(widths: list[int], alone: int, split: int) -> int:
    if sum(widths) <= alone:
        return 1
    parts: list[list[int]] = [[]]
    for width in widths:
        if sum(parts[-1]) + width > split:
            parts.append([])
        parts[-1].append(width)
    return len(parts)


characters = st.sampled_from("a \né汉😀" + EXTENSION) | st.characters(exclude_categories=["Cs"])
runs = st.lists(st.tuples(characters, st.integers(1, 170)), max_size=6)
texts = runs.map(lambda pairs: "".join(character * times for character, times in pairs))


@given(texts, st.sampled_from(Route))
@example("a" * 305 + "€" * 77, Route.AUTO)
@example("汉" * 133 + "😀" * 40, Route.CN)
def test_every_text_is_packed_as_a_slow_packer_packs_it(text: str, route: Route) -> None:
    counted = count(text, route)

    if counted.encoding is Encoding.GSM7:
        widths = [2 if c in EXTENSION else 1 for c in text]
        expected = slow_pack(widths, 160, 153)
    else:
        widths = [len(c.encode("utf-16-be")) // 2 for c in text]
        expected = slow_pack(widths, 70, 67)
    assert (counted.units, counted.segments) == (sum(widths), expected)
    assert (counted.encoding is Encoding.GSM7) == (route is not Route.CN and fits_gsm7(text))


@given(texts, texts, st.sampled_from(Route))
def test_adding_words_never_costs_less(text: str, more: str, route: Route) -> None:
    both, one = count(text + more, route), count(text, route)

    assert both.segments >= one.segments
