"""Somebody who has had enough: one click in their mail program, or one word by text, and it is over."""

from collections.abc import Mapping
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from urllib.parse import urlsplit

from channels.base import Adapter, InboundMessage
from domain.channel import AddressChannel, Channel
from domain.lane import Lane, shard_of
from storage import inbox, lanes
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_reminder, an_account
from tests.console.caller import serving
from tests.rehearsal import Fleet, Sandbox
from worker import dispatch
from worker.arrivals import sealed_message
from worker.feedback import fold_inbox
from worker.releases import Release
from worker.wiring import Spine, keyring


def drain(fleet: Fleet, customer: MadeCustomer, channel: Channel) -> None:
    spine = fleet.spine()
    try:
        dispatch.drain(spine, Lane("lantern", channel, shard_of(customer.party_id)))
    finally:
        spine.close()


def test_one_click_in_a_mail_ends_the_mails(fleet: Fleet, sandbox: Sandbox, tmp_path: Path) -> None:
    keys = keyring(fleet.settings)
    customer = a_customer(fleet.conn, keys, reached_by=[AddressChannel.EMAIL])
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer, 1), channel=Channel.EMAIL)
    drain(fleet, customer, Channel.EMAIL)
    (mail,) = [message_from_bytes(path.read_bytes()) for path in tmp_path.rglob("*.eml")]
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = urlsplit("".join(mail["List-Unsubscribe"].split()).strip("<>"))

    with serving(fleet.settings, fleet.database_url) as caller:
        assert caller.ask("GET", link.path)[0] == 200  # a scanner follows links
        assert fold_inbox(fleet.conn, keys).taken == 0
        assert caller.ask("POST", link.path, b"List-Unsubscribe=One-Click")[0] == 200
    assert fold_inbox(fleet.conn, keys).opted_out == 1

    lanes.step_clock(fleet.conn, TUESDAY_MORNING + timedelta(days=1))
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer, 2), channel=Channel.EMAIL)
    drain(fleet, customer, Channel.EMAIL)

    assert sandbox.accepted() == 1
    assert fleet.conn.execute("SELECT rule FROM decision ORDER BY at DESC LIMIT 1").fetchone() == ("consent.withdrawn",)


class Interrupted(Spine):
    """A worker to whom something happens after it has committed its intents and before it stamps a wave."""

    def adapters(self, release: Release) -> Mapping[Channel, Adapter]:
        assert self.conn.execute("SELECT is_stamped FROM intended").fetchall() == [(False,)]
        self.happens()
        return super().adapters(release)


def test_a_stop_that_comes_between_the_judgement_and_the_send_is_heard(fleet: Fleet, sandbox: Sandbox) -> None:
    keys = keyring(fleet.settings)
    customer = a_customer(fleet.conn, keys, reached_by=[AddressChannel.PHONE])
    a_reminder(fleet.conn, customer, an_account(fleet.conn, customer))
    message = InboundMessage("twilio", "SM1", Channel.SMS, customer.phone, "+886900000000", "stop")
    inbox.store(fleet.conn, [sealed_message(keys, message)])
    spine = Interrupted(fleet.settings, fleet.database_url)
    spine.happens = lambda: fold_inbox(fleet.conn, keys)

    dispatch.drain(spine, Lane("lantern", Channel.SMS, shard_of(customer.party_id)))
    spine.close()

    assert sandbox.accepted() == 0
    assert fleet.conn.execute("SELECT state, reason FROM reminder WHERE step = 'first_notice'").fetchall() == [
        ("suppressed", "consent.withdrawn")
    ]
    assert fleet.conn.execute("SELECT kind FROM contact_event WHERE kind <> 'replied'").fetchall() == [("released",)]
