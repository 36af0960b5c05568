"""A preview shows every text that copy can become, as its reader will see it."""

from domain.channel import Channel
from domain.segments import Encoding, Route, Segments
from messages import preview
from messages.catalogue import Catalogue
from tests.messages.copies import shipped

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


def test_an_sms_is_counted_for_each_route_that_counts_it_otherwise() -> None:
    english = preview.views(CATALOGUE, ("first_notice", Channel.SMS, "en"))[0]
    chinese = preview.views(CATALOGUE, ("first_notice", Channel.SMS, "zh-Hant"))[0]

    assert {route: counted.segments for route, counted in english.by_route.items()} == {Route.AUTO: 2, Route.CN: 5}
    assert list(chinese.by_route) == [Route.AUTO]


def test_an_e_mail_shows_the_line_beside_its_subject() -> None:
    mail = preview.views(CATALOGUE, ("first_notice", Channel.EMAIL, "en"))[0]

    assert mail.preheader == "It is easy to miss. Here is what to do."
