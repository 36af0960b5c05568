"""The people of the sandbox: what a customer does after a message, decided by a seed and nothing else.

Not a model of anybody: rates are round numbers chosen so that every path of the fleet is walked. The answer depends on
the seed, the customer's reference and how many messages they have had, never on the order in which workers run.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.channel import Channel


class Deed(StrEnum):
    PAY_ALL = "pay_all"
    PAY_PART = "pay_part"
    REPLY_STOP = "reply_stop"
    REPLY_PAID = "reply_paid"
    REPLY_PLAN = "reply_plan"
    REPLY_OTHER = "reply_other"


#: Share of messages that are followed by each deed. Payments fall with the months that a debt is late.
_PAY_ALL_BY_MONTHS = (0.22, 0.16, 0.10, 0.06)
_PAY_PART = 0.03
_REPLIES = ((Deed.REPLY_STOP, 0.004), (Deed.REPLY_PAID, 0.006), (Deed.REPLY_PLAN, 0.008), (Deed.REPLY_OTHER, 0.004))

#: What the replies say, by language.
WORDS = {
    Deed.REPLY_STOP: {"en": "STOP", "zh": "退订"},
    Deed.REPLY_PAID: {"en": "I have paid already", "zh": "我已经还款了"},
    Deed.REPLY_PLAN: {"en": "PLAN please", "zh": "想申请分期"},
    Deed.REPLY_OTHER: {"en": "Who is this?", "zh": "请问你是谁"},
}

#: People act at these hours (UTC), so that the stepped clock visits few moments.
DEED_HOURS = (4, 12)


@dataclass(frozen=True, slots=True)
class Planned:
    """A deed and when it is done, aware UTC."""

    deed: Deed
    at: datetime


def reaction(
    seed: int, customer: str, nth: int, *, channel: Channel, days_past_due: int, now: datetime
) -> Planned | None:
    """What this customer does after their nth message, or None. Replies come by text message only."""
    draw = _uniform(seed, customer, nth, "deed")
    threshold = _PAY_ALL_BY_MONTHS[min(max(days_past_due, 0) // 30, len(_PAY_ALL_BY_MONTHS) - 1)]
    if draw < threshold:
        return Planned(Deed.PAY_ALL, _later(seed, customer, nth, now))
    threshold += _PAY_PART
    if draw < threshold:
        return Planned(Deed.PAY_PART, _later(seed, customer, nth, now))
    if channel is not Channel.SMS:
        return None
    for deed, share in _REPLIES:
        threshold += share
        if draw < threshold:
            return Planned(deed, _next_hour(now))
    return None


def _later(seed: int, customer: str, nth: int, now: datetime) -> datetime:
    """Within the next five days, sooner rather than later."""
    days = int(_uniform(seed, customer, nth, "when") ** 2 * 5)
    return _next_hour(now + timedelta(days=days))


def _next_hour(now: datetime) -> datetime:
    """The next of the hours at which people act, strictly after `now`."""
    for day in (now, now + timedelta(days=1)):
        for hour in DEED_HOURS:
            moment = day.replace(hour=hour, minute=0, second=0, microsecond=0)
            if moment > now:
                return moment
    raise AssertionError("a day has hours")


def _uniform(seed: int, *parts: object) -> float:
    """A number in [0, 1) that depends on its arguments only."""
    text = "\x1f".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
