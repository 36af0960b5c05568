"""What a relay's refusals mean for us, as data with sources: the stage, the reply code and the enhanced status code.

Reply codes: RFC 5321, section 4.2. Enhanced codes: RFC 3463 and the IANA registry "SMTP Enhanced Status Codes" (read
November 2026). A relay's words are never kept: they repeat addresses.
"""

import re
from collections.abc import Mapping
from enum import IntEnum

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, Rejected, TryLater


class Stage(IntEnum):
    """How far a send has come. Up to and including DATA nothing has been sent; CONTENT begins with the final dot."""

    CONNECT = 1
    LOGIN = 2
    MAIL = 3
    RCPT = 4
    DATA = 5
    CONTENT = 6


#: Enhanced codes of a refused recipient that say the mailbox is dead, whatever the reply code.
DEAD_MAILBOX: Mapping[str, str] = {
    "5.1.1": "bad destination mailbox",
    "5.1.2": "bad destination system",
    "5.1.3": "bad destination address syntax",
    "5.1.6": "mailbox has moved, no forwarding",
    "5.1.10": "recipient domain takes no mail (RFC 7505)",
    "5.2.1": "mailbox disabled",
}

#: Reply codes of a refused recipient that say so when no enhanced code came with them (RFC 5321, section 4.2.3).
DEAD_WITHOUT_ENHANCED = frozenset({550, 551, 553})

#: Replies that mean our login, at any stage (RFC 4954, section 6).
NOT_LOGGED_IN = frozenset({530, 534, 535, 538})

#: Refused at MAIL for the message, not for the sender: too large (RFC 1870, section 6.1).
TOO_LARGE = frozenset({552})

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")


def refusal(stage: Stage, code: int, words: str) -> ChannelError:
    """The error for a relay's reply that is no acceptance."""
    enhanced = _ENHANCED.match(words)
    word = f"{code} {enhanced.group()}" if enhanced else str(code)
    if 400 <= code < 500:
        return TryLater(word)
    if not 500 <= code < 600:
        return OutcomeUnknown("unreadable answer") if stage is Stage.CONTENT else TryLater("unreadable answer")
    if code in NOT_LOGGED_IN or stage <= Stage.LOGIN:
        return Misconfigured(word)
    if stage is Stage.MAIL:
        return Rejected(word) if code in TOO_LARGE else Misconfigured(word)
    return Rejected(word, stage is Stage.RCPT and is_dead(code, enhanced.group() if enhanced else None))


def is_dead(code: int | None, enhanced: str | None) -> bool:
    """Whether a reply about a recipient, or a bounce's status, says that nobody will ever read mail there."""
    return code in DEAD_WITHOUT_ENHANCED if enhanced is None else enhanced in DEAD_MAILBOX
