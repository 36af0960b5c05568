"""What a past contact counts as. The same table is printed in docs/policies.md; a test holds the two together.

Laws count five different things, so a cap is a query over raw outcomes. Where an outcome is unknown the careful reading
counts: an intended or uncertain call is an attempt, a connection and a conversation. What a provider rejected before it
accepted it never reached anybody and counts as nothing.
"""

from collections.abc import Iterable
from enum import StrEnum

from domain.channel import Channel
from domain.contact import Outcome
from domain.purpose import Direction


class Counts(StrEnum):
    ATTEMPT = "attempt"  # any try on the rule's channels, answered or not
    CONNECTED = "connected"  # somebody or a machine took the call
    CONVERSATION = "conversation"  # the customer spoke with us
    MESSAGE = "message"  # an electronic message was accepted
    CONTACT = "contact"  # anything that reached or may have reached somebody, on any channel


CALL_LIKE = frozenset({Channel.CALL, Channel.VISIT})

_UNANSWERED = frozenset({Counts.ATTEMPT})
_REACHED = frozenset({Counts.ATTEMPT, Counts.CONNECTED, Counts.CONTACT})
_TALKED = _REACHED | {Counts.CONVERSATION}
_WRITTEN = frozenset({Counts.ATTEMPT, Counts.MESSAGE, Counts.CONTACT})
_POSTED = frozenset({Counts.ATTEMPT, Counts.CONTACT})

_OF_CALLS: dict[Outcome, frozenset[Counts]] = {
    Outcome.REJECTED: frozenset(),
    Outcome.NO_ANSWER: _UNANSWERED,
    Outcome.BUSY: _UNANSWERED,
    Outcome.NOT_IN_SERVICE: _UNANSWERED,
    Outcome.VOICEMAIL: _REACHED,
    Outcome.THIRD_PARTY: _REACHED,
    Outcome.CONVERSATION: _TALKED,
    Outcome.INTENDED: _TALKED,
    Outcome.UNCERTAIN: _TALKED,
    Outcome.SENT: _TALKED,
    Outcome.DELIVERED: _TALKED,
}


def counted_as(channel: Channel, outcome: Outcome) -> frozenset[Counts]:
    """What one contact of ours counts as."""
    if channel in CALL_LIKE:
        return _OF_CALLS[outcome]
    if outcome is Outcome.REJECTED:
        return frozenset()
    written = _POSTED if channel is Channel.LETTER else _WRITTEN
    return written | {Counts.CONVERSATION} if outcome is Outcome.CONVERSATION else written


#: Every kind of history entry has a number, so that a rule is a table of 0 and 1 that the judge reads by index.
KINDS: dict[tuple[Channel, Outcome, Direction], int] = {
    (channel, outcome, direction): index
    for index, (channel, outcome, direction) in enumerate(
        (c, o, d) for c in Channel for o in Outcome for d in Direction
    )
}


def selector(
    counts: Counts,
    channels: Iterable[Channel],
    *,
    directions: Iterable[Direction] = (Direction.OUT,),
    without: Iterable[Outcome] = (),
) -> bytes:
    """One byte for each number in KINDS: 1 when such an entry counts."""
    wanted, ways, refused = frozenset(channels), frozenset(directions), frozenset(without)
    return bytes(
        channel in wanted and direction in ways and outcome not in refused and counts in counted_as(channel, outcome)
        for channel, outcome, direction in KINDS
    )
