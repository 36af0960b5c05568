"""A text is broken into lines as a phone does it: nothing lost, nothing too wide, no mark at the start of a line."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.phone import lines

texts = st.lists(
    st.sampled_from(
        ["card", "northbank.example/pay", "账单", "684.20元", "，", "。", "（9-18点）", " ", "\n", "王芳", "STOP"]
    ),
    max_size=30,
).map("".join)


@given(texts, st.integers(24, 90))
def test_no_line_is_too_wide_and_no_word_is_lost(text: str, columns: int) -> None:
    broken = lines(text, columns)

    assert all(cell_len(line) <= columns for line in broken)
    assert "".join("".join(broken).split()) == "".join(text.split())


sentences = st.lists(
    st.tuples(
        st.sampled_from(["card", "账单", "684.20元", "王芳您好", "（9-18点）"]),
        st.sampled_from(["", " ", "，", "。", "）。"]),
    ),
    max_size=30,
).map(lambda pairs: "".join(word + mark for word, mark in pairs))


@given(sentences, st.integers(46, 60))
def test_no_line_begins_with_a_closing_mark(text: str, columns: int) -> None:
    assert not [line for line in lines(text, columns) if line[:1] in tuple("，。）")]


def test_a_link_stays_whole_and_a_word_longer_than_a_line_is_cut() -> None:
    assert lines("付款：northbank.example/pay 。谢谢", 24) == ["付款：", "northbank.example/pay 。", "谢谢"]
    assert lines("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
