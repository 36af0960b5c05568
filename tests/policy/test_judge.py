"""Properties of the judge over real packs, zones with a story, and random histories."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.case import Attempt, BlockedHours, Case, CustomerFacts, History
from domain.channel import Channel
from domain.consent import Consent
from domain.contact import Outcome
from domain.hold import Hold as HoldOnRecord
from domain.hold import HoldKind
from domain.purpose import Direction, Purpose
from domain.verdict import Allow, Hold, Suppress
from policy.judge import Finding, judge, judge_many, weigh
from policy.window import WindowRule
from tests.policy.worlds import (
    PACK_IDS,
    ZONES,
    a_book,
    a_case,
    a_past,
    a_rule,
    cases,
    holds,
    pasts,
    the_book,
    utc,
)

A_MOMENT = timedelta(microseconds=1)
OPEN_ALL_DAY = a_rule("open.hours", "window", 'hours = [{ days = "all", from = "00:00", until = "24:00" }]')


def is_inside_by_the_wall_clock(rule: WindowRule, at: datetime, zone: str) -> bool:
    """The independent reading of hours: what does the clock on the wall say?"""
    local = at.astimezone(ZoneInfo(zone))
    if not rule.terms.in_force(local.date()):
        return True
    kind = 7 if rule.calendar.is_holiday(local.date()) else local.weekday()
    minutes = local.hour * 60 + local.minute
    return any(since <= minutes < until for since, until in rule.by_day[kind])


@settings(max_examples=300, deadline=None)
@given(cases(), PACK_IDS)
def test_an_allow_never_lies_outside_any_window(case: Case, ids: list[str]) -> None:
    rules = the_book().named(ids)

    verdict = judge(case, rules)

    if isinstance(verdict, Allow):
        bound = [r for r in rules.of(WindowRule) if case.attempt.channel in r.terms.channels]
        bound = [r for r in bound if case.actor in r.terms.applies_to]
        bound = [r for r in bound if case.attempt.address_kind in r.terms.address_kinds]
        instants = [case.now] if verdict.until is None else [case.now, verdict.until - A_MOMENT]
        for rule in bound:
            for zone in case.customer.zones:
                assert all(is_inside_by_the_wall_clock(rule, at, zone) for at in instants), rule.terms.id


@settings(max_examples=300, deadline=None)
@given(cases(), PACK_IDS, st.floats(0, 1))
def test_until_is_allowed_and_no_instant_before_it_is(case: Case, ids: list[str], part: float) -> None:
    rules = the_book().named(ids)

    verdict = judge(case, rules)

    if isinstance(verdict, Hold) and verdict.until is not None:
        between = case.now + (verdict.until - case.now) * part
        assert isinstance(judge_later(case, rules, verdict.until), Allow)
        assert not isinstance(judge_later(case, rules, verdict.until - A_MOMENT), Allow)
        if between < verdict.until:
            assert not isinstance(judge_later(case, rules, between), Allow)


@settings(max_examples=200, deadline=None)
@given(cases(), PACK_IDS, st.floats(0, 1))
def test_an_allow_stands_until_its_end_while_nothing_happens(case: Case, ids: list[str], part: float) -> None:
    rules = the_book().named(ids)

    verdict = judge(case._replace(holds=(), expires=None), rules)

    if isinstance(verdict, Allow) and verdict.until is not None:
        later = case.now + (verdict.until - A_MOMENT - case.now) * part
        closing = {"id.platforms.age"}  # a debt that grows too old meanwhile
        answer = judge_later(case._replace(holds=(), expires=None), rules, later)
        assert isinstance(answer, Allow) or answer.because.rule in closing


@settings(max_examples=400, deadline=None)
@given(cases(), PACK_IDS, st.data())
def test_one_more_rule_hold_entry_or_zone_never_opens_what_was_barred(
    case: Case, ids: list[str], data: st.DataObject
) -> None:
    if isinstance(judge(case, the_book().named(ids)), Allow):
        return
    match data.draw(st.sampled_from(("rule", "hold", "entry", "zone", "wish"))):
        case "rule":
            ids = [*ids, *data.draw(PACK_IDS)]
        case "hold":
            case = case._replace(holds=(*case.holds, data.draw(holds(case.now))))
        case "entry":
            letter_first = "ca-on" in ids  # where a letter must come first, a letter is what opens
            entry = data.draw(pasts(case.now).filter(lambda e: not (letter_first and e.channel is Channel.LETTER)))
            case = case._replace(history=(*case.history, entry))
        case "zone":
            zones = (*case.customer.zones, data.draw(st.sampled_from(ZONES)))
            case = case._replace(customer=case.customer._replace(zones=zones))
        case _:
            case = case._replace(customer=case.customer._replace(refused_channels=frozenset({case.attempt.channel})))

    assert not isinstance(judge(case, the_book().named(ids)), Allow)


@settings(max_examples=100, deadline=None)
@given(cases(), PACK_IDS, st.randoms())
def test_the_order_of_the_history_does_not_matter(case: Case, ids: list[str], chance: st.DataObject) -> None:
    shuffled = list(case.history)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert judge(case._replace(history=shuffled), the_book().named(ids)) == judge(case, the_book().named(ids))


@settings(max_examples=100, deadline=None)
@given(cases(), PACK_IDS)
def test_a_history_that_is_read_when_needed_answers_as_one_that_was_read(case: Case, ids: list[str]) -> None:
    past = sorted(case.history, key=lambda entry: entry.at)
    unread = History(range(len(past[:-1])), lambda number: past[number].at, lambda: past[:-1])
    for entry in past[-1:]:
        unread.append(entry.at, lambda entry=entry: entry)  # type: ignore[misc]

    assert judge(case._replace(history=unread), the_book().named(ids)) == judge(case, the_book().named(ids))
    assert list(unread) == past


@settings(max_examples=100, deadline=None)
@given(cases(), PACK_IDS)
def test_a_trace_tells_of_the_rule_that_decided_and_changes_nothing(case: Case, ids: list[str]) -> None:
    rules, trace = the_book().named(ids), list[Finding]()

    verdict = judge(case, rules, trace=trace)

    assert verdict == judge(case, rules)
    assert isinstance(verdict, Allow) == (not any(finding.bars for finding in trace))
    asked = Counter(finding.because.rule for finding in trace)
    assert not asked or isinstance(verdict, Allow) or any(finding.bars for finding in trace)


def judge_later(case: Case, rules: object, at: datetime) -> object:
    """The same question at another time: the debt has aged by the local days between."""
    zone = ZoneInfo(case.customer.zones[0])
    days = (at.astimezone(zone).date() - case.now.astimezone(zone).date()).days
    if (
        len(
            {
                (at.astimezone(ZoneInfo(z)).date() - case.now.astimezone(ZoneInfo(z)).date()).days
                for z in case.customer.zones
            }
        )
        > 1
    ):
        plan = rules.plan(case, case.customer.zones)  # type: ignore[attr-defined]
        return Allow(None, None) if not weigh(case, plan, at) else Hold(None, None)  # type: ignore[arg-type]
    account = case.account._replace(days_past_due=case.account.days_past_due + days)
    return judge(case._replace(now=at, account=account), rules)  # type: ignore[arg-type]


def test_the_example_of_the_manual_is_held_until_eight_in_shanghai() -> None:
    case = a_case("2026-03-02T14:00:00", zones=("Asia/Shanghai",))

    verdict = judge(case, the_book().named(["cn"]))

    assert isinstance(verdict, Hold)
    assert (verdict.until, verdict.because.rule) == (utc("2026-03-03T00:00:00"), "cn.hours")
    assert (verdict.because.pack, verdict.because.confidence) == ("cn@2026.1", "S")


def test_without_any_zone_nothing_is_sent() -> None:
    verdict = judge(a_case("2026-03-02T03:00:00", zones=()), the_book().named(["tw"]))

    assert isinstance(verdict, Suppress)
    assert verdict.because.rule == "zones.unknown"


def test_an_unknown_zone_is_an_answer_and_not_a_crash() -> None:
    verdict = judge(a_case("2026-03-02T03:00:00", zones=("Mars/Olympus",)), the_book().named(["tw"]))

    assert isinstance(verdict, Suppress)
    assert "Mars/Olympus" in verdict.because.source


def test_a_confirmed_zone_stands_alone_and_an_unconfirmed_one_does_not() -> None:
    at = utc("2026-03-02T14:00:00")  # 09:00 in New York, 06:00 in Los Angeles
    number = Attempt(Channel.EMAIL, "the address", number_zones=("America/Los_Angeles",))
    case = a_case(at, zones=("America/New_York",), attempt=number)
    unconfirmed = case._replace(customer=case.customer._replace(zone_confirmed=False))

    assert isinstance(judge(case, the_book().named(["us"])), Allow)
    assert judge(unconfirmed, the_book().named(["us"])).until == utc("2026-03-02T16:00:00")  # type: ignore[union-attr]


def test_zones_with_less_than_an_hour_in_common_bar_for_good() -> None:
    case = a_case("2026-03-02T03:00:00", zones=("Asia/Shanghai", "America/New_York"))

    verdict = judge(case, the_book().named(["in"]))

    assert isinstance(verdict, Suppress)
    assert verdict.because.rule == "zones.no_overlap"


def test_half_an_hour_in_common_is_not_enough() -> None:
    at = "2026-03-02T13:15:00"  # 18:45 in Kolkata, 08:15 in New York; 08:00 to 19:00 is open in both
    rules = the_book().named(["in"])

    assert isinstance(judge(a_case(at, zones=("Asia/Kolkata",)), rules), Allow)
    assert isinstance(judge(a_case(at, zones=("America/New_York",)), rules), Allow)
    verdict = judge(a_case(at, zones=("Asia/Kolkata", "America/New_York")), rules)
    assert verdict.because.rule == "zones.no_overlap"
    assert verdict.until == utc("2026-03-08T12:00:00")  # type: ignore[union-attr]  # summer time leaves an hour and a half


def test_eastern_and_pacific_leave_ten_hours() -> None:
    case = a_case("2026-03-02T14:00:00", zones=("America/New_York", "America/Los_Angeles"))

    verdict = judge(case, the_book().named(["us"]))

    assert verdict.until == utc("2026-03-02T16:00:00")  # type: ignore[union-attr]  # 11:00 Eastern
    allowed = judge(case._replace(now=utc("2026-03-02T16:00:00")), the_book().named(["us"]))
    assert allowed.until == utc("2026-03-03T02:00:00")  # type: ignore[union-attr]  # 21:00 Eastern


def test_the_baselines_margin_cuts_the_hours_of_every_pack_beside_it() -> None:
    case = a_case("2026-03-02T13:24:59", zones=("Asia/Kolkata",))  # 18:54:59

    allowed = judge(case, the_book().named(["baseline", "in"]))
    barred = judge(case._replace(now=utc("2026-03-02T13:25:00")), the_book().named(["baseline", "in"]))

    assert allowed.until == utc("2026-03-02T13:25:00")  # type: ignore[union-attr]
    assert barred.because.rule == "in.hours"


def test_days_after_the_holidays_were_reviewed_count_as_holidays() -> None:
    case = a_case("2029-03-05T12:00:00", zones=("Asia/Bangkok",))  # Monday 19:00

    assert isinstance(judge(case, the_book().named(["th"])), Hold)
    assert isinstance(judge(case._replace(now=utc("2026-03-02T12:00:00")), the_book().named(["th"])), Allow)


def test_a_withdrawn_consent_suppresses_until_it_is_given_again() -> None:
    given, withdrawn = utc("2025-01-01T00:00:00"), utc("2026-01-01T00:00:00")
    no = Consent(Channel.EMAIL, "the address", Purpose.REMINDER, given, withdrawn)
    again = Consent(Channel.EMAIL, "the address", Purpose.REMINDER, utc("2026-02-01T00:00:00"), None)
    case = a_case("2026-03-02T03:00:00", consents=(no,))
    rules = the_book().named(["tw"])

    assert judge(case, rules).because.rule == "consent.withdrawn"
    assert isinstance(judge(case._replace(consents=(again, no)), rules), Allow)
    same_moment = again._replace(given=withdrawn)
    assert judge(case._replace(consents=(same_moment, no)), rules).because.rule == "consent.withdrawn"


@pytest.mark.parametrize("channel", [Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.SOCIAL, Channel.NULL])
def test_electronic_channels_without_consent_are_suppressed(channel: Channel) -> None:
    verdict = judge(a_case("2026-03-02T03:00:00", channel=channel, consents=()), the_book().named(["tw"]))

    assert isinstance(verdict, Suppress)
    assert verdict.because.rule == "consent.missing"


@pytest.mark.parametrize("channel", [Channel.CALL, Channel.LETTER, Channel.VISIT])
def test_calls_letters_and_visits_need_no_consent(channel: Channel) -> None:
    verdict = judge(a_case("2026-03-02T03:00:00", channel=channel, consents=()), the_book().named(["tw"]))

    assert isinstance(verdict, Allow)


def test_a_call_needs_no_consent_but_heeds_one_that_was_taken_back() -> None:
    no = Consent(Channel.CALL, None, Purpose.REMINDER, utc("2025-01-01T00:00:00"), utc("2026-01-01T00:00:00"))
    case = a_case("2026-03-02T03:00:00", channel=Channel.CALL, consents=(no,))

    assert judge(case, the_book().named(["tw"])).because.rule == "consent.withdrawn"


def test_consent_to_reminders_is_no_consent_to_rewards() -> None:
    reminders = Consent(Channel.EMAIL, None, Purpose.REMINDER, utc("2025-01-01T00:00:00"), None)
    case = a_case("2026-03-02T03:00:00", purpose=Purpose.REWARD, consents=(reminders,))

    assert judge(case, the_book().named(["tw"])).because.rule == "consent.missing"


def test_an_opt_out_is_confirmed_once_and_only_once() -> None:
    stopped = Consent(
        Channel.SMS, "the address", Purpose.REMINDER, utc("2025-01-01T00:00:00"), utc("2026-03-02T02:00:00")
    )
    case = a_case("2026-03-02T03:00:00", channel=Channel.SMS, purpose=Purpose.OPTOUT_CONFIRMATION, consents=(stopped,))
    confirmed = a_past("2026-03-02T02:01:00", Channel.SMS, purpose=Purpose.OPTOUT_CONFIRMATION)
    rules = the_book().named(["us", "tw"])

    assert judge(case, rules).because.rule == "exception.optout_confirmation"
    assert judge(case._replace(history=(confirmed,)), rules).because.rule == "consent.withdrawn"


def test_an_open_ended_hold_has_no_until_and_one_with_an_end_has() -> None:
    since = utc("2026-03-01T00:00:00")
    case = a_case("2026-03-02T03:00:00", holds=(HoldOnRecord(HoldKind.DISPUTE, "A1", since, None),))
    ended = HoldOnRecord(HoldKind.DISPUTE, None, since, utc("2026-03-04T04:30:00"))
    rules = the_book().named(["tw"])

    assert judge(case, rules) == Hold(judge(case, rules).because, None)
    assert judge(case._replace(holds=(ended,)), rules).until == utc("2026-03-04T04:30:00")  # type: ignore[union-attr]


def test_a_hold_on_another_account_or_channel_does_not_bar() -> None:
    since = utc("2026-03-01T00:00:00")
    others = (
        HoldOnRecord(HoldKind.DISPUTE, "A2", since, None),
        HoldOnRecord(HoldKind.OPT_OUT, None, since, None, Channel.SMS),
    )

    assert isinstance(judge(a_case("2026-03-02T03:00:00", holds=others), the_book().named(["tw"])), Allow)


def test_what_cannot_be_allowed_before_it_expires_is_suppressed() -> None:
    case = a_case("2026-03-02T14:00:00", zones=("Asia/Shanghai",), expires=utc("2026-03-03T00:00:00"))
    rules = the_book().named(["cn"])

    assert judge(case, rules) == Suppress(judge(case, rules).because)
    assert isinstance(judge(case._replace(expires=utc("2026-03-03T00:00:00.000001")), rules), Hold)


def test_the_rule_with_the_latest_end_is_named() -> None:
    case = a_case(
        "2026-03-02T14:00:00",
        zones=("Asia/Shanghai",),
        holds=(HoldOnRecord(HoldKind.PROMISE, None, utc("2026-03-01T00:00:00"), utc("2026-03-05T16:00:00")),),
    )

    verdict = judge(case, the_book().named(["cn"]))

    assert verdict.because.rule == "hold.promise"
    assert verdict.until == utc("2026-03-06T00:00:00")  # type: ignore[union-attr]  # and then the hours


def test_blocked_hours_hold_and_cut_what_a_provider_may_keep() -> None:
    shift = BlockedHours(frozenset({0}), utc("2026-03-02T09:00:00").time(), utc("2026-03-02T17:00:00").time())
    facts = CustomerFacts(("Asia/Taipei",), zone_confirmed=True, blocked=(shift,))
    rules = the_book().named(["tw"])

    at_work = judge(a_case("2026-03-02T03:00:00", customer=facts), rules)
    before = judge(a_case("2026-03-02T00:30:00", customer=facts), rules)

    assert (at_work.because.rule, at_work.until) == ("customer.blocked_hours", utc("2026-03-02T09:00:00"))  # type: ignore[union-attr]
    assert before.until == utc("2026-03-02T01:00:00")  # type: ignore[union-attr]


def test_soft_rules_bind_until_they_are_overridden_and_hard_ones_always() -> None:
    past = tuple(a_past(f"2026-03-0{day}T10:00:00", Channel.LETTER) for day in (2, 3, 4))
    case = a_case("2026-03-05T10:00:00", zones=("Europe/Dublin",), history=past)
    rules = the_book().named(["ie"])

    assert judge(case, rules).because.rule == "ie.contacts.month"
    assert isinstance(judge(case._replace(overrides=frozenset({"ie.contacts.month"})), rules), Allow)
    at_night = case._replace(now=utc("2026-03-05T23:00:00"), overrides=frozenset({"ie.hours", "ie.contacts.month"}))
    assert judge(at_night, rules).because.rule == "ie.hours"


def test_a_requested_call_back_passes_the_wait_and_says_so() -> None:
    talk = a_past("2026-03-03T15:00:00", direction=Direction.IN)
    case = a_case("2026-03-04T15:00:00", zones=("America/New_York",), channel=Channel.CALL, history=(talk,))
    asked = case._replace(attempt=case.attempt._replace(purpose=Purpose.REQUESTED_CALLBACK))
    rules = the_book().named(["us"])

    assert judge(case, rules).because.rule == "us.calls.after_talk"
    assert judge(case, rules).until == utc("2026-03-10T12:00:00")  # type: ignore[union-attr]
    assert judge(asked, rules).because.rule == "exception.requested_callback"
    assert "us.calls.after_talk" in judge(asked, rules).because.source


def test_a_naive_now_is_refused() -> None:
    with pytest.raises(ValueError, match="now has no time zone"):
        judge(a_case(datetime(2026, 3, 2, 14)), the_book().named(["tw"]))


def test_many_verdicts_are_the_single_ones_in_order() -> None:
    questions = [a_case(utc("2026-03-02T00:00:00") + timedelta(hours=n)) for n in range(48)]
    rules = the_book().named(["tw"])

    assert judge_many(questions, rules) == [judge(question, rules) for question in questions]


def test_an_hour_that_the_clock_repeats_opens_late_and_closes_early() -> None:
    book = a_book(open=a_rule("open.hours", "window", 'hours = [{ days = "all", from = "01:30", until = "05:00" }]'))
    case = a_case("2026-11-01T05:30:00", zones=("America/New_York",))  # 01:30 for the first time

    assert judge(case, book.named(["open"])).until == utc("2026-11-01T06:30:00")  # type: ignore[union-attr]


def test_a_closing_time_that_comes_twice_closes_the_first_time() -> None:
    book = a_book(open=a_rule("open.hours", "window", 'hours = [{ days = "all", from = "00:00", until = "01:30" }]'))
    case = a_case("2026-11-01T05:00:00", zones=("America/New_York",))

    assert judge(case, book.named(["open"])).until == utc("2026-11-01T05:30:00")  # type: ignore[union-attr]


@settings(max_examples=60, deadline=None)
@given(cases(), st.lists(st.integers(0, 60 * 48), min_size=2, max_size=8))
def test_what_was_worked_out_for_one_instant_does_not_leak_into_another(case: Case, minutes: list[int]) -> None:
    cap = 'counts = "contact"\nsubject = "person"\nlimit = 1\nwindow = { kind = "rolling_days", length = 20 }'
    text = a_rule("one.cap", "cap", cap)
    shared = a_book(one=text).named(["one"])

    for later in minutes:
        at = case._replace(now=case.now + timedelta(minutes=later))
        assert judge(at, shared) == judge(at, a_book(one=text).named(["one"]))


def test_hours_across_midnight_are_one_span() -> None:
    night = 'hours = [{ days = "mon", from = "22:00", until = "06:00" }]\novernight = true'
    book = a_book(night=a_rule("night.hours", "window", night))
    case = a_case("2026-03-02T21:00:00", zones=("Europe/London",))

    assert judge(case, book.named(["night"])).until == utc("2026-03-02T22:00:00")  # type: ignore[union-attr]
    allowed = judge(case._replace(now=utc("2026-03-03T01:00:00")), book.named(["night"]))
    assert allowed.until == utc("2026-03-03T06:00:00")  # type: ignore[union-attr]


def test_a_rule_of_tomorrow_counts_for_tomorrows_until() -> None:
    later = a_rule(
        "law.contacts", "cap",
        'counts = "contact"\nsubject = "person"\nlimit = 1\nwindow = { kind = "rolling_days", length = 7 }\n'
        "effective_from = 2026-03-03",
    )  # fmt: skip
    hours = a_rule("law.hours", "window", 'hours = [{ days = "all", from = "08:00", until = "20:00" }]')
    case = a_case(
        "2026-03-02T21:00:00", zones=("Etc/UTC",), history=(a_past("2026-03-02T09:00:00", outcome=Outcome.VOICEMAIL),)
    )

    verdict = judge(case, a_book(law=later + hours).named(["law"]))

    assert verdict.until == utc("2026-03-09T08:00:00")  # type: ignore[union-attr]
    assert verdict.because.rule == "law.hours"


def test_a_rule_binds_to_its_last_day_and_no_longer() -> None:
    ban = a_rule("law.ban", "channel_ban", 'channels = ["email"]\neffective_until = 2026-03-02')
    rules = a_book(law=ban).named(["law"])

    assert isinstance(judge(a_case("2026-03-01T15:59:59"), rules), Suppress)  # 1 March, 23:59:59 in Taipei
    assert isinstance(judge(a_case("2026-03-01T16:00:00"), rules), Allow)


def test_every_midnight_of_every_zone_begins_a_new_count() -> None:
    cap = 'counts = "contact"\nsubject = "person"\nlimit = 1\nwindow = { kind = "local_day" }'
    rules = a_book(one=a_rule("one.cap", "cap", cap)).named(["one"])
    case = a_case(
        "2026-03-02T03:00:00", zones=("Asia/Taipei", "Europe/London"), history=(a_past("2026-03-02T02:00:00"),)
    )
    hours = [utc("2026-03-02T03:00:00") + timedelta(hours=n) for n in range(30)]

    allowed = [at for at in hours if isinstance(judge(case._replace(now=at), rules), Allow)]

    assert allowed == [at for at in hours if at >= utc("2026-03-03T00:00:00")]  # when the day is over in London too


def test_nothing_bars_where_no_pack_has_anything_to_say() -> None:
    verdict = judge(a_case("2026-03-02T19:00:00", zones=("Asia/Hong_Kong",)), the_book().named(["hk"]))

    assert verdict == Allow(verdict.because, None)
    assert verdict.because.rule == "duly.nothing_bars"


def test_an_always_open_pack_allows_at_any_time() -> None:
    book = a_book(open=OPEN_ALL_DAY)

    verdicts = [
        judge(a_case(datetime(2026, 11, 1, h, tzinfo=UTC), zones=("America/Havana",)), book.named(["open"]))
        for h in range(24)
    ]

    assert all(isinstance(verdict, Allow) for verdict in verdicts)
