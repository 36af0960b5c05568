"""The packs as they ship: every edge of hours and caps from the sources, typed here a second time by hand."""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from domain.channel import AddressKind, Channel
from domain.contact import Outcome
from domain.hold import HoldKind
from domain.purpose import Actor, Purpose
from domain.verdict import Allow, Hold, Suppress
from policy.cap import CapRule
from policy.judge import judge
from policy.packs import PackBook, PackError, RuleSet
from tests.policy.worlds import a_case, a_pack, a_past, a_rule, the_book, the_texts

#: pack, zone, local day, channel, first open minute, first closed minute; None where the day is closed altogether.
HOURS = [
    ("cn", "Asia/Shanghai", "2026-03-01", "sms", "08:00", "22:00"),
    ("cn", "Asia/Shanghai", "2026-10-01", "sms", "08:00", "22:00"),
    ("us", "America/New_York", "2026-03-08", "sms", "08:00", "21:00"),
    ("us-ma", "America/New_York", "2026-03-08", "call", "08:00", "21:00"),
    ("us-nyc", "America/New_York", "2026-11-01", "call", "08:00", "21:00"),
    ("us-dc", "America/New_York", "2026-03-02", "email", "08:00", "21:00"),
    ("us-fl", "America/New_York", "2026-03-02", "sms", "08:00", "21:00"),
    ("us-wv", "America/New_York", "2026-03-02", "call", "08:00", "21:00"),
    ("ie", "Europe/Dublin", "2026-03-14", "call", "09:00", "21:00"),
    ("ie", "Europe/Dublin", "2026-03-15", "call", None, None),
    ("ie", "Europe/Dublin", "2026-03-17", "sms", None, None),  # Saint Patrick's Day
    ("gr", "Europe/Athens", "2026-03-02", "sms", "09:00", "20:00"),
    ("gr", "Europe/Athens", "2026-03-07", "sms", None, None),
    ("gr", "Europe/Athens", "2026-03-25", "sms", None, None),  # Independence Day
    ("in", "Asia/Kolkata", "2026-03-01", "call", "08:00", "19:00"),
    ("tw", "Asia/Taipei", "2026-02-17", "sms", "07:00", "22:00"),
    ("id", "Asia/Jakarta", "2026-03-07", "sms", "08:00", "20:00"),
    ("id", "Asia/Jakarta", "2026-03-08", "sms", None, None),
    ("id", "Asia/Jakarta", "2026-08-17", "sms", None, None),  # Independence Day
    ("ph", "Asia/Manila", "2026-03-08", "sms", "06:00", "22:00"),
    ("vn", "Asia/Ho_Chi_Minh", "2026-03-08", "sms", "07:00", "21:00"),
    ("th", "Asia/Bangkok", "2026-03-02", "sms", "08:00", "20:00"),
    ("th", "Asia/Bangkok", "2026-03-07", "sms", "08:00", "18:00"),
    ("th", "Asia/Bangkok", "2026-04-13", "sms", "08:00", "18:00"),  # Songkran, a Monday
    ("kr", "Asia/Seoul", "2026-03-01", "sms", "08:00", "21:00"),
    ("jp", "Asia/Tokyo", "2026-03-01", "sms", "08:00", "21:00"),
    ("br-sp", "America/Sao_Paulo", "2026-03-06", "sms", "08:00", "20:00"),
    ("br-sp", "America/Sao_Paulo", "2026-03-07", "sms", "08:00", "14:00"),
    ("br-sp", "America/Sao_Paulo", "2026-03-08", "sms", None, None),
    ("br-sp", "America/Sao_Paulo", "2026-04-21", "sms", None, None),  # Tiradentes
    ("br-rj", "America/Sao_Paulo", "2026-03-06", "sms", "09:00", "19:00"),
    ("br-rj", "America/Sao_Paulo", "2026-03-07", "sms", None, None),
    ("mx", "America/Mexico_City", "2026-03-06", "sms", "07:00", "22:00"),
    ("mx", "America/Mexico_City", "2026-03-07", "sms", None, None),
    ("mx", "America/Mexico_City", "2026-03-16", "sms", None, None),  # Benito Juárez, observed
    ("ec", "America/Guayaquil", "2026-03-06", "sms", "07:00", "20:00"),
    ("ec", "America/Guayaquil", "2026-03-07", "sms", None, None),
    ("au", "Australia/Sydney", "2026-03-06", "call", "07:30", "21:00"),
    ("au", "Australia/Sydney", "2026-03-07", "call", "09:00", "21:00"),
    ("au", "Australia/Sydney", "2026-03-06", "visit", "09:00", "21:00"),
    ("au", "Australia/Sydney", "2026-01-26", "call", None, None),  # Australia Day
    ("ca-on", "America/Toronto", "2026-03-07", "call", "07:00", "21:00"),
    ("ca-on", "America/Toronto", "2026-03-08", "call", "13:00", "17:00"),
    ("ca-on", "America/Toronto", "2026-07-01", "call", None, None),  # Canada Day
    ("ca-qc", "America/Toronto", "2026-03-07", "call", "08:00", "20:00"),
    ("ca-qc", "America/Toronto", "2026-03-08", "call", None, None),
    ("ca-qc", "America/Toronto", "2026-06-24", "call", None, None),  # Fête nationale
    ("baseline", "Asia/Taipei", "2026-03-06", "sms", "09:05", "19:55"),
    ("baseline", "Asia/Taipei", "2026-03-07", "sms", "10:05", "17:55"),
    ("baseline", "Asia/Taipei", "2026-03-08", "sms", None, None),
    ("baseline", "Asia/Taipei", "2026-03-06", "call", "09:35", "18:55"),
    ("baseline", "Asia/Taipei", "2026-03-07", "call", "10:05", "16:55"),
]

#: pack, counts, subject, limit, window, length: the caps of the sources.
CAPS = [
    ("cn", "connected", "creditor_group", 3, "local_day", 1),
    ("cn", "attempt", "number", 6, "local_day", 1),
    ("cn", "attempt", "person", 1, "local_day", 1),
    ("us", "attempt", "account", 7, "rolling_days", 7),
    ("us-ma", "attempt", "account", 2, "rolling_days", 7),
    ("us-ma", "attempt", "number", 2, "rolling_days", 30),
    ("us-ma", "attempt", "household", 2, "rolling_days", 7),
    ("us-nyc", "contact", "account", 3, "rolling_days", 7),
    ("us-dc", "attempt", "account", 4, "rolling_days", 7),
    ("us-dc", "message", "account", 5, "rolling_days", 7),
    ("us-wa", "contact", "person", 3, "calendar_week", 1),
    ("us-wa", "contact", "number", 1, "calendar_week", 1),
    ("us-wv", "attempt", "person", 30, "calendar_week", 1),
    ("us-wv", "conversation", "person", 10, "calendar_week", 1),
    ("ie", "contact", "person", 3, "calendar_month", 1),
    ("gr", "attempt", "person", 1, "every_nth_day", 2),
    ("vn", "contact", "person", 5, "local_day", 1),
    ("th", "contact", "person", 1, "local_day", 1),
    ("kr", "contact", "account", 7, "rolling_days", 7),
    ("ec", "contact", "person", 1, "local_day", 1),
    ("au", "contact", "account", 3, "calendar_week", 1),
    ("au", "contact", "account", 10, "calendar_month", 1),
    ("ca-on", "contact", "account", 3, "rolling_days", 7),
    ("baseline", "contact", "person", 1, "local_day", 1),
    ("baseline", "contact", "person", 3, "rolling_days", 7),
    ("baseline", "contact", "person", 8, "rolling_days", 30),
    ("baseline", "attempt", "person", 2, "local_day", 1),
    ("baseline", "attempt", "person", 4, "rolling_days", 7),
    ("baseline", "conversation", "person", 2, "rolling_days", 7),
]


@pytest.mark.parametrize(("pack", "zone", "on", "channel", "opens", "closes"), HOURS)
def test_the_hours_of_a_pack_open_and_close_on_the_minute_of_its_source(
    pack: str, zone: str, on: str, channel: str, opens: str | None, closes: str | None
) -> None:
    rules = the_book().named([pack])
    midnight = datetime.fromisoformat(f"{on}T00:00").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)

    def is_open(minutes: int) -> bool:
        at = (midnight.astimezone(ZoneInfo(zone)).replace(hour=minutes // 60, minute=minutes % 60)).astimezone(UTC)
        return isinstance(judge(a_case(at, zones=(zone,), channel=Channel(channel)), rules), Allow)

    open_minutes = [minute for minute in range(0, 24 * 60, 5) if is_open(minute)]

    if opens is None or closes is None:
        assert open_minutes == []
        return
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (opens, closes))
    assert open_minutes == list(range(first, last, 5))
    assert not is_open(first - 1)
    assert is_open(last - 1)


def test_the_caps_of_the_packs_are_those_of_the_sources() -> None:
    shipped = [
        (pack.id, str(rule.counts), str(rule.subject), rule.limit, str(rule.window), rule.length)
        for pack in the_book().packs.values()
        for rule in pack.rules
        if isinstance(rule, CapRule)
    ]

    assert sorted(shipped) == sorted(CAPS)


def test_every_jurisdiction_that_we_promise_has_a_pack() -> None:
    promised = {
        "baseline", "cn", "us", "us-ma", "us-nyc", "us-dc", "us-fl", "us-wa", "us-wv", "uk", "ie", "gr", "in", "tw",
        "id", "ph", "vn", "th", "kr", "jp", "br-sp", "br-rj", "mx", "ec", "au", "ca-on", "ca-qc", "hk", "sg", "ke",
    }  # fmt: skip

    assert promised <= set(the_book().packs)


def test_no_figure_that_was_not_verified_is_hard() -> None:
    marked = [
        (rule.terms.id, rule.terms.severity)
        for pack in the_book().packs.values()
        for rule in pack.rules
        if rule.terms.confidence in ("K", "S1")
    ]

    assert marked
    assert {severity for _, severity in marked} == {"soft"}


def test_new_york_city_counts_from_september_on() -> None:
    rules = the_book().named(["us-nyc"])

    def case(first: str, now: str) -> object:
        start = datetime.fromisoformat(first).replace(tzinfo=UTC)
        past = tuple(a_past(start + timedelta(hours=n), Channel.EMAIL) for n in range(3))
        return judge(a_case(now, zones=("America/New_York",), history=past), rules)

    assert isinstance(case("2026-08-30T14:00:00", "2026-08-31T20:00:00"), Allow)
    assert isinstance(case("2026-08-31T14:00:00", "2026-09-01T14:00:00"), Hold)


def test_washington_binds_agencies_only() -> None:
    past = tuple(a_past(f"2026-03-0{day}T18:00:00", Channel.EMAIL) for day in (2, 3, 4))
    creditor = a_case("2026-03-05T18:00:00", zones=("America/Los_Angeles",), history=past)
    rules = the_book().named(["us-wa"])

    assert isinstance(judge(creditor, rules), Allow)
    assert judge(creditor._replace(actor=Actor.AGENCY), rules).because.rule == "us-wa.contacts.week"


def test_florida_exempts_e_mail_but_federal_law_does_not() -> None:
    assert Channel.EMAIL not in the_book().packs["us-fl"].rules[0].terms.channels
    at_night = a_case("2026-03-03T03:00:00", zones=("America/New_York",))

    assert judge(at_night, the_book().named(["us-fl"])).because.rule == "us.hours"


def test_massachusetts_counts_calls_and_texts_together() -> None:
    past = (a_past("2026-03-02T15:00:00", outcome=Outcome.NO_ANSWER), a_past("2026-03-03T15:00:00", Channel.SMS))
    rules = the_book().named(["us-ma"])
    case = a_case("2026-03-04T15:00:00", zones=("America/New_York",), channel=Channel.SMS, history=past)

    assert judge(case, rules).because.rule == "us-ma.home.week"
    assert isinstance(judge(case._replace(attempt=case.attempt._replace(channel=Channel.EMAIL)), rules), Allow)


def test_greece_waits_for_ten_days_and_calls_every_second_day() -> None:
    rules = the_book().named(["gr"])
    young = a_case("2026-03-02T12:00:00", zones=("Europe/Athens",), days_past_due=9)
    called = a_case(
        "2026-03-03T12:00:00", zones=("Europe/Athens",), channel=Channel.CALL,
        history=(a_past("2026-03-02T12:00:00", outcome=Outcome.NO_ANSWER),),
    )  # fmt: skip

    assert judge(young, rules).because.rule == "gr.age"
    assert judge(young, rules).until == datetime(2026, 3, 4, 7, tzinfo=UTC)  # type: ignore[union-attr]
    assert judge(called, rules).until == datetime(2026, 3, 4, 7, tzinfo=UTC)  # type: ignore[union-attr]


@pytest.mark.parametrize("pack", ["ie", "jp", "gr"])
def test_nobody_is_called_at_work_there(pack: str) -> None:
    case = a_case("2026-03-02T11:00:00", zones=("Etc/UTC",), channel=Channel.CALL, kind=AddressKind.WORK)

    assert judge(case, the_book().named([pack])).because.rule == f"{pack}.work"


def test_a_work_address_needs_consent_of_its_own_in_the_united_states() -> None:
    general = a_case("2026-03-02T16:00:00", zones=("America/New_York",), kind=AddressKind.WORK)
    own = general._replace(consents=tuple(c._replace(address="the address") for c in general.consents))
    rules = the_book().named(["us"])

    assert judge(general, rules).because.rule == "us.email.work"
    assert isinstance(judge(own, rules), Allow)


@pytest.mark.parametrize(("country", "refused"), [("US", True), ("CA", True), (None, True), ("TW", False)])
def test_carriers_refuse_an_agencys_sms_to_north_america(country: str | None, refused: bool) -> None:
    case = a_case("2026-03-02T16:00:00", zones=("America/New_York",), channel=Channel.SMS, actor=Actor.AGENCY)
    case = case._replace(attempt=case.attempt._replace(number_country=country))

    verdict = judge(case, the_book().named(["us"]))

    assert isinstance(verdict, Suppress) == refused
    assert isinstance(judge(case._replace(actor=Actor.CREDITOR), the_book().named(["us"])), Allow)


def test_duties_travel_with_the_packs() -> None:
    rules = the_book().named(["us", "cn", "uk"])

    assert {"stop", "退订", "R"} <= rules.optout_words()
    assert rules.hold_days(HoldKind.BREATHING_SPACE_UK) == 60
    assert rules.retention("collection_activity") == (timedelta(days=1096), None)


# --- which packs apply


@pytest.mark.parametrize(
    ("residence", "number", "licence", "expected"),
    [
        ("TW", "TW", "tw", ("baseline", "tw")),
        ("HK", "CN", "hk", ("baseline", "hk", "cn")),
        ("US-MA", "US", "us", ("baseline", "provider-a2p-north-america", "us", "us-ma")),
        ("US-TX", "US", None, ("baseline", "provider-a2p-north-america", "us")),
        ("US-NY", None, "US", ("baseline", "provider-a2p-north-america", "us", "us-nyc")),
        ("CA-ON", "CA", None, ("baseline", "provider-a2p-north-america", "ca-on")),
        ("TW", "CA", None, ("baseline", "tw", "provider-a2p-north-america", "ca-on", "ca-qc")),
        (None, "JP", "jp", ("baseline", "jp")),
    ],
)
def test_residence_number_and_licence_choose_the_packs(
    residence: str | None, number: str | None, licence: str | None, expected: tuple[str, ...]
) -> None:
    rules = the_book().applying(residence=residence, number_country=number, licence=licence, on=date(2026, 3, 2))

    assert isinstance(rules, RuleSet)
    assert tuple(pack.id for pack in rules.packs) == expected


@pytest.mark.parametrize(
    ("residence", "number", "licence", "says"),
    [
        (None, None, "tw", "add a residence"),
        ("FR", None, None, "no pack covers the residence FR"),
        ("TW", "FR", None, "number's country FR"),
        ("CA", None, None, "say which part: CA-ON, CA-QC"),
        ("BR-MG", None, None, "BR-MG"),
        ("TW", None, "atlantis", "licence atlantis"),
    ],
)
def test_an_unknown_jurisdiction_is_no_send_with_a_remedy(
    residence: str | None, number: str | None, licence: str | None, says: str
) -> None:
    answer = the_book().applying(residence=residence, number_country=number, licence=licence, on=date(2026, 3, 2))

    assert isinstance(answer, Suppress)
    assert answer.because.rule == "jurisdiction.unknown"
    assert says in answer.because.source


def test_rule_sets_are_made_once() -> None:
    chosen = {"residence": "TW", "number_country": "TW", "licence": "tw", "on": date(2026, 3, 2)}

    assert the_book().applying(**chosen) is the_book().applying(**chosen)  # type: ignore[arg-type]


def test_an_expired_pack_sends_nothing() -> None:
    heading = 'valid_until = 2026-06-01\nregions = ["XA"]\n'
    texts = {"baseline.toml": the_texts()["baseline.toml"], "xa.toml": a_pack("xa", HOURS_RULE, heading=heading)}
    book = PackBook.from_files(texts)

    def applying(on: date) -> object:
        return book.applying(residence="XA", number_country=None, licence=None, on=on)

    assert isinstance(applying(date(2026, 5, 31)), RuleSet)
    assert isinstance(applying(date(2026, 6, 1)), Suppress)
    verdict = judge(a_case("2026-06-01T12:00:00"), book.named(["xa"]))
    assert (verdict.because.rule, "xa.toml: valid_until" in verdict.because.source) == ("pack.expired", True)


# --- what does not load

HOURS_RULE = a_rule("xa.hours", "window", 'hours = [{ days = "all", from = "08:00", until = "20:00" }]')
A_CAP = 'counts = "contact"\nsubject = "person"\nlimit = 3\nwindow = { kind = "rolling_days", length = 7 }'
CAP_RULE = a_rule("xa.cap", "cap", A_CAP)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limit = 3", "limit = 0", "xa.toml: rule xa.cap: limit: is 0; must be 1 or more"),
        ("limit = 3", "limit = -1", "xa.toml: rule xa.cap: limit: is -1"),
        ("limit = 3", 'limit = "3"', "limit: must be a whole number"),
        ("limit = 3", "limit = true", "limit: must be a whole number"),
        ("limit = 3", "limits = 3", "rule xa.cap: limit: is missing"),
        ("limit = 3", "limit = 3\ncolour = 1", "rule xa.cap: colour: unknown key; remove it"),
        ("length = 7", "length = 7, until = 3", "rule xa.cap: window: until: unknown key"),
        ('kind = "rolling_days"', 'kind = "local_day"', "length: does not go with local_day"),
        ('kind = "rolling_days"', 'kind = "fortnight"', "'fortnight' is unknown; use one of: local_day"),
        ('counts = "contact"', 'counts = "glances"', "counts: 'glances' is unknown"),
        ('from = "08:00"', 'from = "20:30"', "crossed hours: 20:00 is not after 20:30"),
        ('from = "08:00"', 'from = "8am"', "'8am' is not a time"),
        ('until = "20:00"', 'until = "24:30"', "'24:30' is not a time"),
        ('days = "all"', 'days = "mon-mon"', "'mon-mon' is unknown"),
        ('days = "all"', 'days = "funday"', "'funday' is unknown"),
        ('kind = "cap"', 'kind = "hat"', "kind: 'hat' is unknown; use one of: window"),
        ('id = "xa.cap"', 'id = "xa.hours"', "xa.toml: rule xa.hours: id: is also the id of a rule"),
        ('id = "xa.cap"', 'id = "xb.cap"', "must begin with 'xa' and a dot"),
        ('confidence = "P"', 'confidence = "K"', "severity: a figure marked K may not be hard"),
        ('confidence = "P"', 'confidence = "sure"', "confidence: 'sure' is unknown"),
        ('source = "a test"', 'source = " "', "source: must be a text that is not empty"),
        ('source = "a test"', "", "source: is missing"),
        ("limit = 3", "limit = 3\nchannels = []", "channels: is empty"),
        ("limit = 3", 'limit = 3\nchannels = ["fax"]', "channels: 'fax' is unknown"),
        ("limit = 3", "limit = 3\neffective_from = 2026-05-01\neffective_until = 2026-05-01", "is not after"),
        ("limit = 3", 'limit = 3\neffective_from = "2026-05-01"', "effective_from: must be a date"),
        ('title = "A test"', 'title = "A test"\nextends = ["xz"]', "xa.toml: extends: unknown pack 'xz'"),
        ('title = "A test"', 'title = "A test"\nextends = ["xa"]', "is a circle; break it"),
        ('title = "A test"', 'title = "A test"\nextends = ["baseline"]', "the baseline applies by itself"),
        ('title = "A test"', 'title = "A test"\nholidays = "ZZ"', "holidays: the holidays library has no country 'ZZ'"),
        ('title = "A test"', 'title = "A test"\nholidays = "US-ZZ"', "has no part 'ZZ' of US"),
        ("2030-12-31", "2999-12-31", "holidays_reviewed_until: the holidays library ends in"),
        ("holidays_reviewed_until = 2030-12-31", "", "holidays_reviewed_until: is missing"),
        ('title = "A test"', 'title = "A test"\nregions = ["Taiwan"]', "regions: 'Taiwan' is not an ISO region"),
        ('title = "A test"', 'title = "A test"\nmood = "good"', "xa.toml: mood: unknown key"),
        ('title = "A test"', 'title = "A test"\napplies_to = ["bank"]', "applies_to: 'bank' is unknown"),
        ('id = "xa"', 'id = "xc"', "'xc' differs from the name of its file"),
        ('version = "1"', "version = 1", "version: must be a text"),
        ('title = "A test"', "title = ", "xa.toml: not TOML"),
    ],
)  # fmt: skip
def test_a_pack_with_a_fault_does_not_load_and_says_where(old: str, new: str, message: str) -> None:
    text = a_pack("xa", HOURS_RULE + CAP_RULE, heading='holidays = "US"\n' if "2999" in new else "")
    assert old in text
    files = {"baseline.toml": the_texts()["baseline.toml"], "xa.toml": text.replace(old, new)}

    with pytest.raises(PackError, match=re.escape(message)):
        PackBook.from_files(files)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (a_rule("xb.hours", "window", 'hours = [{ days = "mon", from = "07:30", until = "20:00" }]'),
         "xb.toml: rule xb.hours: hours: mon 07:30-20:00 lies outside its hours: it loosens xa.hours"),
        (a_rule("xb.cap", "cap", A_CAP.replace("3", "4")),
         "xb.toml: rule xb.cap: limit: 4 is above its 3: it loosens xa.cap"),
        (a_rule("xb.wait", "wait", 'after = "conversation"\nsubject = "person"\ndays = 6'),
         "xb.toml: rule xb.wait: days: the wait is shorter"),
        (a_rule("xb.keep", "retention", 'record = "log"\nmin_days = 200\ntext = "Keep."'),
         "must keep log longer than xa.keep"),
    ],
)  # fmt: skip
def test_a_child_that_loosens_its_parent_does_not_load(rule: str, message: str) -> None:
    parent = HOURS_RULE + CAP_RULE
    parent += a_rule("xa.wait", "wait", 'after = "conversation"\nsubject = "person"\ndays = 7')
    parent += a_rule("xa.keep", "retention", 'record = "log"\nmax_days = 183\ntext = "Destroy."')
    child = a_pack("xb", rule, heading='extends = ["xa"]\n')

    with pytest.raises(PackError, match=re.escape(message)):
        PackBook.from_files({"xa.toml": a_pack("xa", parent), "xb.toml": child})


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("wait", 'after = "attempt"\nsubject = "person"', "give either days"),
        ("wait", 'after = "attempt"\nsubject = "person"\ndays = 1\nhours = 4', "give either days"),
        ("gate", "", "a gate needs min_days_past_due"),
        ("gate", "min_days_past_due = 9\nmax_days_past_due = 3", "3 is below min_days_past_due 9"),
        ("channel_ban", "", "channels: is missing"),
        ("provider_policy", 'channels = ["sms"]\nnumber_countries = ["usa"]', "'usa' is not an ISO country code"),
        ("retention", 'text = "Keep."', "retention needs min_days or max_days"),
        ("retention", 'text = "Keep."\nrecord = "log"\nmin_days = 9\nmax_days = 3', "3 is below min_days 9"),
        ("hold", 'text = "Stop."\nhold = "boredom"', "hold: 'boredom' is unknown"),
        ("identity", "", "text: is missing"),
        ("notice", "", "by: is missing"),
        ("window", "hours = []", "hours: is missing or empty"),
        ("window", 'hours = [{ days = "all", from = "08:00", until = "20:00" }]\nmargin_minutes = -5', "only tightens"),
        ("window", 'hours = [{ days = "all", from = "08:00", until = "12:00" }, '
                   '{ days = "mon", from = "11:00", until = "20:00" }]', "mon has hours that overlap"),
        ("cap", A_CAP.replace("contact", "message") + '\nchannels = ["letter"]',
         "message is never counted on these channels"),
    ],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_does_not_load(kind: str, body: str, message: str) -> None:
    with pytest.raises(PackError, match=re.escape(message)):
        PackBook.from_files({"xa.toml": a_pack("xa", a_rule("xa.rule", kind, body))})


def test_a_pack_without_rules_does_not_load() -> None:
    with pytest.raises(PackError, match="a pack without rules would allow everything"):
        PackBook.from_files({"xa.toml": a_pack("xa", "")})


def test_an_unknown_pack_is_refused_by_name() -> None:
    with pytest.raises(PackError, match="unknown pack 'narnia'; use one of: au, baseline"):
        the_book().named(["tw", "narnia"])


def test_a_purpose_of_answers_passes_a_cap_but_never_the_hours() -> None:
    past = (a_past("2026-03-02T03:00:00", Channel.EMAIL),)
    reply = a_case("2026-03-02T05:00:00", history=past, purpose=Purpose.REPLY)
    rules = the_book().named(["baseline", "tw"])

    assert judge(reply, rules).because.rule == "exception.reply"
    assert isinstance(judge(reply._replace(now=datetime(2026, 3, 2, 15, tzinfo=UTC)), rules), Hold)
