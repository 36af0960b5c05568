"""What is taken back from workers that died, and how their accounts go on."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import LiteralString, NamedTuple
from uuid import UUID

from storage.rows import Conn, transpose


class Swept(NamedTuple):
    """A stamped reminder without an answer, whose worker is gone."""

    party_id: int
    reminder_id: int
    account_id: int
    contact_id: UUID


def sweep_batches(conn: Conn) -> tuple[int, list[Swept], int]:
    """Take back what dead workers held: batches swept, stamped rows now uncertain, unstamped rows planned again.

    A batch is dead when its lease has run out by the database's clock; its row is locked first, so a worker that wakes
    up cannot stamp another wave. What is in the wave that it stamped last may have left; the rest has not. What was
    answered already, or given back, needs nothing more.
    """
    dead = [
        row[0]
        for row in conn.execute(
            """
            SELECT batch_id FROM batch WHERE ended_at IS NULL AND lease_until <= clock_timestamp()
            ORDER BY batch_id FOR UPDATE SKIP LOCKED
            """
        )
    ]
    if not dead:
        return 0, [], 0
    uncertain = conn.execute(_DOUBT, (dead,)).fetchall()
    back = conn.execute(_GIVE_BACK, (dead,)).fetchone()
    assert back is not None
    conn.execute(
        """
        UPDATE batch SET ended_at = clock_timestamp(), ended_how = 'swept', parties = '{}', reminders = '{}',
                         contacts = '{}'
        WHERE batch_id = ANY(%s)
        """,
        (dead,),
    )
    return len(dead), [Swept._make(row) for row in uncertain], back[0]


#: A contact of which its worker has said nothing yet, and that nobody has given back. `i` is of the view `intended`.
#: The offset keeps the planner to a look for each: reading months of events instead is never worth it.
UNANSWERED: LiteralString = """NOT EXISTS (
    SELECT 1 FROM contact_event e WHERE e.party_id = i.party_id AND e.contact_id = i.contact_id
      AND e.dedupe_key IN ('dispatch', 'released') OFFSET 0)
"""

_DOUBT: LiteralString = f"""
    WITH gone AS (
        UPDATE reminder r SET state = 'uncertain', reason = 'no_answer_from_worker', ended_at = business_now(),
                              contact_id = i.contact_id, stamped_at = i.stamped_at
        FROM intended i
        WHERE i.batch_id = ANY(%s) AND i.is_stamped AND r.party_id = i.party_id AND r.reminder_id = i.reminder_id
          AND coalesce(r.state) = 'planned' AND {UNANSWERED}
        RETURNING r.party_id, r.reminder_id, r.account_id, r.contact_id
    ), noted AS (
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, code)
        SELECT DISTINCT c.party_id, c.contact_id, c.intended_at, 'uncertain', 'sweep', business_now(),
               'no_answer_from_worker'
        FROM gone g JOIN contact c ON c.party_id = g.party_id AND c.contact_id = g.contact_id
        ON CONFLICT DO NOTHING
    )
    SELECT party_id, reminder_id, account_id, contact_id FROM gone
"""  # noqa: S608 - one constant inside another

_GIVE_BACK: LiteralString = f"""
    WITH back AS (
        UPDATE reminder r SET due_at = business_now(), reason = 'worker_lost', attempt = r.attempt + 1
        FROM intended i
        WHERE i.batch_id = ANY(%s) AND NOT i.is_stamped AND r.party_id = i.party_id AND r.reminder_id = i.reminder_id
          AND coalesce(r.state) = 'planned' AND {UNANSWERED}
        RETURNING i.party_id, i.contact_id
    ), noted AS (
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, code)
        SELECT DISTINCT c.party_id, c.contact_id, c.intended_at, 'released', 'sweep', business_now(), 'worker_lost'
        FROM back b JOIN contact c ON c.party_id = b.party_id AND c.contact_id = b.contact_id
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) FROM back
"""  # noqa: S608 - one constant inside another


class OwedRow(NamedTuple):
    """What the planner needs to go on after a reminder that ended elsewhere."""

    party_id: int
    account_id: int
    lender_id: str
    ladder: str
    step: str
    planned_for: datetime
    due_on: date
    balance_minor: int
    currency: str
    zones: list[str]
    reachable: list[str]


def owed_after(conn: Conn, reminders: Sequence[tuple[int, int]]) -> list[OwedRow]:
    """Accounts of ended reminders (party, reminder) that still owe something and have no open step."""
    if not reminders:
        return []
    rows = conn.execute(
        """
        SELECT r.party_id, r.account_id, r.lender_id, r.ladder, r.step, r.planned_for, a.due_on, a.balance_minor,
               a.currency, c.zones,
               ARRAY(SELECT DISTINCT d.channel FROM address d WHERE d.party_id = c.party_id
                     AND d.customer_id = c.customer_id AND d.retired_at IS NULL)
        FROM unnest(%b::bigint[], %b::bigint[]) AS v(party_id, reminder_id)
        JOIN reminder r USING (party_id, reminder_id)
        JOIN account a ON a.party_id = r.party_id AND a.account_id = r.account_id
        JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
        WHERE a.state = 'open' AND a.balance_minor > 0
        """,
        transpose(reminders, 2),
    ).fetchall()
    return [OwedRow._make(row) for row in rows]
