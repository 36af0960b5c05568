"""Reading the ledger back: what happened to one account and why, and what may never be in it."""

from datetime import date, datetime
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

from domain.money import Money
from storage.rows import Conn


class NoSuchAccount(LookupError):
    """No account of that reference, or more than one; the message says which lenders have it."""


class Account(NamedTuple):
    """An account as the ledger has it now. `zones` are the customer's; the first is where their clock is read."""

    party_id: int
    account_id: int
    customer_id: int
    lender_id: str
    external_ref: str
    state: str
    balance_minor: int
    currency: str
    due_on: date
    ladder: str
    zones: list[str]


class Entry(NamedTuple):
    """One line of a timeline; nothing personal in it. `what` says it in a word or a few; `at` is business time.

    `rule` and `pack` are what decided; `until` is when a hold, a window or a plan ends.
    """

    at: datetime
    kind: str
    what: str
    channel: str | None
    step: str | None
    stage: str | None
    rule: str | None
    pack: str | None
    until: datetime | None
    code: str | None
    contact_id: UUID | None


class Sealed(NamedTuple):
    """What a contact was rendered from, under the customer's key; `proof` is the keyed hash of what left."""

    contact_id: UUID
    message: str
    channel: str
    locale: str
    release_hash: str
    facts_sealed: bytes
    master_key_id: str | None
    wrapped_key: bytes | None
    proof: str | None


# ---------------------------------------------------------------------------------------------------------- one account


def find_account(conn: Conn, account_ref: str, lender_id: str | None) -> Account:
    """The account of that reference; a lender is needed only where several have it. Raises NoSuchAccount."""
    rows = conn.execute(
        """
        SELECT a.party_id, a.account_id, a.customer_id, a.lender_id, a.external_ref, a.state, a.balance_minor,
               a.currency, a.due_on, a.ladder, c.zones
        FROM account a JOIN customer c USING (party_id, customer_id)
        WHERE a.external_ref = %s AND a.lender_id = ANY(coalesce(%s::text[], ARRAY(SELECT lender_id FROM lender)))
        ORDER BY a.lender_id LIMIT 20
        """,
        (account_ref, None if lender_id is None else [lender_id]),
    ).fetchall()
    if not rows:
        whose = f" of {lender_id}" if lender_id else ""
        raise NoSuchAccount(f"no account{whose} has that reference: give it as the lender's file does")
    if len(rows) > 1:
        raise NoSuchAccount(f"several lenders have that reference: add --lender {' or '.join(row[3] for row in rows)}")
    return Account._make(rows[0])


def timeline(conn: Conn, account: Account) -> list[Entry]:
    """Everything about an account in the order in which it happened, what is planned last."""
    values = {"party": account.party_id, "account": account.account_id, "customer": account.customer_id}
    return [_readable(Entry._make(row), account.currency) for row in conn.execute(_TIMELINE, values)]


def _readable(entry: Entry, currency: str) -> Entry:
    """Amounts as people write them: the ledger counts minor units."""
    if entry.kind not in ("payment", "promise") or entry.code is None:
        return entry
    return entry._replace(code=f"{Money(int(entry.code), currency).major:,} {currency}")


#: Columns: at, order within an instant, kind, what, channel, step, stage, rule, pack, until, code, contact_id.
_TIMELINE: LiteralString = """
    WITH covered AS (
        SELECT c.contact_id, c.intended_at, c.channel, c.message, c.purpose, c.origin, c.rule, c.pack, c.window_ends,
               ca.step, coalesce(ca.stage, c.stage) AS stage, cardinality(c.account_ids) AS debts,
               (SELECT e.kind FROM contact_event e JOIN contact_event_rank r USING (kind)
                WHERE e.party_id = c.party_id AND e.contact_id = c.contact_id AND e.intended_at = c.intended_at
                ORDER BY r.rank DESC LIMIT 1) AS state
        FROM contact_account ca
        JOIN contact c ON c.party_id = ca.party_id AND c.contact_id = ca.contact_id AND c.intended_at = ca.intended_at
        WHERE ca.party_id = %(party)s AND ca.account_id = %(account)s
    ), entry AS (
        SELECT d.at, 1 AS nth, 'decision' AS kind, d.verdict AS what, d.channel, nullif(d.step, '') AS step,
               nullif(d.stage, '') AS stage, d.rule, d.pack, d.until, NULL AS code, NULL::uuid AS contact_id
        FROM decision d WHERE d.party_id = %(party)s AND d.account_id = %(account)s
        UNION ALL
        SELECT c.intended_at, 2, 'contact',
               coalesce(c.state, 'intended')
               || CASE WHEN c.debts > 1 THEN ', with ' || c.debts - 1 || ' more' ELSE '' END
               || CASE c.origin WHEN 'imported' THEN ', by others' ELSE '' END,
               c.channel, c.step, c.stage, c.rule, c.pack, c.window_ends, c.message, c.contact_id
        FROM covered c
        UNION ALL
        SELECT e.at, 3, 'event', e.kind, c.channel, c.step, c.stage, NULL, NULL, NULL,
               coalesce(e.provider || ' ' || e.code, e.code, e.provider), c.contact_id
        FROM covered c JOIN contact_event e
          ON e.party_id = %(party)s AND e.contact_id = c.contact_id AND e.intended_at = c.intended_at
        UNION ALL
        SELECT r.ended_at, 4, 'reminder', r.state, r.channel, r.step, r.stage, r.reason, NULL, NULL, NULL, r.contact_id
        FROM reminder r
        WHERE r.party_id = %(party)s AND r.account_id = %(account)s AND r.ended_at IS NOT NULL
        UNION ALL
        SELECT p.paid_at, 0, 'payment', p.kind, NULL, NULL, NULL, NULL, NULL, NULL,
               p.amount_minor::text, NULL
        FROM payment p
        WHERE p.party_id = %(party)s AND p.account_id = %(account)s
        UNION ALL
        SELECT h.since, 5, 'hold', h.kind || ': ' || h.reason, NULL, NULL, NULL, 'hold.' || h.kind, NULL, h.ends_at,
               h.source, NULL
        FROM hold h WHERE h.party_id = %(party)s AND (h.account_id IS NULL OR h.account_id = %(account)s)
        UNION ALL
        SELECT h.released_at, 6, 'hold', h.kind || ' ended', NULL, NULL, NULL, NULL, NULL, NULL, h.released_by, NULL
        FROM hold h WHERE h.party_id = %(party)s AND (h.account_id IS NULL OR h.account_id = %(account)s)
          AND h.released_at IS NOT NULL
        UNION ALL
        SELECT s.withdrawn_at, 5, 'consent', 'withdrawn', s.channel, NULL, NULL, 'consent.withdrawn', NULL, NULL,
               s.source, NULL
        FROM consent s WHERE s.party_id = %(party)s AND s.customer_id = %(customer)s AND s.withdrawn_at IS NOT NULL
        UNION ALL
        SELECT t.queued_at, 7, 'task', t.kind || ' for a person', 'call', NULL, t.stage, NULL, NULL, t.expires_at,
               t.reason, t.contact_id
        FROM call_task t WHERE t.party_id = %(party)s AND %(account)s = ANY(t.account_ids)
        UNION ALL
        SELECT t.ended_at, 8, 'task', t.state || coalesce(': ' || t.disposition, ''), 'call', NULL, t.stage, NULL, NULL,
               NULL, t.claimed_by, t.contact_id
        FROM call_task t
        WHERE t.party_id = %(party)s AND %(account)s = ANY(t.account_ids) AND t.ended_at IS NOT NULL
        UNION ALL
        SELECT p.made_at, 6, 'promise', 'to pay on ' || p.promised_for || ': ' || p.state, NULL, NULL, NULL, NULL, NULL,
               NULL, p.amount_minor::text, p.contact_id
        FROM promise p WHERE p.party_id = %(party)s AND p.account_id = %(account)s
        UNION ALL
        SELECT r.due_at, 9, 'plan',
               CASE WHEN EXISTS (SELECT 1 FROM intended i WHERE i.party_id = r.party_id
                                 AND i.reminder_id = r.reminder_id) THEN 'intended' ELSE r.state END,
               r.channel, r.step, r.stage, r.reason, NULL, r.expires_at, NULL, NULL
        FROM reminder r
        WHERE r.party_id = %(party)s AND r.account_id = %(account)s AND r.state = 'planned'
    )
    SELECT at, kind, what, channel, step, stage, rule, pack, until, code, contact_id FROM entry
    ORDER BY kind = 'plan', at, nth
"""


def sealed_words(conn: Conn, account: Account) -> list[Sealed]:
    """What our contacts about an account were rendered from, with the customer's wrapped key."""
    rows = conn.execute(
        """
        SELECT c.contact_id, c.message, c.channel, c.locale, c.release_hash, c.facts_sealed, k.master_key_id,
               k.wrapped_key, c.inputs ->> 'words'
        FROM contact_account ca
        JOIN contact c ON c.party_id = ca.party_id AND c.contact_id = ca.contact_id AND c.intended_at = ca.intended_at
        LEFT JOIN customer_key k ON k.party_id = c.party_id AND k.customer_id = c.customer_id
        WHERE ca.party_id = %s AND ca.account_id = %s AND c.facts_sealed IS NOT NULL AND c.locale IS NOT NULL
        """,
        (account.party_id, account.account_id),
        binary=True,
    ).fetchall()
    return [Sealed._make(row) for row in rows]


class Found(NamedTuple):
    """One contact, for whoever asks by its id. Nothing personal but what is sealed."""

    contact_id: UUID
    intended_at: datetime
    lender_id: str
    channel: str
    message: str | None
    stage: str | None
    release_hash: str | None
    experiment: dict[str, str] | None
    state: str | None
    sealed: Sealed | None


def contact(conn: Conn, contact_id: UUID) -> Found | None:
    """One contact with what it was rendered from; None when there is none. UUIDv7 says in which partition it is."""
    row = conn.execute(
        """
        SELECT c.contact_id, c.intended_at, c.lender_id, c.channel, c.message, c.stage, c.release_hash,
               c.inputs -> 'experiment', c.locale, c.facts_sealed, k.master_key_id, k.wrapped_key, c.inputs ->> 'words',
               (SELECT e.kind FROM contact_event e JOIN contact_event_rank r USING (kind)
                WHERE e.party_id = c.party_id AND e.contact_id = c.contact_id AND e.intended_at = c.intended_at
                ORDER BY r.rank DESC LIMIT 1)
        FROM contact c
        LEFT JOIN customer_key k ON k.party_id = c.party_id AND k.customer_id = c.customer_id
        WHERE c.contact_id = %s
        """,
        (contact_id,),
        binary=True,
    ).fetchone()
    if row is None:
        return None
    _, at, lender, channel, message, stage, release, experiment, locale, facts, master, wrapped, proof, state = row
    has_words = None not in (message, locale, release, facts)
    sealed = Sealed(contact_id, message, channel, locale, release, facts, master, wrapped, proof) if has_words else None
    return Found(contact_id, at, lender, channel, message, stage, release, experiment, state, sealed)


def telling_accounts(conn: Conn, limit: int) -> list[Account]:
    """Accounts to which a lot of different things happened, no two alike, for a demonstration."""
    rows = conn.execute(
        """
        WITH happened AS (
            SELECT party_id, account_id, 'hold' AS what FROM decision WHERE verdict = 'hold'
            UNION ALL SELECT party_id, account_id, 'suppress' FROM decision WHERE verdict = 'suppress'
            UNION ALL SELECT party_id, account_id, 'paid' FROM payment
            UNION ALL SELECT ca.party_id, ca.account_id, e.kind FROM contact_account ca
                      JOIN contact_event e USING (party_id, contact_id, intended_at)
            UNION ALL SELECT party_id, unnest(account_ids), 'task' FROM call_task
            UNION ALL SELECT a.party_id, a.account_id, h.kind FROM hold h JOIN account a USING (party_id)
        ), told AS (
            SELECT party_id, account_id, count(DISTINCT what) AS kinds, count(*) AS entries,
                   array_agg(DISTINCT what ORDER BY what) AS story
            FROM happened GROUP BY party_id, account_id
        ), best AS (
            SELECT DISTINCT ON (story) * FROM told WHERE entries <= 25 ORDER BY story, entries DESC, account_id
        )
        SELECT a.party_id, a.account_id, a.customer_id, a.lender_id, a.external_ref, a.state, a.balance_minor,
               a.currency, a.due_on, a.ladder, c.zones
        FROM best b JOIN account a USING (party_id, account_id)
        JOIN customer c ON c.party_id = a.party_id AND c.customer_id = a.customer_id
        ORDER BY b.kinds DESC, b.entries, a.account_id LIMIT %s
        """,
        (limit,),
    ).fetchall()
    return [Account._make(row) for row in rows]


# ----------------------------------------------------------------------------------------------------------- the report


class Outcome(NamedTuple):
    """How many reminders of a channel and stage came to this, by which rule. A held one may be held often."""

    channel: str
    stage: str
    verdict: str
    rule: str | None
    number: int


def report(conn: Conn, since: datetime | None = None, until: datetime | None = None) -> list[Outcome]:
    """What became of every reminder that ended between two instants (business time), and every hold on the way."""
    rows = conn.execute(
        """
        SELECT r.channel, r.stage, r.state, CASE WHEN r.state <> 'sent' THEN r.reason END, count(*)
        FROM reminder r
        WHERE r.ended_at >= coalesce(%(since)s, '-infinity'::timestamptz)
          AND r.ended_at < coalesce(%(until)s, 'infinity'::timestamptz)
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT d.channel, d.stage, 'held', d.rule, count(*)
        FROM decision d
        WHERE d.verdict = 'hold' AND d.at >= coalesce(%(since)s, '-infinity'::timestamptz)
          AND d.at < coalesce(%(until)s, 'infinity'::timestamptz)
        GROUP BY 1, 2, 3, 4
        ORDER BY 1, 2, 3, 5 DESC
        """,
        {"since": since, "until": until},
    ).fetchall()
    return [Outcome._make(row) for row in rows]


# ---------------------------------------------------------------------------------------------- what may never be in it


#: Nobody is contacted twice on one local day, in any zone where they may be. What was refused or given back before it
#: left, and calls that nobody answered, are no contacts.
TWICE_A_DAY: Final[LiteralString] = """
SELECT count(*) FROM (
    SELECT c.party_id, zone, (c.intended_at AT TIME ZONE zone)::date AS day
    FROM contact c
    CROSS JOIN unnest(c.zones) AS zone
    LEFT JOIN (
        SELECT e.party_id, e.contact_id, max(r.rank) AS rank
        FROM contact_event e JOIN contact_event_rank r USING (kind) GROUP BY e.party_id, e.contact_id
    ) f ON f.party_id = c.party_id AND f.contact_id = c.contact_id
    LEFT JOIN contact_event_rank k ON k.rank = f.rank
    WHERE c.origin = 'duly' AND c.purpose = 'reminder'
      AND coalesce(k.outcome, 'intended') NOT IN ('rejected', 'no_answer', 'busy', 'not_in_service', 'voicemail')
    GROUP BY c.party_id, zone, day
    HAVING count(DISTINCT c.contact_id) > 1
) twice
"""

#: Nothing leaves, and nobody dials, outside the hours of the baseline pack on the customer's clock, wherever they may
#: be: messages 09:00-20:00 and Saturdays 10:00-18:00, calls 09:30-19:00 and 10:00-17:00, Sundays none.
OUTSIDE_HOURS: Final[LiteralString] = """
SELECT count(*)
FROM contact_event e
JOIN contact c USING (party_id, contact_id, intended_at)
CROSS JOIN unnest(c.zones) AS zone
CROSS JOIN LATERAL (SELECT (e.at AT TIME ZONE zone)::time AS clock,
                           extract(isodow FROM e.at AT TIME ZONE zone) AS day) l
WHERE c.origin = 'duly' AND (e.kind = 'dialled' OR e.kind = 'sent' AND e.dedupe_key = 'dispatch')
  AND NOT CASE
      WHEN l.day = 7 THEN false
      WHEN c.channel = 'call' AND l.day = 6 THEN l.clock >= '10:00' AND l.clock < '17:00'
      WHEN c.channel = 'call' THEN l.clock >= '09:30' AND l.clock < '19:00'
      WHEN l.day = 6 THEN l.clock >= '10:00' AND l.clock < '18:00'
      ELSE l.clock >= '09:00' AND l.clock < '20:00'
  END
"""

#: Nothing goes to an address after its owner took their consent back, unless they gave it again.
AFTER_A_STOP: Final[LiteralString] = """
SELECT count(*)
FROM contact c
JOIN consent s ON s.party_id = c.party_id AND s.customer_id = c.customer_id AND s.channel = c.channel
              AND s.lookup = c.address_lookup AND s.withdrawn_at < c.intended_at
WHERE c.origin = 'duly' AND c.purpose = 'reminder'
  AND NOT EXISTS (SELECT 1 FROM contact_event e WHERE e.party_id = c.party_id AND e.contact_id = c.contact_id
                  AND e.intended_at = c.intended_at AND e.kind = 'released')
"""

#: Every reminder that was due and whose time is over has ended, in one way, with its reason.
UNACCOUNTED: Final[LiteralString] = """
SELECT count(*) FROM reminder
WHERE (state = 'planned' AND expires_at < business_now() - interval '1 day' AND due_at < business_now())
   OR (state NOT IN ('planned', 'sent') AND reason IS NULL)
"""

PROOFS: Final[dict[str, LiteralString]] = {
    "people contacted twice on one local day": TWICE_A_DAY,
    "contacts outside the hours, on the customer's clock": OUTSIDE_HOURS,
    "contacts to an address after its owner said stop": AFTER_A_STOP,
    "reminders that were due and came to no end, or to one without a reason": UNACCOUNTED,
}


def proofs(conn: Conn) -> dict[str, int]:
    """What may never be in the ledger, counted: all must be zero. The queries are quoted in docs/queries.md."""
    found: dict[str, int] = {}
    for question, query in PROOFS.items():
        row = conn.execute(query).fetchone()
        assert row is not None
        found[question] = row[0]
    return found
