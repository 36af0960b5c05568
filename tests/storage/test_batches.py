"""The letters of a batch as columns: a wave's piece says what its letters say one by one."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from domain.channel import Channel
from domain.contact import EventKind
from domain.ladder import Stage
from domain.reminder import NewReminder, ReminderState
from storage import waves, wire
from storage.batches import Sheet
from storage.intents import Intent

NUMBERS = st.integers(1, 1 << 40)
MOMENTS = st.sampled_from([datetime(2026, 3, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, 2, tzinfo=UTC)])


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    covers = draw(st.integers(1, 3))
    ids = tuple(draw(st.lists(NUMBERS, min_size=covers, max_size=covers)))
    return Intent(
        draw(NUMBERS), uuid4(), draw(MOMENTS), draw(NUMBERS), draw(st.sampled_from(["lantern", "northbank"])),
        "creditor", draw(st.sampled_from([Channel.SMS, Channel.EMAIL])), None, None, "reminder", "m", "en", "initial",
        "r", "p", (), (), draw(st.none() | MOMENTS), draw(st.integers(0, 9)), "", {"attempt": 1}, b"", ids, ids,
        ("first",) * covers, ("initial",) * covers,
    )  # fmt: skip


@st.composite
def steps(draw: st.DrawFn) -> NewReminder:
    return NewReminder(
        draw(NUMBERS), draw(NUMBERS), "lantern", "standard", draw(st.sampled_from(["first", "second"])),
        draw(st.sampled_from(Stage)), draw(st.sampled_from([Channel.SMS, Channel.EMAIL])), 0, draw(MOMENTS),
        draw(MOMENTS),
    )  # fmt: skip


LETTERS = st.lists(st.tuples(intents(), st.lists(steps(), max_size=2).map(tuple)), min_size=1, max_size=8)
ALIKE = st.tuples(intents(), st.lists(steps(), min_size=1, max_size=1).map(tuple)).map(lambda letter: [letter] * 4)


def accepted(intent: Intent, provider: str, ref: str) -> waves.Result:
    return waves.Result(
        intent.party_id, intent.contact_id, intent.intended_at, intent.reminder_ids, EventKind.SENT,
        ReminderState.SENT, provider, ref, None,
    )  # fmt: skip


@given(LETTERS | ALIKE, st.data())
def test_a_piece_of_the_columns_says_what_its_letters_say_one_by_one(
    letters: list[tuple[Intent, tuple[NewReminder, ...]]], data: st.DataObject
) -> None:
    batch_id = uuid4()
    sheet = Sheet(batch_id, [intent for intent, _ in letters], [following for _, following in letters])
    start = data.draw(st.integers(0, len(letters) - 1))
    end = data.draw(st.integers(start + 1, len(letters)))
    piece = letters[start:end]
    providers = data.draw(st.lists(st.sampled_from("ab"), min_size=len(piece), max_size=len(piece)))
    refs = [f"ref {number}" for number in range(len(piece))]

    record = sheet.accepted(start, end, providers=providers, refs=refs)

    results = [accepted(*each) for each in zip([intent for intent, _ in piece], providers, refs, strict=True)]
    following = [step for _, its in piece for step in its]
    told, ended, follow = waves.record_of(batch_id, results, following)
    assert (record.told, record.ended) == (told, ended)
    assert record.following == follow if following else record.following[5:] == follow[5:]
    alone = Sheet(batch_id, [intent for intent, _ in piece], [its for _, its in piece])
    assert sheet.asked(start, end) == alone.asked(0, len(piece))
    channels = {intent.channel for intent, _ in piece}
    assert sheet.channel(start, end) == (channels.pop() if len(channels) == 1 else None)
    assert sheet.reminders(start, end) == sum(len(intent.reminder_ids) for intent, _ in piece)


@given(LETTERS)
def test_what_is_held_is_each_reminder_with_its_own_party_and_contact(
    letters: list[tuple[Intent, tuple[NewReminder, ...]]],
) -> None:
    held = [intent for intent, _ in letters]

    parties, reminders, contacts = Sheet(uuid4(), held, [() for _ in held]).held()

    rows: list[tuple[int, int, UUID]] = [(i.party_id, each, i.contact_id) for i in held for each in i.reminder_ids]
    assert parties == wire.int8_array([row[0] for row in rows])
    assert reminders == wire.int8_array([row[1] for row in rows])
    assert contacts == wire.uuid_array([row[2] for row in rows])


def test_the_wave_after_the_last_letter_asks_for_nobody() -> None:
    sheet = Sheet(uuid4(), [], [])

    assert sheet.asked(0, 0).contact_ids == []
    assert sheet.reminders(0, 0) == 0
