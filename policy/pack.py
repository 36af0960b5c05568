"""One jurisdiction's pack: a TOML file read into rules, or refused with the file, the rule and the key."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from domain.purpose import Actor
from policy.calendar import HolidayCalendar, read_calendar
from policy.cap import CapRule, read_cap
from policy.channel_ban import BanRule, read_ban
from policy.consent import ConsentRule, read_consent
from policy.duty import DUTIES, Duty, read_duty
from policy.gate import GateRule, read_gate
from policy.notice import NoticeRule, read_notice
from policy.table import PackError, Table
from policy.terms import Defaults
from policy.wait import WaitRule, read_wait
from policy.window import WindowRule, read_window

Rule = WindowRule | CapRule | WaitRule | GateRule | BanRule | NoticeRule | ConsentRule | Duty

BANS = ("channel_ban", "provider_policy")

_PACK_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_REGION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")

_READERS: dict[str, Callable[[Table, Defaults], Rule]] = {
    "cap": read_cap,
    "wait": read_wait,
    "gate": read_gate,
    "notice": read_notice,
    "consent": read_consent,
}

KINDS = ("window", *_READERS, *BANS, *DUTIES)


class Layer(StrEnum):
    """Who sets the rules: our own floor, a law, a provider, or a lender that wants to be stricter."""

    BASELINE = "baseline"
    LAW = "law"
    PROVIDER = "provider"
    LENDER = "lender"


@dataclass(frozen=True)
class Pack:
    """`extends` are the packs that apply by law wherever this one does; on `valid_until` it has expired."""

    id: str
    version: str
    title: str
    layer: Layer
    extends: tuple[str, ...]
    regions: tuple[str, ...]
    applies_to: frozenset[Actor]
    calendar: HolidayCalendar
    shares_calendars: bool
    valid_until: date | None
    not_encoded: tuple[str, ...]
    rules: tuple[Rule, ...]
    file: str

    @property
    def name(self) -> str:
        return f"{self.id}@{self.version}"

    def is_expired(self, on: date) -> bool:
        return self.valid_until is not None and on >= self.valid_until


def read_pack(file: str, text: str) -> Pack:
    """Read one pack; raises PackError."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise PackError(f"{file}: not TOML: {broken}") from broken
    table = Table(file, values)
    pack_id = _read_id(table)
    version = table.text("version")
    if "@" in version or " " in version:
        raise table.error("version", f"{version!r} may hold neither spaces nor @")
    applies_to = table.words("applies_to", Actor, tuple(Actor))
    calendar, shares = read_calendar(table)
    inherited = Defaults(pack=f"{pack_id}@{version}", pack_id=pack_id, applies_to=applies_to)
    rows = table.tables("rules")
    pack = Pack(
        id=pack_id,
        version=version,
        title=table.text("title"),
        layer=table.word("layer", Layer, Layer.LAW),
        extends=table.texts("extends", ()),
        regions=_read_regions(table),
        applies_to=applies_to,
        calendar=calendar,
        shares_calendars=shares,
        valid_until=table.optional_day("valid_until"),
        not_encoded=table.texts("not_encoded", ()),
        rules=tuple(_read_rule(file, index, row, inherited, calendar) for index, row in enumerate(rows, start=1)),
        file=file,
    )
    table.finish()
    if not pack.rules:
        raise table.error("rules", "is missing; a pack without rules would allow everything, so give it at least one")
    return pack


def _read_id(table: Table) -> str:
    pack_id = table.text("id")
    if not _PACK_ID.fullmatch(pack_id):
        raise table.error("id", f"{pack_id!r} must be lower-case letters, digits and single dashes")
    stem = table.where.rpartition("/")[2].removesuffix(".toml")
    if stem != pack_id:
        raise table.error("id", f"{pack_id!r} differs from the name of its file; call the file {pack_id}.toml")
    return pack_id


def _read_regions(table: Table) -> tuple[str, ...]:
    regions = table.texts("regions", ())
    for region in regions:
        if not _REGION.fullmatch(region):
            raise table.error("regions", f"{region!r} is not an ISO region; write it as US or US-MA")
    return regions


def _read_rule(file: str, index: int, row: Table, inherited: Defaults, calendar: HolidayCalendar) -> Rule:
    rule_id = row.optional_text("id") or f"number {index}"
    table = Table(f"{file}: rule {rule_id}", row.values)
    kind = table.text("kind")
    if kind == "window":
        return read_window(table, inherited, calendar)
    if kind in BANS:
        return read_ban(table, inherited, kind)
    if kind in DUTIES:
        return read_duty(table, inherited, kind)
    if kind in _READERS:
        return _READERS[kind](table, inherited)
    raise table.error("kind", f"{kind!r} is unknown; use one of: {', '.join(KINDS)}")
