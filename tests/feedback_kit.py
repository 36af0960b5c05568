"""A ledger on the stepped clock with contacts in it, for tests of what comes back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import psycopg

from domain.channel import AddressChannel
from domain.contact import EventKind, fold, new_contact_id
from storage import database, lanes
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, MadeCustomer, a_lender

KEYRING = Keyring({"k1": os.urandom(32)}, os.urandom(32))


@contextmanager
def a_ledger(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to a ledger with one lender, on a Tuesday morning."""
    with database.connect(database_url, autocommit=True) as opened:
        a_lender(opened, "lantern")
        lanes.ensure_partitions(opened, TUESDAY_MORNING)
        lanes.step_clock(opened, TUESDAY_MORNING)
        yield opened


def a_contact(
    conn: psycopg.Connection,
    customer: MadeCustomer,
    *,
    at: datetime = TUESDAY_MORNING,
    address: AddressChannel = AddressChannel.PHONE,
) -> UUID:
    contact_id = new_contact_id(at)
    clear = customer.phone if address is AddressChannel.PHONE else customer.email
    conn.execute(
        """
        INSERT INTO contact (party_id, contact_id, intended_at, customer_id, lender_id, actor, channel, address_lookup,
                             purpose, rule, pack)
        VALUES (%s, %s, %s, %s, 'lantern', 'creditor', 'sms', %s, 'reminder', 'r', 'p')
        """,
        (customer.party_id, contact_id, at, customer.customer_id, KEYRING.lookup(address, clear)),
    )
    return contact_id


def state_of(conn: psycopg.Connection, contact_id: UUID) -> EventKind | None:
    rows = conn.execute("SELECT kind FROM contact_event WHERE contact_id = %s", (contact_id,)).fetchall()
    return fold(EventKind(row[0]) for row in rows)


def withdrawn(conn: psycopg.Connection, customer: MadeCustomer) -> set[str]:
    rows = conn.execute(
        "SELECT channel FROM consent WHERE party_id = %s AND customer_id = %s AND withdrawn_at IS NOT NULL",
        (customer.party_id, customer.customer_id),
    ).fetchall()
    return {row[0] for row in rows}
