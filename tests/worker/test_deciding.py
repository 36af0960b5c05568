"""Parties are decided about side by side, and what is decided about one never depends on who is beside it."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from domain.channel import AddressChannel
from domain.contact import new_contact_id
from domain.money import MAX_MINOR
from messages.facts import Facts
from storage import history
from storage.picture import Due, Picture, Reach, Standing, Stop
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, the_bundle
from worker.cases import Scene
from worker.deciding import ABREAST, Decisions, decide
from worker.letters import Letter
from worker.releases import compile_release

RELEASE = compile_release(the_bundle())
KEYS = Keyring({"k": bytes(32)}, bytes(32))
SCENE = Scene(TUESDAY_MORNING, RELEASE, RELEASE.lenders["lantern"], KEYS)


class Read(NamedTuple):
    """What was read about one party."""

    due: list[Due]
    reaches: list[Reach]
    standings: list[Standing]
    stops: list[Stop]
    packed: bytes = b""


def plain(party: int) -> Read:
    """Somebody who gets a text message."""
    key, master, wrapped = KEYS.new_customer_key()
    phone = f"+886912{party:06d}"
    lookup = KEYS.lookup(AddressChannel.PHONE, phone)
    given = datetime(2025, 1, 1, tzinfo=UTC)
    at = TUESDAY_MORNING - timedelta(minutes=30)
    due = Due(
        party, 10 * party, 100 * party, "standard", "first_notice", "initial", "sms", 1, at, at + timedelta(days=3),
        party, f"NB-{party:06d}", "card", "TWD", (9_000 + party) * 100, date(2026, 2, 27), "open", at, "zh-Hant", "TW",
        ["Asia/Taipei"], at, None, None, None, key.seal(f"Ana {'Bo' * (party % 3)}".encode()), master, wrapped, at,
    )  # fmt: skip
    reach = Reach(party, party, party, "phone", "mobile", key.seal(phone.encode()), lookup, "TW", ["Asia/Taipei"])
    return Read([due], [reach], [Standing(party, party, "sms", lookup, "reminder", given, None)], [])


def of_due(**changes: Any) -> Callable[[int], Read]:
    def made(party: int) -> Read:
        read = plain(party)
        return read._replace(due=[replace(read.due[0], **changes)])

    return made


def with_another(**changes: Any) -> Callable[[int], Read]:
    """A second debt of the same customer."""

    def made(party: int) -> Read:
        read = plain(party)
        first = read.due[0]
        more = {"reminder_id": first.reminder_id + 1, "account_id": first.account_id + 1, **changes}
        return read._replace(due=[first, replace(first, **more)])

    return made


def two_customers(party: int) -> Read:
    """A household: one party, two customers, one history."""
    one, other = plain(party), plain(party)
    third = {"customer_id": -party, "reminder_id": 10 * party + 1, "account_id": 100 * party + 1}
    return Read(
        [*other.due, replace(one.due[0], **third)],
        [*other.reaches, replace(one.reaches[0], customer_id=-party, address_id=-party)],
        [*other.standings, replace(one.standings[0], customer_id=-party)],
        [],
    )


def contacted_before(times: int) -> Callable[[int], Read]:
    def made(party: int) -> Read:
        read = plain(party)
        facts = history.facts_of("sms", "reminder", "creditor", "lantern", read.reaches[0].lookup, [100 * party])
        days = [TUESDAY_MORNING - timedelta(days=n + 1) for n in range(times)]
        return read._replace(packed=b"".join(history.entry_of(at, new_contact_id(at), facts) for at in days))

    return made


def held(party: int) -> Read:
    stop = Stop(party, None, "dispute", TUESDAY_MORNING - timedelta(days=1), None)
    return plain(party)._replace(stops=[stop])


def without(**changes: Any) -> Callable[[int], Read]:
    return lambda party: plain(party)._replace(**changes)


def under_another_key(party: int) -> Read:
    return plain(party)._replace(reaches=plain(party).reaches)


#: How it may be with a party, and what should come of its first reminder.
SITUATIONS: dict[str, Callable[[int], Read]] = {
    "plain": plain,
    "two debts": with_another(),
    "two currencies": with_another(currency="USD"),
    "two stages": with_another(step="options", stage="middle"),
    "two customers": two_customers,
    "paid": of_due(balance_minor=0),
    "closed": of_due(account_state="closed"),
    "expired": of_due(expires_at=TUESDAY_MORNING - timedelta(hours=1)),
    "a step that is gone": of_due(step="no_such_step"),
    "a ladder that is gone": of_due(ladder="no_such_ladder"),
    "erased": of_due(wrapped_key=None),
    "under another key": under_another_key,
    "no copy may say so much": of_due(balance_minor=MAX_MINOR + 1),
    "a language we lack": of_due(locale="xx"),
    "a place we do not know": of_due(residence="Atlantis"),
    "hours that are none": of_due(blocked_hours=[{"days": ["soon"]}]),
    "another key ring": of_due(master_key_id="lost"),
    "channel refused": of_due(refused_channels=["sms"]),
    "no address": without(reaches=[]),
    "no consent": without(standings=[]),
    "held": held,
    "contacted yesterday": contacted_before(1),
    "contacted for days": contacted_before(9),
}


def decided(reads: Sequence[Read], scene: Scene = SCENE) -> Decisions:
    picture = Picture(
        [row for read in reads for row in read.due],
        [row for read in reads for row in read.reaches],
        [row for read in reads for row in read.standings],
        [row for read in reads for row in read.stops],
        {read.due[0].party_id: read.packed for read in reads},
        {},
    )
    return decide(scene, picture, {read.due[0].party_id: 0 for read in reads})


def told(decisions: Decisions) -> dict[str, list[Any]]:
    """What was decided, in the order of the parties, less what is drawn anew each time."""
    lists: dict[str, list[Any]] = {
        "postponed": decisions.postponed, "ended": decisions.ended, "answers": decisions.answers,
        "tasks": decisions.tasks, "planned": decisions.planned, "stumbles": decisions.stumbles,
        "letters": [_told(letter) for letter in decisions.letters],
    }  # fmt: skip
    return {name: sorted(rows, key=repr) for name, rows in lists.items()}


def _told(letter: Letter) -> Any:
    anew = UUID(int=0)
    intent = replace(letter.intent, contact_id=anew, facts_sealed=b"")
    return asdict(intent), asdict(replace(letter.outbound, contact_id=anew, decided=None)), letter.successors


@given(st.lists(st.sampled_from(sorted(SITUATIONS)), min_size=1, max_size=9))
@example(sorted(SITUATIONS))
def test_whoever_is_beside_them_the_same_is_decided_about_each(situations: list[str]) -> None:
    reads = [SITUATIONS[each](number + 1) for number, each in enumerate(situations)]

    together = told(decided(reads))
    alone = [told(decided([read])) for read in reads]

    for name, rows in together.items():
        assert rows == sorted([row for each in alone for row in each[name]], key=repr), name


def test_more_than_go_abreast_are_all_decided_about_and_each_is_told_their_own() -> None:
    reads = [plain(number + 1) for number in range(2 * ABREAST + 5)]

    letters = decided(reads).letters

    assert [letter.intent.party_id for letter in letters] == [read.due[0].party_id for read in reads]
    for letter, read in zip(letters, reads, strict=True):
        row, reach = read.due[0], read.reaches[0]
        key = KEYS.open_customer_key(row.master_key_id or "", row.wrapped_key or b"")
        facts = Facts.from_json(key.open(letter.intent.facts_sealed))
        assert letter.outbound.to.encode() == key.open(reach.sealed)
        assert facts.customer_name.encode() == key.open(row.name_sealed or b"")
        assert facts.debts[0].ref == row.account_ref[-4:]
        assert f"{9_000 + row.party_id:,}元" in letter.outbound.rendered.text
        assert letter.intent.reminder_ids == (row.reminder_id,)
        assert letter.intent.address_lookup == reach.lookup


@pytest.mark.parametrize("situation", ["hours that are none", "no copy may say so much", "erased", "another key ring"])
def test_one_that_cannot_be_decided_about_takes_no_letter_from_the_others(situation: str) -> None:
    reads = [plain(1), SITUATIONS[situation](2), plain(3)]

    decisions = decided(reads)

    assert [letter.intent.party_id for letter in decisions.letters] == [1, 3]
    others = {each.party_id for each in (*decisions.ended, *decisions.answers, *decisions.stumbles)}
    assert others == {2}


def test_the_second_message_to_a_party_is_judged_with_the_first_on_record() -> None:
    decisions = decided([SITUATIONS["two currencies"](1), two_customers(2)])

    assert [letter.intent.party_id for letter in decisions.letters] == [1, 2], "one a day"
    assert sorted(each.party_id for each in decisions.postponed) == [1, 2]
