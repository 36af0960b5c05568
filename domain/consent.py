"""Consent: who allowed what on which address, and whether it was taken back."""

from datetime import datetime
from typing import NamedTuple

from domain.channel import Channel
from domain.purpose import Purpose


class Consent(NamedTuple):
    """`address` is None when the consent covers every address of the channel. Times are aware UTC."""

    channel: Channel
    address: str | None
    purpose: Purpose
    given: datetime
    withdrawn: datetime | None
