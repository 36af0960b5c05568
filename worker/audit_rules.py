"""The packs as the auditor reads them: straight from the TOML of a release, into rows that SQL can count with.

Nothing here comes from `policy/`: a second reading of the same text, so that one mistake cannot hide in both. What is
not understood is named, never passed over.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import holidays

from domain.bundle import Bundle
from storage.audit import (
    CHANNELS,
    READINGS,
    BanRow,
    CountRow,
    GateRow,
    Gathered,
    NoticeRow,
    OpenRow,
    Profile,
    RuleRow,
    Rules,
)

DAY: Final = 86_400
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ANSWERS: Final = ("reply", "requested_callback", "statutory_notice", "optout_confirmation")
ELECTRONIC: Final = ("sms", "email", "push", "social", "null")

_ON_EVERY_RULE: Final = frozenset({
    "id", "kind", "severity", "confidence", "source", "note", "text", "applies_to", "channels", "address_kinds",
    "exceptions", "effective_from", "effective_until",
})  # fmt: skip
_BAN: Final = frozenset({"number_countries", "unless_consent_for_address"})

#: The kinds of rule that are audited, and the keys that are understood.
UNDERSTOOD: Final[Mapping[str, frozenset[str]]] = {
    "window": frozenset({"hours", "exempt", "overnight", "margin_minutes"}),
    "cap": frozenset({
        "counts", "subject", "limit", "window", "counted_channels", "uncounted_purposes", "uncounted_outcomes",
    }),
    "wait": frozenset({"after", "after_channels", "begun", "anchor", "subject", "days", "hours"}),
    "gate": frozenset({"min_days_past_due", "max_days_past_due"}),
    "notice": frozenset({"by", "within_days", "subject"}),
    "channel_ban": _BAN,
    "provider_policy": _BAN,
    "consent": frozenset(),
}  # fmt: skip
#: Duties that are seen to elsewhere.
_SHOWN_NOWHERE: Final[Mapping[str, str]] = {
    "hold": "that a hold lasts so long is not checked; every hold on record is",
    "content": "words are checked when a release is published, not here",
    "identity": "words are checked when a release is published, not here",
    "optout": "words are checked when a release is published, and a stop by the consent it takes back",
    "retention": "what was deleted cannot be counted",
}
_COUNTINGS: Final = ("local_day", "rolling_days", "calendar_week", "calendar_month", "every_nth_day")
_SUBJECTS: Final = ("number", "account", "person", "creditor_group", "household")

Span = tuple[int, int]


class NotAudited(NamedTuple):
    """A rule that nobody looked after here, and why."""

    rule: str
    pack: str
    why: str


class Barred(NamedTuple):
    """Contacts that cannot have been allowed, whatever the hour."""

    rule: str
    why: str
    profiles: list[int]


@dataclass
class Reading:
    """What was read for all profiles: rows for the database, contacts barred outright, and what is not audited."""

    rules: Rules = field(default_factory=lambda: Rules([], [], [], [], [], [], [], [], []))
    barred: list[Barred] = field(default_factory=list)
    not_audited: dict[NotAudited, None] = field(default_factory=dict)


class _Pack:
    """One pack's text as values."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.id: str = values["id"]
        self.name = f"{values['id']}@{values['version']}"
        self.rules: list[Mapping[str, Any]] = values.get("rules", [])


def read_rules(gathered: Gathered, bundles: Mapping[str, Bundle]) -> Reading:
    """The rules that bind each profile, from the release that each names."""
    reading = Reading()
    packs = {hashed: _packs(bundle) for hashed, bundle in bundles.items()}
    sets: dict[tuple[str, tuple[str, ...]], _RuleSet] = {}
    for profile in gathered.profiles:
        book = packs.get(profile.release_hash or "")
        if book is None:
            reading.barred.append(Barred("release.unknown", "it names no release that is kept", [profile.profile]))
            continue
        missing = [pack_id for pack_id in profile.packs if pack_id not in book]
        if missing or not profile.packs:
            why = f"its release has no pack {missing[0]}" if missing else "it names no pack"
            reading.barred.append(Barred("packs.unknown", why, [profile.profile]))
            continue
        key = (profile.release_hash or "", tuple(profile.packs))
        if key not in sets:
            sets[key] = _RuleSet(book, profile.packs, reading, _days(gathered))
        sets[key].bind(profile)
    return reading


def _days(gathered: Gathered) -> list[date]:
    """Every local day that a contact may have had, and one more on both sides."""
    if gathered.first is None or gathered.last is None:
        return []
    first = gathered.first.date() - timedelta(days=2)
    return [first + timedelta(days=n) for n in range((gathered.last.date() - first).days + 3)]


def _packs(bundle: Bundle) -> dict[str, _Pack]:
    files = bundle.under("policies").items()
    read = (_Pack(tomllib.loads(text)) for path, text in files if path.endswith(".toml"))
    return {pack.id: pack for pack in read}


class _RuleSet:
    """The packs that a contact names and all that they extend, as rows; each rule is written down once."""

    def __init__(self, book: Mapping[str, _Pack], named: Sequence[str], reading: Reading, days: list[date]) -> None:
        self._book = book
        self._reading = reading
        self._all_days = days
        ids: list[str] = []
        pending = list(named)
        while pending:
            pack_id = pending.pop()
            if pack_id not in ids:
                ids.append(pack_id)
                pending.extend(book[pack_id].values.get("extends", ()))
        self._packs = [book[pack_id] for pack_id in sorted(ids)]
        self._numbers: dict[str, int] = {}
        self._expiries: list[int] = [self._expiry(p) for p in self._packs if p.values.get("valid_until") is not None]
        self._margin = max(
            (60 * rule.get("margin_minutes", 0) for pack in self._packs for rule in pack.rules), default=0
        )

    def bind(self, profile: Profile) -> None:
        """Say which rules bind contacts of this profile."""
        reading = self._reading
        reading.rules.margins.append((profile.profile, self._margin))
        reading.rules.binds.extend((profile.profile, number) for number in self._expiries)
        needs_consent = profile.channel in ELECTRONIC and profile.purpose not in ANSWERS
        for pack in self._packs:
            for rule in pack.rules:
                why_not = _why_not(rule)
                if why_not:
                    reading.not_audited.setdefault(NotAudited(rule["id"], pack.name, why_not))
                    if rule["kind"] != "gate":
                        continue
                if not _binds(pack, rule, profile):
                    continue
                if rule["kind"] == "consent":
                    needs_consent = True
                reading.rules.binds.append((profile.profile, self._number(pack, rule)))
        if needs_consent:
            reading.rules.need_consent.append(profile.profile)
        reading.barred.extend(self._wrong_packs(profile))

    # ------------------------------------------------------------------------------------------------ which packs apply

    def _wrong_packs(self, profile: Profile) -> Iterator[Barred]:
        """The baseline, the residence's packs and the number's must be among them."""
        mine = {pack.id for pack in self._packs}
        if profile.residence is None and profile.number_country is None:
            yield Barred(
                "jurisdiction.unknown", "neither residence nor number's country is on record", [profile.profile]
            )
        if "baseline" not in mine:
            yield Barred("packs.baseline", "the baseline was not applied", [profile.profile])
        for what, region in (("residence", profile.residence), ("number's country", profile.number_country)):
            lacking = self._expected(region, profile.residence) - mine if region else set()
            if lacking:
                why = f"the {what} {region} asks for {', '.join(sorted(lacking))}, which was not applied"
                yield Barred("packs.place", why, [profile.profile])

    def _expected(self, region: str, residence: str | None) -> set[str]:
        country = region.split("-")[0]
        if residence is not None and residence.startswith(region + "-"):
            return set()
        for wanted in (region, country):
            exact = {pack.id for pack in self._book.values() if wanted in pack.values.get("regions", ())}
            if exact:
                return exact
        parts = {
            pack.id
            for pack in self._book.values()
            if any(part.startswith(country + "-") for part in pack.values.get("regions", ()))
        }
        return parts or {f"a pack for {region}"}

    def _expiry(self, pack: _Pack) -> int:
        number = self._row("pack.expired", pack.name, "expiry", {})
        ends = datetime.combine(pack.values["valid_until"], time(), tzinfo=UTC)
        self._reading.rules.bans.append(BanRow(number, ends, False, f"the pack expired on {ends:%Y-%m-%d}"))
        return number

    # ---------------------------------------------------------------------------------------------------- rules as rows

    def _number(self, pack: _Pack, rule: Mapping[str, Any]) -> int:
        rule_id = rule["id"]
        if rule_id not in self._numbers:
            number = self._numbers[rule_id] = self._row(rule_id, pack.name, rule["kind"], rule)
            self._write(number, pack, rule)
        return self._numbers[rule_id]

    def _row(self, rule_id: str, pack: str, kind: str, rule: Mapping[str, Any]) -> int:
        number = len(self._reading.rules.rules) + 1
        dated = (None, None) if kind == "window" else (rule.get("effective_from"), rule.get("effective_until"))
        self._reading.rules.rules.append(RuleRow(number, rule_id, pack, kind, *dated))
        return number

    def _write(self, number: int, pack: _Pack, rule: Mapping[str, Any]) -> None:
        rows = self._reading.rules
        match rule["kind"]:
            case "window":
                rows.open.extend(self._open(number, pack, rule))
            case "cap":
                rows.counts.append(_cap(number, rule))
            case "wait":
                rows.counts.append(_wait(number, rule))
            case "gate":
                rows.gates.append(GateRow(number, rule.get("min_days_past_due"), rule.get("max_days_past_due")))
            case "notice":
                rows.notices.append(
                    NoticeRow(number, _bits(rule["by"]), rule.get("within_days", 730), rule.get("subject", "account"))
                )
            case "channel_ban" | "provider_policy":
                agreed = bool(rule.get("unless_consent_for_address"))
                rows.bans.append(BanRow(number, None, agreed, "the channel may not be used so"))

    # ------------------------------------------------------------------------------------------------------------ hours

    def _open(self, number: int, pack: _Pack, rule: Mapping[str, Any]) -> Iterator[OpenRow]:
        """The open seconds of each local day, joined across midnights."""
        spans = _joined(span for index, day in enumerate(self._all_days) for span in self._on(pack, rule, index, day))
        for opens, closes in spans:
            for index in range(max(opens // DAY, 0), min((closes - 1) // DAY, len(self._all_days) - 1) + 1):
                starts = index * DAY
                yield OpenRow(
                    number, self._all_days[index], max(opens - starts, -2 * DAY), min(closes - starts, 3 * DAY)
                )

    def _on(self, pack: _Pack, rule: Mapping[str, Any], index: int, day: date) -> Iterator[Span]:
        starts = index * DAY
        if not _in_force(rule, day):
            yield starts, starts + DAY
            return
        kind = "holiday" if self._is_holiday(pack, day) else WEEKDAYS[day.weekday()]
        for hours in rule["hours"]:
            if kind in _day_names(hours["days"]):
                opens, closes = _seconds(hours["from"]), _seconds(hours["until"])
                yield starts + opens, starts + closes + (DAY if closes <= opens else 0)

    def _is_holiday(self, pack: _Pack, day: date) -> bool:
        shares = pack.values.get("holidays") == "*"
        return any(_holiday_of(each.values, day) for each in (self._packs if shares else [pack]))


def _holiday_of(pack: Mapping[str, Any], day: date) -> bool:
    """A holiday of the pack's calendar; so is every day that no person has reviewed."""
    if day > pack["holidays_reviewed_until"] or day in pack.get("extra_holidays", ()):
        return True
    region = pack.get("holidays")
    return region not in (None, "*") and day in _holidays(str(region), day.year)


@lru_cache(maxsize=1024)
def _holidays(region: str, year: int) -> frozenset[date]:
    country, _, part = region.partition("-")
    calendar = holidays.country_holidays(country, subdiv=part or None, years=year)
    if calendar.start_year <= year <= calendar.end_year:
        return frozenset(calendar)
    return frozenset(date(year, 1, 1) + timedelta(days=n) for n in range(366))


def _day_names(words: str) -> set[str]:
    found: set[str] = set()
    for word in words.split():
        first, dash, last = word.partition("-")
        if word == "all":
            found.update(WEEKDAYS, ("holiday",))
        elif dash:
            found.update(WEEKDAYS[WEEKDAYS.index(first) : WEEKDAYS.index(last) + 1])
        else:
            found.add(word)
    return found


def _seconds(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for opens, closes in sorted(spans):
        if joined and opens <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(closes, joined[-1][1]))
        else:
            joined.append((opens, closes))
    return joined


# --------------------------------------------------------------------------------------------------------- single rules


def _why_not(rule: Mapping[str, Any]) -> str | None:
    """Why a rule is not audited (or only in part), or None."""
    kind = rule["kind"]
    if kind in _SHOWN_NOWHERE:
        return _SHOWN_NOWHERE[kind]
    if kind not in UNDERSTOOD:
        return f"the auditor does not know the kind {kind}"
    unknown = sorted(rule.keys() - _ON_EVERY_RULE - UNDERSTOOD[kind])
    if unknown:
        return f"the auditor does not know {', '.join(unknown)}"
    if kind == "consent" and (rule.get("effective_from") or rule.get("effective_until")):
        return "a consent rule with dates is not understood"
    if kind == "cap" and (rule["window"]["kind"] not in _COUNTINGS or rule["counts"] not in READINGS):
        return "the auditor does not know this way of counting"
    if kind == "wait" and rule["after"] not in READINGS:
        return "the auditor does not know what it waits after"
    if kind in ("cap", "wait") and rule["subject"] not in _SUBJECTS:
        return f"the auditor does not know the subject {rule['subject']}"
    return None


def _binds(pack: _Pack, rule: Mapping[str, Any], profile: Profile) -> bool:
    kind = rule["kind"]
    if kind == "window":
        exempted: Sequence[str] = rule.get("exempt", ())
        channels = rule.get("channels", [channel for channel in CHANNELS if channel not in exempted])
    elif kind == "notice":
        channels = rule.get("channels", [channel for channel in CHANNELS if channel not in rule["by"]])
    else:
        channels = rule.get("channels", CHANNELS)
    actors = rule.get("applies_to", pack.values.get("applies_to"))
    countries = rule.get("number_countries")
    return (
        profile.channel in channels
        and (actors is None or profile.actor in actors)
        and profile.address_kind in rule.get("address_kinds", (profile.address_kind,))
        and profile.purpose not in rule.get("exceptions", () if kind == "window" else ANSWERS)
        and (not countries or profile.number_country is None or profile.number_country in countries)
    )


def _in_force(rule: Mapping[str, Any], day: date) -> bool:
    since, until = rule.get("effective_from"), rule.get("effective_until")
    return (since is None or day >= since) and (until is None or day < until)


def _bits(channels: Iterable[str]) -> int:
    return sum(1 << CHANNELS.index(channel) for channel in set(channels))


def _cap(number: int, rule: Mapping[str, Any]) -> CountRow:
    counting = rule["window"]["kind"]
    return CountRow(
        rule_no=number,
        counting=counting,
        length=rule["window"].get("length", 1),
        most=rule["limit"],
        first_only=False,
        bits=READINGS[rule["counts"]],
        channels=_bits(rule.get("counted_channels", rule.get("channels", CHANNELS))),
        subject=rule["subject"],
        uncounted_purposes=list(rule.get("uncounted_purposes", ())),
        uncounted_outcomes=list(rule.get("uncounted_outcomes", ())),
    )


def _wait(number: int, rule: Mapping[str, Any]) -> CountRow:
    return CountRow(
        rule_no=number,
        counting="hours" if "hours" in rule else "rolling_days",
        length=rule["hours"] if "hours" in rule else rule["days"],
        most=1,
        first_only=rule.get("anchor") == "first",
        bits=READINGS[rule["after"]],
        channels=_bits(rule.get("after_channels", CHANNELS)),
        subject=rule["subject"],
        uncounted_purposes=[],
        uncounted_outcomes=[],
    )
