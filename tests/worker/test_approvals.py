"""Two persons, always: who may do what to a release, and what the worker that adopts one believes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import psycopg
import pytest

from domain.bundle import Bundle
from storage import database, releases, switches, users
from storage.rows import Conn
from tests.builders import a_small_bundle
from worker import approvals
from worker.approvals import Grounds, NotApproved, NotYourPart, Role
from worker.releases import BadRelease, LiveRelease, NoneStands, Release
from worker.signatures import BadKey, NeedsPassphrase, Signer, load_signer, make_key, read_public, read_statement
from worker.wiring import compiled_before_the_fork

NOW = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)


@pytest.fixture
def conn(database_url: str) -> Conn:
    with database.connect(database_url, autocommit=True) as opened:
        yield opened


class House:
    """Three people, and an unapproved release that was live before they came."""

    def __init__(self, conn: Conn, folder: Path) -> None:
        self.conn = conn
        self.folder = folder
        self.shipped = a_small_bundle()
        releases.propose(conn, self.shipped, by="duly")
        approvals.publish(conn, self.shipped.hash, by="duly")
        self.olga = self.person("olga", Role.OPERATOR)
        self.erin = self.person("erin", Role.EDITOR, Role.APPROVER)
        self.anna = self.person("anna", Role.APPROVER, Role.EDITOR)

    def person(self, name: str, *roles: Role, key: str | None = None) -> Signer:
        path = self.folder / (key or name)
        make_key(path, passphrase=None)
        signer = load_signer(name, path, passphrase=None)
        by = getattr(self, "olga", signer)
        if key is None:
            approvals.register(
                self.conn, name, full_name=name.title(), roles=list(roles), public_key=signer.public_key, signer=by,
                at=NOW,
            )  # fmt: skip
        return signer

    def proposed(self, number: int = 1, *, by: Signer | None = None, draft: bool = False) -> str:
        bundle = changed(self.shipped, number)
        approvals.propose(self.conn, bundle, by or self.erin, at=NOW, why="clearer", draft=draft)
        return bundle.hash

    def approved(self, number: int = 1) -> str:
        release = self.proposed(number)
        approvals.approve(self.conn, release, self.anna, at=NOW, why="")
        return release

    def live(self) -> str:
        live = releases.live_hash(self.conn)
        assert live is not None
        return live


def changed(bundle: Bundle, number: int) -> Bundle:
    words = bundle.files["templates/first_notice/sms.en.txt"]
    return Bundle({**bundle.files, "templates/first_notice/sms.en.txt": words + " " * number})


@pytest.fixture
def house(conn: Conn, tmp_path: Path) -> House:
    return House(conn, tmp_path / "keys")


def test_a_release_goes_live_by_three_hands(house: House):
    release = house.approved()

    admission = approvals.go_live(house.conn, release, house.olga, at=NOW, why="Monday's copy")

    assert (admission.grounds, admission.proposer, admission.approver) == (Grounds.APPROVED, "erin", "anna")
    assert house.live() == release
    told = [(h.kind, h.by_whom, h.is_signed) for h in releases.happenings(house.conn)]
    assert told[:3] == [("live", "olga", True), ("approved", "anna", True), ("proposed", "erin", True)]


def test_nobody_approves_their_own_proposal_not_even_past_our_code(house: House):
    release = house.proposed()

    with pytest.raises(NotYourPart, match="another person"):
        approvals.approve(house.conn, release, house.erin, at=NOW, why="")
    forged = house.erin.sign("approved", release, at=NOW)
    with pytest.raises(psycopg.errors.CheckViolation, match="release_approval"):
        releases.approve(house.conn, release, "erin", forged, why="")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        house.conn.execute("INSERT INTO release_approval VALUES (%s, 'erin', 'anna')", (release,))
    with pytest.raises(psycopg.errors.CheckViolation, match="second person"):
        house.conn.execute("UPDATE release SET state = 'live' WHERE release_hash = %s", (release,))
    assert house.live() == house.shipped.hash


def test_two_signatures_of_one_person_are_not_two_persons_even_where_the_database_was_made_to_take_them(house: House):
    release = house.proposed()
    house.conn.execute("ALTER TABLE release_approval DROP CONSTRAINT release_approval_check")
    releases.approve(house.conn, release, "erin", house.erin.sign("approved", release, at=NOW), why="")

    with pytest.raises(NotApproved, match="nobody but its proposer"):
        approvals.go_live(house.conn, release, house.olga, at=NOW)


@pytest.mark.parametrize(
    ("who", "step", "says"),
    [("olga", "propose", "takes editor"), ("erin", "go_live", "takes operator"), ("olga", "approve", "takes approver")],
)
def test_each_step_takes_its_role(house: House, who: str, step: str, says: str):
    signer = getattr(house, who)
    release = house.proposed()
    steps = {
        "propose": lambda: house.proposed(2, by=signer),
        "approve": lambda: approvals.approve(house.conn, release, signer, at=NOW, why=""),
        "go_live": lambda: approvals.go_live(house.conn, release, signer, at=NOW),
    }

    with pytest.raises(NotYourPart, match=says):
        steps[step]()


def test_another_key_is_another_person(house: House):
    release = house.proposed()
    impostor = house.person("anna", key="stolen")

    with pytest.raises(NotYourPart, match="not the one that is registered"):
        approvals.approve(house.conn, release, impostor, at=NOW, why="")


@pytest.mark.parametrize("who", ["erin", "anna"])
@pytest.mark.parametrize("how", ["retired", "new key"])
def test_a_signature_of_somebody_who_left_lets_nothing_go_live(house: House, who: str, how: str):
    release = house.approved()
    if how == "retired":
        approvals.retire(house.conn, who, signer=house.olga, at=NOW)
    else:
        approvals.replace_key(house.conn, who, bytes(range(32)), signer=house.olga, at=NOW)

    with pytest.raises(NotApproved, match=who):
        approvals.go_live(house.conn, release, house.olga, at=NOW)
    assert house.live() == house.shipped.hash


def test_what_went_live_before_somebody_left_stays_live(house: House):
    release = house.approved()
    approvals.go_live(house.conn, release, house.olga, at=NOW)
    approvals.retire(house.conn, "anna", signer=house.olga, at=NOW)

    assert approvals.admit(house.conn, release).grounds is Grounds.APPROVED


def test_an_approval_is_of_that_content_and_of_no_other(house: House):
    release, other = house.approved(1), house.proposed(2)
    (deed,) = [each for each in releases.standing(house.conn, release).deeds if each.kind == "approved"]
    releases.approve(house.conn, other, "anna", deed.signed, why="")  # the same signature, under another release

    with pytest.raises(NotApproved, match="signed for something else"):
        approvals.go_live(house.conn, other, house.olga, at=NOW)


def test_a_changed_bundle_is_not_what_was_approved(house: House):
    release = house.approved()
    approvals.go_live(house.conn, release, house.olga, at=NOW)
    with pytest.raises(psycopg.errors.CheckViolation, match="never changes"):
        house.conn.execute("UPDATE release SET bundle = '' WHERE release_hash = %s", (release,))
    house.conn.execute("ALTER TABLE release DISABLE TRIGGER release_stands")
    house.conn.execute(
        "UPDATE release SET bundle = (SELECT bundle FROM release WHERE release_hash = %s) WHERE release_hash = %s",
        (house.shipped.hash, release),
    )

    with pytest.raises(releases.TamperedRelease, match="changed in the database"):
        releases.fetch(house.conn, release)


def test_a_worker_that_meets_an_unapproved_release_goes_on_with_the_one_before(house: House):
    good, bad = house.approved(1), house.proposed(2)
    approvals.go_live(house.conn, good, house.olga, at=NOW)
    worker = a_worker(house.conn)
    assert worker.at(good).hash == good
    force_live(house.conn, bad)

    assert worker.at(bad).hash == good
    assert a_worker(house.conn).at(bad).hash == good  # one that has just begun
    approvals.approve(house.conn, bad, house.anna, at=NOW, why="")
    assert a_worker(house.conn).at(bad).hash == bad


def test_a_worker_without_any_release_that_stands_sends_nothing(house: House):
    bad = house.proposed()
    house.conn.execute("UPDATE release SET kept = false")
    force_live(house.conn, bad)

    with pytest.raises(NoneStands, match="nothing is sent"):
        a_worker(house.conn).at(bad)


def test_a_release_that_was_compiled_before_the_fork_is_not_believed_for_that(house: House, database_url: str):
    good, bad = house.approved(1), house.proposed(2)
    approvals.go_live(house.conn, good, house.olga, at=NOW)
    force_live(house.conn, bad)
    ready = compiled_before_the_fork(database_url)
    assert ready.keys() == {bad}

    assert a_worker(house.conn, ready).at(bad).hash == good
    approvals.approve(house.conn, bad, house.anna, at=NOW, why="")
    assert a_worker(house.conn, ready).at(bad) is ready[bad]


def test_without_a_database_or_a_release_nothing_is_compiled_before_the_fork(conn: Conn, database_url: str):
    assert compiled_before_the_fork(database_url) == {}
    assert compiled_before_the_fork("postgresql://duly@127.0.0.1:1/duly") == {}


def a_worker(conn: Conn, ready: Mapping[str, Release] = MappingProxyType({})) -> LiveRelease:
    return LiveRelease(
        lambda hashed: releases.fetch(conn, hashed),
        admit=lambda hashed: approvals.admit(conn, hashed),
        before=lambda hashed: releases.lived_before(conn, hashed),
        ready=ready,
    )


def force_live(conn: Conn, release: str) -> None:
    """What somebody does who writes to the database past all doors."""
    conn.execute("ALTER TABLE release DISABLE TRIGGER release_stands")
    releases.go_live(conn, release, by="mallory")
    conn.execute("ALTER TABLE release ENABLE TRIGGER release_stands")


def test_what_was_live_when_the_first_user_came_is_kept_by_their_signature_and_can_be_gone_back_to(house: House):
    approvals.go_live(house.conn, house.approved(), house.olga, at=NOW)

    assert approvals.previous(house.conn) == house.shipped.hash
    admission = approvals.go_live(house.conn, house.shipped.hash, house.olga, at=NOW, kind="rolled_back")

    assert (admission.grounds, admission.approver) == (Grounds.KEPT, "olga")
    assert house.live() == house.shipped.hash


def test_nothing_is_published_without_approval_once_somebody_is_registered(house: House):
    with pytest.raises(NotYourPart, match="two persons"):
        approvals.publish(house.conn, house.shipped.hash, by="somebody")


def test_the_first_user_is_an_operator_who_registers_themselves(conn: Conn, tmp_path: Path):
    make_key(tmp_path / "eve", passphrase=None)
    eve = load_signer("eve", tmp_path / "eve", passphrase=None)

    with pytest.raises(NotYourPart, match="registers themselves"):
        approvals.register(
            conn, "eve", full_name="Eve", roles=[Role.EDITOR], public_key=eve.public_key, signer=eve, at=NOW
        )
    assert not users.has_users(conn)


def test_the_only_operator_stays_and_a_key_is_never_two_peoples(house: House):
    with pytest.raises(NotYourPart, match="only operator"):
        approvals.retire(house.conn, "olga", signer=house.olga, at=NOW)
    with pytest.raises(users.UserTaken, match="the key"):
        approvals.register(
            house.conn, "evil", full_name="Evil", roles=[Role.APPROVER], public_key=house.erin.public_key,
            signer=house.olga, at=NOW,
        )  # fmt: skip
    with pytest.raises(NotYourPart, match="takes operator"):
        approvals.retire(house.conn, "anna", signer=house.erin, at=NOW)


def test_a_draft_is_not_approved(house: House):
    release = house.proposed(draft=True)

    with pytest.raises(NotApproved, match="draft"):
        approvals.approve(house.conn, release, house.anna, at=NOW, why="")


# ------------------------------------------------------------------------------------------------------- at their times


def test_a_scheduled_release_goes_live_at_its_time_and_expires_at_its_end(house: House):
    release = house.approved()
    starts, until = NOW + timedelta(hours=1), NOW + timedelta(days=2)
    approvals.go_live(house.conn, release, house.olga, at=NOW, starts=starts, until=until, why="New Year")

    assert approvals.run_switches(house.conn, NOW) == 0
    assert house.live() == house.shipped.hash
    assert approvals.run_switches(house.conn, starts) == 1
    assert house.live() == release
    assert approvals.run_switches(house.conn, until) == 1
    assert house.live() == house.shipped.hash
    assert switches.waiting(house.conn) == []


def test_a_scheduled_release_is_verified_again_at_its_time(house: House):
    release = house.approved()
    approvals.go_live(house.conn, release, house.olga, at=NOW, starts=NOW)
    approvals.retire(house.conn, "anna", signer=house.olga, at=NOW)

    assert approvals.run_switches(house.conn, NOW) == 1
    assert house.live() == house.shipped.hash
    assert releases.happenings(house.conn)[0].kind == "go_live_refused"


def test_an_expiry_leaves_alone_what_another_release_has_replaced(house: House):
    first, second = house.approved(1), house.approved(2)
    approvals.go_live(house.conn, first, house.olga, at=NOW, until=NOW + timedelta(days=1))
    approvals.go_live(house.conn, second, house.olga, at=NOW)
    assert switches.waiting(house.conn) == []
    switches.plan(house.conn, "expire", first, NOW, until=None, by="olga")  # one that was not taken back with it

    assert approvals.run_switches(house.conn, NOW + timedelta(days=1)) == 1

    assert house.live() == second


# ------------------------------------------------------------------------------------------------------------- the keys


def test_a_key_file_is_its_owners_alone_and_may_be_locked(tmp_path: Path):
    path = tmp_path / "keys" / "ana"
    public = make_key(path, passphrase="a sentence of mine")

    assert load_signer("ana", path, passphrase="a sentence of mine").public_key == public
    assert read_public(str(path.with_name("ana.pub"))) == public
    with pytest.raises(NeedsPassphrase, match="locked"):
        load_signer("ana", path, passphrase=None)
    with pytest.raises(BadKey, match="passphrase is wrong"):
        load_signer("ana", path, passphrase="another sentence")
    with pytest.raises(BadKey, match="already"):
        make_key(path, passphrase=None)
    path.chmod(0o640)
    with pytest.raises(BadKey, match="chmod 600"):
        load_signer("ana", path, passphrase="a sentence of mine")


def test_a_statement_with_one_byte_changed_says_nothing(tmp_path: Path):
    make_key(tmp_path / "ana", passphrase=None)
    signed = load_signer("ana", tmp_path / "ana", passphrase=None).sign("approved", "f" * 64, at=NOW)

    assert read_statement(signed)["subject"] == "f" * 64
    assert read_statement(signed._replace(statement=signed.statement.replace(b"ffff", b"fffe", 1))) is None
    assert read_statement(signed._replace(signature=bytes(64))) is None


def test_what_does_not_compile_is_refused_by_the_worker_too(house: House):
    good = house.approved()
    approvals.go_live(house.conn, good, house.olga, at=NOW)
    worker = a_worker(house.conn)
    worker.at(good)
    broken = Bundle({path: text for path, text in house.shipped.files.items() if path != "channels.toml"})
    approvals.propose(house.conn, broken, house.erin, at=NOW, why="", draft=False)
    approvals.approve(house.conn, broken.hash, house.anna, at=NOW, why="")
    force_live(house.conn, broken.hash)

    assert worker.at(broken.hash).hash == good
    with pytest.raises(BadRelease, match=r"channels\.toml"):
        worker._adopt(broken.hash)
