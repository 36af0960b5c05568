"""A lender's file of accounts as checked rows: what cannot be taken is put aside with its line, column and reason."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import orjson
import phonenumbers

from config.profiles import Profile, RowFault, Said, SaidAccount, SaidAddress
from domain.channel import AddressChannel, Channel
from domain.lender import Lender
from domain.money import BadMoney, parse_major
from policy.zones import zones_of_number
from storage.intake import KnownAccount, KnownCustomer
from storage.sealing import Keyring
from worker.csv_file import CsvFile, Line, Rejects

#: Rows checked, looked up and staged at a time.
CHUNK: Final = 2000

#: A due date further from the as-of date than this is a slip of the pen.
FURTHEST_DUE: Final = timedelta(days=40 * 366)

_ZONES: Final = frozenset(available_timezones())
_CHANNELS: Final = frozenset(channel.value for channel in Channel)
_REGION: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
#: Zones by the first nine digits, country code included: phonenumbers tells none apart by more (9.0.43, run).
_ZONES_BY_BLOCK: Final[dict[str, tuple[str, ...]]] = {}

_E164: Final = re.compile(r"\+([1-9]\d{6,14})")
_EMAIL: Final = re.compile(r"[^\s@<>,;\"\\]{1,64}@(?=.{4,253}$)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{8,4096}")


class Address(NamedTuple):
    """A checked address; `normalised` is what equality is told by."""

    channel: AddressChannel
    kind: str
    value: str
    normalised: str
    country: str | None
    zones: tuple[str, ...]


class Customer(NamedTuple):
    """A checked customer."""

    lender_id: str
    ref: str
    name: str
    locale: str
    residence: str | None
    zones: tuple[str, ...]
    zone_confirmed_on: date | None
    consents: tuple[str, ...]
    consented_on: date | None
    refused: tuple[str, ...]
    household: str | None


class Debt(NamedTuple):
    """A checked account."""

    ref: str
    product: str | None
    currency: str
    balance_minor: int
    due_on: date
    ladder: str


class Taken(NamedTuple):
    """A checked row, with the keyed hashes of what it says."""

    line: int
    customer: Customer
    addresses: tuple[Address, ...]
    customer_hash: bytes
    accounts: tuple[tuple[Debt, bytes], ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.customer.lender_id, self.customer.ref


class AccountsFile:
    """The file as checked rows by the chunk; what cannot be taken goes to the rejects.

    `unattributed` counts rejected rows of which not even the account can be told.
    """

    def __init__(
        self,
        profile: Profile,
        as_of: date,
        source: CsvFile,
        rejects: Rejects,
        keyring: Keyring,
        lenders: Mapping[str, Lender],
    ) -> None:
        self.profile, self.rejects = profile, rejects
        self._source = source
        self._keyring, self._lenders = keyring, lenders
        self.as_of_moment = end_of_day(as_of, profile.zone)
        self.rows = 0
        self.unattributed = 0
        self._as_of = as_of
        self._places = profile.places(source.header)
        self._faulty: list[tuple[str, str]] = []
        self._accounts: dict[str, int] = {}  # line by account
        self._customers: dict[str, tuple[int, bytes]] = {}  # line and hash by customer

    @property
    def sha256(self) -> str:
        """Of the file, once all its rows were read."""
        return self._source.sha256

    def chunks(self) -> Iterator[list[Taken]]:
        """Rows by the chunk; the last may be empty, it still hands over the accounts of faulty rows."""
        rows: list[Taken] = []
        for line in self._source.lines():
            self.rows += 1
            try:
                rows.append(self._taken(line))
            except RowFault as fault:
                self._note_faulty(line)
                self.reject(line.number, fault)
            if len(rows) >= CHUNK:
                yield rows
                rows = []
        yield rows

    def admits(self, row: Taken, known: KnownCustomer | None, accounts: Mapping[tuple[str, str], KnownAccount]) -> bool:
        """Whether nothing in this file or the ledger speaks against the row; if something does, it is rejected."""
        try:
            self._admit(row, known, accounts)
        except RowFault as fault:
            self.reject(row.line, fault)
            return False
        return True

    def _admit(self, row: Taken, known: KnownCustomer | None, accounts: Mapping[tuple[str, str], KnownAccount]) -> None:
        lender_id, ref = row.key
        name = f"{lender_id}\n{ref}"
        before = self._customers.get(name)
        if before is not None and before[1] != row.customer_hash:
            raise self._fault("customer.ref", ref, f"line {before[0]} says something else about this customer")
        if known is not None and known.wrapped_key is None:
            raise self._fault("customer.ref", ref, "this customer was erased here: take the row out of the file")
        for index, (debt, _) in enumerate(row.accounts, start=1):
            ledger = accounts.get((lender_id, debt.ref))
            earlier = self._accounts.get(f"{lender_id}\n{debt.ref}")
            key = f"account.{index}"
            if earlier is not None:
                raise self._fault(f"{key}.ref", debt.ref, f"the same account is on line {earlier}")
            if ledger is not None and ledger.customer_ref != ref:
                raise self._fault(f"{key}.ref", debt.ref, "the ledger has this account under another customer")
            if ledger is not None and ledger.currency != debt.currency:
                raise self._fault(f"{key}.currency", debt.currency, f"the ledger has this account in {ledger.currency}")
        self._customers.setdefault(name, (row.line, row.customer_hash))
        for debt, _ in row.accounts:
            self._accounts[f"{lender_id}\n{debt.ref}"] = row.line

    def is_again(self, row: Taken) -> bool:
        """Whether an earlier row of this file was about the same customer."""
        return self._customers["\n".join(row.key)][0] != row.line

    def reject(self, line: int, fault: RowFault) -> None:
        self.rejects.add(line, fault.column, fault.value, fault.reason)

    def faulty_accounts(self) -> list[tuple[str, str]]:
        """The accounts that rejected rows were about: faulty is not missing. Each is given once."""
        faulty, self._faulty = self._faulty, []
        return faulty

    def notes(self) -> tuple[str, ...]:
        read = {column.header for column in self.profile.columns} | set(self.profile.ignored_columns)
        new = [name for name in self._source.header if name not in read]
        return (f"columns that the profile does not know were not read: {', '.join(new)}",) if new else ()

    def _note_faulty(self, line: Line) -> None:
        refs = None
        if len(line.cells) == len(self._source.header):
            refs = self.profile.account_refs(line.cells, self._places, as_of=self._as_of)
        if refs is None or not all(ref for _, ref in refs):
            self.unattributed += 1
        else:
            self._faulty += refs

    def _taken(self, line: Line) -> Taken:
        width = len(self._source.header)
        if len(line.cells) != width:
            raise RowFault("", "", f"{len(line.cells)} cells where the header has {width}")
        said = self.profile.read(line.cells, self._places, as_of=self._as_of)
        customer = self._customer(said)
        addresses = self._addresses(said.addresses, customer.residence)
        accounts = [self._debt(debt, customer, index) for index, debt in enumerate(said.accounts, start=1)]
        if len({debt.ref for debt in accounts}) < len(accounts):
            raise self._fault("account.1.ref", accounts[0].ref, "the row gives two accounts one reference")
        fingerprint = self._keyring.fingerprint
        return Taken(
            line=line.number,
            customer=customer,
            addresses=addresses,
            customer_hash=fingerprint(orjson.dumps((*customer, *addresses), default=tuple)),
            accounts=tuple((debt, fingerprint(orjson.dumps((customer.ref, *debt)))) for debt in accounts),
        )

    def _customer(self, said: Said) -> Customer:
        told = said.customer
        lender = self._lenders.get(told.lender) if isinstance(told.lender, str) else None
        if lender is None:
            there = ", ".join(self._lenders)
            raise self._fault("customer.lender", told.lender, f"no such lender: lenders/*.toml has {there}")
        locale = self._text(told.locale, "customer.locale", 20)
        if locale not in lender.brand:
            raise self._fault("customer.locale", locale, f"{lender.id} writes in {', '.join(lender.brand)}")
        residence = self._text(told.residence, "customer.residence", 6, empty=True) or None
        if residence is not None and not _REGION.fullmatch(residence):
            raise self._fault("customer.residence", residence, "not a country or region: write TW or US-CA")
        consents = self._channels(told.consents, "customer.consents")
        zones = _words(told.zones)
        for zone in zones:
            if zone not in _ZONES:
                raise self._fault("customer.zones", zone, "unknown time zone: write one such as Asia/Taipei")
        return Customer(
            lender_id=lender.id,
            ref=self._text(told.ref, "customer.ref", 100),
            name=self._text(told.name, "customer.name", 200),
            locale=locale,
            residence=residence,
            zones=zones,
            zone_confirmed_on=self._day(told.zone_confirmed_on, "customer.zone_confirmed_on") if zones[:1] else None,
            consents=consents,
            consented_on=self._day(told.consented_on, "customer.consented_on") if consents else None,
            refused=self._channels(told.refused, "customer.refused"),
            household=self._text(told.household, "customer.household", 100, empty=True) or None,
        )

    def _addresses(self, said: Sequence[SaidAddress], residence: str | None) -> tuple[Address, ...]:
        checked: dict[tuple[AddressChannel, str], Address] = {}
        for index, told in enumerate(said, start=1):
            address = self._address(told, residence, f"address.{index}.value")
            checked.setdefault((address.channel, address.normalised), address)
        return tuple(checked.values())

    def _address(self, told: SaidAddress, residence: str | None, key: str) -> Address:
        value = self._text(told.value, self._key_of(told.channel, key), 4096)
        match told.channel:
            case AddressChannel.PHONE:
                number = phone_number(value, residence)
                if number is None:
                    raise self._fault(self._key_of(told.channel, key), value, "not a phone number that can be in use")
                return Address(told.channel, told.kind.value, number.e164, number.e164, number.country, number.zones)
            case AddressChannel.EMAIL if not _EMAIL.fullmatch(value):
                raise self._fault(self._key_of(told.channel, key), value, "not an e-mail address")
            case AddressChannel.PUSH if not _TOKEN.fullmatch(value):
                raise self._fault(self._key_of(told.channel, key), value, "not a push token")
            case AddressChannel.EMAIL:
                return Address(told.channel, told.kind.value, value, value.lower(), None, ())
        return Address(told.channel, told.kind.value, value, value, None, ())

    def _debt(self, told: SaidAccount, customer: Customer, index: int) -> Debt:
        key = f"account.{index}"
        currency = self._text(told.currency, f"{key}.currency", 3)
        try:
            balance = parse_major(str(told.balance), currency).amount_minor
        except BadMoney as error:
            where = f"{key}.currency" if "currency" in str(error) else f"{key}.balance"
            raise self._fault(where, currency if where.endswith("currency") else told.balance, str(error)) from error
        due_on = self._day(told.due_on, f"{key}.due_on")
        if due_on is None or abs(due_on - self._as_of) > FURTHEST_DUE:
            raise self._fault(f"{key}.due_on", told.due_on, "not a due date near the as-of date")
        product = self._text(told.product, f"{key}.product", 60, empty=True) or None
        ladder = self._lenders[customer.lender_id].ladder_for(product, max(balance, 0))
        if ladder is None:
            file = f"lenders/{customer.lender_id}.toml"
            raise self._fault(f"{key}.product", told.product, f"{file} names no ladder for this product and amount")
        return Debt(self._text(told.ref, f"{key}.ref", 100), product, currency, balance, due_on, ladder)

    def _channels(self, told: Any, key: str) -> tuple[str, ...]:
        named = _words(told)
        for name in named:
            if name not in _CHANNELS:
                raise self._fault(key, name, f"no such channel: there are {', '.join(sorted(_CHANNELS))}")
        return tuple(sorted(set(named)))

    def _text(self, told: Any, key: str, longest: int, *, empty: bool = False) -> str:
        value = "" if told is None else str(told).strip()
        if not value and not empty:
            raise self._fault(key, value, "empty: it must be filled in")
        if len(value) > longest:
            raise self._fault(key, value, f"longer than {longest} characters")
        if not value.isprintable():
            raise self._fault(key, value, "holds a character that cannot be printed")
        return value

    def _day(self, told: Any, key: str) -> date | None:
        if told is None or told == "":
            return None
        if not isinstance(told, date):
            raise self._fault(key, told, "not a date")
        return told

    def _key_of(self, channel: AddressChannel, key: str) -> str:
        """Addresses that are missing shift the numbers, so the column is found by channel."""
        return self.profile.address_key(channel) or key

    def _fault(self, key: str, value: Any, reason: str) -> RowFault:
        return RowFault(self.profile.blamed(key), str(value), reason)


def end_of_day(day: date, zone: str) -> datetime:
    """The first instant after a local day, aware UTC."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=ZoneInfo(zone)).astimezone(UTC)


class PhoneNumber(NamedTuple):
    """A number that can be in use. `zones` are all zones that it may ring in."""

    e164: str
    country: str | None
    zones: tuple[str, ...]


def phone_number(written: str, residence: str | None) -> PhoneNumber | None:
    """A number as a file writes it, in full or as dialled at home; None when it cannot be in use."""
    number = _in_full(written)
    try:
        number = number or phonenumbers.parse(written, residence[:2] if residence else None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    country = phonenumbers.region_code_for_number(number)
    block = e164[:10]
    zones = _ZONES_BY_BLOCK.get(block)
    if zones is None:
        zones = _ZONES_BY_BLOCK[block] = zones_of_number(e164)
    return PhoneNumber(e164, None if country == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY else country, zones)


def _in_full(written: str) -> phonenumbers.PhoneNumber | None:
    """A number already in E.164, without the cost of parsing free text; None for anything that needs parsing.

    Country codes are prefix-free (ITU-T E.164), so the first that fits is the one. A national number that starts with a
    zero (Italy has them) goes the long way.
    """
    match = _E164.fullmatch(written)
    if match is None:
        return None
    digits = match[1]
    for length in (1, 2, 3):
        if int(digits[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE and digits[length] != "0":
            return phonenumbers.PhoneNumber(country_code=int(digits[:length]), national_number=int(digits[length:]))
    return None


def _words(told: Any) -> tuple[str, ...]:
    if told is None or told == "":
        return ()
    words = re.split(r"[\s,;|]+", told.strip()) if isinstance(told, str) else [str(word) for word in told]
    return tuple(dict.fromkeys(word for word in words if word))
