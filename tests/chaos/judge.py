"""The judge: the provider's own log first, and then whether the ledger says the same.

It reads the log from the file, so nothing that the fleet believes plays a part in who was contacted how often.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from storage import ledger
from storage.rows import Conn
from worker.auditing import audit_ledger

TAIPEI = timedelta(hours=8)

#: A second of arrivals at this part of the earlier rate counts as recovered.
RECOVERED = 0.9


@dataclass(frozen=True)
class Arrival:
    """One message that the provider took. `at` is real time, in seconds since 1970."""

    contact: UUID
    to: str
    at: float

    @property
    def day(self) -> str:
        """The customer's day on which it was decided: our ids carry the instant (UUIDv7)."""
        return str((datetime.fromtimestamp((self.contact.int >> 80) / 1000, UTC) + TAIPEI).date())


@dataclass
class Finding:
    """What one round came to. Anything in `violations` breaks a promise."""

    arrived: int = 0  # messages, in the provider's log
    ledger: int = 0  # of these, how many the ledger has as sent
    states: Counter[str] = field(default_factory=Counter)  # of the round's own reminders
    twice: int = 0
    lost: int = 0
    uncertain: int = 0
    violations: list[str] = field(default_factory=list)


class Judge:
    """Knows every message that ever arrived, and looks at each round once all of it is quiet."""

    def __init__(self, outbox: Path) -> None:
        self._log = (outbox / "messages.jsonl").open("rb")
        self._arrivals: list[Arrival] = []
        self._by_contact: Counter[UUID] = Counter()
        self._by_person: Counter[tuple[str, str]] = Counter()

    def close(self) -> None:
        self._log.close()

    def arrivals(self) -> list[Arrival]:
        """All so far."""
        while line := self._log.readline():
            if not line.endswith(b"\n"):  # being written
                self._log.seek(-len(line), 1)
                break
            said = json.loads(line)
            arrival = Arrival(UUID(said["contact"]), said["to"], said["at"])
            self._arrivals.append(arrival)
            self._by_contact[arrival.contact] += 1
            self._by_person[arrival.to, arrival.day] += 1
        return self._arrivals

    def rate(self, since: float, until: float) -> float:
        """Arrivals a second between two instants (real time, in seconds since 1970)."""
        return sum(since <= one.at < until for one in self.arrivals()) / max(until - since, 0.001)

    def recovered_after(self, instant: float, *, rate: float) -> float | None:
        """Seconds from an instant to the first second in which the earlier rate was back; None: not yet."""
        times = sorted(one.at for one in self.arrivals() if one.at >= instant)
        wanted = max(1, int(rate * RECOVERED))
        for first, last in zip(times, times[wanted - 1 :], strict=False):
            if last - first <= 1.0:
                return first - instant
        return None

    def look(self, conn: Conn, *, since: datetime, first: int, parties: int) -> Finding:
        """Judge a round: what arrived from `first` on, against what the ledger has of it since that business time.

        `parties` is the highest party id from before the round.
        """
        arrived = self.arrivals()[first:]
        finding = Finding(arrived=len(arrived))
        repeated = {c: n for c, n in self._by_contact.items() if n > 1}
        persons = {p: n for p, n in self._by_person.items() if n > 1}
        finding.twice = max(len(repeated), len(persons))
        if repeated:
            finding.violations.append(f"{len(repeated)} contacts arrived more than once")
        if persons:
            finding.violations.append(f"{len(persons)} people were written to twice on one day")
        self._compare(conn, finding, arrived, parties)
        self._keep_the_rules(conn, finding, since)
        return finding

    def _compare(self, conn: Conn, finding: Finding, arrived: list[Arrival], parties: int) -> None:
        conn.execute("CREATE TEMPORARY TABLE IF NOT EXISTS arrived (contact_id uuid PRIMARY KEY)")
        conn.execute("TRUNCATE arrived")
        with conn.cursor().copy("COPY arrived FROM STDIN") as copy:
            for contact in {one.contact for one in arrived}:
                copy.write_row([contact])
        states = conn.execute("SELECT state, count(*) FROM reminder WHERE party_id > %s GROUP BY 1", (parties,))
        finding.states = Counter(dict(states.fetchall()))
        finding.ledger = conn.execute(KNOWN_AS_SENT).fetchone()[0]  # type: ignore[index]
        counts = {
            name: conn.execute(query, {"parties": parties}).fetchone()[0]  # type: ignore[index]
            for name, query in QUESTIONS.items()
        }
        said = conn.execute(SAID_SENT, {"parties": parties}).fetchall()
        everyone = {one.contact for one in self.arrivals()}  # should things still move, the log runs ahead
        never = [contact for (contact,) in said if contact not in everyone]
        finding.uncertain = finding.states["uncertain"]
        finding.lost = counts["due and in no end state"] + len(never)
        finding.violations += [f"{number} {name}" for name, number in counts.items() if number]
        if never:
            finding.violations.append(f"{len(never)} said to be sent that never arrived")

    def _keep_the_rules(self, conn: Conn, finding: Finding, since: datetime) -> None:
        finding.violations += [f"{number} {proof}" for proof, number in ledger.proofs(conn).items() if number]
        audit = audit_ledger(conn, since - timedelta(days=1))
        finding.violations += [f"audit: {one.rule} (contact {one.contact_id})" for one in audit.listed[:5]]


SAID_SENT = """
SELECT contact_id FROM reminder WHERE party_id > %(parties)s AND state = 'sent' AND contact_id IS NOT NULL
"""

KNOWN_AS_SENT = """
SELECT count(DISTINCT a.contact_id) FROM arrived a JOIN contact_account c USING (contact_id)
JOIN reminder r ON r.party_id = c.party_id AND r.reminder_id = c.reminder_id AND r.contact_id = c.contact_id
WHERE r.state = 'sent'
"""

#: Each must be zero.
QUESTIONS = {
    "due and in no end state": """
        SELECT count(*) FROM reminder WHERE party_id > %(parties)s
          AND state = 'planned' AND due_at <= business_now()
    """,
    "arrived, and the ledger does not know": """
        SELECT count(*) FROM arrived a WHERE NOT EXISTS (
            SELECT 1 FROM reminder r JOIN contact_account c
              ON c.party_id = r.party_id AND c.reminder_id = r.reminder_id
            WHERE c.contact_id = a.contact_id AND r.contact_id = a.contact_id AND r.state IN ('sent', 'uncertain'))
    """,
    "steps of an account that arrived twice": """
        SELECT count(*) FROM (
            SELECT c.party_id, c.account_id, c.step FROM contact_account c JOIN arrived a USING (contact_id)
            GROUP BY 1, 2, 3 HAVING count(*) > 1) twice
    """,
    "uncertain without a stamp, or with an answer": """
        SELECT count(*) FROM reminder r WHERE r.party_id > %(parties)s AND r.state = 'uncertain'
          AND (r.stamped_at IS NULL OR EXISTS (
              SELECT 1 FROM contact_event e WHERE e.party_id = r.party_id AND e.contact_id = r.contact_id
              AND e.kind IN ('sent', 'delivered', 'undelivered', 'released', 'rejected')))
    """,
}
