"""Whatever is pasted into a template, it is refused in a sentence or it renders, bounded, from fields alone."""

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.channel import Channel
from messages import samples
from messages.catalogue import Catalogue
from messages.fault import CopyError
from messages.language import Source, compiled, parse
from messages.markup import check_page
from messages.template import LIMITS
from tests.messages.copies import only, with_sms

EXTREMES = samples.extremes(Catalogue.untried(only("first_notice")).messages["first_notice"], "en")

PIECES = st.sampled_from([
    "{{ name }}", "{{ amount }}", "{{ debt.amount }}", "{{ loop.index }}", "{{ nmae }}", "{{ debts }}", "{{ 'x' * 9 }}",
    "{% if several %}", "{% elif count > 2 %}", "{% else %}", "{% endif %}", "{% for debt in debts %}", "{% endfor %}",
    "{% for x in range(10**9) %}", "{% include 'pay' %}", '{% include "wrong" %}', "{% include name %}", "{# note #}",
    "{% raw %}", "{% endraw %}", "{% set x = 1 %}", "{% macro x() %}", "{% call x() %}", "{% extends 'a' %}",
    "{% import 'os' as o %}", "{% filter upper %}", "{% autoescape false %}", "{{ ''.__class__.__mro__ }}",
    "{{ name.__init__.__globals__ }}", "{{ name|attr('x') }}", "{{ self }}", "{{ 9**9**9 }}", "{{ [1]*9**9 }}",
    "{{ cycler }}", "{{ lipsum(99) }}", "{{", "}}", "{%", "%}", "{{-", "-%}", "|", "(", ")", "[", "'", '"', "\n", " ",
    "您好，", "Pay.", "\ud800", "\x00", "\u202e", "%s", "<b>",
])  # fmt: skip
PASTES = st.lists(PIECES, min_size=1, max_size=14).map("".join) | st.text(max_size=80)


def says(refused: CopyError) -> str:
    """The sentence, which names a place, a problem and a remedy."""
    assert refused.file.endswith((".txt", ".toml", ".html"))
    assert refused.problem
    assert refused.remedy
    return str(refused)


def rendered(pasted: str) -> list[str] | CopyError:
    try:
        catalogue = Catalogue.untried(with_sms(pasted))
        return [catalogue.render("first_notice", Channel.SMS, "en", facts).text for facts in EXTREMES]
    except CopyError as refused:
        return refused


@settings(max_examples=250, deadline=None)
@given(PASTES)
def test_whatever_is_pasted_into_a_template_is_refused_in_a_sentence_or_renders_bounded(pasted: str) -> None:
    made = rendered(pasted)

    if isinstance(made, CopyError):
        assert says(made)
        return
    for text in made:
        assert len(text) <= LIMITS[Channel.SMS]
        assert "\n" not in text
        assert "object at 0x" not in text
        assert "<class" not in text


def page_of(pasted: str) -> CopyError | None:
    source = Source("first_notice/letter.en.html", f"<p>{pasted}</p>")
    try:
        check_page(source)
        compiled(parse(source, lambda _: None), source.file, html=True)
    except CopyError as refused:
        return refused
    return None


@settings(max_examples=150, deadline=None)
@given(PASTES)
def test_whatever_is_pasted_into_a_page_is_refused_in_a_sentence_or_compiles(pasted: str) -> None:
    refused = page_of(pasted)

    assert refused is None or says(refused)
