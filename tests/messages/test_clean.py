"""Whatever comes in as a name or a line leaves without markup, links, new lines, digits or template code."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.segments import fits_gsm7
from messages import clean
from messages.facts import BadFacts


@pytest.mark.parametrize(
    "name",
    [
        "Ana Silva",
        "Mary-Ann O'Neil",
        "王芳",
        "Łukasz Żak",
        "José",
        "محمد",
        "Nguyễn Văn A",
        "Μαρία",
        "J. R. Smith",
        "阿不都·热合曼",
    ],
)
def test_a_true_name_is_left_alone(name: str) -> None:
    assert clean.name(name) == name


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Ana\r\nBcc: x@evil.example", "Ana Bcc"),
        ("<b>Ana</b>", "bAnab"),
        ("{{ amount }}", "amount"),
        ("https://evil.example/x Ana", "Ana"),
        ("evil.example", "evil. example"),
        ("Ana \u202egnp.exe", "Ana gnp. exe"),
        ("A\u200bna", "Ana"),
        ("call 0900123456", "call"),
        ("Ana 🌻 Silva", "Ana Silva"),
        ("  ", ""),
        ("123", ""),
        ("Ｃｈｅｎ", "Chen"),
    ],
)
def test_what_is_no_name_falls_away(raw: str, shown: str) -> None:
    assert clean.name(raw) == shown


@given(st.text(max_size=200))
def test_no_name_can_carry_markup_links_lines_or_code(raw: str) -> None:
    shown = clean.name(raw)

    assert len(shown) <= clean.MAX_NAME
    assert shown == shown.strip()
    assert all(c in " '’-.·" or unicodedata.category(c)[0] in "LM" for c in shown)
    assert not re.search(r"\w\.\w", shown)
    assert clean.name(shown) == shown


@given(st.text(max_size=100))
def test_a_line_is_one_short_line_without_markup_or_links(raw: str) -> None:
    shown = clean.line(raw)

    assert len(shown) <= clean.MAX_LINE
    assert not set("<>{}[]\\\n\r\u2028【】") & set(shown)
    assert "://" not in shown


@given(st.text(max_size=60))
def test_a_name_for_gsm7_never_costs_the_whole_text_its_alphabet(raw: str) -> None:
    assert fits_gsm7(clean.name_for_gsm7(clean.name(raw)))


def test_a_name_keeps_what_gsm7_knows_and_loses_only_other_marks() -> None:
    assert clean.name_for_gsm7("José Gonçalves") == "José Goncalves"
    assert clean.name_for_gsm7("王芳") == ""


@pytest.mark.parametrize(
    "url", ["northbank.example/pay", "https://pay.northbank.example/a?b=c", "http://127.0.0.1:80/x"]
)
def test_an_official_link_is_let_pass(url: str) -> None:
    assert clean.url(url) == url


@pytest.mark.parametrize(
    "url",
    ["", "http://northbank.example", "javascript:alert(1)", "a b.example", "x.example/<b>", "localhost", "ftp://x.y"],
)
def test_anything_else_is_no_link(url: str) -> None:
    with pytest.raises(BadFacts, match="https"):
        clean.url(url)


@pytest.mark.parametrize("number", ["0800 0100", "95XXX", "+44 (0)800-0100"])
def test_a_help_line_is_let_pass(number: str) -> None:
    assert clean.phone(number) == number


@pytest.mark.parametrize("number", ["", "call me", "1", "0800\n1", "<b>"])
def test_no_help_line_is_refused(number: str) -> None:
    with pytest.raises(BadFacts, match="telephone"):
        clean.phone(number)
