"""`message.toml`: what a message is for, at which stage, with which fields, and who approved words of law."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from domain.ladder import Stage
from domain.purpose import Purpose
from messages.fault import CopyError
from messages.fields import FIELDS, FieldType

_KEYS = ("purpose", "stage", "about", "days", "fields", "follows", "legal_basis", "legal_approved_by")


@dataclass(frozen=True, slots=True)
class Message:
    """`days` are the first and last day past due on which its words are true. `follows` names the message that a
    customer usually had before this one. `legal_approved_by` is set only where words of law are meant and approved."""

    name: str
    purpose: Purpose
    stage: Stage
    about: Mapping[str, str]
    days: tuple[int, int]
    fields: Mapping[str, FieldType]
    follows: str | None = None
    legal_basis: str | None = None
    legal_approved_by: str | None = None


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
    return Message(
        name=name,
        purpose=_one_of(Purpose, raw, "purpose", file, text),
        stage=_one_of(Stage, raw, "stage", file, text),
        about=_about(raw, file, text),
        days=_days(raw, file, text),
        fields=_fields(raw, file, text),
        follows=_text(raw, "follows", file, text),
        legal_basis=_text(raw, "legal_basis", file, text),
        legal_approved_by=_text(raw, "legal_approved_by", file, text),
    )


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
    for field, type in fields.items():
        line = _line_of(text, field)
        if field not in FIELDS:
            raise CopyError(file, line, f"unknown field {field!r}", suggest(field, FIELDS))
        if type != FIELDS[field].type:
            raise CopyError(file, line, f"field {field!r} has the type {FIELDS[field].type.value!r}", "Correct it")
    return {field: FieldType(type) for field, type in fields.items()}


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
