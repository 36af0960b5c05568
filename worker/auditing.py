"""The audit of a ledger: every contact of ours, against the packs it was decided by, worked out a second time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.bundle import Bundle
from storage import audit, releases, retention
from storage.audit import Checked, NearMiss, People, Violation
from storage.releases import NoSuchRelease
from storage.retention import Mark
from storage.rows import Conn
from worker.audit_rules import NotAudited, read_rules

#: Violations that are listed; all are counted.
MOST_LISTED: Final = 1000

#: Asked of every contact, whatever its packs.
OF_OURS: Final = (
    "zones.unknown", "zones.no_overlap", "consent.missing", "consent.withdrawn", "hold.*", "release.unknown",
    "packs.unknown", "packs.baseline", "packs.place", "jurisdiction.unknown",
)  # fmt: skip

#: What the engine asks and the ledger keeps no record of as it was then.
NOT_KEPT: Final = (
    NotAudited("customer.refused_channel", "duly@1", "the ledger keeps the wishes of today only"),
    NotAudited("customer.blocked_hours", "duly@1", "the ledger keeps the wishes of today only"),
    NotAudited("optout.confirmed_once", "duly@1", "that an opt-out is confirmed once only is left to the judge"),
    NotAudited("duly.paused", "duly@1", "a pause leaves no record once it is over"),
)


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. `violations` counts (contact, rule) pairs, `listed` shows the first of them."""

    contacts: int
    seconds: float
    violations: int
    violating_contacts: int
    listed: list[Violation]
    near_misses: list[NearMiss]
    checked: list[Checked]
    not_audited: list[NotAudited]
    people: People


def audit_ledger(
    conn: Conn, since: datetime | None = None, until: datetime | None = None, *, most_listed: int = MOST_LISTED
) -> Audit:
    """Audit the contacts intended from `since` on and before `until`; what came before them counts all the same.

    Reads one state of the ledger and changes nothing.
    """
    began = time.monotonic()
    with audit.one_look(conn):
        gathered = audit.gather(conn, since, until)
        hashes = {profile.release_hash for profile in gathered.profiles if profile.release_hash}
        reading = read_rules(gathered, {hashed: found for hashed in hashes if (found := _bundle(conn, hashed))})
        audit.load(conn, reading.rules)
        mark = retention.mark(conn)
        audit.examine(conn, forgotten=mark.before if mark else None)
        for barred in reading.barred:
            audit.bar(conn, barred.rule, "duly@1", barred.why, barred.profiles)
        violations, violating = audit.total_violations(conn)
        return Audit(
            contacts=gathered.contacts,
            violations=violations,
            violating_contacts=violating,
            listed=audit.listed(conn, most_listed),
            near_misses=audit.near_misses(conn),
            checked=audit.checked(conn, OF_OURS),
            not_audited=sorted((*reading.not_audited, *NOT_KEPT, *_forgotten(mark))),
            people=audit.people(conn),
            seconds=time.monotonic() - began,
        )


def _forgotten(mark: Mark | None) -> Iterator[NotAudited]:
    if mark is not None:
        why = f"the ledger before {mark.before} is gone: a notice there is taken for given, and caps count what is left"
        yield NotAudited("retention.forgotten", "duly@1", why)


def _bundle(conn: Conn, release_hash: str) -> Bundle | None:
    try:
        return releases.fetch(conn, release_hash)
    except NoSuchRelease:
        return None
