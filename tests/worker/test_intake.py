from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.channel import AddressChannel
from simulator.portfolio import HEADER, write_portfolio
from tests.intake_kit import AS_OF, KEYRING, Desk, a_row
from worker.csv_file import ShapeError
from worker.intake import planning_moment

END_OF_AS_OF = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def desk(database_url: str, connection: psycopg.Connection[Any], tmp_path: Path) -> Desk:
    return Desk(database_url, connection, tmp_path)


def open_steps(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.all(
        """SELECT a.external_ref, r.step FROM reminder r JOIN account a USING (party_id, account_id)
           WHERE r.state = 'planned' ORDER BY 1"""
    )


def test_a_row_becomes_a_party_a_customer_a_debt_and_a_first_step(desk: Desk) -> None:
    report = desk.take(a_row())

    assert (report.rows, report.rejected, report.customers_new, report.accounts_new, report.planned) == (1, 0, 1, 1, 1)
    assert desk.all("SELECT balance_minor, currency, due_on, state, ladder, as_of FROM account") == [
        (5000_00, "TWD", date(2026, 3, 8), "open", "standard", END_OF_AS_OF)
    ]
    assert desk.all("SELECT step, channel, planned_for FROM reminder") == [
        ("upcoming", "email", datetime(2026, 3, 5, 2, 30, tzinfo=UTC))
    ]


def test_everything_personal_is_sealed_and_opens_with_the_customers_key(desk: Desk) -> None:
    desk.take(a_row(name="林小美", phone="+886900000101"))

    ((master, wrapped),) = desk.all("SELECT master_key_id, wrapped_key FROM customer_key")
    key = KEYRING.open_customer_key(master, wrapped)
    addresses = dict(desk.all("SELECT channel, sealed FROM address"))
    assert key.open(desk.one("SELECT name_sealed FROM customer")).decode() == "林小美"
    assert {channel: key.open(sealed).decode() for channel, sealed in addresses.items()} == {
        "phone": "+886900000101",
        "email": "mei@mail.example",
    }
    everything = repr(desk.ledger())
    assert "900000101" not in everything
    assert "小美" not in everything
    assert desk.one("SELECT lookup FROM address WHERE channel = 'phone'") == KEYRING.lookup(
        AddressChannel.PHONE, "+886900000101"
    )


def test_the_same_file_again_changes_nothing(desk: Desk) -> None:
    path = desk.folder / "p.csv"
    write_portfolio(path, accounts=2500, as_of=AS_OF, seed=7)
    first = desk.take_file(path)
    before = desk.ledger()

    again = desk.take_file(path, full=True)

    assert first.accounts_new == 2500
    assert (again.customers_new, again.customers_changed, again.accounts_new, again.accounts_changed) == (0, 0, 0, 0)
    assert (again.accounts_unchanged, again.accounts_recalled, again.planned, again.cancelled) == (2500, 0, 0, 0)
    assert desk.ledger() == before


def test_what_owes_nothing_is_never_planned(desk: Desk) -> None:
    desk.take(a_row(account_ref="zero", balance="0"), a_row(account_ref="less", balance="-12.50"))

    assert desk.all("SELECT external_ref, state FROM account ORDER BY 1") == [("less", "paid"), ("zero", "paid")]
    assert open_steps(desk) == []


def test_money_as_a_spreadsheet_writes_it(desk: Desk) -> None:
    desk.take(
        a_row(account_ref="a", balance="5.00E+05"),
        a_row(account_ref="b", balance="1,234.50"),
        a_row(account_ref="c", balance="1E-2"),
    )

    assert [row[0] for row in desk.all("SELECT balance_minor FROM account ORDER BY external_ref")] == [
        500_000_00,
        1234_50,
        1,
    ]


def test_several_rows_of_one_customer_make_one_party(desk: Desk) -> None:
    desk.take(a_row(account_ref="A1"), a_row(account_ref="A2"), a_row(account_ref="B1", customer_ref="C2"))
    desk.take(a_row(account_ref="A3"))

    assert desk.all("SELECT count(*) FROM party") == [(2,)]
    assert desk.one("SELECT count(DISTINCT party_id) FROM account WHERE external_ref LIKE 'A%%'") == 1


@pytest.mark.parametrize(
    ("said", "column", "value"),
    [
        ({"balance": "a lot"}, "balance", "x xxx"),
        ({"balance": "12.345"}, "balance", "99.999"),
        ({"balance": "NaN"}, "balance", "xxx"),
        ({"currency": "ZZZ"}, "currency", "xxx"),
        ({"phone": "+886 12"}, "phone", "+999 99"),
        ({"phone": "call me"}, "phone", "xxxx xx"),
        ({"email": "mei at mail"}, "email", "xxx xx xxxx"),
        ({"email": "a@b.example\nBcc: x@y.example"}, "email", "x@x.xxxxxxx?xxx: x@x.xxxxxxx"),
        ({"zone": "Asia/Taibei"}, "zone", "xxxx/xxxxxx"),
        ({"zone": "Asia/Taipei|Moon"}, "zone", "xxxx"),
        ({"lender": "nobody"}, "lender", "xxxxxx"),
        ({"locale": "fr"}, "locale", "xx"),
        ({"residence": "Taiwan"}, "residence", "xxxxxx"),
        ({"due_on": "08/03/2026"}, "due_on", "99/99/9999"),
        ({"due_on": "1826-03-08"}, "due_on", "9999-99-99"),
        ({"consents": "sms fax"}, "consents", "xxx"),
        ({"name": ""}, "name", ""),
        ({"name": "x" * 300}, "name", "x" * 40 + "…"),
        ({"account_ref": ""}, "account_ref", ""),
        ({"push_token": "短"}, "push_token", "x"),
    ],
)
def test_a_bad_row_is_put_aside_masked_and_the_rest_is_taken(
    desk: Desk, said: dict[str, str], column: str, value: str
) -> None:
    report = desk.take(
        a_row(customer_ref="C0", account_ref="A0"), a_row(**said), a_row(customer_ref="C2", account_ref="A2")
    )

    ((line, reject),) = [(row["line"], row) for row in desk.rejects()]
    assert (report.accounts_new, report.rejected, report.rejects) == (2, 1, desk.rejects_path)
    assert line in {"3", "4"}  # a cell with a line break ends one line later
    assert (reject["column"], reject["value"]) == (column, value)
    assert reject["reason"]
    for cell in said.values():
        assert len(cell) < 5 or cell not in reject["reason"]


def test_a_good_file_leaves_no_rejects_and_takes_away_those_of_the_run_before(desk: Desk) -> None:
    desk.take(a_row(balance="x"))
    assert desk.rejects_path.exists()

    desk.take(a_row())

    assert not desk.rejects_path.exists()


def test_a_file_that_only_has_the_rejects_name_is_left_alone(desk: Desk) -> None:
    desk.rejects_path.write_text("my notes\n")

    desk.take(a_row())

    assert desk.rejects_path.read_text() == "my notes\n"


def test_one_account_twice_and_one_customer_of_two_minds_are_put_aside(desk: Desk) -> None:
    desk.take(a_row(), a_row(), a_row(account_ref="A2", name="somebody else"))

    assert [(row["line"], row["column"]) for row in desk.rejects()] == [("3", "account_ref"), ("4", "customer_ref")]
    assert "line 2" in desk.rejects()[0]["reason"]


def test_an_account_does_not_change_hands_or_currency(desk: Desk) -> None:
    desk.take(a_row())

    desk.take(a_row(customer_ref="C9"), a_row(account_ref="A1", currency="USD"))

    assert [(row["line"], row["column"]) for row in desk.rejects()] == [("2", "account_ref"), ("3", "currency")]


def bytes_of(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text.encode())


GOOD = ",".join(HEADER) + "\n" + ",".join(a_row()[name] for name in HEADER) + "\n"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (bytes_of(""), "empty"),
        (bytes_of("\n\n"), "empty"),
        (bytes_of(",".join(HEADER) + "\n"), "a header and no row"),
        (bytes_of("ID,PAY_0,BILL_AMT1\n1,2,3\n"), "column 'lender', .* missing, which profile 'demo' needs"),
        (bytes_of(GOOD.replace(",", ";")), "parted by a semicolon, not by a comma"),
        (bytes_of(GOOD.replace("locale", "name", 1)), "column 'name' is there twice"),
        (bytes_of(GOOD + '"never closed,' + "x\n" * 50), "close every quote"),
        (lambda path: path.write_bytes(GOOD.encode("utf-16")), "not UTF-8"),
        (lambda path: path.write_bytes(GOOD.encode("big5", "replace")), "not UTF-8"),
        (lambda path: path.write_bytes(b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff\xfe"), "not UTF-8"),
        (lambda path: path.write_bytes(GOOD.encode() * 3000 + b"\xff\n"), "not UTF-8 text"),
        (bytes_of("x" * 300_000), "field larger than field limit"),
    ],
)
def test_a_file_of_another_shape_changes_nothing_and_says_why(
    desk: Desk, spoil: Callable[[Path], object], said: str
) -> None:
    path = desk.folder / "theirs.csv"
    spoil(path)

    with pytest.raises(ShapeError, match=rf"theirs\.csv: .*{said}"):
        desk.take_file(path)

    assert desk.all("SELECT count(*) FROM party") == [(0,)]
    assert desk.all("SELECT count(*) FROM intake") == [(0,)]


def test_a_byte_order_mark_and_unknown_columns_do_no_harm(desk: Desk) -> None:
    path = desk.folder / "bom.csv"
    header, row, _ = GOOD.split("\n")
    path.write_bytes(b"\xef\xbb\xbf" + f"{header},AGE\r\n{row},44\r\n".encode())

    report = desk.take_file(path)

    assert report.accounts_new == 1
    assert report.notes == ("columns that the profile does not know were not read: AGE",)


def test_a_changed_balance_updates_stops_what_is_under_way_and_keeps_the_step(desk: Desk) -> None:
    desk.take(a_row())
    planned = desk.all("SELECT * FROM reminder")

    report = desk.take(a_row(balance="4000"), as_of=AS_OF + DAY)

    assert report.accounts_changed == 1
    assert desk.all("SELECT balance_minor, as_of FROM account") == [(4000_00, END_OF_AS_OF + DAY)]
    assert desk.one("SELECT stop_epoch FROM party") == 1
    assert desk.all("SELECT * FROM reminder") == planned


def test_a_new_due_date_cancels_the_step_and_plans_anew(desk: Desk) -> None:
    desk.take(a_row())

    report = desk.take(a_row(due_on="2026-04-08", balance="700"), as_of=AS_OF + DAY)

    assert (report.cancelled, report.planned) == (1, 1)
    assert desk.all("SELECT state, reason, ladder FROM reminder ORDER BY reminder_id") == [
        ("cancelled", "due_date_changed", "standard"),
        ("planned", None, "small"),
    ]


def test_a_balance_that_falls_to_zero_cancels_and_one_that_comes_back_resumes(desk: Desk) -> None:
    desk.take(a_row(due_on="2026-02-25"))
    desk.do("UPDATE reminder SET state = 'sent', ended_at = %s", END_OF_AS_OF)  # first_notice has gone out

    gone = desk.take(a_row(due_on="2026-02-25", balance="0"), as_of=AS_OF + DAY)
    back = desk.take(a_row(due_on="2026-02-25"), as_of=AS_OF + 2 * DAY)

    assert (gone.planned, back.planned) == (0, 1)
    assert desk.one("SELECT state FROM account") == "open"
    assert desk.one("SELECT step FROM reminder WHERE state = 'planned'") == "options"  # not the notice a second time


def test_an_older_file_never_wins(desk: Desk) -> None:
    desk.take(a_row(balance="4000"), as_of=AS_OF)
    before = desk.ledger()

    report = desk.take(a_row(balance="9000"), as_of=AS_OF - DAY)

    assert report.accounts_stale == 1
    assert desk.ledger()["account"] == before["account"]


def test_full_recalls_what_vanished_of_its_lenders_only_and_takes_it_back_when_it_returns(desk: Desk) -> None:
    rows = [a_row(account_ref=f"A{n}", customer_ref=f"C{n}") for n in range(3)]
    other = a_row(lender="beian", account_ref="B1", currency="CNY", locale="zh-Hans")
    desk.take(*rows, other)

    partial = desk.take(rows[0], as_of=AS_OF + DAY)
    full = desk.take(rows[0], as_of=AS_OF + DAY, full=True)

    assert (partial.accounts_recalled, full.accounts_recalled, full.cancelled) == (0, 2, 2)
    assert desk.all("SELECT external_ref, state FROM account ORDER BY 1") == [
        ("A0", "open"), ("A1", "recalled"), ("A2", "recalled"), ("B1", "open"),
    ]  # fmt: skip
    assert [ref for ref, _ in open_steps(desk)] == ["A0", "B1"]

    back = desk.take(*rows, as_of=AS_OF + DAY, full=True)

    assert (back.accounts_changed, back.planned, back.accounts_recalled) == (2, 2, 0)


def test_full_does_not_recall_the_account_of_a_faulty_row(desk: Desk) -> None:
    desk.take(a_row(account_ref="A1"), a_row(account_ref="A2"))

    report = desk.take(a_row(account_ref="A1", balance="?"), a_row(account_ref="A2"), full=True)

    assert (report.rejected, report.accounts_recalled) == (1, 0)


def test_full_recalls_nothing_while_a_row_cannot_be_told_apart(desk: Desk) -> None:
    desk.take(a_row(account_ref="A1"), a_row(account_ref="A2"))
    path = desk.file(a_row(account_ref="A1"))
    path.write_text(path.read_text() + "half a row\n")

    report = desk.take_file(path, full=True)

    assert (report.rejected, report.accounts_recalled) == (1, 0)
    assert "no account was recalled" in report.notes[-1]


def test_addresses_and_consents_follow_the_file_but_never_against_the_customer(desk: Desk) -> None:
    desk.take(a_row(consents="sms email"))
    desk.do("UPDATE address SET retired_at = now(), retired_reason = 'bounced' WHERE channel = 'email'")
    desk.do("UPDATE consent SET withdrawn_at = '2026-02-15', source = 'reply' WHERE channel = 'sms'")

    desk.take(a_row(phone="+886900000202", consents="sms"), as_of=AS_OF + DAY)
    desk.take(a_row(phone="+886900000101", consents="sms email", name="林美"), as_of=AS_OF + 2 * DAY)

    assert desk.all("SELECT channel, retired_at IS NULL, retired_reason FROM address ORDER BY address_id") == [
        ("phone", True, None), ("email", False, "bounced"), ("phone", False, "left_the_file"),
    ]  # fmt: skip
    assert dict(desk.all("SELECT channel, withdrawn_at IS NOT NULL FROM consent")) == {"sms": True, "email": True}


def test_a_consent_given_after_a_withdrawal_counts_again(desk: Desk) -> None:
    desk.take(a_row(consents="sms"))
    desk.do("UPDATE consent SET withdrawn_at = '2026-02-15', source = 'reply'")

    desk.take(a_row(consents="sms", consented_on="2026-02-20"), as_of=AS_OF + DAY)

    assert desk.one("SELECT withdrawn_at FROM consent") is None


def test_a_changed_customer_keeps_the_key_so_old_facts_still_open(desk: Desk) -> None:
    desk.take(a_row())
    before = desk.all("SELECT * FROM customer_key")

    report = desk.take(a_row(name="陳小美"), as_of=AS_OF + DAY)

    assert (report.customers_changed, report.accounts_new) == (1, 0)
    assert desk.all("SELECT * FROM customer_key") == before
    ((_, _, master, wrapped, _),) = before
    key = KEYRING.open_customer_key(master, wrapped)
    assert key.open(desk.one("SELECT name_sealed FROM customer")).decode() == "陳小美"


def test_an_erased_customer_is_not_brought_back_by_a_file(desk: Desk) -> None:
    desk.take(a_row())
    desk.do("UPDATE customer_key SET wrapped_key = NULL, destroyed_at = now()")

    report = desk.take(a_row(name="back again"), as_of=AS_OF + DAY)

    assert report.rejected == 1
    assert "erased" in desk.rejects()[0]["reason"]


def test_unknown_zone_number_and_consent_come_in_and_stay_unknown(desk: Desk) -> None:
    desk.take(a_row(zone="", zone_confirmed_on="", phone="", residence="", consents=""))

    assert desk.all("SELECT zones, zone_confirmed_at, residence FROM customer") == [([], None, None)]
    assert desk.one("SELECT count(*) FROM consent") == 0
    assert open_steps(desk) == [("A1", "upcoming")]  # planned, so that the judge can say why nothing is sent


@pytest.mark.parametrize(
    ("written", "residence", "country", "zones"),
    [
        ("+12095550100", "US-CA", "US", ["America/Los_Angeles"]),
        ("0900 000 101", "TW", "TW", ["Asia/Taipei"]),
        ("+85261000101", "", "HK", ["Asia/Hong_Kong"]),
        ("+1 (208) 555-0100", "US-ID", "US", ["America/Denver", "America/Los_Angeles"]),
    ],
)
def test_a_number_is_taken_as_written_with_its_country_and_zones(
    desk: Desk, written: str, residence: str, country: str, zones: list[str]
) -> None:
    desk.take(a_row(phone=written, residence=residence))

    ((found, where),) = desk.all("SELECT country, zones FROM address WHERE channel = 'phone'")
    assert found == country
    assert set(zones) <= set(where)


def test_one_number_given_twice_is_one_address(desk: Desk) -> None:
    desk.profiles["demo.toml"] += '\n[[address]]\nchannel = "phone"\nkind = "home"\nvalue = "push_token"\n'

    desk.take(a_row(phone="+886900000101", push_token="0900-000-101"))

    assert desk.all("SELECT kind FROM address WHERE channel = 'phone'") == [("mobile",)]


def test_a_file_of_today_plans_from_now_and_an_older_one_from_its_own_end() -> None:
    now = datetime(2026, 3, 10, 8, tzinfo=UTC)

    assert planning_moment(datetime(2026, 3, 11, tzinfo=UTC), now) == now
    assert planning_moment(datetime(2026, 3, 10, tzinfo=UTC), now) == datetime(2026, 3, 10, tzinfo=UTC)
    assert planning_moment(datetime(2027, 3, 1, tzinfo=UTC), now) == datetime(2027, 3, 1, tzinfo=UTC)


BALANCES = st.sampled_from(["0", "-5", "100", "5000", "1E4"])
DUES = st.sampled_from(["2025-11-20", "2026-01-20", "2026-02-20", "2026-03-08"])
FILES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 4), BALANCES, DUES), min_size=1, max_size=4, unique_by=lambda row: row[0]),
        st.integers(0, 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES)
def test_whatever_files_come_each_debt_that_owes_has_one_step_and_no_other_has_any(
    desk: Desk, files: list[Any]
) -> None:
    desk.do("TRUNCATE party, customer, address, consent, account, payment, reminder, intake CASCADE")
    for rows, day, full in files:
        desk.take(
            *[a_row(account_ref=f"A{n}", customer_ref=f"C{n % 2}", balance=b, due_on=d) for n, b, d in rows],
            as_of=AS_OF + day * DAY,
            full=full,
        )
        wrong = desk.all(
            """
            SELECT a.external_ref FROM account a
            WHERE (a.state = 'open') <> (a.balance_minor > 0 AND a.state <> 'recalled')
               OR (a.state = 'open') <> EXISTS (SELECT 1 FROM reminder r WHERE r.party_id = a.party_id
                   AND r.account_id = a.account_id AND r.state = 'planned')
            """
        )
        assert wrong == []
