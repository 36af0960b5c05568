from collections import Counter
from datetime import date, timedelta

import phonenumbers
import pytest

from config.files import ConfigError
from config.profiles import RowFault, Said, load_profile, parse_profile, protected_word
from domain.channel import AddressChannel
from tests.intake_kit import PROFILES

UCI = PROFILES["uci.toml"]
AS_OF = date(2026, 2, 28)
PROFILE = load_profile(PROFILES, "uci")
HEADER = [*["ID", "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE", "PAY_0"], "BILL_AMT1"]


def said(number: int, months: int = 0, balance: str = "3913", as_of: date = AS_OF) -> Said:
    row = [str(number), "20000", "2", "2", "1", "24", str(months), balance]
    return PROFILE.read(row, PROFILE.places(HEADER), as_of=as_of)


def test_the_same_client_is_made_up_the_same_whatever_their_sex_age_education_or_marriage() -> None:
    profile = load_profile(PROFILES, "uci")
    row = ["77", "20000", "1", "1", "1", "24", "2", "3913"]
    other = ["77", "90000", "2", "6", "3", "79", "2", "3913"]
    places = profile.places(HEADER)

    assert profile.read(row, places, as_of=AS_OF) == profile.read(other, places, as_of=AS_OF)


@pytest.mark.parametrize("months", range(-2, 9))
def test_months_late_become_days_past_due(months: int) -> None:
    days = {(AS_OF - account.due_on).days for n in range(1, 400) for account in said(n, months).accounts[:1]}

    if months <= 0:
        assert -31 <= min(days) <= max(days) < 0
    else:
        assert 28 * (months - 1) <= min(days) <= max(days) <= 31 * months


def test_due_days_are_spread_over_the_month() -> None:
    days = Counter(said(n).accounts[0].due_on.day for n in range(2800))

    assert set(days) == set(range(1, 29))
    assert max(days.values()) < 200


def test_made_up_people_are_valid_apart_and_nobody() -> None:
    addresses = [address for n in range(1, 30_001, 3) for address in said(n).addresses]
    phones = [a.value for a in addresses if a.channel is AddressChannel.PHONE]

    assert len(phones) == len(set(phones)) > 9_600
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(phone)) for phone in phones[::5])
    assert all("55501" in phone for phone in phones if phone.startswith("+1"))
    assert all(a.value.endswith(".example") for a in addresses if a.channel is AddressChannel.EMAIL)


def test_the_made_up_book_has_every_case_that_must_show() -> None:
    people = [said(n) for n in range(1, 3001)]
    zones = Counter(person.customer.zones for person in people)

    assert zones["Asia/Taipei"] > 2300
    assert all(
        zones[zone] > 20
        for zone in ("Asia/Shanghai", "Asia/Hong_Kong", "Asia/Tokyo", "America/Los_Angeles", "America/New_York", "")
    )
    assert 220 < sum(len(person.accounts) == 2 for person in people) < 380
    assert 10 < sum(person.customer.consents == "" for person in people) < 100
    assert {person.customer.locale for person in people} == {"zh-Hant", "zh-Hans", "en"}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("SEX", "sex"),
        ("customer_age", "age"),
        ("CustomerAge", "age"),
        ("date of birth", "birth"),
        ("MaritalStatus", "marital"),
        ("客户性别", "性别"),
        ("agency", None),
        ("page", None),
        ("PAY_0", None),
        ("mortgage", None),
        ("balance", None),
    ],
)
def test_protected_columns_are_known_by_their_words(name: str, word: str | None) -> None:
    assert protected_word(name) == word


def changed(old: str, new: str) -> str:
    assert old in UCI
    return UCI.replace(old, new, 1)


def test_a_profile_that_reads_a_protected_column_is_refused_with_line_and_reason() -> None:
    text = changed("[columns]\n", '[columns]\nSEX = "integer"\n').replace('"SEX", ', "")
    line = text.splitlines().index('SEX = "integer"') + 1

    with pytest.raises(
        ConfigError, match=rf"profiles/uci\.toml: line {line}: SEX: 'SEX' may not be read.*ignored_columns"
    ):
        parse_profile(text, name="profiles/uci.toml")


def test_a_protected_column_cannot_hide_behind_another_name() -> None:
    text = changed("[columns]\n", '[columns]\nk = {header = "Gender", holds = "text"}\n')

    with pytest.raises(ConfigError, match="'Gender' may not be read"):
        parse_profile(text, name="profiles/uci.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('key = "text(ID)"', 'key = "text(SEX)"', "key: 'SEX' is no column"),
        ('balance = "BILL_AMT1"', 'balance = "BILL_AMT1.strip()"', "balance: unknown function"),
        ('when = "share(key', 'when = "exec(key', "when: unknown function"),
        ("product = \"'instalment'\"", 'product = "(1"', "product: not an expression"),
        ('region = "', 'key2 = "region"\nregion = "', "key2: 'region' is no column, no value above"),
    ],
)
def test_a_faulty_expression_is_refused_with_its_own_line(old: str, new: str, said: str) -> None:
    text = changed(old, new)
    begun = new.split("\n")[0]
    line = next(n for n, content in enumerate(text.splitlines(), start=1) if content.startswith(begun))

    with pytest.raises(ConfigError, match=rf"line {line}: {said}"):
        parse_profile(text, name="profiles/uci.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('zone = "Asia/Taipei"', 'zone = "Taipei"', "unknown time zone 'Taipei'"),
        ('id = "uci"', 'id = "ucy"', "the file's own name"),
        ("[values]", "[values]\npick = '1'", "this name is taken"),
        ("[words]", "[words]\nID = ['a']", "this name is taken"),
        ("[customer]", "[customer]\nscore = '1'", r"customer\.score: unknown key"),
        ("ref = \"'C' + padded(key, 6)\"", "", r"customer\.ref: missing"),
        ('channel = "push"', 'channel = "fax"', r"address\.3\.channel"),
    ],
)
def test_a_faulty_profile_is_refused_with_the_key(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_profile(changed(old, new), name="profiles/uci.toml")


def test_an_unknown_profile_is_answered_with_those_that_are_there() -> None:
    with pytest.raises(ConfigError, match="no import profile 'uki': there is demo, uci"):
        load_profile(PROFILES, "uki")


@pytest.mark.parametrize(
    ("months", "column"), [("late", "PAY_0"), ("", "PAY_0"), ("1.5", "PAY_0"), ("999999", "PAY_0")]
)
def test_a_faulty_cell_names_its_column(months: str, column: str) -> None:
    profile = load_profile(PROFILES, "uci")

    with pytest.raises(RowFault) as caught:
        profile.read(["7", "1", "1", "1", "1", "1", months, "5"], profile.places(HEADER), as_of=AS_OF)

    assert caught.value.column == "PAY_0"
    assert caught.value.value == months
    assert months not in caught.value.reason or not months


def test_the_account_of_a_faulty_row_can_still_be_told() -> None:
    profile = load_profile(PROFILES, "uci")
    places = profile.places(HEADER)
    row = ["7", "1", "1", "1", "1", "1", "late", "5"]

    assert profile.account_refs(row, places, as_of=AS_OF) == [("lantern", "A000007"), ("lantern", "L000007")]
    demo = load_profile(PROFILES, "demo")
    header = [column.header for column in demo.columns]
    cells = ["x" if name != "due_on" else "never" for name in header]
    assert demo.account_refs(cells, demo.places(header), as_of=AS_OF) == [("x", "x")]


def test_the_as_of_date_moves_everything_that_hangs_on_it() -> None:
    assert (
        said(1, as_of=AS_OF).accounts[0].due_on + timedelta(days=31)
        == said(1, as_of=date(2026, 3, 31)).accounts[0].due_on
    )
