"""What an outage leaves behind: steps whose time went by. Whether anything of their stage was said before."""

from collections.abc import Sequence
from datetime import date

from storage.rows import Conn, transpose


def spoken(conn: Conn, expired: Sequence[tuple[int, int, str, date]]) -> set[tuple[int, int]]:
    """Of accounts (party, account, stage, first day of the stage), those of which a step in it ended by more than time.

    What was planned before that day belongs to an earlier due date.
    """
    if not expired:
        return set()
    rows = conn.execute(
        """
        SELECT v.party_id, v.account_id
        FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::date[]) AS v(party_id, account_id, stage, since)
        WHERE EXISTS (SELECT 1 FROM reminder r
                      WHERE r.party_id = v.party_id AND r.account_id = v.account_id AND r.stage = v.stage
                        AND r.state NOT IN ('planned', 'expired', 'cancelled')
                        AND r.planned_for >= v.since)
        """,
        transpose(expired, 4),
    ).fetchall()
    return {(row[0], row[1]) for row in rows}
