"""The auditor's reading of the ledger: was each contact allowed when it was handed over? In sets, without policy.

The judge decides one case at a time with spans of instants; here every contact is read off its customer's wall clock
and counted against the ledger as it stood before it. `worker/audit_rules.py` says which rules bind whom.

In `one_look`, `gather` begins, `load` brings the rules, `examine` asks every question, `listed` and the rest tell what
was found. All of it lives in temporary tables of one transaction: nothing is left behind.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

from psycopg.pq import TransactionStatus

from storage.rows import Conn, copy_in

#: A contact this close to the edge of its hours is a near miss (seconds).
NEAR_SECONDS: Final = 300

#: Where several zones are possible, the hours must be open in all of them for at least so long (seconds).
LEAST_OVERLAP_SECONDS: Final = 3600

#: Further back than the longest cap of any pack: a calendar month, with a day to spare for time zones.
LONGEST_CAP: Final = "33 days"

#: How far back anything counts: a first letter, a notice.
FURTHEST: Final = "731 days"

#: How many contacts are counted at a time, so that the working tables stay in memory.
SLICE: Final = 100_000


class Profile(NamedTuple):
    """Contacts that the same rules bind, and how many they are."""

    profile: int
    release_hash: str | None
    packs: list[str]
    channel: str
    actor: str
    purpose: str
    address_kind: str
    number_country: str | None
    residence: str | None


class Gathered(NamedTuple):
    """What there is to audit. The dates are those of the first and last contact (UTC); None without contacts."""

    contacts: int
    first: datetime | None
    last: datetime | None
    profiles: list[Profile]


class RuleRow(NamedTuple):
    """A rule of a pack that the auditor asks about; `rule_no` names it in the other tables."""

    rule_no: int
    rule: str
    pack: str
    kind: str
    in_force_from: date | None
    in_force_until: date | None


class OpenRow(NamedTuple):
    """On that local day the rule is open between these seconds of the wall clock (below 0 and above 86,400 too)."""

    rule_no: int
    on_day: date
    opens: int
    closes: int


class CountRow(NamedTuple):
    """A cap or a wait. `bits` are the readings that count, `channels` a bit for each of CHANNELS."""

    rule_no: int
    counting: str  # local_day, rolling_days, calendar_week, calendar_month, every_nth_day, hours
    length: int
    most: int
    first_only: bool
    bits: int
    channels: int
    subject: str
    uncounted_purposes: list[str]
    uncounted_outcomes: list[str]


class GateRow(NamedTuple):
    rule_no: int
    min_days: int | None
    max_days: int | None


class NoticeRow(NamedTuple):
    rule_no: int
    channels: int
    within_days: int
    subject: str


class BanRow(NamedTuple):
    """Every contact that it binds is one too many; `unless_consent`: but for a consent to that very address."""

    rule_no: int
    from_at: datetime | None
    unless_consent: bool
    why: str


class Rules(NamedTuple):
    """All that the auditor read in the packs, as rows. `binds` are pairs of profile and rule."""

    rules: list[RuleRow]
    binds: list[tuple[int, int]]
    open: list[OpenRow]
    counts: list[CountRow]
    gates: list[GateRow]
    notices: list[NoticeRow]
    bans: list[BanRow]
    margins: list[tuple[int, int]]  # profile, seconds
    need_consent: list[int]  # profiles


class Violation(NamedTuple):
    """A contact that a rule did not allow. `local` is the wall clock of the first zone; references are the lender's."""

    contact_id: UUID
    lender: str
    accounts: list[str]
    channel: str
    at: datetime
    local: str
    zone: str | None
    rule: str
    pack: str
    why: str


class NearMiss(NamedTuple):
    """How often a rule was nearly broken, with some contacts to look at."""

    rule: str
    pack: str
    number: int
    examples: list[UUID]


class Checked(NamedTuple):
    rule: str
    pack: str
    checked: int
    violations: int


class People(NamedTuple):
    """Contacts per person in the audited time; the worst week is the most that one person had in a calendar week."""

    people: int
    median: float
    p95: float
    most: int
    worst_week: int


#: Bits of a contact's channel, in this order.
CHANNELS: Final = ("sms", "email", "push", "call", "letter", "social", "visit", "null")

#: Bits of what a contact counts as.
READINGS: Final[Mapping[str, int]] = {"attempt": 1, "connected": 2, "conversation": 4, "message": 8, "contact": 16}


# --------------------------------------------------------------------------------------------------------- the contacts


@contextmanager
def one_look(conn: Conn) -> Iterator[None]:
    """One state of the ledger for everything inside, undone at the end (inside another transaction: that one's)."""
    begins = conn.info.transaction_status == TransactionStatus.IDLE
    with conn.transaction(force_rollback=True):
        if begins:
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def gather(conn: Conn, since: datetime | None, until: datetime | None) -> Gathered:
    """Fold the ledger and set apart what is audited: our own contacts, but for those that never left."""
    conn.execute("SET LOCAL work_mem = '128MB'")
    conn.execute("SET LOCAL jit = off")
    asked = {"since": since, "until": until, "reach": FURTHEST, "channels": list(CHANNELS)}
    conn.execute(_PARTIES, asked)
    conn.execute("ANALYZE audit_party")
    conn.execute(_FOLD, asked)
    conn.execute(_PAST, asked)
    conn.execute("CREATE INDEX ON audit_past (party_id, at)")
    conn.execute("ANALYZE audit_past")
    conn.execute(_CONTACTS, asked)
    conn.execute("CREATE INDEX ON audit_contact (n)")
    conn.execute(_PROFILES)
    conn.execute(
        """
        UPDATE audit_contact c SET zones = ARRAY(
            SELECT z FROM unnest(c.zones) AS z WHERE z IN (SELECT name FROM pg_timezone_names))
        WHERE EXISTS (SELECT 1 FROM audit_zone z WHERE z.zone = ANY(c.zones) AND NOT z.known)
        """
    )
    conn.execute("ANALYZE audit_contact")
    found = conn.execute("SELECT count(*), min(at), max(greatest(at, handed_at)) FROM audit_contact").fetchone()
    assert found is not None
    profiles = conn.execute("SELECT * FROM audit_profile ORDER BY profile").fetchall()
    contacts, first, last = found
    return Gathered(contacts, first, last, [Profile._make(row) for row in profiles])


_PARTIES: LiteralString = """
    CREATE TEMP TABLE audit_party ON COMMIT DROP AS
    SELECT DISTINCT party_id FROM contact
    WHERE origin = 'duly' AND intended_at >= coalesce(%(since)s, '-infinity'::timestamptz)
      AND intended_at < coalesce(%(until)s, 'infinity'::timestamptz)
"""

_FOLD: LiteralString = """
    CREATE TEMP TABLE audit_fold ON COMMIT DROP AS
    SELECT e.party_id, e.contact_id, max(r.rank) AS rank,
           min(e.at) FILTER (WHERE e.kind = 'dialled' OR e.kind = 'sent' AND e.dedupe_key = 'dispatch') AS handed_at
    FROM contact_event e JOIN contact_event_rank r USING (kind)
    WHERE e.intended_at < coalesce(%(until)s, 'infinity'::timestamptz)
      AND e.intended_at >= coalesce(%(since)s::timestamptz - %(reach)s::interval, '-infinity'::timestamptz)
      AND e.party_id IN (SELECT party_id FROM audit_party)
    GROUP BY e.party_id, e.contact_id
"""

#: Everything that anybody did to a party, but for what never reached them. `settled_at` is when a call's ending was
#: known: until then it counts as a talk.
_PAST: LiteralString = """
    CREATE TEMP TABLE audit_past ON COMMIT DROP AS
    SELECT c.party_id, c.contact_id, c.intended_at AS at, f.handed_at, coalesce(k.outcome, 'intended') AS outcome,
           1 << array_position(%(channels)s::text[], c.channel) - 1 AS channel_bit,
           CASE WHEN c.channel IN ('call', 'visit') THEN CASE coalesce(k.outcome, 'intended')
                    WHEN 'no_answer' THEN 1 WHEN 'busy' THEN 1 WHEN 'not_in_service' THEN 1
                    WHEN 'voicemail' THEN 1 | 2 | 16 WHEN 'third_party' THEN 1 | 2 | 16 ELSE 1 | 2 | 4 | 16 END
                ELSE CASE c.channel WHEN 'letter' THEN 1 | 16 ELSE 1 | 8 | 16 END
                     | CASE k.outcome WHEN 'conversation' THEN 4 ELSE 0 END
           END AS bits,
           CASE WHEN c.channel IN ('call', 'visit') AND k.outcome <> 'conversation' THEN (
               SELECT min(e.at) FROM contact_event e JOIN contact_event_rank r USING (kind)
               WHERE e.party_id = c.party_id AND e.contact_id = c.contact_id AND r.rank = f.rank) END AS settled_at,
           c.account_ids, c.address_lookup AS lookup, c.lender_id, c.purpose, c.channel
    FROM contact c
    LEFT JOIN audit_fold f ON f.party_id = c.party_id AND f.contact_id = c.contact_id
    LEFT JOIN contact_event_rank k ON k.rank = f.rank
    WHERE c.intended_at < coalesce(%(until)s, 'infinity'::timestamptz)
      AND c.intended_at >= coalesce(%(since)s::timestamptz - %(reach)s::interval, '-infinity'::timestamptz)
      AND c.party_id IN (SELECT party_id FROM audit_party)
      AND coalesce(k.outcome, 'intended') <> 'rejected'
"""

#: What a call's inputs do not say is read from the address and the debt as they are now.
_CONTACTS: LiteralString = """
    CREATE TEMP TABLE audit_contact ON COMMIT DROP AS
    SELECT row_number() OVER ()::int AS n, hashtextextended(ROW(
               c.release_hash, c.packs, c.channel, c.actor, c.purpose, a.kind, a.country, c.inputs->'address_kind',
               c.inputs->'number_country', c.inputs->'residence')::text, 0) AS profile,
           c.party_id, c.contact_id, c.intended_at AS at, p.handed_at, c.customer_id, c.lender_id, c.channel,
           c.actor, c.purpose, c.address_lookup AS lookup,
           CASE WHEN (c.inputs->>'zone_confirmed')::boolean OR c.inputs->'number_zones' IS NULL THEN c.zones
                ELSE ARRAY(SELECT unnest(c.zones) UNION SELECT jsonb_array_elements_text(c.inputs->'number_zones')) END
               AS zones,
           c.account_ids,
           ARRAY(SELECT d::int FROM jsonb_array_elements_text(c.inputs->'days_past_due') AS d) AS days_past_due,
           c.release_hash, c.packs, coalesce(c.inputs->>'address_kind', a.kind, 'mobile') AS address_kind,
           coalesce(c.inputs->>'number_country', a.country) AS number_country, c.inputs->>'residence' AS residence
    FROM contact c
    JOIN audit_past p ON p.party_id = c.party_id AND p.contact_id = c.contact_id AND p.at = c.intended_at
    LEFT JOIN address a ON a.party_id = c.party_id AND a.address_id = c.address_id
    WHERE c.origin = 'duly' AND c.intended_at >= coalesce(%(since)s, '-infinity'::timestamptz)
      AND c.intended_at < coalesce(%(until)s, 'infinity'::timestamptz)
"""

_PROFILES: LiteralString = """
    CREATE TEMP TABLE audit_profile ON COMMIT DROP AS
    SELECT DISTINCT ON (profile) profile, release_hash, packs, channel, actor, purpose, address_kind, number_country,
           residence
    FROM audit_contact;
    CREATE TEMP TABLE audit_zone ON COMMIT DROP AS
    SELECT z.zone, z.zone IN (SELECT name FROM pg_timezone_names) AS known
    FROM (SELECT DISTINCT unnest(zones) AS zone FROM audit_contact) z;
"""


# ------------------------------------------------------------------------------------------------------------ the rules


def load(conn: Conn, rules: Rules) -> None:
    """Bring the rules beside the contacts."""
    conn.execute(_TABLES)
    copy_in(conn, "audit_rule", {
        "rule_no": "int4", "rule": "text", "pack": "text", "kind": "text", "in_force_from": "date",
        "in_force_until": "date",
    }, rules.rules)  # fmt: skip
    copy_in(conn, "audit_bind", {"profile": "int8", "rule_no": "int4"}, rules.binds)
    copy_in(conn, "audit_open", {"rule_no": "int4", "on_day": "date", "opens": "int4", "closes": "int4"}, rules.open)
    copy_in(conn, "audit_count", {
        "rule_no": "int4", "counting": "text", "length": "int4", "most": "int4", "first_only": "bool", "bits": "int4",
        "channels": "int4", "subject": "text", "uncounted_purposes": "text[]", "uncounted_outcomes": "text[]",
    }, rules.counts)  # fmt: skip
    copy_in(conn, "audit_gate", {"rule_no": "int4", "min_days": "int4", "max_days": "int4"}, rules.gates)
    copy_in(
        conn, "audit_notice", {"rule_no": "int4", "channels": "int4", "within_days": "int4", "subject": "text"},
        rules.notices,
    )  # fmt: skip
    copy_in(
        conn, "audit_ban", {"rule_no": "int4", "from_at": "timestamptz", "unless_consent": "bool", "why": "text"},
        rules.bans,
    )  # fmt: skip
    copy_in(conn, "audit_margin", {"profile": "int8", "margin": "int4"}, rules.margins)
    copy_in(conn, "audit_need_consent", {"profile": "int8"}, [(profile,) for profile in rules.need_consent])
    conn.execute("ANALYZE audit_rule, audit_bind, audit_open, audit_count, audit_margin")


_TABLES: LiteralString = """
    CREATE TEMP TABLE audit_rule (rule_no int PRIMARY KEY, rule text, pack text, kind text, in_force_from date,
                                  in_force_until date) ON COMMIT DROP;
    CREATE TEMP TABLE audit_bind (profile bigint, rule_no int) ON COMMIT DROP;
    CREATE TEMP TABLE audit_open (rule_no int, on_day date, opens int, closes int) ON COMMIT DROP;
    CREATE TEMP TABLE audit_count (rule_no int, counting text, length int, most int, first_only boolean, bits int,
                                   channels int, subject text, uncounted_purposes text[], uncounted_outcomes text[])
                                   ON COMMIT DROP;
    CREATE TEMP TABLE audit_gate (rule_no int, min_days int, max_days int) ON COMMIT DROP;
    CREATE TEMP TABLE audit_notice (rule_no int, channels int, within_days int, subject text) ON COMMIT DROP;
    CREATE TEMP TABLE audit_ban (rule_no int, from_at timestamptz, unless_consent boolean, why text) ON COMMIT DROP;
    CREATE TEMP TABLE audit_margin (profile bigint, margin int) ON COMMIT DROP;
    CREATE TEMP TABLE audit_need_consent (profile bigint) ON COMMIT DROP;
    CREATE TEMP TABLE audit_violation (n int, rule text, pack text, why text) ON COMMIT DROP;
    CREATE TEMP TABLE audit_near (n int, rule text, pack text) ON COMMIT DROP;
"""


# -------------------------------------------------------------------------------------------------------- the questions


def examine(conn: Conn, *, forgotten: date | None = None) -> None:
    """Ask every question of every contact. What was before the day `forgotten` is no longer in the ledger.

    Where a contact rests on something that must have been before it and may be gone, it is taken to have been there.
    """
    conn.execute(_ON_CLOCKS)
    conn.execute("ANALYZE audit_clock")
    conn.execute(_NO_ZONE)
    conn.execute(_HOURS, {"near": NEAR_SECONDS})
    conn.execute(_EDGES)
    conn.execute(_OVERLAP, {"least": LEAST_OVERLAP_SECONDS})
    counted = conn.execute("SELECT coalesce(max(n), 0) FROM audit_contact").fetchone()
    assert counted is not None
    for start in range(1, counted[0] + 1, SLICE):
        conn.execute(_COUNTED, {"from": start, "to": start + SLICE, "reach": LONGEST_CAP})
    for question in (_LAST_SLOTS, _GATES, _BANS, _HOLDS, _CONSENTS):
        conn.execute(question)
    for looking_far_back in (_FIRST_ONLY, _NOTICES):
        conn.execute(looking_far_back, {"forgotten": forgotten})


#: Each contact on each wall clock it may have been read on: when it was decided, with the packs' margin to the edges;
#: and when it was handed over, if that was later than the margin allows for.
_ON_CLOCKS: LiteralString = """
    CREATE TEMP TABLE audit_clock ON COMMIT DROP AS
    SELECT n, profile, zone, margin, wall::date AS day, extract(epoch FROM wall - wall::date)::float8 AS clock
    FROM (SELECT m.n, m.profile, m.margin, zone, m.at AT TIME ZONE zone AS wall
          FROM (SELECT c.n, c.profile, g.margin, c.zones, c.at FROM audit_contact c JOIN audit_margin g USING (profile)
                UNION ALL
                SELECT c.n, c.profile, 0, c.zones, c.handed_at
                FROM audit_contact c JOIN audit_margin g USING (profile)
                WHERE c.handed_at > c.at + make_interval(secs => g.margin)) m
          CROSS JOIN LATERAL unnest(m.zones) AS zone) w
"""

_NO_ZONE: LiteralString = """
    INSERT INTO audit_violation
    SELECT n, 'zones.unknown', 'duly@1', 'no time zone that is known is on record' FROM audit_contact
    WHERE cardinality(zones) = 0
"""

#: Only what is closed or near an edge is kept.
_HOURS: LiteralString = """
    CREATE TEMP TABLE audit_hours ON COMMIT DROP AS
    SELECT w.n, r.rule, r.pack, w.zone, w.margin, w.day, w.clock, w.clock - o.opens AS since_open,
           o.closes - w.clock AS until_close
    FROM audit_clock w
    JOIN audit_bind b USING (profile)
    JOIN audit_rule r ON r.rule_no = b.rule_no AND r.kind = 'window'
    LEFT JOIN audit_open o ON o.rule_no = b.rule_no AND o.on_day = w.day AND w.clock >= o.opens AND w.clock < o.closes
    WHERE o.rule_no IS NULL OR w.clock - o.opens < w.margin + %(near)s OR o.closes - w.clock <= w.margin + %(near)s
"""

_EDGES: LiteralString = """
    INSERT INTO audit_violation
    SELECT DISTINCT ON (n, rule) n, rule, pack,
           to_char(day + make_interval(secs => floor(clock)), 'Dy YYYY-MM-DD HH24:MI:SS') || ' in ' || zone
           || CASE WHEN since_open IS NULL THEN ' is outside its hours'
                   ELSE ' is nearer than ' || margin / 60 || ' minutes to an edge of its hours' END
    FROM audit_hours
    WHERE since_open IS NULL OR since_open < margin OR until_close < margin OR until_close = margin AND margin > 0
    ORDER BY n, rule, zone;
    INSERT INTO audit_near SELECT DISTINCT n, rule, pack FROM audit_hours h
    WHERE since_open >= margin AND until_close >= margin
      AND NOT EXISTS (SELECT 1 FROM audit_violation v WHERE v.n = h.n AND v.rule = h.rule)
"""

_OVERLAP: LiteralString = """
    INSERT INTO audit_violation
    SELECT n, 'zones.no_overlap', 'duly@1',
           'the hours of all zones have ' || floor(shared / 60) || ' minutes in common, an hour is needed'
    FROM (SELECT w.n, min(w.clock - o.opens) + min(o.closes - w.clock) AS shared
          FROM audit_clock w
          JOIN audit_contact c ON c.n = w.n AND cardinality(c.zones) > 1
          JOIN audit_bind b ON b.profile = w.profile
          JOIN audit_open o ON o.rule_no = b.rule_no AND o.on_day = w.day AND w.clock >= o.opens AND w.clock < o.closes
          GROUP BY w.n, w.margin) s
    WHERE shared < %(least)s
"""

#: Caps and waits over what came before, on each wall clock and for each debt that was covered. What became of a call
#: counts from the moment it was known.
_COUNTED: LiteralString = """
    WITH audited AS MATERIALIZED (
        SELECT c.n, c.profile, c.party_id, c.contact_id, c.at, c.lookup, c.lender_id, c.account_ids, zone,
               (c.at AT TIME ZONE zone)::date AS day
        FROM audit_contact c CROSS JOIN LATERAL unnest(c.zones) AS zone WHERE c.n >= %(from)s AND c.n < %(to)s
    ), pair AS MATERIALIZED (
        SELECT c.*, (p.at AT TIME ZONE c.zone)::date AS past_day, p.at AS past_at, p.channel_bit,
               CASE WHEN p.settled_at > c.at THEN 1 | 2 | 4 | 16 ELSE p.bits END AS bits,
               CASE WHEN p.settled_at > c.at THEN 'intended' ELSE p.outcome END AS outcome,
               p.account_ids AS past_accounts, p.lookup AS past_lookup, p.lender_id AS past_lender,
               p.purpose AS past_purpose
        FROM audited c
        JOIN audit_past p ON p.party_id = c.party_id AND p.at <= c.at AND p.at >= c.at - %(reach)s::interval
             AND (p.at < c.at OR p.contact_id < c.contact_id)
    ), counted AS (
        SELECT x.n, x.zone, r.rule_no, account, count(*) AS number, max(x.past_at) AS latest
        FROM pair x
        JOIN audit_bind b USING (profile)
        JOIN audit_count r ON r.rule_no = b.rule_no AND NOT r.first_only
             AND r.channels & x.channel_bit <> 0 AND r.bits & x.bits <> 0
             AND CASE r.counting
                 WHEN 'hours' THEN x.past_at > x.at - make_interval(hours => r.length)
                 WHEN 'calendar_week' THEN x.past_day >= date_trunc('week', x.day)::date
                 WHEN 'calendar_month' THEN x.past_day >= date_trunc('month', x.day)::date
                 ELSE x.past_day > x.day - r.length END
             AND CASE r.subject
                 WHEN 'number' THEN x.past_lookup = x.lookup OR x.past_lookup IS NULL OR x.lookup IS NULL
                 WHEN 'creditor_group' THEN x.past_lender = x.lender_id
                 ELSE true END
             AND NOT x.past_purpose = ANY(r.uncounted_purposes) AND NOT x.outcome = ANY(r.uncounted_outcomes)
        JOIN audit_rule u ON u.rule_no = r.rule_no
             AND (u.in_force_from IS NULL OR x.day >= u.in_force_from)
             AND (u.in_force_until IS NULL OR x.day < u.in_force_until)
        CROSS JOIN LATERAL unnest(CASE WHEN r.subject = 'account' THEN x.account_ids ELSE '{0}' END) AS account
        WHERE r.subject <> 'account' OR account = ANY(x.past_accounts) OR cardinality(x.past_accounts) = 0
        GROUP BY x.n, x.zone, r.rule_no, account
    ), worst AS (
        SELECT c.n, c.rule_no, max(c.number) AS number, max(c.latest) AS latest FROM counted c GROUP BY c.n, c.rule_no
    ), broken AS (
        INSERT INTO audit_violation
        SELECT w.n, u.rule, u.pack,
               CASE WHEN u.kind = 'wait' THEN 'the last one to wait after was at '
                    || to_char(w.latest AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') || ', wait '
                    || r.length || CASE r.counting WHEN 'hours' THEN ' hours' ELSE ' days' END
               ELSE w.number || ' counted before it, at most ' || r.most || ' in '
                    || CASE WHEN r.length > 1 THEN r.length || ' ' ELSE '' END || replace(r.counting, '_', ' ') END
        FROM worst w JOIN audit_count r USING (rule_no) JOIN audit_rule u USING (rule_no)
        WHERE w.number >= r.most
    )
    INSERT INTO audit_near
    SELECT w.n, u.rule, u.pack FROM worst w JOIN audit_count r USING (rule_no) JOIN audit_rule u USING (rule_no)
    WHERE w.number = r.most - 1 AND u.kind = 'cap'
"""

#: A cap of one has its last slot taken by everybody who is let through.
_LAST_SLOTS: LiteralString = """
    INSERT INTO audit_near
    SELECT c.n, u.rule, u.pack
    FROM audit_contact c
    JOIN audit_bind b USING (profile)
    JOIN audit_count r ON r.rule_no = b.rule_no AND r.most = 1
    JOIN audit_rule u ON u.rule_no = r.rule_no AND u.kind = 'cap'
    WHERE NOT EXISTS (SELECT 1 FROM audit_violation v WHERE v.n = c.n AND v.rule = u.rule)
"""

#: Waits after the first event of a kind: whatever came before the last 730 days is forgotten. Where some of these days
#: are gone, another was the first.
_FIRST_ONLY: LiteralString = """
    INSERT INTO audit_violation
    SELECT DISTINCT ON (n, rule) n, rule, pack, 'the first one to wait after was at '
           || to_char(first_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') || ', wait ' || length || ' days'
    FROM (
        SELECT c.n, c.at, c.zones, u.rule, u.pack, r.length, r.counting, account, min(p.at) AS first_at
        FROM audit_contact c
        JOIN audit_bind b USING (profile)
        JOIN audit_count r ON r.rule_no = b.rule_no AND r.first_only
        JOIN audit_rule u ON u.rule_no = r.rule_no
        CROSS JOIN LATERAL unnest(CASE WHEN r.subject = 'account' THEN c.account_ids ELSE '{0}' END) AS account
        JOIN audit_past p ON p.party_id = c.party_id AND p.at <= c.at AND p.at >= c.at - interval '730 days'
             AND (p.at < c.at OR p.contact_id < c.contact_id)
             AND r.channels & p.channel_bit <> 0
             AND r.bits & CASE WHEN p.settled_at > c.at THEN 1 | 2 | 4 | 16 ELSE p.bits END <> 0
             AND (r.subject <> 'account' OR account = ANY(p.account_ids) OR cardinality(p.account_ids) = 0)
             AND (r.subject <> 'number' OR p.lookup = c.lookup OR p.lookup IS NULL OR c.lookup IS NULL)
             AND (r.subject <> 'creditor_group' OR p.lender_id = c.lender_id)
        WHERE (c.at AT TIME ZONE 'UTC') - interval '730 days' >= coalesce(%(forgotten)s::date, '-infinity'::date)
          AND EXISTS (SELECT 1 FROM unnest(c.zones) AS z
                      WHERE (u.in_force_from IS NULL OR (c.at AT TIME ZONE z)::date >= u.in_force_from)
                        AND (u.in_force_until IS NULL OR (c.at AT TIME ZONE z)::date < u.in_force_until))
        GROUP BY c.n, c.at, c.zones, u.rule, u.pack, r.length, r.counting, account
    ) f CROSS JOIN LATERAL unnest(f.zones) AS zone
    WHERE CASE f.counting WHEN 'hours' THEN f.first_at > f.at - make_interval(hours => f.length)
               ELSE (f.first_at AT TIME ZONE zone)::date > (f.at AT TIME ZONE zone)::date - f.length END
    ORDER BY n, rule
"""

_NOTICES: LiteralString = """
    INSERT INTO audit_violation
    SELECT DISTINCT c.n, u.rule, u.pack, 'nothing in writing went before it within ' || r.within_days || ' days'
    FROM audit_contact c
    JOIN audit_bind b USING (profile)
    JOIN audit_notice r ON r.rule_no = b.rule_no
    JOIN audit_rule u ON u.rule_no = r.rule_no
    CROSS JOIN LATERAL unnest(CASE WHEN r.subject = 'account' THEN c.account_ids ELSE '{0}' END) AS account
    WHERE (c.at AT TIME ZONE 'UTC') - make_interval(days => r.within_days)
          >= coalesce(%(forgotten)s::date, '-infinity'::date)
      AND EXISTS (SELECT 1 FROM unnest(c.zones) AS z
                  WHERE (u.in_force_from IS NULL OR (c.at AT TIME ZONE z)::date >= u.in_force_from)
                    AND (u.in_force_until IS NULL OR (c.at AT TIME ZONE z)::date < u.in_force_until))
      AND NOT EXISTS (
        SELECT 1 FROM audit_past p
        WHERE p.party_id = c.party_id AND p.at <= c.at AND p.at >= c.at - make_interval(days => r.within_days)
          AND p.contact_id <> c.contact_id AND r.channels & p.channel_bit <> 0 AND p.bits & 16 <> 0
          AND (r.subject <> 'account' OR account = ANY(p.account_ids) OR cardinality(p.account_ids) = 0)
          AND (r.subject <> 'number' OR p.lookup = c.lookup OR p.lookup IS NULL OR c.lookup IS NULL)
          AND (r.subject <> 'creditor_group' OR p.lender_id = c.lender_id))
"""

#: The age of a debt is in the inputs; where it is not, the due date as it stands now tells it.
_GATES: LiteralString = """
    INSERT INTO audit_violation
    SELECT DISTINCT ON (c.n, u.rule) c.n, u.rule, u.pack, 'the debt was ' || age.days || ' days past due'
    FROM audit_contact c
    JOIN audit_bind b USING (profile)
    JOIN audit_gate r ON r.rule_no = b.rule_no
    JOIN audit_rule u ON u.rule_no = r.rule_no
    CROSS JOIN LATERAL unnest(c.account_ids, c.days_past_due) AS debt(account_id, recorded)
    JOIN account a ON a.party_id = c.party_id AND a.account_id = debt.account_id
    CROSS JOIN LATERAL (SELECT coalesce(debt.recorded, (c.at AT TIME ZONE coalesce(c.zones[1], 'UTC'))::date - a.due_on)
                               AS days) age
    WHERE (age.days < r.min_days OR age.days > r.max_days)
      AND EXISTS (SELECT 1 FROM unnest(c.zones) AS z
                  WHERE (u.in_force_from IS NULL OR (c.at AT TIME ZONE z)::date >= u.in_force_from)
                    AND (u.in_force_until IS NULL OR (c.at AT TIME ZONE z)::date < u.in_force_until))
    ORDER BY c.n, u.rule
"""

_BANS: LiteralString = """
    INSERT INTO audit_violation
    SELECT c.n, u.rule, u.pack, r.why
    FROM audit_contact c
    JOIN audit_bind b USING (profile)
    JOIN audit_ban r ON r.rule_no = b.rule_no
    JOIN audit_rule u ON u.rule_no = r.rule_no
    WHERE (r.from_at IS NULL OR c.at >= r.from_at)
      AND (u.in_force_from IS NULL AND u.in_force_until IS NULL OR EXISTS (
           SELECT 1 FROM unnest(c.zones) AS z
           WHERE (u.in_force_from IS NULL OR (c.at AT TIME ZONE z)::date >= u.in_force_from)
             AND (u.in_force_until IS NULL OR (c.at AT TIME ZONE z)::date < u.in_force_until)))
      AND NOT (r.unless_consent AND EXISTS (
          SELECT 1 FROM consent k
          WHERE k.party_id = c.party_id AND k.customer_id = c.customer_id AND k.channel = c.channel
            AND k.lookup = c.lookup AND k.given_at <= c.at AND (k.withdrawn_at IS NULL OR k.withdrawn_at > c.at)))
"""

#: A hold that began at the very instant of the contact may have come after it. Answers pass the holds that wait for
#: one; a notice that a law asks for passes where the customer still is the right person.
_HOLDS: LiteralString = """
    INSERT INTO audit_violation
    SELECT DISTINCT ON (c.n, h.kind) c.n, 'hold.' || h.kind, 'duly@1',
           'a hold stood since ' || to_char(h.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
           || coalesce(' until ' || to_char(least(h.ends_at, h.released_at) AT TIME ZONE 'UTC',
                                            'YYYY-MM-DD HH24:MI "UTC"'), '')
    FROM audit_contact c
    JOIN hold h ON h.party_id = c.party_id AND h.since < c.at AND (h.ends_at IS NULL OR h.ends_at > c.at)
         AND (h.released_at IS NULL OR h.released_at > c.at)
         AND (h.account_id IS NULL OR h.account_id = ANY(c.account_ids))
    WHERE CASE
        WHEN h.kind IN ('deceased', 'wrong_party') THEN true
        WHEN c.purpose = 'statutory_notice' THEN false
        WHEN h.kind = 'cease_all' THEN c.purpose <> 'optout_confirmation'
        WHEN h.kind IN ('opt_out', 'dispute', 'complaint', 'adviser', 'hardship', 'promise', 'paid_pending', 'reply',
                        'arrangement') THEN c.purpose NOT IN ('reply', 'requested_callback', 'optout_confirmation')
        ELSE true END
    ORDER BY c.n, h.kind, h.since
"""

_CONSENTS: LiteralString = """
    INSERT INTO audit_violation
    SELECT n, CASE WHEN withdrawn IS NULL THEN 'consent.missing' ELSE 'consent.withdrawn' END, 'duly@1',
           CASE WHEN withdrawn IS NULL THEN 'no consent for this channel and address stood'
                ELSE 'consent was taken back at '
                     || to_char(withdrawn AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') END
    FROM (SELECT c.n, c.profile, max(k.withdrawn_at) FILTER (WHERE k.withdrawn_at < c.at) AS withdrawn,
                 max(k.given_at) FILTER (WHERE k.given_at <= c.at
                                         AND (k.withdrawn_at IS NULL OR k.withdrawn_at >= c.at)) AS given
          FROM audit_contact c
          LEFT JOIN consent k ON k.party_id = c.party_id AND k.customer_id = c.customer_id AND k.channel = c.channel
               AND k.purpose = c.purpose AND (k.lookup IS NULL OR k.lookup = c.lookup)
          WHERE c.purpose NOT IN ('reply', 'requested_callback', 'statutory_notice', 'optout_confirmation')
          GROUP BY c.n, c.profile) s
    WHERE withdrawn IS NOT NULL AND (given IS NULL OR given <= withdrawn)
       OR withdrawn IS NULL AND given IS NULL AND profile IN (SELECT profile FROM audit_need_consent)
"""


# ---------------------------------------------------------------------------------------------------------- the answers


def bar(conn: Conn, rule: str, pack: str, why: str, profiles: Sequence[int]) -> None:
    """Every contact of these profiles is a violation."""
    conn.execute(
        "INSERT INTO audit_violation SELECT n, %s, %s, %s FROM audit_contact WHERE profile = ANY(%s)",
        (rule, pack, why, list(profiles)),
    )


def listed(conn: Conn, limit: int) -> list[Violation]:
    """The violations by rule and time, at most `limit` of them."""
    rows = conn.execute(
        """
        SELECT c.contact_id, c.lender_id,
               ARRAY(SELECT a.external_ref FROM account a
                     WHERE a.party_id = c.party_id AND a.account_id = ANY(c.account_ids) ORDER BY a.account_id),
               c.channel, c.at, to_char(c.at AT TIME ZONE coalesce(c.zones[1], 'UTC'), 'Dy YYYY-MM-DD HH24:MI:SS'),
               c.zones[1], v.rule, v.pack, v.why
        FROM audit_violation v JOIN audit_contact c USING (n) ORDER BY v.rule, c.at, c.contact_id LIMIT %s
        """,
        (limit,),
    )
    return [Violation._make(row) for row in rows]


def checked(conn: Conn, of_ours: Iterable[str]) -> list[Checked]:
    """How many contacts each rule was asked about, and how many broke it. `of_ours` are asked of every contact."""
    rows = conn.execute(
        """
        WITH day AS (
            SELECT profile, (at AT TIME ZONE coalesce(zones[1], 'UTC'))::date AS day, count(*) AS number
            FROM audit_contact GROUP BY 1, 2
        ), asked AS (
            SELECT r.rule, r.pack, sum(d.number) AS number
            FROM day d JOIN audit_bind b USING (profile) JOIN audit_rule r USING (rule_no)
            WHERE (r.in_force_from IS NULL OR d.day >= r.in_force_from)
              AND (r.in_force_until IS NULL OR d.day < r.in_force_until)
            GROUP BY r.rule, r.pack
            UNION ALL
            SELECT rule, 'duly@1', (SELECT count(*) FROM audit_contact) FROM unnest(%s::text[]) AS rule
        ), broken AS (
            SELECT rule, pack, count(DISTINCT n) AS number FROM audit_violation GROUP BY rule, pack
        )
        SELECT rule, pack, coalesce(a.number, b.number)::bigint, coalesce(b.number, 0)
        FROM asked a FULL JOIN broken b USING (rule, pack) ORDER BY rule, pack
        """,
        (list(of_ours),),
    )
    return [Checked._make(row) for row in rows]


def near_misses(conn: Conn) -> list[NearMiss]:
    """How often each rule was nearly broken, most often first, with three contacts each."""
    rows = conn.execute(
        """
        SELECT m.rule, m.pack, count(*), (array_agg(c.contact_id))[1:3]
        FROM audit_near m JOIN audit_contact c USING (n) GROUP BY m.rule, m.pack ORDER BY 3 DESC, 1
        """
    )
    return [NearMiss._make(row) for row in rows]


def people(conn: Conn) -> People:
    """How often people were contacted by us; calls that reached nobody do not count here."""
    row = conn.execute(
        """
        WITH reached AS (
            SELECT c.party_id, date_trunc('week', c.at AT TIME ZONE coalesce(c.zones[1], 'UTC')) AS week
            FROM audit_contact c
            JOIN audit_past p ON p.party_id = c.party_id AND p.contact_id = c.contact_id AND p.bits & 16 <> 0
        ), person AS (SELECT count(*) AS number FROM reached GROUP BY party_id)
        SELECT count(*), coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY number), 0),
               coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY number), 0), coalesce(max(number), 0),
               coalesce((SELECT max(number) FROM (SELECT count(*) AS number FROM reached GROUP BY party_id, week) w), 0)
        FROM person
        """
    ).fetchone()
    assert row is not None
    return People._make(row)


def total_violations(conn: Conn) -> tuple[int, int]:
    """How many violations there are, and of how many contacts."""
    row = conn.execute("SELECT count(*), count(DISTINCT n) FROM audit_violation").fetchone()
    assert row is not None
    return row[0], row[1]
