"""Makes portfolios up: any number of accounts, seeded, shaped like a real card book's months overdue and balances.

The shape is that of 30,000 card clients of a Taiwanese bank (UCI Machine Learning Repository, "Default of Credit Card
Clients", Yeh & Lien 2009, CC BY 4.0): how many are how late, how many owe nothing, and how much the others owe. Only
those counts and quantiles are here, no row of it. Everybody in a portfolio is invented: addresses are under .example,
and North American numbers among those set aside for fiction.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

#: Clients by months late (0: not late) and those of them who owe nothing, in September 2005.
MONTHS_LATE: Final = {0: 23182, 1: 3688, 2: 2667, 3: 322, 4: 76, 5: 26, 6: 11, 7: 9, 8: 19}
OWE_NOTHING: Final = {0: 909 / 23182, 1: 1689 / 3688}

#: Balances above zero, in Taiwan dollars: the share of clients below, and the amount.
BALANCES: Final = (
    (0.00, 1), (0.05, 536), (0.10, 1345), (0.25, 6916), (0.50, 27862), (0.75, 74037), (0.90, 149957), (0.95, 208012),
    (0.99, 358020), (1.00, 964511),
)  # fmt: skip

HEADER: Final = (
    "lender", "customer_ref", "name", "phone", "email", "push_token", "locale", "residence", "zone",
    "zone_confirmed_on", "account_ref", "product", "currency", "balance", "due_on", "consents", "consented_on",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where made-up people live, and with whom they have their debts. `per_twd` turns Taiwan dollars into theirs."""

    lender: str
    residence: str
    zone: str
    locales: tuple[str, ...]
    prefix: str
    digits: int
    currency: str
    per_twd: float
    weight: int


#: Outside North America no numbers are set aside for fiction: a block each, counted through.
PLACES: Final = (
    Place("lantern", "TW", "Asia/Taipei", ("zh-Hant",) * 9 + ("en",), "+886900", 6, "TWD", 1.0, 40),
    Place("beian", "CN", "Asia/Shanghai", ("zh-Hans",), "+8617000", 6, "CNY", 0.22, 30),
    Place("northbank", "HK", "Asia/Hong_Kong", ("zh-Hant", "zh-Hant", "en"), "+85261", 6, "HKD", 0.25, 20),
    Place("northbank", "JP", "Asia/Tokyo", ("en",), "+81701", 7, "HKD", 0.25, 4),
    Place("northbank", "US-CA", "America/Los_Angeles", ("en",), "+1", 0, "HKD", 0.25, 3),
    Place("northbank", "US-NY", "America/New_York", ("en",), "+1", 0, "HKD", 0.25, 3),
)

#: Area codes in each American zone; 555-0100 to 555-0199 are set aside for fiction in all of them.
AREA_CODES: Final = {
    "US-CA": "209 213 310 323 408 415 510 530 559 562 619 626 650 661 707 714 760 805 818 831".split(),  # noqa: SIM905
    "US-NY": "201 202 203 212 215 301 302 304 315 401 404 410 412 413 508 516 518 603 607 617".split(),  # noqa: SIM905
}

FAMILY: Final = {
    "zh-Hant": "陳 林 黃 張 李 王 吳 劉 蔡 楊 許 鄭 謝 郭".split(),  # noqa: SIM905
    "zh-Hans": "王 李 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱".split(),  # noqa: SIM905
    "en": "Chan Lee Wong Lam Ho Miller Sato Brown Silva Khan Novak Rossi Meyer Costa".split(),  # noqa: SIM905
}
GIVEN: Final = {
    "zh-Hant": "雅婷 怡君 志明 俊傑 淑芬 家豪 美玲 冠宇 佩珊 承翰".split(),  # noqa: SIM905
    "zh-Hans": "伟 芳 娜 敏 静 丽娟 强 磊 建国 晓明".split(),  # noqa: SIM905
    "en": "Ana Ben Carla Dan Ella Finn Grace Hugo Iris Jan".split(),  # noqa: SIM905
}


def write_portfolio(path: Path, *, accounts: int, as_of: date, seed: int) -> int:
    """Write that many accounts as a CSV file for the profile `demo`; how many customers they belong to.

    The same arguments always give the same file.
    """
    customers = set()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row in rows(accounts=accounts, as_of=as_of, seed=seed):
            writer.writerow(row)
            customers.add((row[0], row[1]))
    return len(customers)


def rows(*, accounts: int, as_of: date, seed: int) -> Iterator[tuple[str, ...]]:
    """The rows of a portfolio; one customer in ten has a second account, on the row after the first."""
    random = Random(seed)  # noqa: S311 - a made-up portfolio, not a secret
    made = number = 0
    here: Counter[str] = Counter()  # customers by residence: numbers are handed out one after the other
    while made < accounts:
        number += 1
        place = random.choices(PLACES, [place.weight for place in PLACES])[0]
        here[place.residence] += 1
        person = _person(place, number, here[place.residence] - 1, as_of, random)
        for product in ("card", "instalment")[: 2 if random.random() < 0.1 and made + 1 < accounts else 1]:
            made += 1
            yield (*person.said[:10], *_debt(person, number, product, as_of, random), *person.said[10:])


@dataclass(frozen=True, slots=True)
class _Person:
    place: Place
    said: tuple[str, ...]


def _person(place: Place, number: int, nth: int, as_of: date, random: Random) -> _Person:
    locale = random.choice(place.locales)
    given, family = random.choice(GIVEN[locale]), random.choice(FAMILY[locale])
    has_zone = random.random() >= 0.01
    consents = random.choices(("sms email push call", "sms email", "email", ""), (90, 5, 3, 2))[0]
    return _Person(
        place,
        (
            place.lender,
            f"C{number:07d}",
            f"{given} {family}" if locale == "en" else f"{family}{given}",
            _phone(place, nth) if has_zone else "",
            f"customer{number}@mail.example" if random.random() < 0.9 else "",
            f"made-up-token-{random.getrandbits(64):016x}" if random.random() < 0.4 else "",
            locale,
            place.residence,
            place.zone if has_zone else "",
            _earlier(as_of, random, 300) if has_zone and random.random() < 0.95 else "",
            consents,
            _earlier(as_of, random, 900) if consents else "",
        ),
    )


def _phone(place: Place, nth: int) -> str:
    """The number of a place's nth customer: their own, up to 2,000 in each American place and a million elsewhere."""
    if codes := AREA_CODES.get(place.residence):
        return f"+1{codes[nth // 100 % len(codes)]}55501{nth % 100:02d}"
    return f"{place.prefix}{nth % 10**place.digits:0{place.digits}d}"


def _debt(person: _Person, number: int, product: str, as_of: date, random: Random) -> tuple[str, ...]:
    months = random.choices(tuple(MONTHS_LATE), tuple(MONTHS_LATE.values()))[0]
    owed = 0.0 if random.random() < OWE_NOTHING.get(months, 0.0) else _balance(random.random())
    days = random.randint(0, 30)
    due_on = as_of + timedelta(days=1 + days) if months == 0 else as_of - timedelta(days=30 * (months - 1) + days)
    return (
        f"{product[0].upper()}{number:07d}",
        product,
        person.place.currency,
        f"{owed * person.place.per_twd:.2f}",
        due_on.isoformat(),
    )


def _balance(point: float) -> float:
    """The balance below which that share of clients lies, by straight lines between the quantiles."""
    for (low, less), (high, more) in pairwise(BALANCES):
        if point <= high:
            return less + (more - less) * (point - low) / (high - low)
    return BALANCES[-1][1]


def _earlier(as_of: date, random: Random, days: int) -> str:
    return (as_of - timedelta(days=random.randint(1, days))).isoformat()
