"""A test message goes to staff and to nobody else, says that it is one, and counts nowhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Settings
from console.staff_sending import MARK, NOTICE, NotStaff, allowed, channel_of, marked, send_test
from domain.channel import Channel
from domain.message import Rendered
from simulator.providers.faults import FaultRule
from simulator.providers.world import World
from storage import staff_sends
from tests.builders import the_bundle
from tests.channels.rig import APPLE_TOKEN, a_world_apart
from worker.releases import Release, compile_release
from worker.wiring import Spine

PHONE, MAIL = "+886 912-345-678", "Amy@staff.example"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world_apart(tmp_path / "outbox") as opened:
        yield opened


@pytest.fixture
def spine(tmp_path: Path, database_url: str, world: World) -> Iterator[Spine]:
    settings = Settings(
        home=tmp_path, staff_addresses=f"{PHONE},{MAIL},{APPLE_TOKEN}", user="amy", sandbox_http_url=world.http_url,
        sandbox_smtp_url=world.smtp_url, sandbox_apns_url=world.apns_url,
        sandbox_apns_certificate_file=world.apns_certificate,
    )  # fmt: skip
    opened = Spine(settings, database_url, role="tests")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def release() -> Release:
    return compile_release(the_bundle())


def send(spine: Spine, release: Release, to: str, locale: str = "en") -> tuple[str, str]:
    address = allowed(spine.settings, to)
    lender = release.lenders["lantern"]
    return send_test(spine, release, lender, "upcoming", channel_of(to), locale, address)


def test_a_test_is_sent_marked_on_each_channel_and_leaves_a_trail_but_no_contact(
    spine: Spine, release: Release, world: World
) -> None:
    outcomes = [send(spine, release, to, "zh-Hant")[0] for to in ("+886912345678", "amy@STAFF.example", APPLE_TOKEN)]

    text, mail, push = world.outbox.shown
    assert outcomes == ["sent", "sent", "sent"]
    assert text.text.startswith(MARK)
    assert (mail.to, mail.subject.startswith(MARK), mail.text.startswith(NOTICE)) == (MAIL, True, True)
    assert push.text.count("4821") == 0
    assert [row[1:] for row in staff_sends.latest(spine.conn, 5)][::-1] == [
        ("amy", "upcoming", channel, "sent") for channel in ("sms", "email", "push")
    ]
    assert spine.conn.execute("SELECT count(*) FROM contact").fetchone() == (0,)


def test_an_address_that_is_not_on_the_list_is_refused_and_not_repeated(spine: Spine) -> None:
    for stranger in ("+886912345679", "amy@staff.example.org", "", "staff.example"):
        with pytest.raises(NotStaff) as refused:
            allowed(spine.settings, stranger)

        assert not stranger or stranger not in str(refused.value)


def test_what_the_provider_says_is_told_and_kept_in_the_trail(spine: Spine, release: Release, world: World) -> None:
    world.faults.arm([FaultRule(channel="sms", kind="refuse", code="21614")])

    outcome, said = send(spine, release, PHONE)

    assert (outcome, "21614" in said, world.outbox.last) == ("rejected", True, 0)
    assert spine.conn.execute("SELECT outcome, code FROM staff_send").fetchall() == [("rejected", "21614")]
    assert b"912345678" not in spine.conn.execute("SELECT address_lookup FROM staff_send").fetchone()[0]


def test_the_mark_stands_inside_the_page_of_a_mail() -> None:
    html = '<html><head></head><body class="x"><p>words</p></body></html>'

    mail = marked(Rendered(Channel.EMAIL, "en", "words", subject="A reminder", html=html))

    assert mail.html is not None
    assert mail.html.index("<body") < mail.html.index(NOTICE) < mail.html.index("<p>words")
