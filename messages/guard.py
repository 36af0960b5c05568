"""The last look: whether a rendered text says what copy may never say, brought in by data. Cheap enough for every send.

A quick sieve first (a few microseconds); only a text that it catches is read closely.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from domain.ladder import Stage
from messages.fault import CopyError
from messages.manifest import Message
from messages.phrases import ADVICE, APPROVABLE, CHINESE, ENGLISH, STOPPED_AT_SEND, Reason


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found, where, and whether the words around it turn it into a promise not to ("we never ...")."""

    reason: Reason
    phrase: str
    start: int
    promised_not: bool


_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_BETWEEN_HAN = re.compile(r"(?<=[\u4e00-\u9fff])[\s*·.\-_'’|/\\~^+=#@]+(?=[\u4e00-\u9fff])")
_NOT_BEFORE = re.compile(
    r"(?:\bnever\b|\bnot\b|n't\b)[^.!?;]{0,40}$|(?:不会|不會|绝不|絕不|不联系|不聯絡|不向)[^。！？；，]{0,8}$"
)
_CURLY = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "‑": "-", "–": "-"})

_ENGLISH = {
    reason: re.compile(r"(?<![\w])(" + "|".join(map(re.escape, sorted(phrases, key=len, reverse=True))) + r")(?![\w])")
    for reason, phrases in ENGLISH.items()
}
_CHINESE = {reason: re.compile("|".join(phrases)) for reason, phrases in CHINESE.items()}


def folded(text: str) -> str:
    """The text as it is compared: NFKC, lower case, plain quotes, nothing invisible, nothing between Han characters."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_CURLY).lower()
    return _BETWEEN_HAN.sub("", plain)


def hits(text: str, reasons: frozenset[Reason]) -> Iterator[Hit]:
    """Every phrase of the given reasons in a text of any language, by place in the folded text."""
    plain = folded(text)
    for reason in sorted(reasons):
        for pattern in (_ENGLISH.get(reason), _CHINESE.get(reason)):
            for found in pattern.finditer(plain) if pattern else ():
                before = plain[max(0, found.start() - 48) : found.start()]
                yield Hit(reason, found.group(), found.start(), bool(_NOT_BEFORE.search(before)))


# The sieve: one telling word of each English phrase, and the Chinese phrases as they are (their first characters are
# rare enough for one pass to be quick).
_ORDINARY = frozenset({"your", "take", "loan", "card", "account", "money", "payment", "contact", "home", "pay", "stop"})


def _telling(phrase: str) -> str:
    words = re.findall(r"[a-z]+", phrase)
    telling: str = max((word for word in words if word not in _ORDINARY), key=len, default=words[0])
    return telling


_SIEVE_WORDS = frozenset(_telling(phrase) for reason in STOPPED_AT_SEND for phrase in ENGLISH.get(reason, ()))
_SIEVE_HAN = re.compile("|".join(phrase for reason in sorted(STOPPED_AT_SEND) for phrase in CHINESE.get(reason, ())))
_TO_SPACES = {code: " " for code in range(128) if not chr(code).isalnum()}


@dataclass(frozen=True, slots=True)
class Guard:
    """The last look at texts of one message; `stopped` are the reasons that its approval does not cover."""

    stopped: frozenset[Reason] = STOPPED_AT_SEND

    def check(self, file: str, text: str, subject: str | None, name: str) -> None:
        """Raises CopyError naming the reason, never the text. A hit in the customer's own name is let pass."""
        if not sieved(text) and (subject is None or not sieved(subject)):
            return
        whole = text if subject is None else f"{subject}\n{text}"
        caught = self.caught(whole.replace(name, "\ufffc") if name else whole)
        if caught is not None:
            raise CopyError(file, None, f"says what is never sent: {caught}", ADVICE[caught].suggestion)

    def caught(self, text: str) -> Reason | None:
        """The first reason to stop, read closely."""
        return next((hit.reason for hit in hits(text, self.stopped) if not hit.promised_not), None)


def sieved(text: str) -> bool:
    """Whether the text may hold a phrase that is never sent; False is certain, True is to be read closely.

    Certain for what can get here: copy was checked, names are cleaned, and lines of configuration are checked whole.
    """
    if not _SIEVE_WORDS.isdisjoint(text.lower().translate(_TO_SPACES).split()):
        return True
    return _SIEVE_HAN.search(text) is not None


@lru_cache(maxsize=4096)
def line_is_fit(line: str) -> bool:
    """Whether a line of configuration (brand, hours) holds no phrase that is never sent. Cached: never for names."""
    return not any(True for _ in hits(line, STOPPED_AT_SEND - {Reason.FALSE_AUTHORITY}))


def guard_for(message: Message) -> Guard:
    """Words of law pass only in a final-stage message that a named person approved."""
    approved = message.stage is Stage.FINAL and message.legal_approved_by is not None
    return Guard(STOPPED_AT_SEND - APPROVABLE) if approved else Guard()
