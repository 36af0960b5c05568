"""A small lender's desk for tests: rows in the shape of the `demo` profile, imported into a test's own database."""

import csv
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from config.ladders import load_ladders
from config.lenders import load_lenders
from config.profiles import load_profile
from simulator.portfolio import HEADER
from storage.sealing import Keyring
from worker.intake import IntakeReport, import_accounts

CONFIG = Path(__file__).resolve().parent.parent / "config"
AS_OF = date(2026, 3, 1)


def texts(folder: str) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in (CONFIG / folder).glob("*.toml")}


LENDERS = load_lenders(texts("lenders"))
LADDERS = load_ladders(texts("ladders"))
PROFILES = texts("profiles")
KEYRING = Keyring({"test": bytes(range(32))}, bytes(range(32, 64)))


def a_row(**said: str) -> dict[str, str]:
    """One account, a week before it is due; name what matters to the test."""
    return {
        "lender": "lantern",
        "customer_ref": "C1",
        "name": "林小美",
        "phone": "+886900000101",
        "email": "mei@mail.example",
        "push_token": "",
        "locale": "zh-Hant",
        "residence": "TW",
        "zone": "Asia/Taipei",
        "zone_confirmed_on": "2026-02-01",
        "account_ref": "A1",
        "product": "card",
        "currency": "TWD",
        "balance": "5000.00",
        "due_on": "2026-03-08",
        "consents": "sms email",
        "consented_on": "2025-01-01",
    } | said


@dataclass
class Desk:
    """Imports rows into a database and looks at what became of them."""

    url: str
    conn: psycopg.Connection[Any]
    folder: Path
    profile: str = "demo"
    profiles: dict[str, str] = field(default_factory=lambda: dict(PROFILES))

    def file(self, *rows: dict[str, str], header: tuple[str, ...] = HEADER) -> Path:
        path = self.folder / "accounts.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, header, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        return path

    def take(self, *rows: dict[str, str], as_of: date = AS_OF, full: bool = False) -> IntakeReport:
        return self.take_file(self.file(*rows), as_of=as_of, full=full)

    def take_file(self, path: Path, *, as_of: date = AS_OF, full: bool = False) -> IntakeReport:
        return import_accounts(
            self.url,
            path,
            load_profile(self.profiles, self.profile),
            as_of=as_of,
            full=full,
            keyring=KEYRING,
            lenders=LENDERS,
            ladders=LADDERS,
            rejects_path=self.rejects_path,
        )

    @property
    def rejects_path(self) -> Path:
        return self.folder / "accounts.rejects.csv"

    def rejects(self) -> list[dict[str, str]]:
        if not self.rejects_path.exists():
            return []
        with self.rejects_path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def one(self, query: str, *given: Any) -> Any:
        """The first column of the only row."""
        ((value, *_),) = self.all(query, *given)
        return value

    def all(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        rows = self.conn.execute(query, given).fetchall()  # type: ignore[call-overload]
        self.conn.commit()
        return rows

    def do(self, statement: str, *given: Any) -> None:
        self.conn.execute(statement, given)  # type: ignore[call-overload]
        self.conn.commit()

    def ledger(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table that an import may touch, for before and after."""
        return {
            table: self.all(f"SELECT * FROM {table} ORDER BY 1, 2")
            for table in ("party", "customer", "customer_key", "address", "consent", "account", "reminder", "payment")
        }
