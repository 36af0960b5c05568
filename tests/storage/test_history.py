"""A party's history comes back as it was written, whoever wrote it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.case import PastContact
from domain.channel import Channel
from domain.contact import OUTCOME_OF, TELLING, EventKind, Outcome, fold, new_contact_id
from domain.purpose import Actor, Direction, Purpose
from storage import history

Connection = psycopg.Connection[Any]
NOW = datetime(2026, 3, 10, 4, tzinfo=UTC)

CONTACTS = st.tuples(
    st.timedeltas(timedelta(0), timedelta(days=30)),
    st.sampled_from(Channel),
    st.sampled_from(Purpose),
    st.sampled_from(Actor),
    st.none() | st.binary(min_size=1, max_size=16),
    st.lists(st.integers(1, 2**40), max_size=3),
    st.lists(st.sampled_from(EventKind), max_size=3, unique=True),
)


def written(connection: Connection, party: int, contact: Any) -> PastContact:
    """One contact with its events, by plain INSERT; what is to come back of it."""
    ago, channel, purpose, actor, lookup, accounts, kinds = contact
    at, contact_id = NOW - ago, new_contact_id(NOW - ago)
    row = connection.execute(
        """
        INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, address_lookup,
                             purpose, rule, pack, account_ids)
        VALUES (%s, %s, %s, 1, 'lantern', %s, %s, %s, %s, 'r', 'p', %s) RETURNING entry
        """,
        (party, contact_id, at, actor.value, channel.value, lookup, purpose.value, accounts),
    ).fetchone()
    assert row is not None
    facts = history.facts_of(channel.value, purpose.value, actor.value, "lantern", lookup, accounts)
    assert row[0] == history.entry_of(at, contact_id, facts), "the dispatcher and the database pack alike"
    for kind in kinds:
        connection.execute(
            "INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at) "
            "VALUES (%s, %s, %s, %s, 'x', %s)",
            (party, contact_id, at, kind.value, at),
        )
    last = fold(kinds)
    outcome = OUTCOME_OF[last] if last is not None and TELLING & set(kinds) else Outcome.INTENDED
    return PastContact(
        at, channel, outcome, tuple(map(str, accounts)), lookup.hex() if lookup else None, Direction.OUT, purpose,
        actor, "lantern",
    )  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contacts=st.lists(CONTACTS, max_size=6))
def test_what_was_written_comes_back_folded_and_in_order(connection: Connection, contacts: list[Any]) -> None:
    with connection.transaction(force_rollback=True):
        expected = sorted((written(connection, 7, contact) for contact in contacts), key=lambda past: past.at)
        written(connection, 8, (timedelta(days=1), Channel.SMS, Purpose.REMINDER, Actor.CREDITOR, b"x", [5], []))

        past = read(connection, 7)
        packed = dict(connection.execute(history.READ, ([7], NOW - timedelta(days=40))).fetchall())

    assert sorted(past, key=str) == sorted(expected, key=str)
    assert [each.at for each in past] == [each.at for each in expected]
    unread = history.unpack(7, packed.get(7, b""), {})
    assert [unread.latest(number) for number in range(len(unread), 0, -1)] == [each.at for each in expected]
    assert unread.latest(len(unread) + 1) is None


def test_older_contacts_are_left_out(connection: Connection) -> None:
    written(connection, 7, (timedelta(days=29), Channel.SMS, Purpose.REMINDER, Actor.CREDITOR, None, [5], []))

    assert read(connection, 7, days=28) == []
    assert len(read(connection, 7, days=30)) == 1


def test_entries_are_read_when_asked_for_and_what_is_added_comes_after_them(connection: Connection) -> None:
    earlier, later = (
        written(connection, 7, (timedelta(days=days), Channel.SMS, Purpose.REMINDER, Actor.CREDITOR, None, [5], []))
        for days in (2, 1)
    )
    packed = connection.execute(history.READ, ([7], NOW - timedelta(days=9))).fetchall()[0][1]

    past = history.unpack(7, packed, {})
    past.append(earlier.at, lambda: earlier)

    assert [past.latest(number) for number in (1, 2, 3, 4)] == [later.at, earlier.at, earlier.at, None]
    assert (len(past), list(past), past[-1]) == (3, [earlier, later, earlier], earlier)


def test_a_past_that_is_cut_short_spoils_nobody_elses() -> None:
    whole = history.entry_of(NOW, new_contact_id(NOW), b"x" * 40)
    cut = history.entry_of(NOW, new_contact_id(NOW), b"x" * 60)[: len(whole)]

    history.unpack(7, cut, {})

    assert history.unpack(8, whole, {}).latest(1) == NOW


def read(connection: Connection, party: int, *, days: int = 40) -> list[PastContact]:
    since = NOW - timedelta(days=days)
    telling = connection.execute(history.TELLING, ([party], since)).fetchone()
    rows: list[tuple[int, UUID, str]] = connection.execute(history.TOLD, telling).fetchall() if telling else []
    told = history.told(rows)
    packed = connection.execute(history.READ, ([party], since)).fetchall()
    return [entry for party_id, entries in packed for entry in history.unpack(party_id, entries, told)]
