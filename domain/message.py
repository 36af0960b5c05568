"""A message as it leaves: words already chosen and rendered, nothing to decide any more."""

from typing import NamedTuple

from domain.channel import Channel


class Rendered(NamedTuple):
    """`subject` is an e-mail's subject or a push title; `html` only for e-mail and letters.

    `warnings` are reasons why the customer's own name reads like something that is never sent; it is sent all the same.
    """

    channel: Channel
    locale: str
    text: str
    subject: str | None = None
    html: str | None = None
    warnings: tuple[str, ...] = ()
