"""Ask providers about contacts whose answer was lost. Finding the message proves it; not finding it never does.

The message must be this contact's: sent to its address about then, in its very words, known as no other contact's, and
with no other lost attempt at the same address that it could be. Where that cannot be said, a person sees it open.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

import structlog

from channels.base import ChannelError, Finder, Receipt
from domain.channel import Channel
from domain.contact import EventKind
from storage import feedback, lanes, ledger, picture, uncertain
from storage.feedback import Event
from storage.rows import Conn
from storage.sealing import Unsealable
from storage.uncertain import Question
from worker import showing
from worker.wiring import Spine

log = structlog.get_logger()

#: After the attempt, then after each look-up: a callback is usually first, and a provider's list may lag behind.
WAITS: Final = (
    timedelta(minutes=1), timedelta(minutes=4), timedelta(minutes=25), timedelta(hours=2), timedelta(hours=8),
)  # fmt: skip

#: Asked about side by side, so that a worker is not away for long.
AT_ONCE: Final = 20
ANSWER_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class LookedUp:
    """How many contacts a provider was asked about, and how many of them it knew."""

    asked: int = 0
    found: int = 0


@dataclass(frozen=True, slots=True)
class _Ask:
    question: Question
    to: str
    body: str


def look_up(spine: Spine, *, waits: Sequence[timedelta] = WAITS) -> LookedUp:
    """Ask about what is due to be asked, and end as sent what was found. Any worker may run it, at any time."""
    opening = picture.open_drain(spine.conn, "*")
    if opening.release_hash is None:
        return LookedUp()
    finders = _finders(spine, opening.release_hash)
    questions = uncertain.claim(spine.conn, list(finders), waits, limit=AT_ONCE)
    asks = [ask for question in questions if (ask := _open(spine, question)) is not None]
    if not asks:
        return LookedUp()
    answers = spine.loop.run(_ask_all(finders, asks), within_seconds=ANSWER_SECONDS + 5)
    found = 0
    for ask, answer in zip(asks, answers, strict=True):
        if isinstance(answer, Receipt):
            found += _take(spine.conn, ask.question, answer)
        else:
            uncertain.answered(spine.conn, ask.question, answer)
    log.info("looked_up", asked=len(asks), found=found)
    return LookedUp(len(asks), found)


def _finders(spine: Spine, release_hash: str) -> dict[Channel, Finder]:
    """The channels whose provider can be asked."""
    adapters = spine.adapters(spine.release(release_hash))
    return {channel: cast(Finder, adapter) for channel, adapter in adapters.items() if hasattr(adapter, "find")}


def _open(spine: Spine, question: Question) -> _Ask | None:
    """The clear address and the words as they were sent; None once the customer is erased or the words are lost."""
    contact = ledger.contact(spine.conn, question.contact_id)
    shown = showing.show(spine, contact.sealed) if contact is not None and contact.sealed is not None else None
    if shown is None or shown.rendered is None or shown.likeness is showing.Likeness.CHANGED:
        uncertain.answered(spine.conn, question, "its words are not known", is_final=True)
        return None
    try:
        key = spine.keyring.open_customer_key(question.master_key_id, question.wrapped_key)
        return _Ask(question, key.open(question.address_sealed).decode(), shown.rendered.text)
    except Unsealable:
        uncertain.answered(spine.conn, question, "its customer is erased", is_final=True)
        return None


async def _ask_all(finders: Mapping[Channel, Finder], asks: Sequence[_Ask]) -> list[Receipt | str]:
    return await asyncio.gather(*(_ask(finders[Channel(ask.question.channel)], ask) for ask in asks))


async def _ask(finder: Finder, ask: _Ask) -> Receipt | str:
    """The receipt, or in a few words why there is none."""
    question = ask.question
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            found = await finder.find(question.contact_id, ask.to, question.stamped_at, body=ask.body)
    except ChannelError as error:
        return f"could not be asked: {error.code}"
    except TimeoutError:
        return "could not be asked: no answer"
    return found or "not found, which proves nothing"


def _take(conn: Conn, question: Question, receipt: Receipt) -> int:
    """End the contact as sent, if the message is its own; how many contacts that was."""
    with conn.transaction():
        feedback.lock_parties(conn, [question.party_id])
        if uncertain.is_anothers(conn, question, receipt.provider, receipt.provider_ref):
            uncertain.answered(conn, question, "found, but it may be another contact's")
            return 0
        event = Event(
            question.party_id, question.contact_id, question.intended_at, EventKind.SENT, "look_up",
            lanes.business_now(conn), receipt.provider, receipt.provider_ref, "looked_up",
        )  # fmt: skip
        feedback.add_events(conn, [event])
        feedback.prove_sent(conn, [(question.party_id, question.contact_id)])
        uncertain.answered(conn, question, "found", is_final=True)
    return 1
