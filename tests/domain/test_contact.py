"""The state of a contact is a fold over what happened to it, in whatever order it was heard of."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

from hypothesis import given
from hypothesis import strategies as st

from domain.contact import EventKind, fold, new_contact_id, new_contact_ids

EVENTS = st.lists(st.sampled_from(EventKind))


@given(EVENTS, st.randoms(), EVENTS)
def test_late_early_and_repeated_events_change_nothing(events: list[EventKind], random, repeated: list[EventKind]):
    again = [*events, *(event for event in repeated if event in events)]
    random.shuffle(again)

    assert fold(again) == fold(events)


@given(EVENTS)
def test_proof_of_acceptance_beats_a_time_out(events: list[EventKind]):
    doubts = {EventKind.RELEASED, EventKind.UNCERTAIN, EventKind.REJECTED}

    assert fold([*events, EventKind.UNCERTAIN, EventKind.SENT]) not in doubts


@given(st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC)))
def test_ids_carry_their_time_and_sort_by_it(at: datetime):
    first, later = new_contact_id(at), new_contact_id(at + timedelta(milliseconds=1))

    assert (first.version, first.variant) == (7, "specified in RFC 4122")
    assert first.int >> 80 == int(at.timestamp() * 1000)
    assert first < later


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.integers(0, 200))
def test_a_whole_batchs_ids_are_as_different_as_ids_made_one_by_one(at: datetime, number: int) -> None:
    ids = new_contact_ids(at, number)

    assert len({each.int & (1 << 62) - 1 for each in ids}) == len(ids) == number, "chance differs in each"
    assert all(each.version == 7 and each.variant == RFC_4122 for each in ids)
    assert all(each.int >> 80 == int(at.timestamp() * 1000) for each in ids)
