"""Consent: electronic channels need one on record, for that purpose, not withdrawn. Nothing on record is a no."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.case import Case
from domain.channel import Channel
from domain.purpose import Direction, Purpose
from policy.counting import Counts, counted_as
from policy.table import Table
from policy.terms import ANSWERS, Defaults, Terms, read_terms

#: Channels that nobody may use without a consent on record. Calls, visits and letters need one where a pack says so.
ELECTRONIC = frozenset({Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.SOCIAL, Channel.NULL})

#: Purposes that stand on the customer's own act or on a law instead of a consent.
NEED_NONE = ANSWERS - {Purpose.OPTOUT_CONFIRMATION}


@dataclass(frozen=True)
class ConsentRule:
    """A pack's own demand for consent on further channels."""

    terms: Terms


class Standing(StrEnum):
    GIVEN = "given"
    MISSING = "missing"
    WITHDRAWN = "withdrawn"


#: Named once: to name a member of an enum costs seven times as much as a constant, and this is asked for each message.
GIVEN: Final = Standing.GIVEN
_CONFIRMATION: Final = Purpose.OPTOUT_CONFIRMATION


def read_consent(table: Table, inherited: Defaults) -> ConsentRule:
    rule = ConsentRule(read_terms(table, "consent", inherited, channels=None))
    table.finish()
    return rule


def standing(case: Case, at: datetime) -> Standing:
    """The consent that this attempt stands on, at that instant: a withdrawal stands until a later consent is given."""
    attempt = case.attempt
    channel, address, purpose = attempt.channel, attempt.address, attempt.purpose
    if purpose is _CONFIRMATION:
        return Standing.WITHDRAWN if _confirmed_before(case) else GIVEN
    withdrawn: datetime | None = None
    given: datetime | None = None
    for consent in case.consents:
        if consent.channel is not channel or consent.purpose is not purpose or consent.address not in (None, address):
            continue
        if consent.withdrawn is not None and consent.withdrawn <= at:
            withdrawn = consent.withdrawn if withdrawn is None else max(withdrawn, consent.withdrawn)
        elif consent.given <= at:
            given = consent.given if given is None else max(given, consent.given)
    if withdrawn is not None and (given is None or given <= withdrawn):
        return Standing.WITHDRAWN
    return Standing.MISSING if given is None else GIVEN


def _confirmed_before(case: Case) -> bool:
    """Whether this opt-out was already confirmed: one confirmation, and only one (12 CFR 1006.14(h), comment)."""
    attempt = case.attempt
    latest = max(
        (c.withdrawn for c in case.consents if c.channel is attempt.channel and c.withdrawn is not None), default=None
    )
    return any(
        entry.purpose is Purpose.OPTOUT_CONFIRMATION
        and entry.direction is Direction.OUT
        and entry.channel is attempt.channel
        and entry.address in (None, attempt.address)
        and (latest is None or entry.at >= latest)
        and bool(counted_as(entry.channel, entry.outcome) & {Counts.ATTEMPT})
        for entry in case.history
    )
