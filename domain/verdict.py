"""The answer to "may we, now?": a value that says yes, later or never, and names the rule that said so."""

from dataclasses import dataclass
from datetime import datetime

from domain.value import value


@dataclass(frozen=True, slots=True)
class Because:
    """The rule that decided. `pack` is `id@version`; `confidence` is the mark of its source: P, S, S1, K, R or own."""

    rule: str
    pack: str
    source: str
    confidence: str
    severity: str  # hard | soft


@value(frozen=True, slots=True)
class Allow:
    """`until` is the last instant (exclusive) at which this allowance stands: the end of today's window, aware UTC."""

    because: Because
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now. `until` is the first instant at which every rule would allow it; None when only a person can say."""

    because: Because
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Suppress:
    """Never, for this step."""

    because: Because


Verdict = Allow | Hold | Suppress
