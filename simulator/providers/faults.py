"""Faults that a test or a demonstration asks for: which messages they strike, and what happens to those."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FaultKind(StrEnum):
    """`*_before`: the message is not accepted; `*_after`: it is accepted, and the sender cannot know."""

    REFUSE = "refuse"  # with `code`: Twilio's, FCM's errorCode, or an SMTP reply such as "550 5.1.1"
    STALL_BEFORE = "stall_before"  # `seconds`, then go on as usual
    STALL_AFTER = "stall_after"  # accept, `seconds`, then answer
    DROP_BEFORE = "drop_before"  # close the connection
    DROP_AFTER = "drop_after"  # accept, then close it without an answer
    ERROR_BEFORE = "error_before"  # a server error, nothing accepted
    ERROR_AFTER = "error_after"  # accept, then answer with a server error
    GARBAGE_AFTER = "garbage_after"  # accept, then answer success in no known shape
    HALF_AFTER = "half_after"  # accept, then answer half and close
    CALLBACK_TWICE = "callback_twice"
    CALLBACK_LOST = "callback_lost"
    CALLBACK_REVERSED = "callback_reversed"  # delivered before sent
    GOING_AWAY = "going_away"  # APNs: accept, then end the connection with GOAWAY instead of an answer
    BOUNCE_HARD = "bounce_hard"  # e-mail: accept; a report about it comes to the mailbox later
    BOUNCE_SOFT = "bounce_soft"
    COMPLAINT = "complaint"


CALLBACK_FAULTS = frozenset({FaultKind.CALLBACK_TWICE, FaultKind.CALLBACK_LOST, FaultKind.CALLBACK_REVERSED})
REPORT_FAULTS = frozenset({FaultKind.BOUNCE_HARD, FaultKind.BOUNCE_SOFT, FaultKind.COMPLAINT})
LATER_FAULTS = CALLBACK_FAULTS | REPORT_FAULTS


class FaultRule(BaseModel):
    """Strikes messages of `channel` that fit: to `address`, every n-th, or by `probability`; at most `times`.

    `stage` is for e-mail: mail, rcpt, data or content (after the final dot). `push` is FCM, `token` its token endpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: Annotated[str, Field(pattern="^(sms|email|push|token|apns)$")]
    kind: FaultKind
    code: str | None = None
    seconds: Annotated[float, Field(ge=0, le=600)] = 0
    address: str | None = None
    every: Annotated[int, Field(ge=1)] = 1
    probability: Annotated[float, Field(ge=0, le=1)] = 1
    times: Annotated[int, Field(ge=1)] | None = None
    stage: Annotated[str, Field(pattern="^(mail|rcpt|data|content)$")] = "content"

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.channel == "email" and self.kind is FaultKind.ERROR_AFTER:
            raise ValueError("a relay that answers with an error has not accepted (RFC 5321, 4.2.5): use drop_after")
        if self.channel != "sms" and self.kind in CALLBACK_FAULTS:
            raise ValueError("only sms has callbacks")
        if self.channel != "email" and self.kind in REPORT_FAULTS:
            raise ValueError("only email has bounces and complaints")
        if self.channel != "apns" and self.kind is FaultKind.GOING_AWAY:
            raise ValueError("only apns speaks HTTP/2: use drop_after")
        return self


@dataclass(slots=True)
class _Armed:
    rule: FaultRule
    dice: random.Random
    fitting: int = 0
    struck: int = 0


@dataclass(slots=True)
class Faults:
    """The rules in force, in order; the first that strikes decides."""

    seed: int = 0
    _armed: list[_Armed] = field(default_factory=list)

    @property
    def rules(self) -> list[FaultRule]:
        return [armed.rule for armed in self._armed]

    def arm(self, rules: Iterable[FaultRule]) -> None:
        """Put these rules in force and forget the former ones."""
        self._armed = [
            _Armed(rule, random.Random(f"{self.seed}/{number}"))  # noqa: S311  # repeatable, not secret
            for number, rule in enumerate(rules)
        ]

    def strike(self, channel: str, address: str, stage: str = "content") -> FaultRule | None:
        """The fault that this message meets on its way in, if any."""
        return self._strike(channel, address, stage, later=False) if self._armed else None

    def strike_later(self, channel: str, address: str) -> FaultRule | None:
        """The fault that this message meets after it was accepted and answered, if any."""
        return self._strike(channel, address, "content", later=True) if self._armed else None

    def _strike(self, channel: str, address: str, stage: str, *, later: bool) -> FaultRule | None:
        for armed in self._armed:
            rule = armed.rule
            fits = (
                rule.channel == channel
                and rule.stage == stage
                and rule.address in (None, address)
                and (rule.kind in LATER_FAULTS) is later
            )
            if fits and _strikes(armed):
                return rule
        return None


def _strikes(armed: _Armed) -> bool:
    rule = armed.rule
    armed.fitting += 1
    if rule.times is not None and armed.struck >= rule.times:
        return False
    if armed.fitting % rule.every or armed.dice.random() >= rule.probability:
        return False
    armed.struck += 1
    return True
