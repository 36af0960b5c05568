"""A contact's words again, years later: from the release that it names and its sealed facts, proven to be the same.

What left was hashed under our key when it was decided. The same release and the same facts give the same words; should
a later duly or a later table of number formats write them otherwise, the proof says so, and nothing is passed off.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import structlog

from domain.channel import Channel
from domain.message import Rendered
from messages.facts import Facts
from storage.ledger import Sealed
from storage.sealing import Unsealable
from worker.proof import proof_of
from worker.wiring import Spine

log = structlog.get_logger()


class Likeness(StrEnum):
    """Whether what is shown is what was sent."""

    PROVEN = "proven"  # byte for byte, by the hash that was written when it was decided
    UNPROVEN = "unproven"  # from before such hashes were written
    CHANGED = "changed"  # this version of duly writes it otherwise
    ERASED = "erased"  # the customer's key is destroyed: nobody can show it
    UNREADABLE = "unreadable"  # its release or its facts cannot be read


@dataclass(frozen=True, slots=True)
class Shown:
    """A contact's words, or why there are none."""

    contact_id: UUID
    likeness: Likeness
    rendered: Rendered | None = None


def show(spine: Spine, sealed: Sealed) -> Shown:
    """The words of one contact as they were sent."""
    if sealed.wrapped_key is None or sealed.master_key_id is None:
        return Shown(sealed.contact_id, Likeness.ERASED)
    try:
        key = spine.keyring.open_customer_key(sealed.master_key_id, sealed.wrapped_key)
        facts = Facts.from_json(key.open(sealed.facts_sealed))
        words = spine.past_words(sealed.release_hash)
        rendered = words.render(sealed.message, Channel(sealed.channel), sealed.locale, facts)
    except (Unsealable, ValueError, LookupError) as error:  # BadFacts and every loader's error are ValueErrors
        log.error("words_cannot_be_shown", contact_id=str(sealed.contact_id), why=type(error).__name__)
        return Shown(sealed.contact_id, Likeness.UNREADABLE)
    if sealed.proof is None:
        return Shown(sealed.contact_id, Likeness.UNPROVEN, rendered)
    is_same = proof_of(spine.keyring, rendered) == sealed.proof
    return Shown(sealed.contact_id, Likeness.PROVEN if is_same else Likeness.CHANGED, rendered)
