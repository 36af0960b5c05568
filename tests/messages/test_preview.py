"""A preview shows every branch as its reader will see it, and what is wrong with it."""

from domain.channel import Channel
from domain.segments import Encoding, Segments
from messages import preview
from messages.catalogue import Catalogue
from tests.messages.copies import only, shipped

CATALOGUE = Catalogue.from_files(shipped())


def test_every_text_that_copy_can_become_is_shown_once() -> None:
    shown = preview.views(CATALOGUE, ("options", Channel.SMS, "en"))

    texts = [view.rendered.text for view in shown]
    assert len(set(texts)) == len(texts)
    assert any("reply PLAN) or move the date" in text for text in texts)
    assert any("We can look for a way together" in text for text in texts)
    assert shown[0].titles[0] == "one debt"
    assert all(view.segments and view.segments.segments <= 3 for view in shown)


def test_segments_are_counted_for_an_sms_only_and_by_its_usual_route() -> None:
    sms = preview.views(CATALOGUE, ("first_notice", Channel.SMS, "zh-Hans"))[0]
    mail = preview.views(CATALOGUE, ("first_notice", Channel.EMAIL, "zh-Hans"))[0]

    assert sms.segments == Segments(Encoding.UCS2, len(sms.rendered.text), 2)
    assert mail.segments is None


def test_the_page_holds_every_message_and_locale_with_what_to_change() -> None:
    bad = shipped(**{"first_notice/push.en.txt": "---\nsubject: Debt <b>\n---\nHello"})

    page = preview.page(bad)

    assert all(f"<section id='{name}'>" in page for name in CATALOGUE.messages)
    assert "not fit for a release" in page
    assert "gives the debt away: &#x27;debt&#x27;" in page
    assert "Debt &lt;b&gt;" in page
    assert "<b>Debt <b>" not in page


def test_the_page_of_a_broken_folder_still_says_what_is_broken() -> None:
    page = preview.page({"first_notice/sms.en.txt": "Hi"})

    assert "_shared/locales.toml" in page
    assert "is missing" in page


def test_the_page_shows_what_differs_from_what_is_live() -> None:
    live = only("first_notice")
    edited = {**live, "first_notice/push.en.txt": "---\nsubject: {{ brand }}\n---\nThere is something new for you."}

    page = preview.page(edited, live=live, only="first_notice")

    assert "<ins>There is something new for you.</ins>" in page
    assert page.count("differs from what is live") == 1
