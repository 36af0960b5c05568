"""Releases under people who receive them: words that change while reminders leave, and what can be shown afterwards."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.experiments import load_experiments
from domain.bundle import Bundle
from domain.channel import AddressChannel, Channel
from domain.experiment import Arm
from domain.lane import Lane
from storage import experiments, lanes, ledger, releases, switches
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_customer, a_reminder, an_account, the_bundle
from tests.rehearsal import Fleet, Sandbox
from worker import approvals, backtest, dispatch, nightly
from worker.approvals import Role
from worker.cases import Scene
from worker.experiments import arm_of
from worker.releases import compile_release
from worker.showing import Likeness, show
from worker.signatures import load_signer, make_key
from worker.wiring import Spine, keyring


def reworded(bundle: Bundle, before: str = "Hi {{ name }}", after: str = "Good day {{ name }}") -> Bundle:
    """The same release in which everybody is greeted otherwise."""
    files = {path: text.replace(before, after) for path, text in bundle.files.items()}
    assert files != bundle.files
    return Bundle(files)


def make_live(fleet: Fleet, bundle: Bundle) -> None:
    releases.propose(fleet.conn, bundle, by="tests")
    approvals.publish(fleet.conn, bundle.hash, by="tests")


def drain_all(spine: Spine, *channels: Channel) -> None:
    """Everything that is due at this moment."""
    for channel in channels or (Channel.SMS, Channel.EMAIL):
        dispatch.drain(spine, Lane("lantern", channel, 0))


def received(sandbox: Sandbox) -> dict[UUID, dict]:
    with urlopen(f"{sandbox.http_url}/sandbox/messages?after=0", timeout=5) as answer:
        return {UUID(message["contact"]): message for message in json.load(answer)["messages"]}


def somebody(fleet: Fleet, number: int, channel: Channel = Channel.SMS) -> MadeCustomer:
    reached_by = AddressChannel.EMAIL if channel is Channel.EMAIL else AddressChannel.PHONE
    made = a_customer(fleet.conn, keyring(fleet.settings), number, reached_by=[reached_by])
    a_reminder(fleet.conn, made, an_account(fleet.conn, made), channel=channel)
    return made


@pytest.fixture
def spine(fleet: Fleet):
    made = fleet.spine()
    yield made
    made.close()


def test_what_was_sent_is_shown_again_byte_for_byte_after_other_words_went_live(
    fleet: Fleet, sandbox: Sandbox, spine: Spine
):
    gone = somebody(fleet, 1)
    somebody(fleet, 2, Channel.EMAIL)
    drain_all(spine)
    make_live(fleet, reworded(the_bundle()))
    somebody(fleet, 3)
    drain_all(spine)

    messages = received(sandbox)
    assert len(messages) == 3
    assert len({ledger.contact(fleet.conn, contact).release_hash for contact in messages}) == 2
    for contact, message in messages.items():
        shown = show(spine, ledger.contact(fleet.conn, contact).sealed)
        assert shown.likeness is Likeness.PROVEN
        assert as_received(shown.rendered.text) == as_received(message["text"])
        assert shown.rendered.subject == message["subject"]
    greetings = Counter(message["text"].split()[0] for message in messages.values() if message["channel"] == "sms")
    assert greetings == {"Hi": 1, "Good": 1}

    sealed = ledger.contact(fleet.conn, next(iter(messages))).sealed  # not passed off as what was sent, if it is not
    assert show(spine, sealed._replace(release_hash=reworded(the_bundle()).hash)).likeness is Likeness.CHANGED
    assert show(spine, sealed._replace(proof=None)).likeness is Likeness.UNPROVEN
    assert show(spine, sealed._replace(release_hash="0" * 64)).likeness is Likeness.UNREADABLE

    fleet.conn.execute("UPDATE customer_key SET wrapped_key = NULL WHERE party_id = %s", (gone.party_id,))
    likenesses = [show(spine, ledger.contact(fleet.conn, contact).sealed).likeness for contact in messages]
    assert sorted(likenesses) == ["erased", "proven", "proven"]


def as_received(text: str) -> str:
    """Mail travels with CRLF and ends with a line end; a text message is what it is."""
    return text.replace("\r\n", "\n").rstrip("\n")


def test_a_scheduled_release_comes_and_goes_by_itself_between_two_reminders(
    fleet: Fleet, sandbox: Sandbox, spine: Spine
):
    shipped = releases.live_hash(fleet.conn)
    other = reworded(the_bundle())
    releases.propose(fleet.conn, other, by="tests")
    begins, ends = TUESDAY_MORNING + timedelta(hours=1), TUESDAY_MORNING + timedelta(hours=3)
    switches.plan(fleet.conn, "go_live", other.hash, begins, until=ends, by="tests")

    live = []
    for number, at in enumerate((TUESDAY_MORNING, begins, ends), start=1):
        lanes.step_clock(fleet.conn, at)
        nightly.run_due(spine)
        somebody(fleet, number)
        drain_all(spine)
        live.append(releases.live_hash(fleet.conn))

    assert live == [shipped, other.hash, shipped]
    told = fleet.conn.execute("SELECT release_hash FROM contact ORDER BY intended_at").fetchall()
    assert [row[0] for row in told] == live
    assert lanes.next_moment(fleet.conn) > ends


def test_a_worker_writes_in_approved_words_whatever_the_database_says_is_live(
    fleet: Fleet, sandbox: Sandbox, spine: Spine, tmp_path: Path
):
    shipped = releases.live_hash(fleet.conn)
    make_key(tmp_path / "olga", passphrase=None)
    olga = load_signer("olga", tmp_path / "olga", passphrase=None)
    approvals.register(
        fleet.conn, "olga", full_name="Olga", roles=[Role.OPERATOR], public_key=olga.public_key, signer=olga,
        at=TUESDAY_MORNING,
    )  # fmt: skip
    other = reworded(the_bundle())
    releases.propose(fleet.conn, other, by="mallory")
    fleet.conn.execute("ALTER TABLE release DISABLE TRIGGER release_stands")  # past all doors
    releases.go_live(fleet.conn, other.hash, by="mallory")

    somebody(fleet, 1)
    drain_all(spine)

    assert [message["text"].split()[0] for message in received(sandbox).values()] == ["Hi"]
    assert fleet.conn.execute("SELECT release_hash FROM contact").fetchall() == [(shipped,)]


# ------------------------------------------------------------------------------------------------ champion, challenger


WARMER = """
id = "warmer"
message = "first_notice"
challenger = "first_notice_warm"
percent = {percent}
begins = 2026-03-01T00:00:00Z
ends = 2026-03-04T00:00:00Z
"""


def with_challenger(percent: int) -> Bundle:
    files = dict(the_bundle().files)
    for path, text in the_bundle().files.items():
        if path.startswith("templates/first_notice/"):
            files[path.replace("first_notice/", "first_notice_warm/")] = text.replace(" has not come in", " is missing")
    return Bundle({**files, "experiments/warmer.toml": WARMER.format(percent=percent)})


def test_a_share_of_customers_reads_the_challenger_and_each_contact_says_so(
    fleet: Fleet, sandbox: Sandbox, spine: Spine
):
    make_live(fleet, with_challenger(50))
    for number in range(1, 25):
        somebody(fleet, number)
    drain_all(spine)

    messages = received(sandbox)
    arms: Counter[str] = Counter()
    for contact, message in messages.items():
        found = ledger.contact(fleet.conn, contact)
        arms[found.experiment["arm"]] += 1
        assert found.message == {"champion": "first_notice", "challenger": "first_notice_warm"}[found.experiment["arm"]]
        assert ("is missing" in message["text"]) == (found.experiment["arm"] == "challenger")
        assert show(spine, found.sealed).rendered.text == message["text"]
    assert arms.total() == 24
    assert min(arms["champion"], arms["challenger"]) > 2
    counted = {arm.arm: (arm.people, arm.contacts) for arm in experiments.arms(fleet.conn, "warmer")}
    assert counted == {arm: (number, number) for arm, number in arms.items()}

    lanes.step_clock(fleet.conn, datetime(2026, 3, 4, 2, 0, tzinfo=UTC))  # the experiment is over
    late = somebody(fleet, 99)
    drain_all(spine)
    last = fleet.conn.execute("SELECT message, inputs FROM contact WHERE party_id = %s", (late.party_id,)).fetchone()
    assert last[0] == "first_notice"
    assert "experiment" not in last[1]


@given(customer=st.integers(1, 2**62), less=st.integers(1, 98), key=st.binary(min_size=32, max_size=32))
def test_a_customer_stays_on_the_arm_that_they_were_drawn_for(customer: int, less: int, key: bytes):
    """The same answer every time; a larger share takes more people and lets nobody of the smaller one go."""
    ring = Keyring({"k1": bytes(32)}, key)
    scene = Scene.__new__(Scene)
    object.__setattr__(scene, "keyring", ring)
    few, many = (
        load_experiments({"warmer.toml": WARMER.format(percent=share)})["first_notice"] for share in (less, less + 1)
    )

    assert arm_of(scene, few, customer) is arm_of(scene, few, customer)
    if arm_of(scene, few, customer) is Arm.CHALLENGER:
        assert arm_of(scene, many, customer) is Arm.CHALLENGER


def test_the_share_is_what_it_says():
    scene = Scene.__new__(Scene)
    object.__setattr__(scene, "keyring", Keyring({"k1": bytes(32)}, bytes(range(32))))
    experiment = load_experiments({"warmer.toml": WARMER.format(percent=20)})["first_notice"]

    challenged = sum(arm_of(scene, experiment, customer) is Arm.CHALLENGER for customer in range(20_000))

    assert 0.19 < challenged / 20_000 < 0.21


# -------------------------------------------------------------------------------------------------------- the back-test


def capped(limit_a_day: int, limit_a_week: int) -> Bundle:
    """The package's own release with other caps on contacts."""
    files = dict(the_bundle().files)
    head, day, rest = files["policies/baseline.toml"].partition('id = "baseline.contacts.day"')
    rest = rest.replace("limit = 1", f"limit = {limit_a_day}", 1).replace("limit = 3", f"limit = {limit_a_week}", 1)
    files["policies/baseline.toml"] = head + day + rest
    return Bundle(files)


@pytest.fixture
def three_weeks(fleet: Fleet, spine: Spine) -> datetime:
    """Three weeks of somebody with three debts, somebody who paid, somebody on hold; when they are over."""
    keys = keyring(fleet.settings)
    for number, steps in enumerate((3, 1, 2, 1), start=1):
        made = a_customer(fleet.conn, keys, number)
        for debt in range(1, steps + 1):
            account = an_account(fleet.conn, made, debt, due_on=TUESDAY_MORNING.date() - timedelta(days=debt))
            a_reminder(fleet.conn, made, account, due_at=TUESDAY_MORNING + timedelta(minutes=30 * debt))
        if number == 2:
            fleet.conn.execute(
                "INSERT INTO hold (party_id, kind, reason, source, since, ends_at) "
                "VALUES (%s, 'reply', 'wrote to us', 'tests', %s, %s)",
                (made.party_id, TUESDAY_MORNING, TUESDAY_MORNING + timedelta(days=9)),
            )
    over = TUESDAY_MORNING + timedelta(days=21)
    now = TUESDAY_MORNING
    while now < over:
        lanes.step_clock(fleet.conn, now)
        drain_all(spine, Channel.SMS, Channel.EMAIL, Channel.PUSH)
        now = min(lanes.next_moment(fleet.conn) or over, over)
    lanes.step_clock(fleet.conn, over)
    return over


def test_a_replay_under_what_was_live_is_what_happened_and_other_caps_change_it(fleet: Fleet, three_weeks: datetime):
    live = compile_release(the_bundle())
    span = {"since": TUESDAY_MORNING - timedelta(days=1), "until": three_weeks}
    contacts = fleet.conn.execute("SELECT count(*) FROM contact").fetchone()[0]

    same = backtest.run(fleet.conn, live, live, **span)
    looser = backtest.run(fleet.conn, live, compile_release(capped(3, 9)), **span)
    tighter = backtest.run(fleet.conn, live, compile_release(capped(1, 1)), **span)

    assert (same.agreeing, same.live.number) == (same.reminders, contacts)
    assert (same.live.contacts, same.live.ends) == (same.proposed.contacts, same.proposed.ends)
    assert (same.breaking, same.people["same"]) == (0, same.parties)
    assert looser.people["more"] + looser.people["other_times"] > 0
    assert looser.broken.keys() & {"baseline.contacts.day", "baseline.contacts.week"}
    assert looser.proposed.number > looser.live.number
    assert tighter.people["fewer"] > 0
    assert max(tighter.proposed.worst_weeks) == 1
    assert tighter.breaking == 0
