"""The lines of `duly judge`: one JSON case in, one JSON verdict out. Strict: what is not understood is not judged."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TypeVar

import orjson

from domain.case import AccountFacts, Attempt, BlockedHours, Case, CustomerFacts, PastContact
from domain.channel import REACHED_BY, AddressChannel, AddressKind, Channel
from domain.consent import Consent
from domain.contact import Outcome
from domain.days import is_zone
from domain.hold import Hold, HoldKind
from domain.purpose import Actor, Direction, Purpose
from domain.verdict import Allow, Suppress, Verdict
from domain.verdict import Hold as HoldVerdict
from policy.judge import Finding, judge
from policy.packs import PackBook, PackError, RuleSet
from policy.zones import country_of_number, zones_of_number

Json = Mapping[str, object]
Value = TypeVar("Value")

#: Times outside these years are slips of the pen, and beyond what calendars know.
_YEARS = range(1970, 2200)

_DAYS = {name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
_CHANNELS = {channel.value: channel for channel in Channel}
_KINDS = {kind.value: kind for kind in AddressKind}
_PURPOSES = {purpose.value: purpose for purpose in Purpose}
_ACTORS = {actor.value: actor for actor in Actor}
_WAYS = {way.value: way for way in Direction}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_HOLDS: dict[str, tuple[HoldKind, Channel | None]] = {
    **{kind.value: (kind, None) for kind in HoldKind},
    **{f"{HoldKind.OPT_OUT}:{channel}": (HoldKind.OPT_OUT, channel) for channel in Channel},
}

_PHONES = frozenset(channel for channel, reached in REACHED_BY.items() if reached is AddressChannel.PHONE)


class LineError(ValueError):
    """A line that is not right; the message names the key and says what to write."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """The keys of one object: all of `needed`, and no others than `known`."""

    needed: frozenset[str]
    known: frozenset[str]


def _shape(needed: str, optional: str = "") -> _Shape:
    return _Shape(frozenset(needed.split()), frozenset(f"{needed} {optional}".split()))


_CASE = _shape("case packs now actor customer account contact history holds consents", "expires")
_CUSTOMER = _shape("zones zone_confirmed", "preferences")
_PREFERENCES = _shape("", "blocked refused_channels")
_BLOCKED_AT = "customer.preferences.blocked"
_BLOCKED = _shape("days from until")
_ACCOUNT = _shape("id days_past_due amount_minor currency")
_CONTACT = _shape("channel address address_kind purpose")
_PAST = _shape("at channel direction outcome address actor", "account accounts purpose lender household")
_HOLD = _shape("kind account from until")
_CONSENT = _shape("channel address given withdrawn purpose")


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of output, without its line end, and whether it tells of a fault in the input."""

    line: bytes
    is_fault: bool


class LineJudge:
    """Judges lines by the packs of one book."""

    def __init__(self, book: PackBook, *, with_trace: bool = False) -> None:
        self._book = book
        self._with_trace = with_trace

    def answers(self, lines: Iterable[bytes], *, first_line: int = 1) -> Iterator[Answer]:
        """One answer for each line, in order; blank lines get none."""
        for number, line in enumerate(lines, start=first_line):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")  # as some editors begin a file
            if line.strip():
                yield self.answer(line, number)

    def answer(self, line: bytes, number: int) -> Answer:
        name: str | None = None
        try:
            values = _parsed(line)
            given = values.get("case")
            name = given if isinstance(given, str) else None
            case = read_case(values)
            rules = self._rules(values, case)
        except (LineError, PackError) as fault:
            return Answer(orjson.dumps({"case": name, "line": number, "error": str(fault)}), is_fault=True)
        trace: list[Finding] | None = [] if self._with_trace else None
        answer = _as_json(name, judge(case, rules, trace=trace))
        if trace is not None:
            answer["trace"] = [_finding(finding) for finding in trace]
        return Answer(orjson.dumps(answer), is_fault=False)

    def _rules(self, values: Json, case: Case) -> RuleSet:
        rules = self._book.named(_texts(values, "packs", "packs"))
        if rules.can_expire:
            for pack in rules.expired(case.now.date()):
                raise PackError(f"{pack.file}: valid_until: {pack.name} has expired; review it and set a later day")
        return rules


def read_case(values: Json) -> Case:
    """The case of one parsed line; raises LineError."""
    _check(values, _CASE, "the line")
    if not isinstance(values["case"], str):
        raise LineError("case: must be a text")
    now = _time(values["now"], "now")
    expires = values.get("expires")
    return Case(
        now=now,
        expires=None if expires is None else _time(expires, "expires"),
        actor=_word(values["actor"], _ACTORS, "actor"),
        customer=_customer(_object(values["customer"], "customer")),
        account=_account(_object(values["account"], "account")),
        attempt=_attempt(_object(values["contact"], "contact")),
        history=[_past(entry, now, i) for i, entry in enumerate(_list(values["history"], "history"))],
        holds=[_hold(hold, i) for i, hold in enumerate(_list(values["holds"], "holds"))],
        consents=[_consent(consent, i) for i, consent in enumerate(_list(values["consents"], "consents"))],
    )


def _customer(values: Json) -> CustomerFacts:
    _check(values, _CUSTOMER, "customer")
    zones = _texts(values, "zones", "customer.zones")
    for zone in zones:
        if not is_zone(zone):
            raise LineError(f"customer.zones: unknown time zone {zone!r}; use an IANA name such as Asia/Taipei")
    confirmed = values["zone_confirmed"]
    if not isinstance(confirmed, bool):
        raise LineError("customer.zone_confirmed: must be true or false")
    wishes = values.get("preferences")
    if not wishes:
        return CustomerFacts(zones, confirmed)
    preferences = _object(wishes, "customer.preferences")
    _check(preferences, _PREFERENCES, "customer.preferences")
    refused = _texts(preferences, "refused_channels", "customer.preferences.refused_channels", default=())
    return CustomerFacts(
        zones=zones,
        zone_confirmed=confirmed,
        blocked=tuple(_blocked(row, i) for i, row in enumerate(_list(preferences.get("blocked", ()), _BLOCKED_AT))),
        refused_channels=frozenset(
            [_word(channel, _CHANNELS, "customer.preferences.refused_channels") for channel in refused]
        ),
    )


def _blocked(row: object, index: int) -> BlockedHours:
    try:
        values = _object(row, "the wish")
        _check(values, _BLOCKED, "the wish")
        days = _texts(values, "days", "days")
        if not days:
            raise LineError("days: is empty; name at least one of mon to sun")
        return BlockedHours(
            weekdays=frozenset([_word(day, _DAYS, "days") for day in days]),
            since=_clock(values["from"], "from"),
            until=_clock(values["until"], "until"),
        )
    except LineError as fault:
        raise LineError(f"{_BLOCKED_AT}[{index}].{fault}") from None


def _account(values: Json) -> AccountFacts:
    _check(values, _ACCOUNT, "account")
    currency = values["currency"]
    if not (isinstance(currency, str) and len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise LineError("account.currency: must be an ISO 4217 code such as CNY")
    return AccountFacts(
        id=_text(values["id"], "account.id"),
        days_past_due=_integer(values["days_past_due"], "account.days_past_due"),
        amount_minor=_integer(values["amount_minor"], "account.amount_minor"),
        currency=currency,
    )


def _attempt(values: Json) -> Attempt:
    _check(values, _CONTACT, "contact")
    channel = _word(values["channel"], _CHANNELS, "contact.channel")
    address = _optional_text(values["address"], "contact.address")
    kind = values["address_kind"]
    is_phone = channel in _PHONES and address is not None
    return Attempt(
        channel=channel,
        address=address,
        address_kind=AddressKind.MOBILE if kind is None else _word(kind, _KINDS, "contact.address_kind"),
        purpose=_word(values["purpose"], _PURPOSES, "contact.purpose"),
        number_zones=zones_of_number(address) if is_phone and address else (),
        number_country=country_of_number(address) if is_phone and address else None,
    )


def _past(entry: object, now: datetime, index: int) -> PastContact:
    try:
        values = _object(entry, "the entry")
        _check(values, _PAST, "the entry")
        at = _time(values["at"], "at")
        if at > now:
            raise LineError("at: lies in the future of now; correct one of them")
        return PastContact(
            at,
            _word(values["channel"], _CHANNELS, "channel"),
            _word(values["outcome"], _OUTCOMES, "outcome"),
            _accounts(values),
            _optional_text(values["address"], "address"),
            _word(values["direction"], _WAYS, "direction"),
            _word(values.get("purpose", "reminder"), _PURPOSES, "purpose"),
            _word(values["actor"], _ACTORS, "actor"),
            _optional_text(values.get("lender"), "lender"),
            _household(values.get("household")),
        )
    except LineError as fault:
        raise LineError(f"history[{index}].{fault}") from None


def _accounts(values: Json) -> tuple[str, ...]:
    if "accounts" in values:
        if "account" in values:
            raise LineError("accounts: does not go with account; give one of them")
        return _texts(values, "accounts", "accounts")
    if "account" not in values:
        raise LineError("account: is missing; give account or accounts")
    account = _optional_text(values["account"], "account")
    return () if account is None else (account,)


def _household(value: object) -> str | None:
    """A household's id; true and false say whether it went to a member of the household."""
    if isinstance(value, bool):
        return "household" if value else None
    return _optional_text(value, "household")


def _hold(row: object, index: int) -> Hold:
    try:
        values = _object(row, "the hold")
        _check(values, _HOLD, "the hold")
        kind, channel = _word(values["kind"], _HOLDS, "kind")
        since = _time(values["from"], "from")
        until = None if values["until"] is None else _time(values["until"], "until")
        if until is not None and until <= since:
            raise LineError("until: is not after from; swap or correct them")
        return Hold(kind, _optional_text(values["account"], "account"), since, until, channel)
    except LineError as fault:
        raise LineError(f"holds[{index}].{fault}") from None


def _consent(row: object, index: int) -> Consent:
    try:
        values = _object(row, "the consent")
        _check(values, _CONSENT, "the consent")
        return Consent(
            _word(values["channel"], _CHANNELS, "channel"),
            _optional_text(values["address"], "address"),
            _word(values["purpose"], _PURPOSES, "purpose"),
            _time(values["given"], "given"),
            None if values["withdrawn"] is None else _time(values["withdrawn"], "withdrawn"),
        )
    except LineError as fault:
        raise LineError(f"consents[{index}].{fault}") from None


def _parsed(line: bytes) -> Json:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as broken:
        raise LineError(f"not JSON (column {broken.colno}); write one object per line") from None
    return _object(values, "the line")


def _check(values: Json, shape: _Shape, where: str) -> None:
    keys = values.keys()
    if keys == shape.known or (keys <= shape.known and keys >= shape.needed):
        return
    unknown = sorted(keys - shape.known)
    if unknown:
        raise LineError(f"{where}: unknown key {unknown[0]!r}; use {', '.join(sorted(shape.known))}")
    raise LineError(
        f"{where}: {min(shape.needed - keys)} is missing; give every key, null or [] where there is nothing"
    )


def _object(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise LineError(f"{where}: must be an object")
    return value


def _list(value: object, where: str) -> list[object] | tuple[()]:
    if value == ():
        return ()
    if not isinstance(value, list):
        raise LineError(f"{where}: must be a list")
    return value


def _texts(values: Json, key: str, where: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
    value = values.get(key, default)
    if value is default and default is not None:
        return default
    if not isinstance(value, list) or any([not isinstance(text, str) for text in value]):  # noqa: C419  half the time
        raise LineError(f"{where}: must be a list of texts")
    return tuple(value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise LineError(f"{where}: must be a text that is not empty")
    return value


def _optional_text(value: object, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _integer(value: object, where: str) -> int:
    if type(value) is not int:
        raise LineError(f"{where}: must be a whole number")
    return value


def _word(value: object, words: Mapping[str, Value], where: str) -> Value:
    found = words.get(value) if isinstance(value, str) else None
    if found is None:
        raise LineError(f"{where}: is unknown; use one of {', '.join(words)}")
    return found


def _time(value: object, where: str) -> datetime:
    if not isinstance(value, str):
        raise LineError(f"{where}: must be a time such as 2026-03-02T14:00:00Z")
    try:
        time_given = datetime.fromisoformat(value)
    except ValueError:
        raise LineError(f"{where}: is not a time; write it as 2026-03-02T14:00:00Z") from None
    if time_given.tzinfo is None:
        raise LineError(f"{where}: has no time zone; write it in UTC, as 2026-03-02T14:00:00Z")
    if time_given.year not in _YEARS:
        raise LineError(f"{where}: the year is not between {_YEARS.start} and {_YEARS.stop - 1}")
    return time_given if time_given.tzinfo is UTC else time_given.astimezone(UTC)


def _clock(value: object, where: str) -> time:
    """A time of day to the minute; 24:00 is midnight at the day's end."""
    if value == "24:00":
        return time.min
    if isinstance(value, str) and len(value) == 5:
        try:
            return time.fromisoformat(value)
        except ValueError:
            pass
    raise LineError(f"{where}: is not a time of day; write it as 09:00")


def _as_json(name: str | None, verdict: Verdict) -> dict[str, object]:
    because = verdict.because
    until = None if isinstance(verdict, Suppress) else verdict.until
    return {
        "case": name,
        "verdict": "allow"
        if isinstance(verdict, Allow)
        else "hold"
        if isinstance(verdict, HoldVerdict)
        else "suppress",
        "until": _written(until),
        "rule": because.rule,
        "source": because.source,
        "pack": because.pack,
        "confidence": because.confidence,
        "severity": because.severity,
    }


def _finding(finding: Finding) -> dict[str, object]:
    answer = "pass" if not finding.bars else "suppress" if finding.final else "hold"
    return {
        "rule": finding.because.rule,
        "pack": finding.because.pack,
        "answer": answer,
        "until": _written(finding.end),
        "confidence": finding.because.confidence,
        "severity": finding.because.severity,
    }


def _written(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
