"""The last look at a rendered text: does it say, through data, what copy may never say? Cheap enough for every send."""

import re
import unicodedata
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from domain.ladder import Stage
from messages.fault import CopyError
from messages.manifest import Message
from messages.phrases import ADVICE, APPROVABLE, CHINESE, ENGLISH, STOPPED_AT_SEND, Reason


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found, and whether the words before it turn it into a promise not to ("we never ...")."""

    reason: Reason
    phrase: str
    promised_not: bool


_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_BETWEEN_HAN = re.compile(r"(?<=[\u4e00-\u9fff])[\s*·.\-_'’|/\\~^+=#@]+(?=[\u4e00-\u9fff])")
_NOT_BEFORE = re.compile(
    r"(?:\bnever|\b(?:will|do|does|would|shall|can) not|\b(?:wo|do|does|would|ca)n't)"
    r"(?:\s+(?!and\b|but\b|so\b|or\b)\w+){0,4}\s+$"
    r"|(?:不会|不會|绝不|絕不|不联系|不聯絡|不向)[^。！？；，]{0,8}$"
)
_CURLY = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "‑": "-", "–": "-"})

#: English phrases by their first word, so that a text is asked only for phrases that it can hold.
_ENGLISH: dict[str, list[tuple[Reason, re.Pattern[str]]]] = {}
for _reason, _phrases in ENGLISH.items():
    for _phrase in _phrases:
        _first = re.findall(r"[a-z]+", _phrase)[0]
        _ENGLISH.setdefault(_first, []).append((_reason, re.compile(rf"(?<!\w){re.escape(_phrase)}(?!\w)")))
_CHINESE = {reason: re.compile("|".join(phrases)) for reason, phrases in CHINESE.items()}
_WORD = re.compile(r"[a-z]+")


def folded(text: str) -> str:
    """The text as it is compared: NFKC, lower case, plain quotes, nothing invisible, nothing between Han characters."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_CURLY).lower()
    return _BETWEEN_HAN.sub("", plain)


def hits(text: str, reasons: frozenset[Reason]) -> Iterator[Hit]:
    """Every phrase of the given reasons in a text of any language."""
    plain = folded(text)
    for reason, pattern in _patterns(plain, reasons):
        for found in pattern.finditer(plain):
            before = plain[max(0, found.start() - 48) : found.start()]
            yield Hit(reason, found.group(), bool(_NOT_BEFORE.search(before)))


def _patterns(plain: str, reasons: frozenset[Reason]) -> Iterator[tuple[Reason, re.Pattern[str]]]:
    for word in sorted(_ENGLISH.keys() & set(_WORD.findall(plain))):
        yield from (entry for entry in _ENGLISH[word] if entry[0] in reasons)
    if _any_of(reasons).search(plain):
        yield from ((reason, pattern) for reason, pattern in _CHINESE.items() if reason in reasons)


@lru_cache(maxsize=64)  # a handful of sets of reasons are ever asked for
def _any_of(reasons: frozenset[Reason]) -> re.Pattern[str]:
    """All Chinese phrases of these reasons as one pattern: most texts hold none of them."""
    wanted = [pattern.pattern for reason, pattern in _CHINESE.items() if reason in reasons]
    return re.compile("|".join(wanted) or r"(?!)")


#: Shapes remembered per piece of copy; a lender's fleet has a handful.
_SHAPES_KEPT = 4096

#: Characters and first words that a phrase may hold: most names have none of them, and cost no more than this look.
_STOPPED_HAN = "|".join("|".join(phrases) for reason, phrases in CHINESE.items() if reason in STOPPED_AT_SEND)
_SUSPECT_HAN = frozenset(re.findall(r"[\u4e00-\u9fff]", _STOPPED_HAN))
_SUSPECT_PHRASE = re.compile(_STOPPED_HAN)
_SUSPECT_WORDS = frozenset(_ENGLISH)


def in_a_name(name: str) -> tuple[Reason, ...]:
    """Reasons that the customer's own name would be stopped for, were it not their name."""
    has_phrase = not _SUSPECT_HAN.isdisjoint(name) and _SUSPECT_PHRASE.search(folded(name))
    if not has_phrase and _SUSPECT_WORDS.isdisjoint(_WORD.findall(name.lower())):
        return ()
    return tuple(dict.fromkeys(hit.reason for hit in hits(name, STOPPED_AT_SEND)))


@dataclass(frozen=True, slots=True)
class Guard:
    """The last look at the texts of one piece of copy; `stopped` are the reasons that no approval covers.

    What differs from one customer to the next is a cleaned name, amounts and dates that we wrote ourselves. Everything
    else in a text (brand, hours, links, products, which branches were taken) is its shape. So each shape is read
    closely when it first appears, and after that costs one look into a set.
    """

    stopped: frozenset[Reason] = STOPPED_AT_SEND
    is_off: bool = False
    _fit: set[Hashable] = field(default_factory=set, repr=False, compare=False)

    def knows(self, shape: Hashable) -> bool:
        """Whether a text of this shape has been read and let pass."""
        return shape in self._fit or self.is_off

    def check(self, file: str, shape: Hashable, text: str, name: str, *, glance: str = "") -> None:
        """Raises CopyError naming the reason, never the text. The customer's own name is not looked at here.

        `glance` is what others can see over the customer's shoulder: subject, preheader, push.
        """
        caught = self.caught(_without(name, text)) or in_plain_sight(_without(name, glance))
        if caught is not None:
            raise CopyError(file, None, f"says what is never sent: {caught}", ADVICE[caught].suggestion)
        if len(self._fit) >= _SHAPES_KEPT:
            self._fit.clear()
        self._fit.add(shape)

    def caught(self, text: str) -> Reason | None:
        """The first reason to stop."""
        return next((hit.reason for hit in hits(text, self.stopped) if not hit.promised_not), None)


#: For checks and previews, which say themselves what is wrong: never for sending.
OFF = Guard(is_off=True)


def in_plain_sight(glance: str) -> Reason | None:
    """PRIVACY when a subject, preheader, push or sender's name gives a debt away."""
    return next((hit.reason for hit in hits(glance, frozenset({Reason.PRIVACY}))), None)


def _without(name: str, text: str) -> str:
    return text.replace(name, "\ufffc") if name else text


def guard_for(message: Message) -> Guard:
    """Words of law pass only in a final-stage message that a named person approved."""
    approved = message.stage is Stage.FINAL and message.legal_approved_by is not None
    return Guard(STOPPED_AT_SEND - APPROVABLE) if approved else Guard()
