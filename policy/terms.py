"""What every rule of a pack carries, whatever its kind: whom it binds, when, how sure we are, and its source."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from domain.channel import AddressKind, Channel
from domain.purpose import Actor, Purpose
from domain.verdict import Because
from policy.table import Table

#: Purposes that caps, waits, gates and bans let through unless a pack says otherwise. Hours bind every purpose.
ANSWERS = frozenset({Purpose.REPLY, Purpose.REQUESTED_CALLBACK, Purpose.STATUTORY_NOTICE, Purpose.OPTOUT_CONFIRMATION})

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9_]+)+")


class Severity(StrEnum):
    HARD = "hard"
    SOFT = "soft"  # binds until a supervisor has recorded an override


class Confidence(StrEnum):
    """How the figure was verified: primary text read; secondary source read; weak source; known; run; our proposal."""

    P = "P"
    S = "S"
    S1 = "S1"
    K = "K"
    R = "R"
    OWN = "own"


_UNVERIFIED = frozenset({Confidence.S1, Confidence.K})


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the rules of one pack inherit from it."""

    pack: str  # id@version
    pack_id: str
    applies_to: frozenset[Actor]


@dataclass(frozen=True, slots=True)
class Terms:
    """`effective_from` is the first local day a rule binds, `effective_until` the first on which it no longer does."""

    id: str
    kind: str
    pack: str
    severity: Severity
    confidence: Confidence
    source: str
    applies_to: frozenset[Actor]
    channels: frozenset[Channel]
    address_kinds: frozenset[AddressKind]
    exceptions: frozenset[Purpose]
    effective_from: date | None
    effective_until: date | None
    note: str

    @property
    def because(self) -> Because:
        return Because(self.id, self.pack, self.source, str(self.confidence), str(self.severity))

    def binds(self, *, channel: Channel, actor: Actor, purpose: Purpose, address_kind: AddressKind) -> bool:
        return (
            channel in self.channels
            and actor in self.applies_to
            and purpose not in self.exceptions
            and address_kind in self.address_kinds
        )

    def in_force(self, on: date) -> bool:
        if self.effective_from is not None and on < self.effective_from:
            return False
        return self.effective_until is None or on < self.effective_until

    def in_force_on_any(self, days: Iterable[date]) -> bool:
        return any(self.in_force(on) for on in days)


def read_terms(
    table: Table,
    kind: str,
    inherited: Defaults,
    *,
    exceptions: Iterable[Purpose] = ANSWERS,
    channels: Iterable[Channel] | None = tuple(Channel),
) -> Terms:
    """The terms of one rule; `channels` None makes the key obligatory."""
    rule_id = table.text("id")
    if not _ID.fullmatch(rule_id) or not rule_id.startswith(inherited.pack_id + "."):
        raise table.error("id", f"{rule_id!r} must begin with {inherited.pack_id!r} and a dot, in lower case")
    severity = table.word("severity", Severity, Severity.HARD)
    confidence = table.word("confidence", Confidence)
    if severity is Severity.HARD and confidence in _UNVERIFIED:
        raise table.error(
            "severity", f"a figure marked {confidence} may not be hard; mark the rule soft or leave it out"
        )
    since, until = table.optional_day("effective_from"), table.optional_day("effective_until")
    if since is not None and until is not None and until <= since:
        raise table.error("effective_until", f"{until} is not after effective_from {since}; swap or correct them")
    return Terms(
        id=rule_id,
        kind=kind,
        pack=inherited.pack,
        severity=severity,
        confidence=confidence,
        source=table.text("source"),
        applies_to=table.words("applies_to", Actor, tuple(inherited.applies_to)),
        channels=table.words("channels", Channel, None if channels is None else tuple(channels)),
        address_kinds=table.words("address_kinds", AddressKind, tuple(AddressKind)),
        exceptions=frozenset(_purposes(table, "exceptions", exceptions)),
        effective_from=since,
        effective_until=until,
        note=table.optional_text("note") or "",
    )


def _purposes(table: Table, key: str, default: Iterable[Purpose]) -> frozenset[Purpose]:
    """An empty list is meant here: a rule without exceptions."""
    if table.has(key) and not table.texts(key):
        return frozenset()
    return table.words(key, Purpose, tuple(default))
