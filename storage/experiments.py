"""What followed on each arm of an experiment, counted in the ledger: a comparison, and no more than that."""

from typing import LiteralString, NamedTuple

from storage.rows import Conn


class Arm(NamedTuple):
    """Contacts of one arm and what followed within seven days of each; people are customers."""

    experiment: str
    arm: str
    message: str
    people: int
    contacts: int
    reached: int
    replied: int
    paid: int
    stopped: int
    held: int


def arms(conn: Conn, experiment: str | None = None) -> list[Arm]:
    """Each arm of an experiment, or of all that the ledger knows."""
    return [Arm._make(row) for row in conn.execute(_ARMS, {"experiment": experiment})]


_ARMS: LiteralString = """
    WITH read AS (
        SELECT c.party_id, c.contact_id, c.intended_at, c.customer_id, c.account_ids, c.message,
               c.inputs #>> '{experiment,id}' AS experiment, c.inputs #>> '{experiment,arm}' AS arm,
               c.intended_at + interval '7 days' AS later
        FROM contact c
        WHERE c.inputs ? 'experiment'
          AND c.inputs #>> '{experiment,id}' = coalesce(%(experiment)s::text, c.inputs #>> '{experiment,id}')
    ), followed AS (
        SELECT r.*,
               EXISTS (SELECT 1 FROM contact_event e WHERE e.party_id = r.party_id AND e.contact_id = r.contact_id
                       AND e.intended_at = r.intended_at AND e.kind IN ('sent', 'delivered', 'read', 'replied'))
                   AS reached,
               EXISTS (SELECT 1 FROM contact_event e WHERE e.party_id = r.party_id AND e.contact_id = r.contact_id
                       AND e.intended_at = r.intended_at AND e.kind = 'replied') AS replied,
               EXISTS (SELECT 1 FROM payment p WHERE p.party_id = r.party_id AND p.account_id = ANY(r.account_ids)
                       AND p.kind = 'payment' AND p.paid_at > r.intended_at AND p.paid_at <= r.later) AS paid,
               EXISTS (SELECT 1 FROM consent s WHERE s.party_id = r.party_id AND s.customer_id = r.customer_id
                       AND s.withdrawn_at > r.intended_at AND s.withdrawn_at <= r.later) AS stopped,
               EXISTS (SELECT 1 FROM hold h WHERE h.party_id = r.party_id AND h.since > r.intended_at
                       AND h.since <= r.later) AS held
        FROM read r
    )
    SELECT experiment, arm, min(message), count(DISTINCT customer_id), count(*), count(*) FILTER (WHERE reached),
           count(*) FILTER (WHERE replied), count(*) FILTER (WHERE paid), count(*) FILTER (WHERE stopped),
           count(*) FILTER (WHERE held)
    FROM followed GROUP BY experiment, arm ORDER BY experiment, arm
"""
