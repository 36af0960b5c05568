"""From an allowance to a letter: the intent with all it was decided on, and what will leave for it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from msgspec import Struct

from channels.base import Outbound
from domain.channel import Channel
from domain.contact import new_contact_id
from domain.ladder import Step
from domain.lender import Lender
from domain.message import Rendered
from domain.purpose import Purpose
from domain.reminder import NewReminder
from domain.verdict import Allow, Because, Suppress
from messages.catalogue import CopyError
from messages.facts import BadFacts
from policy.packs import RuleSet
from storage.intents import Intent, IntentAccount
from storage.picture import Due, Reach
from storage.sealing import Unsealable
from worker.cases import Person, Scene, customer_key, days_late, facts_of
from worker.experiments import words_for
from worker.proof import proof_of
from worker.unsubscribe import Unsubscribed, token_for

log = structlog.get_logger()

#: On Python 3.11 to name a member of an enum costs three times a constant.
_REMINDER, _EMAIL = Purpose.REMINDER, Channel.EMAIL

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
    """An intent with what will leave for it, and the steps to plan when it has ended."""

    intent: Intent
    outbound: Outbound
    successors: tuple[NewReminder, ...]


class Choice(Struct, frozen=True, gc=False):
    """The way that was found open for one reminder."""

    channel: Channel
    reach: Reach
    rules: RuleSet
    allow: Allow
    locale: str


def write_letter(
    scene: Scene,
    person: Person,
    covered: Sequence[tuple[Due, Step]],
    choice: Choice,
    successors: tuple[NewReminder, ...],
) -> Letter | Suppress:
    """One letter for the debts it covers, the first of which chose the words; Suppress when it cannot be written."""
    row, step = covered[0]
    message, drawn = words_for(scene, step.message, row.customer_id)
    if message != step.message:
        step = replace(step, message=message)
        covered = [(row, step), *covered[1:]]
    rows, accounts, late = [], [], []
    for each, its in covered:
        rows.append(each)
        accounts.append(IntentAccount(each.account_id, each.reminder_id, its.id, its.stage))
        late.append(days_late(each, scene.now))
    composed = _compose(scene, row, step, choice, rows)
    if isinstance(composed, Suppress):
        return composed
    facts_sealed, to, rendered = composed
    inputs = {
        "days_past_due": late,
        "attempt": row.attempt,
        "zone_confirmed": person.facts.zone_confirmed,
        "residence": row.residence,
        "number_country": choice.reach.country,
        "number_zones": choice.reach.zones,
        "address_kind": choice.reach.kind,
        **drawn,
        "words": proof_of(scene.keyring, rendered),
    }
    intent = _intent(scene, person, row, step, choice, inputs, facts_sealed, tuple(accounts))
    outbound = Outbound(  # by position: it is made once for each message
        intent.contact_id, row.party_id, choice.channel, to, _sender(scene.lender, choice.channel), rendered,
        _validity(scene.now, choice.allow.until, row.expires_at), f"r{row.reminder_id}",
        _unsubscribe_url(scene, intent), None, time.monotonic(),
    )  # fmt: skip
    return Letter(intent, outbound, successors)


def _intent(
    scene: Scene,
    person: Person,
    row: Due,
    step: Step,
    choice: Choice,
    inputs: Mapping[str, object],
    facts_sealed: bytes,
    accounts: tuple[IntentAccount, ...],
) -> Intent:
    reach, facts = choice.reach, person.facts
    now, lender, because = scene.now, scene.lender, choice.allow.because
    return Intent(  # by position: it is made once for each message
        row.party_id, new_contact_id(now), now, row.customer_id, lender.id, lender.actor, choice.channel,
        reach.address_id, reach.lookup, _REMINDER, step.message, choice.locale, step.stage,
        because.rule, because.pack, choice.rules.ids,
        facts.zones if facts.zone_confirmed else tuple(dict.fromkeys((*facts.zones, *reach.zones))),
        choice.allow.until, person.stop_epoch, scene.release.hash,
        inputs, facts_sealed, accounts,
    )  # fmt: skip


def _compose(
    scene: Scene, row: Due, step: Step, choice: Choice, covered: Sequence[Due]
) -> tuple[bytes, str, Rendered] | Suppress:
    """Open the customer's envelope, render, seal the facts: sealed facts, clear address, words."""
    try:
        key = customer_key(scene.keyring, row)
        if key is None:
            return KEY_DESTROYED
        to = key.open(choice.reach.sealed).decode()
        facts = facts_of(scene, row, covered, choice.locale, name=key.open(row.name_sealed or b"").decode())
        rendered = scene.release.catalogue.render(step.message, choice.channel, choice.locale, facts)
        if rendered.warnings:  # by the customer's own name: it is sent all the same
            log.warning("name_reads_like", why=list(rendered.warnings), message=step.message, account_id=row.account_id)
        return key.seal(facts.to_json()), to, rendered
    except Unsealable:
        return KEY_DESTROYED
    except (CopyError, BadFacts) as error:
        log.error("copy_refused", message=step.message, channel=choice.channel, locale=choice.locale,
                  account_id=row.account_id, why=type(error).__name__)  # fmt: skip
        return COPY_REFUSED


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
