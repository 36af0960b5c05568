"""Whether ladders and lenders fit the copy: days and tone of a step, a lender's own words in every text that is sent.

Copy can be sound and still go wrong in the hands that use it: a firm message on a gentle step, a brand that gives the
debt away in a subject, opening hours that push an SMS over its second segment, a sender that nobody can reply to.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from domain.channel import Channel
from domain.ladder import STAGES, Ladder, Step
from domain.lender import Lender
from domain.segments import Route, count
from messages import clean, samples
from messages.catalogue import Catalogue
from messages.checks import Finding
from messages.facts import BadFacts, Facts
from messages.fault import CopyError
from messages.guard import in_plain_sight
from messages.rules import SHORTENERS, Severity

#: A sender that is a name cannot be replied to.
_A_NUMBER = re.compile(r"\+?\d+")
_INVITES_A_REPLY = re.compile(r"\bReply\b|回复|回覆", re.IGNORECASE)
_TWO_SEGMENTS = 2


def check_fit(catalogue: Catalogue, ladders: Mapping[str, Ladder], lenders: Mapping[str, Lender]) -> list[Finding]:
    """Everything to change in ladders and lenders for the sake of the words. Empty: they fit."""
    made = _of_ladders(catalogue, ladders.values())
    own = (finding for lender in lenders.values() for finding in _of_lender(catalogue, lender))
    return sorted([*made, *own], key=lambda each: (each.severity, each.file, each.rule, each.problem))


def _error(rule: str, file: str, problem: str, remedy: str) -> Finding:
    return Finding(rule, Severity.ERROR, file, None, problem, remedy)


def _warning(rule: str, file: str, problem: str, remedy: str) -> Finding:
    return Finding(rule, Severity.WARNING, file, None, problem, remedy)


def _of_ladders(catalogue: Catalogue, ladders: Iterable[Ladder]) -> Iterator[Finding]:
    seen = set[tuple[str, str]]()
    for ladder in ladders:
        for step in ladder.steps:
            # the null channel only measures: what it carries reaches nobody
            if set(step.channels) != {Channel.NULL} and (ladder.id, step.id) not in seen:
                seen.add((ladder.id, step.id))
                yield from _of_step(catalogue, f"ladders/{ladder.id}.toml", step)


def _of_step(catalogue: Catalogue, file: str, step: Step) -> Iterator[Finding]:
    message = catalogue.messages.get(step.message)
    if message is None:
        yield _error("COPY", file, f"step {step.id!r} sends {step.message!r}, which is not there", "Correct the name")
        return
    if STAGES.index(message.stage) > STAGES.index(step.stage):
        problem = f"step {step.id!r} is {step.stage} and sends {step.message!r}, whose words are {message.stage}"
        yield _error("TONE", file, problem, "Send a gentler message, or move the step to that stage")
    first, last = message.days
    until = last if not step.channels else step.true_until_day  # a person reads the file before anything is said
    if step.day < first or until > last:
        problem = f"step {step.id!r} may send {step.message!r} from day {step.day} to {until}, and its words are true "
        yield _warning("DAYS", file, f"{problem}from day {first} to {last}", "Change the step, or days in message.toml")
    for channel in step.channels:
        if not any(key[:2] == (step.message, channel) for key in catalogue.templates):
            problem = f"step {step.id!r} goes by {channel}, for which {step.message!r} has no words"
            yield _error("COPY", file, problem, "Write them, or take the channel out of the step")


def _of_lender(catalogue: Catalogue, lender: Lender) -> Iterator[Finding]:
    file = f"lenders/{lender.id}.toml"
    yield from _names_without_a_debt(lender, file)
    yield from _ways_to_pay(lender, file)
    for locale in catalogue.locales.words:
        if locale not in lender.brand:
            problem = f"brand and help.hours lack {locale}, which its customers may read"
            yield _warning("LOCALE", file, problem, f"Add {locale} to [brand] and [help.hours]")
    yield from _in_its_own_words(catalogue, lender, file)


def _names_without_a_debt(lender: Lender, file: str) -> Iterator[Finding]:
    """C10 for what others see of every message: who it is from."""
    shown = {f"brand.{at}": words for at, words in lender.brand.items()}
    shown |= {"senders.sms": lender.sms_sender, "senders.email": lender.email_sender}
    for key, words in shown.items():
        if in_plain_sight(words):
            remedy = "Subjects and lock screens show it: use a name that says nothing of a debt"
            yield _error("C10", file, f"{key} gives the debt away", remedy)


def _ways_to_pay(lender: Lender, file: str) -> Iterator[Finding]:
    for key, link in (("pay.url", lender.pay_url), ("help.url", lender.help_url)):
        try:
            host = clean.url(link).removeprefix("https://")
        except BadFacts as refused:
            yield _error("C05", file, f"{key}: {refused}", "Give the official page")
            continue
        if host.lower().startswith(SHORTENERS):
            yield _error("C05", file, f"{key} is a link shortener", "Give the official page")
    try:
        clean.phone(lender.help_phone)
    except BadFacts as refused:
        yield _error("C09", file, f"help.phone: {refused}", "Give the number that a person answers")


def _in_its_own_words(catalogue: Catalogue, lender: Lender, file: str) -> Iterator[Finding]:
    """Every text once more, as this lender's customers would get it."""
    found: dict[str, Finding] = {}
    for (name, channel, locale), template in catalogue.templates.items():
        try:
            rendered = template.render(_facts_of(catalogue, lender, name, locale), channel)
        except (CopyError, BadFacts) as refused:
            problem = f"with its words, {template.file}: {getattr(refused, 'problem', refused)}"
            found.setdefault(template.file, _error("EDGE", file, problem, "Correct the lender's words"))
            continue
        if channel is not Channel.SMS:
            continue
        if _INVITES_A_REPLY.search(rendered.text) and not _A_NUMBER.fullmatch(lender.sms_sender):
            remedy = "Send from a number: people must be able to reply STOP"
            found.setdefault("C08", _warning("C08", file, "senders.sms is a name, and nobody can reply to it", remedy))
        counted = count(rendered.text, Route.CN if locale.startswith("zh-Hans") else Route.AUTO)
        if counted.segments > _TWO_SEGMENTS:
            problem = f"with its words, {template.file} takes {counted.segments} segments ({counted.units} units)"
            found[template.file] = _warning("C18", file, problem, "Shorten brand, hours or links, or the copy")
    yield from found.values()


def _facts_of(catalogue: Catalogue, lender: Lender, message: str, locale: str) -> Facts:
    one = samples.ordinary(catalogue.messages[message], locale)
    return replace(
        one,
        brand=lender.brand.get(locale) or next(iter(lender.brand.values())),
        help_hours=lender.help_hours.get(locale) or next(iter(lender.help_hours.values())),
        help_phone=lender.help_phone,
        pay_url=lender.pay_url,
        help_url=lender.help_url,
    )
