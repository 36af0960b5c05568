"""What feedback changes in the ledger, by the set: events, proof, dead addresses, consent taken back, holds.

Whoever changes what a judgement rests on locks the parties first, in party order, and bumps their stop epoch: what was
judged before then is not sent. Ending a hold, or a new consent, brings what waited back to the judge at once.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from domain.channel import Channel
from domain.contact import EventKind
from domain.hold import HoldKind
from storage.rows import Conn, transpose

#: A UUIDv7 carries its contact's time in whole milliseconds: the partition to look in, with a little room for rounding.
_ROUNDING = timedelta(milliseconds=2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST, _NEWEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Contacted(NamedTuple):
    """A contact that a provider tells us about."""

    party_id: int
    contact_id: UUID
    intended_at: datetime
    customer_id: int
    lender_id: str
    address_lookup: bytes | None


class Event(NamedTuple):
    """One thing that happened to a contact. Repeats of one report have one `dedupe_key`. `at` is business time."""

    party_id: int
    contact_id: UUID
    intended_at: datetime
    kind: EventKind
    dedupe_key: str
    at: datetime
    provider: str | None = None
    provider_ref: str | None = None
    code: str | None = None
    inbox_id: int | None = None


class Sharer(NamedTuple):
    """A customer who has an address, living or retired."""

    lookup: bytes
    party_id: int
    customer_id: int
    lender_id: str


class Wish(NamedTuple):
    """Consent taken back, or given, on an address by whoever has it. `evidence` is a hash of what they wrote."""

    lookup: bytes
    channels: Collection[Channel]
    at: datetime
    source: str
    evidence: bytes | None = None


class NewHold(NamedTuple):
    """A stop to set. `account_id` None: the whole party; `ends_at` None: until a person ends it."""

    party_id: int
    kind: HoldKind
    reason: str
    source: str
    since: datetime
    ends_at: datetime | None
    account_id: int | None = None


class Reply(NamedTuple):
    """Something that a customer wrote and that a person has to read."""

    party_id: int
    customer_id: int
    reason: str
    at: datetime
    inbox_id: int | None


# ---------------------------------------------------------------------------------------------------------- the parties


def lock_parties(conn: Conn, parties: Iterable[int]) -> None:
    """Lock parties in party order, so that two who lock several never wait for each other. Waits for a drain to end."""
    conn.execute(
        "SELECT 1 FROM party WHERE party_id = ANY(%s) ORDER BY party_id FOR NO KEY UPDATE", (sorted(set(parties)),)
    )


def bump(conn: Conn, parties: Iterable[int]) -> None:
    """Unmake what was judged of these locked parties and has not left yet."""
    conn.execute("UPDATE party SET stop_epoch = stop_epoch + 1 WHERE party_id = ANY(%s)", (sorted(set(parties)),))


def judge_anew(conn: Conn, parties: Iterable[int]) -> int:
    """Bring what these parties' reminders and calls waited with back to the judge now; how many reminders.

    Steps that the ladder wants later keep their time, and so does a call at an hour that the customer asked for.
    """
    who = sorted(set(parties))
    conn.execute(
        """
        UPDATE call_task SET not_before = business_now()
        WHERE party_id = ANY(%s) AND state = 'queued' AND kind = 'call' AND reason <> 'requested_callback'
          AND not_before > business_now()
        """,
        (who,),
    )
    return conn.execute(
        """
        UPDATE reminder SET due_at = business_now()
        WHERE party_id = ANY(%s) AND state = 'planned' AND planned_for <= (SELECT business_now())
          AND due_at > (SELECT business_now())
        """,
        (who,),
    ).rowcount


def sharers(conn: Conn, lookups: Iterable[bytes]) -> list[Sharer]:
    """Every customer who has one of these addresses."""
    rows = conn.execute(
        """
        SELECT DISTINCT a.lookup, a.party_id, a.customer_id, c.lender_id
        FROM address a JOIN customer c USING (party_id, customer_id)
        WHERE a.lookup = ANY(%s) ORDER BY a.party_id, a.customer_id
        """,
        (list(set(lookups)),),
        binary=True,
    ).fetchall()
    return [Sharer._make(row) for row in rows]


# --------------------------------------------------------------------------------------------------------- the contacts


def find_contacts(conn: Conn, refs: Collection[tuple[int, UUID]]) -> dict[tuple[int, UUID], Contacted]:
    """The contacts of these parties and ids, as far as the ledger has them."""
    wanted = [(party, contact, *_window(contact)) for party, contact in set(refs)]
    wanted = [row for row in wanted if _OLDEST < row[2] < _NEWEST]
    if not wanted:
        return {}
    rows = conn.execute(
        """
        SELECT c.party_id, c.contact_id, c.intended_at, c.customer_id, c.lender_id, c.address_lookup
        FROM unnest(%b::bigint[], %b::uuid[], %b::timestamptz[], %b::timestamptz[])
             AS v(party_id, contact_id, since, until)
        JOIN contact c ON c.party_id = v.party_id AND c.contact_id = v.contact_id
                      AND c.intended_at BETWEEN v.since AND v.until
        WHERE c.intended_at BETWEEN %s AND %s
        """,
        (*transpose(wanted, 4), min(row[2] for row in wanted), max(row[3] for row in wanted)),
        binary=True,
    ).fetchall()
    return {(row[0], row[1]): Contacted._make(row) for row in rows}


def _window(contact_id: UUID) -> tuple[datetime, datetime]:
    """Between when and when a contact of this id was intended (RFC 9562, section 5.7)."""
    milliseconds = min(contact_id.int >> 80, int((_NEWEST - _EPOCH).total_seconds() * 1000))
    at = _EPOCH + timedelta(milliseconds=milliseconds)
    return at - _ROUNDING, at + _ROUNDING


def last_contacts(conn: Conn, lookups: Iterable[bytes]) -> dict[bytes, Contacted]:
    """The latest contact that we made to each address, whoever of its sharers it was for."""
    rows = conn.execute(
        """
        SELECT DISTINCT ON (c.address_lookup)
               c.party_id, c.contact_id, c.intended_at, c.customer_id, c.lender_id, c.address_lookup
        FROM (SELECT DISTINCT party_id, lookup FROM address WHERE lookup = ANY(%s)) a
        JOIN contact c ON c.party_id = a.party_id AND c.address_lookup = a.lookup
        ORDER BY c.address_lookup, c.intended_at DESC, c.contact_id DESC
        """,
        (list(set(lookups)),),
        binary=True,
    ).fetchall()
    return {row[5]: Contacted._make(row) for row in rows}


def add_events(conn: Conn, events: Sequence[Event]) -> int:
    """Put down what happened, each report once; how many were new."""
    if not events:
        return 0
    return conn.execute(
        """
        INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at, provider, provider_ref,
                                   code, detail)
        SELECT v.party_id, v.contact_id, v.intended_at, v.kind, v.dedupe_key, v.at, v.provider, v.provider_ref, v.code,
               CASE WHEN v.inbox_id IS NOT NULL THEN jsonb_build_object('inbox_id', v.inbox_id) END
        FROM unnest(%b::bigint[], %b::uuid[], %b::timestamptz[], %b::text[], %b::text[], %b::timestamptz[], %b::text[],
                    %b::text[], %b::text[], %b::bigint[])
             AS v(party_id, contact_id, intended_at, kind, dedupe_key, at, provider, provider_ref, code, inbox_id)
        ON CONFLICT DO NOTHING
        """,
        transpose([(*event[:3], event.kind.value, *event[4:]) for event in events], 10),
    ).rowcount


def prove_sent(conn: Conn, contacts: Collection[tuple[int, UUID]]) -> int:
    """End as sent the uncertain reminders of contacts that were accepted after all; how many.

    Rows are locked in order, since the worker that sent them may record the same ones now.
    """
    if not contacts:
        return 0
    return conn.execute(
        """
        UPDATE reminder r SET state = 'sent', reason = NULL
        FROM (SELECT r.party_id, r.reminder_id FROM reminder r
              JOIN unnest(%b::bigint[], %b::uuid[]) AS v(party_id, contact_id)
                ON r.party_id = v.party_id AND r.contact_id = v.contact_id
              WHERE r.state = 'uncertain' ORDER BY r.party_id, r.reminder_id FOR UPDATE OF r) held
        WHERE r.party_id = held.party_id AND r.reminder_id = held.reminder_id AND r.state = 'uncertain'
        """,
        transpose(sorted(set(contacts)), 2),
    ).rowcount


def prove_uncertain(conn: Conn, parties: Collection[int] | None = None) -> int:
    """End as sent the uncertain reminders, of all or of some parties, whose proof was here first; how many.

    A receipt may be folded before the worker that waits for the answer gives up, or before the sweep finds it dead.
    Looks three days back (business time): providers report no later.
    """
    wanted = None if parties is None else sorted(parties)
    return conn.execute(
        """
        UPDATE reminder r SET state = 'sent', reason = NULL
        FROM (SELECT u.party_id, u.reminder_id FROM reminder u
              WHERE u.state = 'uncertain' AND u.ended_at > business_now() - interval '3 days'
                AND (%s::bigint[] IS NULL OR u.party_id = ANY(%s::bigint[]))
                AND EXISTS (SELECT 1 FROM contact_event e JOIN contact_event_rank k USING (kind)
                            WHERE e.party_id = u.party_id AND e.contact_id = u.contact_id
                              AND k.rank >= (SELECT rank FROM contact_event_rank WHERE kind = 'sent'))
              ORDER BY u.party_id, u.reminder_id FOR UPDATE OF u SKIP LOCKED) proven
        WHERE r.party_id = proven.party_id AND r.reminder_id = proven.reminder_id AND r.state = 'uncertain'
        """,
        (wanted, wanted),
    ).rowcount


def retire_addresses(conn: Conn, rows: Collection[tuple[bytes, str]], *, at: datetime) -> int:
    """Stop using addresses (look-up, reason) that are dead for everyone who has them; how many rows that was."""
    if not rows:
        return 0
    return conn.execute(
        """
        UPDATE address a SET retired_at = %s, retired_reason = v.reason
        FROM unnest(%b::bytea[], %b::text[]) AS v(lookup, reason)
        WHERE a.lookup = v.lookup AND a.retired_at IS NULL
        """,
        (at, *transpose(list(rows), 2)),
    ).rowcount


# ------------------------------------------------------------------------------------------------------- what they wish


def withdraw_consent(conn: Conn, withdrawals: Sequence[Wish]) -> set[int]:
    """Take consent back on addresses, for everyone who shares them; the parties that it concerned.

    Locks and bumps those parties. Safe to repeat. A consent given later than the withdrawal stands.
    """
    concerned = sharers(conn, (each.lookup for each in withdrawals))
    parties = {each.party_id for each in concerned}
    rows = _by_customer(withdrawals, concerned)
    if not rows:
        return parties
    with conn.transaction():
        lock_parties(conn, parties)
        conn.execute(
            """
            INSERT INTO consent (party_id, customer_id, channel, lookup, given_at, withdrawn_at, source, evidence)
            SELECT v.party_id, v.customer_id, v.channel, v.lookup, v.at, v.at, v.source, v.evidence
            FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::bytea[], %b::timestamptz[], %b::text[],
                        %b::bytea[]) AS v(party_id, customer_id, channel, lookup, at, source, evidence)
            ON CONFLICT (party_id, customer_id, channel, purpose, lookup) DO UPDATE
            SET withdrawn_at = excluded.withdrawn_at, source = excluded.source, evidence = excluded.evidence
            WHERE greatest(consent.given_at, consent.withdrawn_at) <= excluded.withdrawn_at
            """,
            transpose(rows, 7),
        )
        bump(conn, parties)
    return parties


def give_consent(conn: Conn, given: Sequence[Wish]) -> set[int]:
    """Consent given (again) on addresses, by everyone who shares them; the parties that it concerned.

    Locks and bumps them, and brings what waited back to the judge. A withdrawal that is later stands.
    """
    concerned = sharers(conn, (each.lookup for each in given))
    parties = {each.party_id for each in concerned}
    rows = _by_customer(given, concerned)
    if not rows:
        return parties
    with conn.transaction():
        lock_parties(conn, parties)
        conn.execute(
            """
            INSERT INTO consent (party_id, customer_id, channel, lookup, given_at, source, evidence)
            SELECT v.party_id, v.customer_id, v.channel, v.lookup, v.at, v.source, v.evidence
            FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::bytea[], %b::timestamptz[], %b::text[],
                        %b::bytea[]) AS v(party_id, customer_id, channel, lookup, at, source, evidence)
            ON CONFLICT (party_id, customer_id, channel, purpose, lookup) DO UPDATE
            SET given_at = excluded.given_at, withdrawn_at = NULL, source = excluded.source,
                evidence = excluded.evidence
            WHERE greatest(consent.given_at, consent.withdrawn_at) < excluded.given_at
            """,
            transpose(rows, 7),
        )
        bump(conn, parties)
        judge_anew(conn, parties)
    return parties


def lift_stops(conn: Conn, wishes: Sequence[Wish]) -> set[bytes]:
    """Take back what people stopped by a message of their own, on that address; the look-ups where something changed.

    Only a consent that was there before the stop comes back, only a stop that its owner sent or made at the provider
    is lifted (never an agent's or a court's), and only where one party has the address: else nobody knows who wrote.
    """
    concerned = sharers(conn, (each.lookup for each in wishes))
    owners: dict[bytes, set[int]] = {}
    for each in concerned:
        owners.setdefault(each.lookup, set()).add(each.party_id)
    rows = _by_customer([wish for wish in wishes if len(owners.get(wish.lookup, ())) == 1], concerned)
    if not rows:
        return set()
    parties = {row[0] for row in rows}
    with conn.transaction():
        lock_parties(conn, parties)
        lifted = conn.execute(
            """
            UPDATE consent c SET given_at = v.at, withdrawn_at = NULL, source = v.source, evidence = v.evidence
            FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::bytea[], %b::timestamptz[], %b::text[],
                        %b::bytea[]) AS v(party_id, customer_id, channel, lookup, at, source, evidence)
            WHERE c.party_id = v.party_id AND c.customer_id = v.customer_id AND c.channel = v.channel
              AND c.lookup = v.lookup AND c.withdrawn_at < v.at
              AND (c.source LIKE '%%\\_reply' OR c.source = 'provider' OR c.source ~ '^[a-z]+_[0-9]+$')
              AND (c.given_at < c.withdrawn_at
                   OR EXISTS (SELECT 1 FROM consent b WHERE b.party_id = c.party_id AND b.customer_id = c.customer_id
                              AND b.channel = c.channel AND b.purpose = c.purpose AND b.lookup IS NULL
                              AND b.given_at < c.withdrawn_at AND b.withdrawn_at IS NULL))
            RETURNING c.lookup
            """,
            transpose(rows, 7),
            binary=True,
        ).fetchall()
        if lifted:
            bump(conn, parties)
            judge_anew(conn, parties)
    return {bytes(row[0]) for row in lifted}


ConsentRow = tuple[int, int, str, bytes, datetime, str, bytes | None]


def _by_customer(wishes: Sequence[Wish], concerned: Sequence[Sharer]) -> list[ConsentRow]:
    """One row for each customer, channel and address, the latest: one statement may not touch a row twice."""
    latest: dict[tuple[int, int, str, bytes], ConsentRow] = {}
    for wish in sorted(wishes, key=lambda wish: wish.at):
        for each in concerned:
            if each.lookup == wish.lookup:
                for channel in wish.channels:
                    key = (each.party_id, each.customer_id, channel.value, wish.lookup)
                    latest[key] = (*key, wish.at, wish.source, wish.evidence)
    return [latest[key] for key in sorted(latest)]


# ------------------------------------------------------------------------------------------------------------ the holds


def set_hold(conn: Conn, hold: NewHold) -> None:
    """Set one stop; see set_holds."""
    set_holds(conn, [hold])


def set_holds(conn: Conn, holds: Sequence[NewHold]) -> None:
    """Set stops: nothing judged before them leaves any more.

    Locks and bumps the parties. A stop of the same kind that still stands is made longer, never shorter.
    """
    if not holds:
        return
    parties = {hold.party_id for hold in holds}
    with conn.transaction():
        lock_parties(conn, parties)
        conn.execute(
            """
            WITH wanted AS (
                SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[], %b::timestamptz[],
                                     %b::timestamptz[], %b::bigint[])
                       AS v(party_id, kind, reason, source, since, ends_at, account_id)
            ), longer AS (
                UPDATE hold h SET ends_at = CASE WHEN v.ends_at IS NULL OR h.ends_at IS NULL THEN NULL
                                                 ELSE greatest(h.ends_at, v.ends_at) END
                FROM wanted v
                WHERE h.party_id = v.party_id AND h.kind = v.kind AND h.account_id IS NOT DISTINCT FROM v.account_id
                  AND h.released_at IS NULL AND (h.ends_at IS NULL OR h.ends_at > v.since)
                RETURNING h.party_id, h.kind, h.account_id
            )
            INSERT INTO hold (party_id, kind, reason, source, since, ends_at, account_id)
            SELECT v.* FROM wanted v
            WHERE NOT EXISTS (SELECT 1 FROM longer l WHERE l.party_id = v.party_id AND l.kind = v.kind
                              AND l.account_id IS NOT DISTINCT FROM v.account_id)
            """,
            transpose(_longest(holds), 7),
        )
        bump(conn, parties)


def _longest(holds: Sequence[NewHold]) -> list[NewHold]:
    """One hold for each party, kind and account: the one that ends last."""
    longest: dict[tuple[int, HoldKind, int | None], NewHold] = {}
    for hold in holds:
        key = (hold.party_id, hold.kind, hold.account_id)
        known = longest.get(key)
        if known is None or (known.ends_at and (hold.ends_at is None or hold.ends_at > known.ends_at)):
            longest[key] = hold
    return list(longest.values())


def end_hold(conn: Conn, party_id: int, hold_id: int, *, by: str) -> bool:
    """End a stop; false if it had ended or never was. What waited is judged anew."""
    return _end_holds(conn, party_id, [hold_id], by=by) > 0


def end_holds(conn: Conn, party_id: int, *, kinds: Collection[HoldKind], by: str, account_id: int | None = None) -> int:
    """End a party's stops of some kinds, of one account or of the whole person; how many. What waited is judged anew.

    An account's stops end with the account, the whole person's with None.
    """
    rows = conn.execute(
        """
        SELECT hold_id FROM hold
        WHERE party_id = %s AND released_at IS NULL AND kind = ANY(%s) AND account_id IS NOT DISTINCT FROM %s
        """,
        (party_id, [kind.value for kind in kinds], account_id),
    ).fetchall()
    return _end_holds(conn, party_id, [row[0] for row in rows], by=by)


def _end_holds(conn: Conn, party_id: int, holds: Sequence[int], *, by: str) -> int:
    if not holds:
        return 0
    with conn.transaction():
        lock_parties(conn, [party_id])
        ended = conn.execute(
            """
            UPDATE hold SET released_at = business_now(), released_by = %s
            WHERE party_id = %s AND hold_id = ANY(%s) AND released_at IS NULL
            """,
            (by, party_id, list(holds)),
        ).rowcount
        if ended:
            bump(conn, [party_id])
            judge_anew(conn, [party_id])
    return ended


# ---------------------------------------------------------------------------------------------------------- the replies


def queue_replies(conn: Conn, replies: Sequence[Reply]) -> None:
    """Let a person read what customers wrote. Who has a reply in the queue already gets no second one: it moves on to
    their latest message, and the earlier ones are found beside the contacts they answered.
    """
    latest = {(reply.party_id, reply.customer_id): reply for reply in replies}
    if not latest:
        return
    conn.execute(
        """
        WITH wanted AS (
            SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::timestamptz[], %b::bigint[])
                   AS v(party_id, customer_id, reason, at, inbox_id)
        ), moved AS (
            UPDATE call_task t SET inbox_id = v.inbox_id, reason = v.reason FROM wanted v
            WHERE t.party_id = v.party_id AND t.customer_id = v.customer_id AND t.kind = 'reply' AND t.state = 'queued'
            RETURNING t.party_id, t.customer_id
        )
        INSERT INTO call_task (party_id, customer_id, lender_id, account_ids, kind, reason, queued_at, not_before,
                               inbox_id)
        SELECT v.party_id, v.customer_id, c.lender_id,
               ARRAY(SELECT a.account_id FROM account a WHERE a.party_id = v.party_id
                     AND a.customer_id = v.customer_id AND a.state = 'open' ORDER BY a.account_id),
               'reply', v.reason, v.at, v.at, v.inbox_id
        FROM wanted v JOIN customer c USING (party_id, customer_id)
        WHERE NOT EXISTS (SELECT 1 FROM moved m WHERE m.party_id = v.party_id AND m.customer_id = v.customer_id)
        """,
        transpose([latest[key] for key in sorted(latest)], 5),
    )
