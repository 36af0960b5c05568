import pytest

from config.files import ConfigError
from config.ladders import load_ladders
from config.lenders import check_ladders, load_lenders
from tests.intake_kit import texts

LANTERN = texts("lenders")["lantern.toml"]


def changed(old: str, new: str) -> dict[str, str]:
    assert old in LANTERN
    return {"lantern.toml": LANTERN.replace(old, new, 1)}


def test_the_packaged_lenders_name_ladders_that_exist_and_addresses_that_do_not() -> None:
    lenders = load_lenders(texts("lenders"))

    check_ladders(lenders, load_ladders(texts("ladders")))
    assert len(lenders) >= 4
    for lender in lenders.values():
        assert ".example" in lender.email_sender
        assert ".example/" in lender.pay_url
        assert lender.brand.keys() == {"en", "zh-Hant", "zh-Hans"}


def test_a_small_balance_takes_the_gentler_ladder_and_the_bound_belongs_to_the_other() -> None:
    lantern = load_lenders({"lantern.toml": LANTERN})["lantern"]

    assert lantern.ladder_for("card", 999_99) == "small"
    assert lantern.ladder_for("card", 1000_00) == "standard"
    assert lantern.ladder_for(None, 0) == "small"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('actor = "creditor"', 'actor = "boss"', r"lantern\.toml: actor: "),
        ('licence = "tw"', "", r"lantern\.toml: licence: missing"),
        ('licence = "tw"', 'license = "tw"\nlicence = "tw"', r"lantern\.toml: license: unknown key"),
        ('id = "lantern"', 'id = "lamp"', "must be the file's own name"),
        ('zh-Hant = "明燈銀行"', 'Chinese = "明燈銀行"', r"brand\.Chinese: not a locale"),
        ('zh-Hant = "明燈銀行"', "", r"help\.hours: needs the same locales as brand"),
        ('sms = "68101"', 'sms = "LANTERNBANKTAIWAN"', r"senders\.sms"),
        ("notice@lantern.example", "notice", r"senders\.email"),
        ("Lantern Bank <notice", "Lantern\\r\\nBcc: x@y.example <notice", r"senders\.email"),
        ("https://lantern.example/pay", "http://lantern.example/pay", r"pay\.url"),
        ('below = "1000.00"', 'below = "1000.005"', "ladder 1: finer than"),
        ('below = "1000.00"', 'below = "0"', "never chosen"),
        ('currency = "TWD"', 'currency = "XXX"', "unknown currency"),
        ("plan = { until_day = 90 }", "plan = { until_day = -1 }", r"offers\.plan"),
        ("plan = { until_day = 90 }", 'plan = { until_day = 9, below = "0" }', "plan: below: .*never chosen"),
        ("plan = { until_day = 90 }", "gift = { until_day = 9 }", r"offers\.gift: unknown key"),
        ("[brand]", "[brand", "not valid TOML"),
    ],
)
def test_a_slip_is_refused_with_the_file_and_the_key(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_lenders(changed(old, new))


def test_a_ladder_that_is_not_there_is_named() -> None:
    lenders = load_lenders(changed('ladder = "standard"', 'ladder = "stern"'))

    with pytest.raises(ConfigError, match=r"lenders/lantern\.toml: ladder 'stern'"):
        check_ladders(lenders, {"standard", "small"})


def test_an_empty_folder_and_a_stray_file_are_refused() -> None:
    with pytest.raises(ConfigError, match="holds no"):
        load_lenders({})
    with pytest.raises(ConfigError, match=r"lenders/notes\.txt"):
        load_lenders({"lantern.toml": LANTERN, "notes.txt": ""})
