"""A lane: lender x channel x shard of parties. The only thing that a broker message ever says."""

import re
from dataclasses import dataclass

from domain.channel import Channel

#: Shards per lender and channel, and how many parties in a row share one. Fixed for the life of a database, which keeps
#: each reminder's shard in its row.
SHARDS = 16
NEIGHBOURS = 1024

_CHANNELS = frozenset(channel.value for channel in Channel)
_NAME = re.compile(r"([a-z0-9][a-z0-9-]{0,40}):([a-z]{3,6}):(\d{1,2})")


class BadLane(ValueError):
    """A lane name that we did not write: the message is refused and counted."""


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    lender: str
    channel: Channel
    shard: int

    def __str__(self) -> str:
        return f"{self.lender}:{self.channel}:{self.shard}"

    @classmethod
    def parse(cls, name: object) -> "Lane":
        """Read `lender:channel:shard`; raises BadLane for anything else, without repeating what it was."""
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise BadLane("not a lane name")
        lender, channel, shard = match.groups()
        if channel not in _CHANNELS or int(shard) >= SHARDS:
            raise BadLane("not a lane name")
        return cls(lender, Channel(channel), int(shard))


def shard_of(party_id: int) -> int:
    """Neighbours go together: their rows share pages of tables and indexes, and a drain finds several on each."""
    return party_id // NEIGHBOURS % SHARDS
