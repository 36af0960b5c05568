import csv
from collections import Counter
from datetime import date
from pathlib import Path

import phonenumbers
import pytest

from simulator.portfolio import MONTHS_LATE, rows, write_portfolio
from tests.intake_kit import AS_OF

MADE = list(rows(accounts=20_000, as_of=AS_OF, seed=5))


def test_the_same_seed_makes_the_same_file_and_another_makes_another(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_portfolio(tmp_path / name, accounts=500, as_of=AS_OF, seed=seed)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("accounts", [1, 2, 999])
def test_it_makes_exactly_as_many_accounts_as_asked(tmp_path: Path, accounts: int) -> None:
    customers = write_portfolio(tmp_path / "p.csv", accounts=accounts, as_of=AS_OF, seed=3)

    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        made = list(csv.DictReader(file))
    assert len(made) == len({row["account_ref"] for row in made}) == accounts
    assert len({row["customer_ref"] for row in made}) == customers


def test_as_many_are_as_late_as_in_the_real_book() -> None:
    days = [(AS_OF - date.fromisoformat(row[14])).days for row in MADE]
    late = Counter(0 if day < 0 else day // 30 + 1 for day in days)

    for months in (0, 1, 2):
        assert late[months] / len(MADE) == pytest.approx(MONTHS_LATE[months] / 30_000, abs=0.012)
    assert max(late) >= 6


def test_about_one_in_eleven_owes_nothing() -> None:
    assert sum(float(row[13]) == 0 for row in MADE) / len(MADE) == pytest.approx(2598 / 30_000, abs=0.01)


def test_everybody_is_made_up_and_can_be_reached_by_nobody() -> None:
    assert all(row[4].endswith(".example") for row in MADE if row[4])
    phones = {row[3] for row in MADE if row[3]}
    customers = {(row[0], row[1]) for row in MADE if row[3]}
    assert len(phones) == len(customers)
    for phone in sorted(phones)[::40]:
        assert phonenumbers.is_valid_number(phonenumbers.parse(phone))
        assert not phone.startswith("+1") or "55501" in phone
