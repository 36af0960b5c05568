"""Send one wave: every letter once, side by side, and an answer for each. Decides nothing and touches no database."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeGuard

import structlog

from channels.base import (
    Adapter,
    AnswersAtOnce,
    ChannelError,
    HeldBack,
    Misconfigured,
    OutcomeUnknown,
    Receipt,
    Rejected,
    TryLater,
)
from domain.channel import Channel
from domain.contact import EventKind
from domain.reminder import ReminderState
from storage.intents import Intent
from storage.waves import Result
from worker.letters import Letter

log = structlog.get_logger()

#: After so many attempts a reminder fails: people are not a retry queue.
MOST_ATTEMPTS = 5

#: First wait after a refusal for now; doubles with each attempt, up to LONGEST_WAIT, unless the provider names one.
FIRST_WAIT = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=4)

#: How long the reminders of a misconfigured provider wait before they are judged again.
MISCONFIGURED_WAIT = timedelta(minutes=15)

#: A wave may take no longer than this in all; every adapter's own deadline is shorter.
WAVE_SECONDS = 30.0

Answer = Receipt | ChannelError

#: On Python 3.11 to name a member of an enum costs three times a constant.
_SAID_SENT, _SENT = EventKind.SENT, ReminderState.SENT


def answer_at_once(
    adapters: Mapping[Channel, Adapter], channel: Channel | None, letters: Sequence[Letter]
) -> Sequence[Answer] | None:
    """The answers of a channel that needs no network, in the order of the letters; None where they have to travel.

    `channel` is that of all the letters, None where they have several.
    """
    adapter = None if channel is None else adapters.get(channel)
    if not _answers_at_once(adapter):
        return None
    try:
        return adapter.answer_all([each.outbound for each in letters])
    except Exception as error:  # it may have sent any of them, so we must say that we do not know
        log.error("adapter_broke_its_contract", provider=adapter.name, error=type(error).__name__)
        return [OutcomeUnknown("adapter_error") for _ in letters]


def _answers_at_once(adapter: Adapter | None) -> TypeGuard[AnswersAtOnce]:
    # To ask the protocol itself, by isinstance, takes a quarter of what answering the wave does.
    return hasattr(adapter, AnswersAtOnce.answer_all.__name__)


async def send_wave(adapters: Mapping[Channel, Adapter], letters: Sequence[Letter]) -> list[Answer]:
    """One attempt each, in parallel; the answers in the order of the letters.

    What is still under way when the wave's time is up is cancelled and counts as unknown.
    """
    tasks = [asyncio.ensure_future(_send(adapters.get(letter.outbound.channel), letter)) for letter in letters]
    try:
        await asyncio.wait(tasks, timeout=WAVE_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return [OutcomeUnknown("wave_timed_out") if task.cancelled() else task.result() for task in tasks]


async def _send(adapter: Adapter | None, letter: Letter) -> Answer:
    if adapter is None:
        return Misconfigured("no_provider")
    try:
        return await adapter.send(letter.outbound)
    except ChannelError as refusal:
        return refusal
    except Exception as error:  # an adapter broke its contract: it may have sent, so we must say that we do not know
        log.error("adapter_broke_its_contract", provider=adapter.name, error=type(error).__name__)
        return OutcomeUnknown("adapter_error")


def accepted(intent: Intent, receipt: Receipt) -> Result:
    """What a receipt means for the contact and its reminders."""
    return Result(  # by position: it is made once for each message
        intent.party_id, intent.contact_id, intent.intended_at, intent.reminder_ids, _SAID_SENT, _SENT,
        receipt.provider, receipt.provider_ref, None,
    )  # fmt: skip


def refused(letter: Letter, answer: ChannelError, *, provider: str | None) -> Result:
    """What any other answer means for them."""
    attempt = letter.intent.inputs["attempt"]
    match answer:
        case OutcomeUnknown():
            return _result(letter, EventKind.UNCERTAIN, ReminderState.UNCERTAIN, provider, code=answer.code)
        case HeldBack():
            return _result(
                letter, EventKind.RELEASED, ReminderState.PLANNED, provider, code=answer.code, wait=answer.after,
                costs_attempt=False,
            )  # fmt: skip
        case Misconfigured():
            return _result(
                letter, EventKind.RELEASED, ReminderState.PLANNED, provider, code=answer.code,
                wait=MISCONFIGURED_WAIT, costs_attempt=False,
            )  # fmt: skip
        case _ if attempt >= MOST_ATTEMPTS:
            return _result(letter, EventKind.REJECTED, ReminderState.FAILED, provider, code=answer.code)
        case Rejected(
            retire_address=False, opted_out=False
        ):  # not the address: the words or the route, and they stay as they are
            return _result(letter, EventKind.REJECTED, ReminderState.FAILED, provider, code=answer.code)
        case TryLater():
            wait = answer.after or min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT)
            return _result(letter, EventKind.REJECTED, ReminderState.PLANNED, provider, code=answer.code, wait=wait)
        case _:  # the address is dead, or its owner has opted out: judged again at once, for the next one
            return _result(letter, EventKind.REJECTED, ReminderState.PLANNED, provider, code=answer.code)


def _result(
    letter: Letter,
    kind: EventKind,
    state: ReminderState,
    provider: str | None,
    *,
    code: str,
    wait: timedelta = timedelta(),
    costs_attempt: bool = True,
) -> Result:
    intent = letter.intent
    return Result(
        intent.party_id, intent.contact_id, intent.intended_at, intent.reminder_ids, kind, state, provider, None, code,
        wait, costs_attempt,
    )  # fmt: skip


def opted_out_by(letter: Letter, answer: Answer) -> bytes | None:
    """The look-up hash of the address whose owner, says the provider, wants nothing more from us."""
    return letter.intent.address_lookup if isinstance(answer, Rejected) and answer.opted_out else None


def retired_by(letter: Letter, answer: Answer) -> tuple[int, int, str] | None:
    """The address that this answer ends, as (party, address, reason)."""
    if isinstance(answer, Rejected) and answer.retire_address and letter.intent.address_id is not None:
        return letter.intent.party_id, letter.intent.address_id, answer.code
    return None
