"""One account as a drain would read it, without a lock and without a reminder: for looking, never for sending."""

from datetime import datetime

from domain.channel import Channel
from storage.ledger import Account
from storage.picture import Due
from storage.rows import Conn


def as_due(conn: Conn, account: Account, channel: Channel, *, now: datetime) -> Due:
    """The account with its customer and the customer's wrapped key, as if a reminder of it were due now."""
    row = conn.execute(
        """
        SELECT a.product, a.as_of, c.locale, c.residence, c.zone_confirmed_at, c.refused_channels, c.blocked_hours,
               c.household, c.name_sealed, k.master_key_id, k.wrapped_key
        FROM account a
        JOIN customer c USING (party_id, customer_id)
        LEFT JOIN customer_key k USING (party_id, customer_id)
        WHERE a.party_id = %s AND a.account_id = %s
        """,
        (account.party_id, account.account_id),
        binary=True,
    ).fetchone()
    assert row is not None, "accounts are never deleted"
    product, as_of, locale, residence, confirmed_at, refused, blocked, household, name, key_id, wrapped = row
    return Due(
        party_id=account.party_id, reminder_id=0, account_id=account.account_id, ladder=account.ladder, step="",
        stage="", channel=channel.value, attempt=1, planned_for=now, expires_at=now, customer_id=account.customer_id,
        account_ref=account.external_ref, product=product, currency=account.currency,
        balance_minor=account.balance_minor, due_on=account.due_on, account_state=account.state, as_of=as_of,
        locale=locale, residence=residence, zones=account.zones, zone_confirmed_at=confirmed_at,
        refused_channels=refused, blocked_hours=blocked, household=household, name_sealed=name, master_key_id=key_id,
        wrapped_key=wrapped, due_at=now,
    )  # fmt: skip
