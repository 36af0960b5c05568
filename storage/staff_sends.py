"""The trail of test messages to staff. They are no contacts: nothing here is read by the judge or the caps."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from storage.rows import Conn


class StaffSend(NamedTuple):
    """One test message as it was about to leave. `address_lookup` is a keyed hash."""

    staff_send_id: UUID
    by_whom: str
    message: str
    channel: str
    locale: str
    lender_id: str
    bundle_hash: str
    address_lookup: bytes


def begin(conn: Conn, send: StaffSend) -> None:
    """Write down what is about to leave."""
    conn.execute(
        """
        INSERT INTO staff_send (staff_send_id, by_whom, message, channel, locale, lender_id, bundle_hash,
                                address_lookup)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        send,
    )


def finish(
    conn: Conn, staff_send_id: UUID, outcome: str, *, provider: str | None, ref: str | None, code: str | None
) -> None:
    """Add what came of it."""
    conn.execute(
        "UPDATE staff_send SET outcome = %s, provider = %s, provider_ref = %s, code = %s WHERE staff_send_id = %s",
        (outcome, provider, ref, code, staff_send_id),
    )


def latest(conn: Conn, limit: int) -> Sequence[tuple[datetime, str, str, str, str | None]]:
    """When, by whom, which message, on which channel, and what came of it; newest first."""
    return conn.execute(
        "SELECT at, by_whom, message, channel, outcome FROM staff_send ORDER BY at DESC LIMIT %s", (limit,)
    ).fetchall()
