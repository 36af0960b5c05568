"""From an allowance to a letter: the intent with all it was decided on, and what will leave for it."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter

import structlog
from msgspec import Struct

from channels.base import Outbound
from domain.channel import Channel
from domain.contact import ContactId, new_contact_ids
from domain.ladder import Step
from domain.lender import Lender
from domain.message import Rendered
from domain.purpose import Purpose
from domain.reminder import NewReminder
from domain.verdict import Allow, Because, Suppress
from messages.catalogue import CopyError
from messages.facts import BadFacts
from policy.packs import RuleSet
from storage.intents import Intent
from storage.picture import Due, Reach
from storage.sealing import CustomerKey, Unsealable
from worker.cases import Person, Scene, customer_keys, days_late, facts_of
from worker.experiments import words_for
from worker.proof import proof_of
from worker.unsubscribe import Unsubscribed, token_for

log = structlog.get_logger()

#: On Python 3.11 to name a member of an enum costs three times a constant.
_REMINDER, _EMAIL = Purpose.REMINDER, Channel.EMAIL

_ACCOUNT, _REMINDER_ID = attrgetter("account_id"), attrgetter("reminder_id")
_STEP, _STAGE = attrgetter("id"), attrgetter("stage")

#: A provider may hold a message no longer than this, whatever the window allows.
LONGEST_VALIDITY = timedelta(hours=10)

#: Without a window's end we let a provider hold a message this long.
DEFAULT_VALIDITY = timedelta(hours=4)


def our_own(rule: str) -> Because:
    """A reason of the engine's, not of a law."""
    return Because(f"duly.{rule}", "duly", "the engine's own rule; see docs/story.md", "own", "hard")


NO_ADDRESS = Suppress(our_own("no_address"))
NO_COPY = Suppress(our_own("no_copy_in_their_language"))
COPY_REFUSED = Suppress(our_own("copy_refused"))
KEY_DESTROYED = Suppress(our_own("customer_erased"))


class Letter(Struct, frozen=True, gc=False):
    """An intent with what will leave for it, and the steps to plan when it has ended.

    `waited` are the seconds from due to decided, business time.
    """

    intent: Intent
    outbound: Outbound
    successors: tuple[NewReminder, ...]
    waited: float


class Choice(Struct, frozen=True, gc=False):
    """The way that was found open for one reminder."""

    channel: Channel
    reach: Reach
    rules: RuleSet
    allow: Allow
    locale: str


class Draft(Struct, frozen=True, gc=False):
    """A message that may go: for whom, which debts it covers (the first one chose the words), how, and what follows."""

    person: Person
    rows: tuple[Due, ...]
    steps: tuple[Step, ...]
    choice: Choice
    successors: tuple[NewReminder, ...]


def write_letters(scene: Scene, drafts: Sequence[Draft]) -> Sequence[Letter | Suppress]:
    """A letter for each draft, or why it cannot be written."""
    if len(drafts) > 1:
        with suppress(Unsealable, CopyError, BadFacts):  # one of them cannot be written: each by itself
            return _write(scene, drafts)
    return [_write_alone(scene, draft) for draft in drafts]


def _write_alone(scene: Scene, draft: Draft) -> Letter | Suppress:
    try:
        return _write(scene, [draft])[0]
    except Unsealable:
        return KEY_DESTROYED
    except (CopyError, BadFacts) as error:
        step, choice, row = _words_for(scene, draft)[0], draft.choice, draft.rows[0]
        log.error("copy_refused", message=step.message, channel=choice.channel, locale=choice.locale,
                  account_id=row.account_id, why=type(error).__name__)  # fmt: skip
        return COPY_REFUSED


def _write(scene: Scene, drafts: Sequence[Draft]) -> list[Letter]:
    """Open the customers' envelopes, render, seal the facts, a stage at a time.

    Raises Unsealable (also for a key that is destroyed), CopyError or BadFacts when any of them cannot be written.
    """
    rows = [draft.rows[0] for draft in drafts]
    choices = [draft.choice for draft in drafts]
    words = [_words_for(scene, draft) for draft in drafts]
    keys = customer_keys(scene.keyring, rows)
    tos = CustomerKey.open_each(keys, [choice.reach.sealed for choice in choices])
    names = CustomerKey.open_each(keys, [row.name_sealed or b"" for row in rows])
    facts = [
        facts_of(scene, row, draft.rows, draft.choice.locale, name=name.decode())
        for draft, row, name in zip(drafts, rows, names, strict=True)
    ]
    render = scene.release.catalogue.render
    rendered = [
        render(step.message, choice.channel, choice.locale, its)
        for (step, _), choice, its in zip(words, choices, facts, strict=True)
    ]
    sealed = CustomerKey.seal_each(keys, [its.to_json() for its in facts])
    proofs = [proof_of(scene.keyring, its) for its in rendered]
    contacts = new_contact_ids(scene.now, len(drafts))
    intents = [
        _intent(scene, draft, contact_id, step, drawn, proof, facts_sealed)
        for draft, contact_id, (step, drawn), proof, facts_sealed in zip(
            drafts, contacts, words, proofs, sealed, strict=True
        )
    ]
    for row, (step, _), its in zip(rows, words, rendered, strict=True):
        if its.warnings:  # by the customer's own name: it is sent all the same
            log.warning("name_reads_like", why=list(its.warnings), message=step.message, account_id=row.account_id)
    return [
        Letter(
            intent,
            _outbound(scene, draft, intent, to.decode(), its),
            draft.successors,
            (scene.now - row.due_at).total_seconds(),
        )
        for draft, row, intent, to, its in zip(drafts, rows, intents, tos, rendered, strict=True)
    ]


def _words_for(scene: Scene, draft: Draft) -> tuple[Step, Mapping[str, object]]:
    """The step with the message whose words go out, and what to write on the contact about that."""
    row, step = draft.rows[0], draft.steps[0]
    message, drawn = words_for(scene, step.message, row.customer_id)
    return (step if message == step.message else replace(step, message=message)), drawn


def _intent(
    scene: Scene,
    draft: Draft,
    contact_id: ContactId,
    step: Step,
    drawn: Mapping[str, object],
    proof: str,
    facts_sealed: bytes,
) -> Intent:
    person, choice, rows = draft.person, draft.choice, draft.rows
    row, reach, facts = rows[0], choice.reach, person.facts
    now, lender, because = scene.now, scene.lender, choice.allow.because
    return Intent(  # by position: it is made once for each message
        row.party_id, contact_id, now, row.customer_id, lender.id, lender.actor, choice.channel,
        reach.address_id, reach.lookup, _REMINDER, step.message, choice.locale, step.stage,
        because.rule, because.pack, choice.rules.ids,
        facts.zones if facts.zone_confirmed else tuple(dict.fromkeys((*facts.zones, *reach.zones))),
        choice.allow.until, person.stop_epoch, scene.release.hash,
        {
            "days_past_due": [days_late(each, now) for each in rows],
            "attempt": row.attempt,
            "zone_confirmed": facts.zone_confirmed,
            "residence": row.residence,
            "number_country": reach.country,
            "number_zones": reach.zones,
            "address_kind": reach.kind,
            "words": proof,
            **drawn,
        },
        facts_sealed,
        tuple(map(_ACCOUNT, rows)), tuple(map(_REMINDER_ID, rows)),
        tuple(map(_STEP, draft.steps)), tuple(map(_STAGE, draft.steps)),
    )  # fmt: skip


def _outbound(scene: Scene, draft: Draft, intent: Intent, to: str, rendered: Rendered) -> Outbound:
    row, choice = draft.rows[0], draft.choice
    return Outbound(  # by position: it is made once for each message
        intent.contact_id, row.party_id, choice.channel, to, _sender(scene.lender, choice.channel), rendered,
        _validity(scene.now, choice.allow.until, row.expires_at), f"r{row.reminder_id}",
        _unsubscribe_url(scene, intent), None, time.monotonic(),
    )  # fmt: skip


def _unsubscribe_url(scene: Scene, intent: Intent) -> str | None:
    """Where one click in the mail program ends the mails (RFC 8058); other channels say it in their words."""
    if scene.public_url is None or intent.channel != _EMAIL or intent.address_lookup is None:
        return None
    wish = Unsubscribed(intent.party_id, intent.contact_id, intent.address_lookup)
    return f"{scene.public_url}/u/{token_for(scene.keyring, wish)}"


def _sender(lender: Lender, channel: Channel) -> str:
    return lender.email_sender if channel is _EMAIL else lender.sms_sender


def _validity(now: datetime, window_ends: datetime | None, expires_at: datetime) -> timedelta:
    """How long the provider may hold it: never past the window, nor past the step's own end."""
    longest = DEFAULT_VALIDITY if window_ends is None else min(window_ends - now, LONGEST_VALIDITY)
    return min(longest, expires_at - now)
