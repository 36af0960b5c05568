"""Values from outside, made harmless before they meet copy: no markup, links, new lines, digits or template code.

A name keeps letters, marks, spaces and the few signs that names have; anything else falls away. What cannot be made
harmless (a pay link that is no official link) is refused.
"""

import re
import unicodedata
from functools import lru_cache

from domain.segments import fits_gsm7
from messages.facts import BadFacts

#: Longest name that is shown; longer ones are cut at a word where possible.
MAX_NAME = 40
#: Longest brand, opening hours or the like.
MAX_LINE = 60

# The common case in one C-speed match: Latin letters that NFKC leaves alone, Han, single joins between words.
_LETTERS = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u013e\u0141-\u0148\u014a-\u017e\u4e00-\u9fff"
_PLAIN_NAME = re.compile(f"[{_LETTERS}]+(?:[ '-][{_LETTERS}]+)*")
_SIGNS = frozenset(" '’-.·")
_DOT_BEFORE_LETTER = re.compile(r"\.(?=[^\s.])")
_SPACES = re.compile(r"\s+")
_MARKUP = re.compile(r"[<>{}\[\]\\`|*_#~^【】]")
_LINK = re.compile(r"(?:https?://|www\.)\S*|\S*://\S*|\S+@\S+", re.IGNORECASE)
_URL = re.compile(
    r"(?:https://)?[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+(?::\d+)?(?:/[\w./~%-]*)?(?:\?[\w.~%=&-]+)?"
    r"|http://(?:127\.0\.0\.1|localhost)(?::\d+)?(?:/[\w./~%-]*)?",
    re.ASCII,
)
_PHONE = re.compile(r"[+0-9A-Z][0-9A-Z ()-]{1,22}[0-9A-Z]", re.ASCII)


def name(raw: str) -> str:
    """A person's name fit for any medium; empty when nothing of it can be shown."""
    if len(raw) <= MAX_NAME and _PLAIN_NAME.fullmatch(raw):
        return raw
    text = _LINK.sub(" ", unicodedata.normalize("NFKC", raw[: MAX_NAME * 8]))
    kept = "".join(c if _may_be_in_a_name(c) else " " if c.isspace() else "" for c in text)
    apart = _SPACES.sub(" ", _DOT_BEFORE_LETTER.sub(". ", kept)).strip(" '’-·")
    cut = apart if len(apart) <= MAX_NAME else _cut(apart, MAX_NAME)
    return cut if any(c.isalpha() for c in cut) else ""


def name_for_gsm7(cleaned: str) -> str:
    """The name if one segment's alphabet can carry it, else without its marks, else none at all.

    One letter outside GSM-7 would turn the whole text into UCS-2 and more than double its segments.
    """
    if fits_gsm7(cleaned):
        return cleaned
    folded = "".join(c if fits_gsm7(c) else _without_marks(c) for c in cleaned)
    return folded if fits_gsm7(folded) else ""


def _without_marks(character: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))


def _may_be_in_a_name(character: str) -> bool:
    return character in _SIGNS or unicodedata.category(character)[0] in "LM"


def _cut(text: str, limit: int) -> str:
    """At a space where there is one, and never between a letter and its marks."""
    head, space, _ = text[: limit + 1].rpartition(" ")
    if space and len(head) >= limit // 2:
        return head.strip()
    end = limit
    while end and unicodedata.combining(text[end]):
        end -= 1
    return text[:end]


@lru_cache(maxsize=4096)
def line(raw: str) -> str:
    """A short line from configuration (brand, hours): one line, no markup, no links, bounded. Never for a customer's
    own data, which must not stay in a cache."""
    text = unicodedata.normalize("NFC", raw[: MAX_LINE * 8])
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    text = _MARKUP.sub("", _LINK.sub(" ", text))
    return _SPACES.sub(" ", text)[:MAX_LINE].strip()


@lru_cache(maxsize=4096)
def stated(raw: str) -> str:
    """A line that a message cannot do without; raises BadFacts when nothing of it can be shown."""
    shown = line(raw)
    if not any(c.isalnum() for c in shown):
        raise BadFacts("the lender's brand and the hours of its help line must be given")
    return shown


@lru_cache(maxsize=4096)
def url(raw: str) -> str:
    """An official link as configured; raises BadFacts for anything but https or a bare host (http on loopback only)."""
    if len(raw) > 200 or not _URL.fullmatch(raw):
        raise BadFacts("a link to pay or to get help must be https://host/path or host/path, without spaces")
    return raw


@lru_cache(maxsize=4096)
def phone(raw: str) -> str:
    """A help line's number as configured; raises BadFacts when it is not a telephone number."""
    if not _PHONE.fullmatch(raw):
        raise BadFacts("the help line must be a telephone number of 3 to 24 digits, letters, spaces, + ( ) or -")
    return raw


def ref(raw: str) -> str:
    """The last characters of an account number, letters and digits only."""
    return raw if raw.isalnum() else "".join(c for c in raw if c.isalnum())
