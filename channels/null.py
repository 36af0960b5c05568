"""The channel that accepts and forgets: for measuring everything around a send."""

from collections.abc import Sequence

from channels.base import Outbound, Receipt
from domain.channel import Channel


class NullAdapter:
    name = "null"
    channel = Channel.NULL
    is_sandbox = True
    folds_repeats = True

    async def send(self, outbound: Outbound) -> Receipt:
        return Receipt(self.name, outbound.contact_id.hex)

    def answer_all(self, wave: Sequence[Outbound]) -> list[Receipt]:
        return [Receipt(self.name, outbound.contact_id.hex) for outbound in wave]

    async def aclose(self) -> None:
        return
