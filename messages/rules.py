"""The rules of humane copy, C01 to C24 of the research notes (section 7.2), each over one rendered text.

A rule yields what it finds; `needle` is the piece of text to look for when the place is shown. Which rules bind a
message depends on its purpose: a reminder must state the debt, a survey may not.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from domain.channel import Channel
from domain.ladder import STAGES, Stage
from domain.message import Rendered
from domain.money import EXPONENTS
from domain.purpose import Purpose
from domain.segments import Route, count
from messages import reading
from messages.facts import Facts
from messages.fields import FIELDS
from messages.guard import Hit, hits
from messages.manifest import Message, Speaker
from messages.phrases import ADVICE, STOPPED_AT_SEND, Reason
from messages.template import Template


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Found:
    rule: str
    severity: Severity
    problem: str
    suggestion: str
    needle: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """One rendered text, with everything a rule may ask. `body` is what is read: without markup."""

    message: Message
    stopped: frozenset[Reason]  # what its approval does not cover
    template: Template
    facts: Facts
    rendered: Rendered
    body: str
    preheader: str
    common: bool  # a sample of ordinary life, not an edge of what can come in
    previous: str = ""  # the message that this one follows, rendered from the same facts
    written: dict[str, Any] = field(default_factory=dict)

    @property
    def channel(self) -> Channel:
        return self.template.channel

    @property
    def chinese(self) -> bool:
        return self.template.locale.startswith("zh")

    @property
    def late(self) -> bool:
        """Whether it is sent after the due date."""
        return self.message.days[1] >= 1

    def value(self, field: str) -> str:
        """A field as this medium writes it, whether the copy uses it or not."""
        if field not in self.written:
            self.written[field] = str(FIELDS[field].get(self.facts, self.template.medium))
        return str(self.written[field])

    def has(self, field: str) -> bool:
        return self.value(field) in self.body

    def said(self, reason: Reason) -> Iterator[Hit]:
        """The listed phrases in the body; the lists are gone through once."""
        if "hits" not in self.written:
            self.written["hits"] = tuple(hits(self.body, _SAID))
        return (hit for hit in self.written["hits"] if hit.reason is reason)

    def prose(self) -> str:
        """The body without what data brings in: amounts, dates, links, names."""
        text = self.body
        for name in ("pay_url", "help_url", "help_phone", "help_hours", "amount", "due_on", "as_of", "brand", "name"):
            text = text.replace(self.value(name), " ") if self.value(name) else text
        return text


#: What a body is asked for; that it is about a debt is no secret in it.
_SAID = frozenset(Reason) - {Reason.PRIVACY}


def _error(rule: str, problem: str, suggestion: str, needle: str = "") -> Found:
    return Found(rule, Severity.ERROR, problem, suggestion, needle)


def _warning(rule: str, problem: str, suggestion: str, needle: str = "") -> Found:
    return Found(rule, Severity.WARNING, problem, suggestion, needle)


def _names_sender(look: Look) -> Iterator[Found]:
    whole = f"{look.rendered.subject or ''} {look.body}"
    if look.value("brand") not in whole:
        yield _error("C01", "does not say who writes", "Show {{ brand }}, or include hello")
    if look.channel is Channel.SMS and look.chinese and not look.body.startswith(f"【{look.value('brand')}】"):
        yield _error("C01", "a Chinese SMS begins with its signature", "Begin with 【{{ brand }}】")


def _says_why(look: Look) -> Iterator[Found]:
    why = ("payment", "bill", "instalment") if not look.chinese else ("账单", "帳單", "付款", "分期")
    if not any(word in look.body for word in (*why, look.value("product"))):
        yield _error("C02", "does not say why you write", "Name the payment: {{ product }}")


def _states_amount(look: Look) -> Iterator[Found]:
    if not look.has("amount"):
        yield _error("C03", "does not state the amount", "Show {{ amount }}; it carries its currency")
    if not look.has("as_of"):
        yield _error("C03", "does not say of which day the amount is", "Show {{ as_of }}")


def _states_due_date(look: Look) -> Iterator[Found]:
    if not look.has("due_on"):
        yield _error("C04", "does not state the due date", "Show {{ due_on }}")
    vague = re.search(r"\b(?:soon|shortly|in a few days|any day now)\b|近期|尽快|盡快|不久", look.body, re.IGNORECASE)
    if vague:
        yield _error("C04", f"is vague about time: {vague.group()!r}", "Give the date", vague.group())


def _states_required_facts(look: Look) -> Iterator[Found]:
    """What message.toml calls required is in every text, whichever branch was taken."""
    whole = f"{look.rendered.subject or ''}\n{look.body}"
    for fact in look.message.required:
        value = look.value(fact)
        if look.channel is not Channel.PUSH and value and value not in whole:
            yield _error("FACTS", f"does not state {fact!r}, which message.toml requires", f"Show {{{{ {fact} }}}}")


_ADDRESS = re.compile(r"(?:https?://)?(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?:/[\w./~%?&=-]*)?")
SHORTENERS = ("bit.ly", "t.co", "tinyurl.com", "goo.gl", "is.gd", "ow.ly", "t.cn", "url.cn", "dwz.cn", "suo.im")


def _pays_by_an_official_way(look: Look) -> Iterator[Found]:
    if look.channel is not Channel.CALL and not look.has("pay_url"):
        yield _error("C05", "does not say how to pay", "Show {{ pay_url }}, or include pay")


def _links_are_official(look: Look) -> Iterator[Found]:
    allowed = {look.value("pay_url"), look.value("help_url")}
    for found in _ADDRESS.finditer(look.body):
        address = found.group().rstrip(".,")
        if address.lower().removeprefix("https://").startswith(SHORTENERS):
            yield _error("C05", "uses a link shortener", "Use {{ pay_url }} or {{ help_url }}", address)
        elif address not in allowed:
            yield _error("C05", f"has a link of its own: {address}", "Use {{ pay_url }} or {{ help_url }}", address)


_WAY_OUT = re.compile(
    r"\b(?:split|plan|pause|move the date|later month|look for a way|parts)\b|延期|分期|一起想(?:办法|辦法)",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"\b(?:not (?:yours|theirs)|is wrong|looked? into)\b|非本人|不是(?:您|本人)的(?:账单|帳單)|有误|有誤", re.IGNORECASE
)
_PAID = re.compile(r"\b(?:already paid|have paid|paid\?)|已付款|已(?:经|經)付款", re.IGNORECASE)
_OPT_OUT = re.compile(r"\bSTOP\b|\bunsubscribe\b|拒收|退订|退訂|取消訂閱", re.IGNORECASE)


def _offers_a_way_out(look: Look) -> Iterator[Found]:
    if look.late and not _WAY_OUT.search(look.body):
        yield _error("C06", "offers no way out to those who cannot pay", "Name a plan or a pause, or include way_out")


def _takes_corrections(look: Look) -> Iterator[Found]:
    if look.late and not _WRONG.search(look.body):
        yield _error("C07", "does not say what to do if it is wrong", "Say 'Not yours? Tell us', or include wrong")
    if not _PAID.search(look.body):
        yield _warning("C23", "does not say that those who have paid need do nothing", "Include wrong")


def _says_how_to_stop(look: Look) -> Iterator[Found]:
    wanted = look.channel in (Channel.SMS, Channel.EMAIL, Channel.SOCIAL) and look.facts.opt_out
    if wanted and not _OPT_OUT.search(look.body):
        yield _error("C08", "does not say how to stop these messages", "Include opt_out")


def _names_a_person(look: Look) -> Iterator[Found]:
    if look.message.days[1] >= 4 and not (look.has("help_phone") and look.has("help_hours")):
        yield _warning("C09", "gives no human contact with hours", "Show {{ help_phone }} ({{ help_hours }})")


def _keeps_the_debt_out_of_sight(look: Look) -> Iterator[Found]:
    seen = {"the subject": look.rendered.subject or "", "the preheader": look.preheader}
    if look.channel is Channel.PUSH:
        seen = {"a push title": look.rendered.subject or "", "a push text": look.body}
    for where, text in seen.items():
        text = text.replace(look.value("brand"), " ")
        for hit in hits(text, frozenset({Reason.PRIVACY})):
            suggestion = ADVICE[Reason.PRIVACY].suggestion
            yield _error("C10", f"{where} gives the debt away: {hit.phrase!r}", suggestion, hit.phrase)
        if any(look.value(field) in text for field in ("amount", "due_on")) or re.search(r"\d{3}", text):
            yield _error("C10", f"{where} shows an amount, a date or a number", ADVICE[Reason.PRIVACY].suggestion)


def _shows_no_long_numbers(look: Look) -> Iterator[Found]:
    text = look.prose()
    for debt in look.facts.debts:
        text = text.replace(look.template.medium.words.amount(debt.balance_minor, debt.currency), " ")
    number = re.search(r"\d(?:[ -]?\d){4,}", text)
    if number:
        yield _error("C11", "shows a long number", "Show at most the last 4 digits: {{ ref }}", number.group())


def _speaks_no_evil(look: Look) -> Iterator[Found]:
    """C12, C19, C20 and the rest of the word lists: what a reminder never says, whoever writes it."""
    text = f"{look.rendered.subject or ''}\n{look.preheader}\n{look.body}"
    text = text.replace(look.value("name"), " ") if look.value("name") else text
    for hit in hits(text, STOPPED_AT_SEND):
        advice = ADVICE[hit.reason]
        if hit.reason not in look.stopped or hit.promised_not:
            problem = f"even as a promise or approved, many read only the word: {hit.phrase!r}"
            yield _warning(advice.rule, problem, "Leave the word out if you can", hit.phrase)
        else:
            yield _error(advice.rule, f"{hit.reason}: {hit.phrase!r}", advice.suggestion, hit.phrase)


def _sells_nothing(look: Look) -> Iterator[Found]:
    yield from _listed(look, Reason.CROSS_SALE, Severity.ERROR)


def _says_it_plainly(look: Look) -> Iterator[Found]:
    yield from _listed(look, Reason.JARGON, Severity.WARNING)
    yield from _listed(look, Reason.SYMPATHY, Severity.WARNING)
    if look.channel is not Channel.CALL:
        yield from _listed(look, Reason.THIRD_PERSON, Severity.WARNING)


def _listed(look: Look, reason: Reason, severity: Severity) -> Iterator[Found]:
    advice = ADVICE[reason]
    for hit in look.said(reason):
        yield Found(advice.rule, severity, f"{reason}: {hit.phrase!r}", advice.suggestion, hit.phrase)


def _consequences_are_facts(look: Look) -> Iterator[Found]:
    if look.facts.report_on is None and look.facts.deadline_on is None:
        yield from _listed(look, Reason.CONSEQUENCE, Severity.ERROR)
        if look.message.stage is not Stage.PRE_DUE:  # before the due date, the contract's own date may be named
            yield from _listed(look, Reason.DEADLINE, Severity.ERROR)


_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")
_MAY_SHOUT = frozenset({"STOP", "PLAN", "PAUSE", "HELP", "YES", "APP", "SMS", "PIN", "ID", "OK"}) | EXPONENTS.keys()
_EMOJI = re.compile("[\u2600-\u27bf\u2b50\U0001f000-\U0001faff]")
_RED = re.compile(
    r"color\s*:\s*(?:red|crimson|darkred|#(?:[c-f]00|[c-f][0-9a-f][0-4][0-9a-f][0-4][0-9a-f]))\b", re.IGNORECASE
)


def _does_not_shout(look: Look) -> Iterator[Found]:
    text = f"{look.rendered.subject or ''} {look.prose()}"
    for word in sorted(set(_CAPITALS.findall(text)) - _MAY_SHOUT):
        yield _warning("C14", f"{word!r} is all capitals", "Write it small", word)
    marks = re.findall(r"[!！]+", text)
    if any(len(run) > 1 for run in marks):
        yield _error(
            "C14", "several exclamation marks in a row", "A full stop does", next(m for m in marks if len(m) > 1)
        )
    elif len(marks) > 2 or (len(marks) > 1 and look.channel in (Channel.SMS, Channel.PUSH)):
        yield _warning("C14", "more than one exclamation mark", "A full stop does", "！" if "！" in text else "!")
    emoji = _EMOJI.search(text)
    if emoji:
        yield _error("C14", "has an emoji", "Leave it out", emoji.group())
    red = _RED.search(look.rendered.html or "")
    if red:
        yield _error("C14", "has red words", "Use the colour of the rest", red.group())


_PASSIVE = re.compile(r"\b(?:is|are|was|were|been|being|be)\s+(?:\w+ly\s+)?\w+(?:ed|en)\b", re.IGNORECASE)


def _reads_easily(look: Look) -> Iterator[Found]:
    if not look.common or look.channel in (Channel.CALL, Channel.PUSH):
        return
    yield from _chinese_reading(look) if look.chinese else _english_reading(look)


def _english_reading(look: Look) -> Iterator[Found]:
    text = look.prose()
    read = reading.english(text)
    if read.grade > reading.MAX_GRADE:
        yield _warning(
            "C16", f"reads at school grade {read.grade}", "Use shorter words and sentences (grade 7 or less)"
        )
    elif read.hardest > reading.MAX_GRADE_OF_ONE:
        problem = f"one sentence reads at school grade {read.hardest}"
        yield _warning("C16", problem, "Take it apart, and use shorter words", read.hardest_start)
    if read.mean_words > reading.MAX_MEAN_WORDS or read.most_words > reading.MAX_WORDS:
        problem = f"sentences of {read.mean_words} words on average, {read.most_words} at most"
        yield _warning("C16", problem, "Keep to 15 on average and 25 at most")
    if len(_PASSIVE.findall(text)) > max(2, text.count(".") // 3):
        yield _warning("C15", "mostly passive", "Say who does what: 'we have not received'")


def _chinese_reading(look: Look) -> Iterator[Found]:
    traditional = look.template.locale.startswith("zh-Hant")
    read = reading.chinese(look.prose(), traditional=traditional)
    if read.mean_clause > reading.MAX_MEAN_CLAUSE or len(read.longest_clause) > reading.MAX_CLAUSE:
        problem = f"clauses of {read.mean_clause} characters on average, {len(read.longest_clause)} at most"
        yield _warning("C16", problem, "Keep to 20 on average and 40 at most", read.longest_clause)
    for character in sorted(read.rare):
        if reading.in_script(character, traditional=traditional):
            yield _warning("C16", f"{character!r} is a rare character", "Use an everyday word", character)


def _asks_for_one_thing(look: Look) -> Iterator[Found]:
    if look.common and look.channel is not Channel.CALL and look.body.count(look.value("pay_url")) > 1:
        yield _warning("C17", "asks to pay more than once", "Show {{ pay_url }} once", "{{ pay_url }}")
    options = len(re.findall(r"(?m)^\s*\d[.、)]\s", look.body))
    if options > 2 and look.channel is not Channel.CALL:
        yield _warning("C17", f"lists {options} options", "Offer two at most")


def _fits_two_segments(look: Look) -> Iterator[Found]:
    if look.channel is not Channel.SMS or not look.common:
        return
    counted = count(look.body, Route.CN if look.chinese else Route.AUTO)
    if counted.segments > 2:
        problem = f"takes {counted.segments} segments ({counted.units} {counted.encoding} units)"
        yield _warning(
            "C18", problem, "Shorten it to 134 characters" if look.chinese else "Shorten it to 306 characters"
        )


_HAN = re.compile(r"[\u3400-\u9fff]")


def _speaks_the_customers_language(look: Look) -> Iterator[Found]:
    text = look.prose()
    han = set(_HAN.findall(text)) - set(look.facts.customer_name + look.facts.brand)
    if not look.chinese:
        if han:
            yield _error("C21", "has Chinese characters", f"Write it in {look.template.medium.words.name}", min(han))
        return
    traditional = look.template.locale.startswith("zh-Hant")
    for character in sorted(han):
        if not reading.in_script(character, traditional=traditional):
            script = "traditional" if traditional else "simplified"
            yield _error(
                "C21", f"{character!r} is not {script} Chinese", "Write it in the customer's script", character
            )
    letters = re.findall(r"[A-Za-z]", text)
    if len(letters) > len(_HAN.findall(text)):
        yield _error("C21", "is mostly not Chinese", "Write it in the customer's language")


def _says_something_new(look: Look) -> Iterator[Found]:
    if not look.previous or look.channel is Channel.PUSH or not look.common:
        return
    if difflib.SequenceMatcher(None, look.previous, look.body, autojunk=False).ratio() > 0.92:
        problem = f"is nearly a copy of {look.message.follows}"
        yield _warning("C22", problem, "Say something new, or do not send it")


#: Words that are firm, with the first stage at which they are in place.
_FIRM: tuple[tuple[Stage, re.Pattern[str]], ...] = (
    (
        Stage.INITIAL,
        re.compile(r"\b(?:missed|late|not come in|not reached us|open since)\b|未到账|未入帳|没有到账|沒有入帳"),
    ),
    (
        Stage.MIDDLE,
        re.compile(r"\b(?:overdue|past due|arrears|required|must)\b|逾期|必[须須]|(?<!无)须|(?<!無)須", re.IGNORECASE),
    ),
)


def _rises_no_faster_than_its_stage(look: Look) -> Iterator[Found]:
    reached = STAGES.index(look.message.stage)
    for stage, firm in _FIRM:
        found = firm.search(look.body) if reached < STAGES.index(stage) else None
        if found:
            problem = f"{found.group()!r} is firmer than the stage {look.message.stage}"
            yield _warning("TONE", problem, f"Keep it for {stage}", found.group())


_MACHINE = re.compile(
    r"\b(?:automated|automatic|recorded (?:voice|message)|virtual assistant|computer|chatbot|bot)\b"
    r"|自动|自動|智能(?:语音|客服)|智慧(?:語音|客服)|机器人|機器人|虚拟助手|虛擬助理",
    re.IGNORECASE,
)


def _machine_says_so(look: Look) -> Iterator[Found]:
    spoken = look.channel in (Channel.CALL, Channel.SOCIAL) and look.message.spoken_by is Speaker.MACHINE
    if spoken and not _MACHINE.search(look.body):
        yield _error(
            "C24", "a machine speaks and does not say that it is one", "Begin with 'This is an automated call'"
        )


def _is_no_reminder_in_disguise(look: Look) -> Iterator[Found]:
    """What is not about a debt does not bring it up, however kindly."""
    for fact in ("amount", "due_on", "pay_url"):
        if look.value(fact) in look.body:
            problem = f"is for {look.message.purpose} and shows {fact!r}"
            yield _error("PURPOSE", problem, "Leave it to a reminder", look.value(fact))


def _confirms_the_stop(look: Look) -> Iterator[Found]:
    if not _STOPPED.search(look.body):
        yield _error("PURPOSE", "does not confirm that messages stop", "Say what has stopped, and from when")


_STOPPED = re.compile(
    r"\b(?:no (?:more|further)|stopped|will not (?:send|write|text|call)|unsubscribed)\b"
    r"|不再|已(?:退订|退訂|停止|取消)|不会再|不會再",
    re.IGNORECASE,
)


def _rests_on_a_law(look: Look) -> Iterator[Found]:
    if look.message.legal_basis is None:
        yield _error(
            "PURPOSE", "is a statutory notice without a legal basis", 'Add legal_basis = "..." to message.toml'
        )


Rule = Callable[[Look], Iterator[Found]]

#: For every message, whatever it is for.
ALWAYS: tuple[Rule, ...] = (
    _names_sender, _links_are_official, _keeps_the_debt_out_of_sight, _shows_no_long_numbers, _speaks_no_evil,
    _says_it_plainly, _does_not_shout, _reads_easily, _fits_two_segments, _speaks_the_customers_language,
    _states_required_facts, _machine_says_so,
)  # fmt: skip

#: For reminders of what is owed, on every medium that carries facts (a push does not).
REMINDERS: tuple[Rule, ...] = (
    _says_why, _states_amount, _states_due_date, _pays_by_an_official_way, _offers_a_way_out, _takes_corrections,
    _says_how_to_stop, _names_a_person, _sells_nothing, _consequences_are_facts, _asks_for_one_thing,
    _says_something_new, _rises_no_faster_than_its_stage,
)  # fmt: skip


#: What else binds a text, by what it is for. Only a reminder is barred from selling by C20; a reward is an offer.
BY_PURPOSE: Mapping[Purpose, tuple[Rule, ...]] = {
    Purpose.REMINDER: REMINDERS,
    Purpose.STATUTORY_NOTICE: (
        _rests_on_a_law, _says_why, _states_amount, _states_due_date, _offers_a_way_out, _takes_corrections,
        _names_a_person, _sells_nothing, _consequences_are_facts, _asks_for_one_thing,
        _rises_no_faster_than_its_stage,
    ),
    Purpose.REPLY: (_sells_nothing, _consequences_are_facts),
    Purpose.REQUESTED_CALLBACK: (_sells_nothing, _consequences_are_facts),
    Purpose.OPTOUT_CONFIRMATION: (_confirms_the_stop, _is_no_reminder_in_disguise, _sells_nothing),
    Purpose.SERVICE: (_sells_nothing, _consequences_are_facts, _asks_for_one_thing),
    Purpose.EDUCATION: (_is_no_reminder_in_disguise, _says_how_to_stop, _sells_nothing),
    Purpose.REWARD: (_is_no_reminder_in_disguise, _says_how_to_stop, _consequences_are_facts, _asks_for_one_thing),
    Purpose.SURVEY: (_is_no_reminder_in_disguise, _says_how_to_stop, _sells_nothing, _asks_for_one_thing),
}  # fmt: skip


def rules_for(message: Message, channel: Channel) -> tuple[Rule, ...]:
    """The rules that bind a text. A push says nothing of what it is about, so it has no facts to ask for."""
    return ALWAYS if channel is Channel.PUSH else ALWAYS + BY_PURPOSE[message.purpose]
