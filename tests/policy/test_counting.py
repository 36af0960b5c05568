"""Caps and waits against a slow, independent count by the calendar on the wall."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.case import PastContact
from domain.channel import Channel
from domain.contact import Outcome
from domain.purpose import Actor, Direction, Purpose
from domain.verdict import Allow
from policy.counting import Counts, counted_as
from policy.judge import judge
from policy.packs import RuleSet
from tests.policy.worlds import INSTANTS, a_book, a_case, a_past, a_rule, pasts, the_book, utc

#: Zones whose days never start twice, so that the wall clock's date is the local day.
PLAIN_ZONES = ("America/New_York", "Asia/Shanghai", "Africa/Cairo", "Asia/Kathmandu", "Europe/London", "Pacific/Apia")

WINDOWS = ("local_day", "rolling_days", "calendar_week", "calendar_month", "every_nth_day")


def a_cap(counts: str, subject: str, limit: int, window: str, length: int) -> RuleSet:
    days = f", length = {length}" if window in ("rolling_days", "every_nth_day") else ""
    body = f'counts = "{counts}"\nsubject = "{subject}"\nlimit = {limit}\nwindow = {{ kind = "{window}"{days} }}'
    return a_book(one=a_rule("one.cap", "cap", body)).named(["one"])


def counted_today(window: str, length: int, event: date, today: date) -> bool:
    """The independent reading: does an event of that day count on this one?"""
    match window:
        case "calendar_week":
            return event.isocalendar()[:2] >= today.isocalendar()[:2]
        case "calendar_month":
            return (event.year, event.month) >= (today.year, today.month)
        case "local_day":
            return event >= today
        case _:
            return (today - event).days < length


def concerns(entry: PastContact, subject: str) -> bool:
    if subject == "number":
        return entry.address in ("the address", None)
    return subject != "account" or "A1" in entry.accounts or not entry.accounts


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_cap_bars_exactly_when_the_wall_calendar_counts_it_full(data: st.DataObject) -> None:
    now = data.draw(INSTANTS)
    history = data.draw(st.lists(pasts(now), max_size=10))
    counts = data.draw(st.sampled_from(Counts))
    subject = data.draw(st.sampled_from(("number", "account", "person")))
    limit, length = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    window = data.draw(st.sampled_from(WINDOWS))
    zones = tuple(data.draw(st.lists(st.sampled_from(PLAIN_ZONES), min_size=1, max_size=2, unique=True)))

    verdict = judge(a_case(now, zones=zones, history=history), a_cap(counts, subject, limit, window, length))

    relevant = [
        e for e in history
        if e.direction is Direction.OUT and counts in counted_as(e.channel, e.outcome) and concerns(e, subject)
    ]  # fmt: skip
    full = [
        sum(counted_today(window, length, e.at.astimezone(zone).date(), now.astimezone(zone).date()) for e in relevant)
        >= limit
        for zone in map(ZoneInfo, zones)
    ]
    assert isinstance(verdict, Allow) == (not any(full))


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.REJECTED, set()),
        (Outcome.NO_ANSWER, {Counts.ATTEMPT}),
        (Outcome.BUSY, {Counts.ATTEMPT}),
        (Outcome.NOT_IN_SERVICE, {Counts.ATTEMPT}),
        (Outcome.VOICEMAIL, {Counts.ATTEMPT, Counts.CONNECTED, Counts.CONTACT}),
        (Outcome.THIRD_PARTY, {Counts.ATTEMPT, Counts.CONNECTED, Counts.CONTACT}),
        (Outcome.CONVERSATION, {Counts.ATTEMPT, Counts.CONNECTED, Counts.CONTACT, Counts.CONVERSATION}),
        (Outcome.INTENDED, {Counts.ATTEMPT, Counts.CONNECTED, Counts.CONTACT, Counts.CONVERSATION}),
        (Outcome.UNCERTAIN, {Counts.ATTEMPT, Counts.CONNECTED, Counts.CONTACT, Counts.CONVERSATION}),
    ],
)
def test_a_call_counts_as_the_careful_reading_of_its_outcome(outcome: Outcome, expected: set[Counts]) -> None:
    assert counted_as(Channel.CALL, outcome) == expected


@pytest.mark.parametrize("outcome", [Outcome.INTENDED, Outcome.UNCERTAIN, Outcome.SENT, Outcome.DELIVERED])
def test_a_message_counts_from_its_intent_on(outcome: Outcome) -> None:
    assert counted_as(Channel.SMS, outcome) == {Counts.ATTEMPT, Counts.MESSAGE, Counts.CONTACT}
    assert counted_as(Channel.LETTER, outcome) == {Counts.ATTEMPT, Counts.CONTACT}


def test_lender_and_agency_share_the_daily_calls_of_china() -> None:
    past = tuple(
        a_past(f"2026-03-02T0{hour}:00:00", outcome=Outcome.VOICEMAIL, actor=actor, accounts=("A9",), address="other")
        for hour, actor in ((1, Actor.CREDITOR), (2, Actor.AGENCY), (3, Actor.AGENCY))
    )
    case = a_case("2026-03-02T06:00:00", zones=("Asia/Shanghai",), channel=Channel.CALL, history=past)

    verdict = judge(case, the_book().named(["cn"]))

    assert (verdict.because.rule, verdict.until) == ("cn.calls.effective", utc("2026-03-03T00:00:00"))  # type: ignore[union-attr]


def test_six_unanswered_tries_bar_that_number_only() -> None:
    past = tuple(a_past(f"2026-03-02T0{hour}:00:00", outcome=Outcome.NO_ANSWER) for hour in range(6))
    case = a_case("2026-03-02T07:00:00", zones=("Asia/Shanghai",), channel=Channel.CALL, history=past)
    elsewhere = a_case(
        "2026-03-02T07:00:00", zones=("Asia/Shanghai",), channel=Channel.CALL,
        history=tuple(a_past(entry.at, outcome=Outcome.NO_ANSWER, address="another") for entry in past),
    )  # fmt: skip

    assert judge(case, the_book().named(["cn"])).because.rule == "cn.calls.attempts"
    assert isinstance(judge(elsewhere, the_book().named(["cn"])), Allow)


def test_one_message_for_two_debts_counts_for_each_of_them() -> None:
    past = tuple(
        a_past(f"2026-03-0{day}T15:00:00", accounts=("A1", "A2"), outcome=Outcome.NO_ANSWER) for day in range(1, 8)
    )
    case = a_case("2026-03-07T16:00:00", zones=("America/New_York",), channel=Channel.CALL, history=past)

    assert judge(case, the_book().named(["us"])).because.rule == "us.calls.week"


@pytest.mark.parametrize("purpose", [Purpose.REWARD, Purpose.SURVEY, Purpose.EDUCATION, Purpose.SERVICE])
def test_every_purpose_is_a_contact(purpose: Purpose) -> None:
    past = (a_past("2026-03-02T03:00:00", Channel.PUSH, purpose=purpose),)
    case = a_case("2026-03-02T05:00:00", history=past)

    assert judge(case, the_book().named(["baseline", "tw"])).because.rule == "baseline.contacts.day"


def test_what_a_pack_does_not_count_leaves_its_cap_alone() -> None:
    notices = tuple(
        a_past(f"2026-03-0{day}T03:00:00", Channel.EMAIL, purpose=Purpose.STATUTORY_NOTICE) for day in range(1, 8)
    )
    reminders = tuple(a_past(entry.at, Channel.EMAIL) for entry in notices)
    rules = the_book().named(["kr"])

    assert isinstance(judge(a_case("2026-03-07T04:00:00", zones=("Asia/Seoul",), history=notices), rules), Allow)
    held = judge(a_case("2026-03-07T04:00:00", zones=("Asia/Seoul",), history=reminders), rules)
    assert (held.because.rule, held.until) == ("kr.contacts.week", utc("2026-03-07T23:00:00"))  # type: ignore[union-attr]


def test_a_call_to_a_dead_number_is_no_call_in_the_united_states() -> None:
    past = tuple(a_past(f"2026-03-0{day}T15:00:00", outcome=Outcome.NOT_IN_SERVICE) for day in range(1, 8))
    case = a_case("2026-03-07T16:00:00", zones=("America/New_York",), channel=Channel.CALL, history=past)

    assert isinstance(judge(case, the_book().named(["us"])), Allow)


def test_call_attempts_of_the_baseline_are_four_hours_apart() -> None:
    past = (a_past("2026-03-02T02:00:00", outcome=Outcome.NO_ANSWER),)
    case = a_case("2026-03-02T04:00:00", channel=Channel.CALL, history=past)

    verdict = judge(case, the_book().named(["baseline", "tw"]))

    assert (verdict.because.rule, verdict.until) == ("baseline.calls.apart", utc("2026-03-02T06:00:00"))  # type: ignore[union-attr]


def test_seven_days_are_calendar_days_where_a_day_was_skipped() -> None:
    rules = a_cap("contact", "person", 1, "rolling_days", 3)
    talk = datetime(2011, 12, 29, 20, tzinfo=UTC)  # 29 December in Apia, which then had no 30 December
    case = a_case(talk + timedelta(hours=1), zones=("Pacific/Apia",), history=(a_past(talk),))

    assert judge(case, rules).until == utc("2011-12-31T10:00:00")  # type: ignore[union-attr]  # 1 January, 00:00


def test_an_inbound_message_fills_no_cap() -> None:
    rules = a_cap("contact", "person", 1, "local_day", 1)
    past = (a_past("2026-03-02T03:00:00", Channel.SMS, direction=Direction.IN),)

    assert isinstance(judge(a_case("2026-03-02T05:00:00", history=past), rules), Allow)


def test_ontario_waits_six_days_after_the_first_letter_and_agencies_write_first() -> None:
    letters = (a_past("2026-03-02T15:00:00", Channel.LETTER), a_past("2026-03-07T15:00:00", Channel.LETTER))
    rules = the_book().named(["ca-on"])
    case = a_case("2026-03-08T19:00:00", zones=("America/Toronto",), history=letters)
    unannounced = a_case("2026-03-09T15:00:00", zones=("America/Toronto",), actor=Actor.AGENCY)

    assert judge(case, rules).because.rule == "ca-on.after_letter"
    assert judge(case, rules).until == utc("2026-03-09T11:00:00")  # type: ignore[union-attr]
    assert judge(unannounced, rules).because.rule == "ca-on.letter_first"
