"""`message.toml`: what a message is for, at which stage, with which fields, and who approved words of law."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from domain.ladder import Stage
from domain.money import BadMoney, Money, parse_major
from domain.purpose import Purpose
from messages.fault import CopyError
from messages.fields import FIELDS, FieldType

_KEYS = (
    "purpose", "stage", "about", "days", "fields", "follows", "required", "spoken_by", "legal_basis",
    "legal_approved_by",
)  # fmt: skip

#: Fields whose samples are made: they follow from the others, or choose a branch that all samples try.
_NO_SAMPLE = frozenset({"several", "count", "debts", "days_past_due", "opt_out", "can_plan", "can_pause"})

SampleValue = str | Money | date


class Speaker(StrEnum):
    """Who speaks the words of a call or a chat."""

    PERSON = "person"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Message:
    """`days` are the first and last day past due on which its words are true. `follows` names the message that a
    customer usually had before this one. `required` are the facts without which it is not sent, and which every text of
    it states. `samples` are example values by field and locale ("" for every locale). `legal_approved_by` is set only
    where words of law are meant and approved."""

    name: str
    purpose: Purpose
    stage: Stage
    about: Mapping[str, str]
    days: tuple[int, int]
    fields: Mapping[str, FieldType]
    follows: str | None = None
    required: tuple[str, ...] = ()
    samples: Mapping[str, Mapping[str, SampleValue]] = field(default_factory=dict)
    spoken_by: Speaker = Speaker.PERSON
    legal_basis: str | None = None
    legal_approved_by: str | None = None

    def sample(self, name: str, locale: str) -> SampleValue | None:
        """The example value of a field for readers of a locale; None where message.toml gives none."""
        given = self.samples.get(name, {})
        return given.get(locale, given.get(""))


def read(name: str, text: str) -> Message:
    """Raises CopyError naming the key and its line."""
    file = f"{name}/message.toml"
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CopyError(file, _line_of_toml(error), f"not TOML: {error}", "Compare it with another message") from None
    for key in raw:
        if key not in _KEYS:
            raise CopyError(file, _line_of(text, key), f"unknown key {key!r}", suggest(key, _KEYS))
    fields = _fields(raw, file, text)
    message = Message(
        name=name,
        purpose=_one_of(Purpose, raw, "purpose", file, text),
        stage=_one_of(Stage, raw, "stage", file, text),
        about=_about(raw, file, text),
        days=_days(raw, file, text),
        fields=fields,
        follows=_text(raw, "follows", file, text),
        required=_required(raw, fields, file, text),
        samples=_samples(raw, file, text),
        spoken_by=_one_of(Speaker, {"spoken_by": Speaker.PERSON, **raw}, "spoken_by", file, text),
        legal_basis=_text(raw, "legal_basis", file, text),
        legal_approved_by=_text(raw, "legal_approved_by", file, text),
    )
    _check_law(message, file, text)
    _check_days(message, file, text)
    return message


def _check_days(message: Message, file: str, text: str) -> None:
    """The samples of a date are true to the days of the message."""
    as_of, due_on = message.sample("as_of", ""), message.sample("due_on", "")
    if not isinstance(as_of, date) or not isinstance(due_on, date):
        return
    late = (as_of - due_on).days
    if not message.days[0] <= late <= message.days[1]:
        problem = f"the samples are {late} days past due, and the message is for day {message.days[0]} to "
        raise CopyError(file, _line_of(text, "due_on"), f"{problem}{message.days[1]}", "Move the date in the sample")


def _check_law(message: Message, file: str, text: str) -> None:
    if message.legal_approved_by is None:
        return
    line = _line_of(text, "legal_approved_by")
    if message.stage is not Stage.FINAL:
        remedy = f"Words of law belong to the stage final, and this message is {message.stage}: delete the line"
        raise CopyError(file, line, "legal_approved_by is set where no words of law may stand", remedy)
    if message.legal_basis is None:
        remedy = 'Say which law or contract they rest on: legal_basis = "..."'
        raise CopyError(file, line, "words of law are approved without a legal basis", remedy)


def suggest(word: str, known: Iterable[str]) -> str:
    """A remedy for a misspelt word: the nearest known one, or the whole list."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else f"Use one of: {', '.join(known)}"


def _one_of(enum: type[Any], raw: Mapping[str, Any], key: str, file: str, text: str) -> Any:
    known = [member.value for member in enum]
    if raw.get(key) not in known:
        problem = f"{key} is missing" if key not in raw else f"{key} {raw[key]!r} is unknown"
        raise CopyError(file, _line_of(text, key), problem, suggest(str(raw.get(key, "")), known))
    return enum(raw[key])


def _about(raw: Mapping[str, Any], file: str, text: str) -> Mapping[str, str]:
    about = raw.get("about")
    if not isinstance(about, dict) or not about or not all(isinstance(words, str) for words in about.values()):
        raise CopyError(file, _line_of(text, "about"), "about is missing", 'Say what it is for: about = {en = "..."}')
    return about


def _days(raw: Mapping[str, Any], file: str, text: str) -> tuple[int, int]:
    match raw.get("days"):
        case [int(first), int(last)] if first <= last:
            return first, last
    raise CopyError(
        file, _line_of(text, "days"), "days must be the first and last day past due", "Write it like days = [1, 3]"
    )


def _fields(raw: Mapping[str, Any], file: str, text: str) -> Mapping[str, FieldType]:
    fields = raw.get("fields", {})
    if not isinstance(fields, dict):
        raise CopyError(file, _line_of(text, "fields"), "fields must be a table", 'Write [fields] and name = "text"')
    for name, said in fields.items():
        line = _line_of(text, name)
        if name not in FIELDS:
            raise CopyError(file, line, f"unknown field {name!r}", suggest(name, FIELDS))
        if isinstance(said, dict) and not said.keys() <= {"type", "sample"}:
            raise CopyError(file, line, f"field {name!r} may have a type and a sample", "Delete the rest")
        if _type_of(said) != FIELDS[name].type:
            raise CopyError(file, line, f"field {name!r} has the type {FIELDS[name].type.value!r}", "Correct it")
    return {name: FIELDS[name].type for name in fields}


def _type_of(said: object) -> object:
    return said.get("type") if isinstance(said, dict) else said


def _required(raw: Mapping[str, Any], fields: Iterable[str], file: str, text: str) -> tuple[str, ...]:
    required = raw.get("required", [])
    line = _line_of(text, "required")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise CopyError(file, line, "required must be a list of fields", 'Write required = ["amount", "due_on"]')
    for name in required:
        if name not in fields:
            raise CopyError(file, line, f"requires {name!r}, which [fields] does not declare", suggest(name, fields))
    return tuple(required)


def _samples(raw: Mapping[str, Any], file: str, text: str) -> Mapping[str, Mapping[str, SampleValue]]:
    made: dict[str, Mapping[str, SampleValue]] = {}
    for name, said in raw.get("fields", {}).items():
        if not isinstance(said, dict) or "sample" not in said:
            continue
        line = _line_of(text, name)
        if name in _NO_SAMPLE:
            raise CopyError(file, line, f"{name!r} takes no sample: it follows from the others", "Delete the sample")
        given = said["sample"] if isinstance(said["sample"], dict) else {"": said["sample"]}
        made[name] = {at: _sample(value, FIELDS[name].type, name, file, line) for at, value in given.items()}
    return made


def _sample(value: object, type: FieldType, name: str, file: str, line: int | None) -> SampleValue:
    match type:
        case FieldType.DATE if isinstance(value, date):
            return value
        case FieldType.DATE:
            raise CopyError(file, line, f"the sample of {name!r} is no date", "Write it like 2026-07-04, unquoted")
        case FieldType.MONEY:
            return _money(value, name, file, line)
    if not isinstance(value, str) or not value:
        raise CopyError(file, line, f"the sample of {name!r} is no text", 'Write it like sample = "Ana Silva"')
    return value


def _money(value: object, name: str, file: str, line: int | None) -> Money:
    currency, _, amount = value.partition(" ") if isinstance(value, str) else ("", "", "")
    try:
        money = parse_major(amount, currency)
    except BadMoney:
        money = Money(0, currency)
    if money.amount_minor <= 0:
        raise CopyError(file, line, f"the sample of {name!r} is no amount above zero", 'Write it like "EUR 84.20"')
    return money


def _text(raw: Mapping[str, Any], key: str, file: str, text: str) -> str | None:
    value = raw.get(key)
    if value is not None and not isinstance(value, str):
        raise CopyError(file, _line_of(text, key), f"{key} must be text", f'Write it like {key} = "..."')
    return value or None


def _line_of(text: str, key: str) -> int | None:
    found = re.search(rf"^\s*\[?{re.escape(key)}\b", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else None


def _line_of_toml(error: tomllib.TOMLDecodeError) -> int | None:
    found = re.search(r"line (\d+)", str(error))
    return int(found.group(1)) if found else None
