"""How hard a text is to read: Flesch-Kincaid for English, clause length and rare characters for Chinese.

Goals: school grade 7 at most, sentences of 15 words on average and 25 at most; clauses of 20 characters on average and
40 at most, everyday characters (research notes, section 7.2, C16).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_GRADE = 7.0
#: Of one sentence among easy ones: our own limit. Shorter ones say too little for the formula.
MAX_GRADE_OF_ONE, FEWEST_WORDS = 12.0, 5
MAX_MEAN_WORDS, MAX_WORDS = 15, 25
MAX_MEAN_CLAUSE, MAX_CLAUSE = 20, 40

_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n\s*\n|\n\s*[-\d]|:\s*\n")
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_CLAUSE_END = re.compile(r"[，。！？；：、,.!?;:（）()「」“”\n]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
_VOWELS = re.compile(r"[aeiouy]+")


@dataclass(frozen=True, slots=True)
class English:
    """`hardest` is the grade of the hardest sentence, and `hardest_start` its first words."""

    grade: float
    mean_words: float
    most_words: int
    hardest: float = 0.0
    hardest_start: str = ""


@dataclass(frozen=True, slots=True)
class Chinese:
    """Lengths in characters; `rare` are the characters beyond the everyday set of the script."""

    mean_clause: float
    longest_clause: str
    rare: frozenset[str]


def english(text: str) -> English:
    """Of running text, with amounts, links and numbers taken out before."""
    sentences = [words for part in _SENTENCE_END.split(text) if (words := _WORD.findall(part))]
    words = [word for sentence in sentences for word in sentence]
    if not words:
        return English(0.0, 0.0, 0)
    mean = len(words) / len(sentences)
    long_enough = [sentence for sentence in sentences if len(sentence) >= FEWEST_WORDS]
    hardest = max(long_enough, key=_grade, default=words[:1])
    return English(
        grade=_grade(words, mean),
        mean_words=round(mean, 1),
        most_words=max(map(len, sentences)),
        hardest=_grade(hardest) if long_enough else 0.0,
        hardest_start=" ".join(hardest[:3]),
    )


def _grade(words: Sequence[str], words_a_sentence: float | None = None) -> float:
    """Flesch-Kincaid (Kincaid et al., 1975); of one sentence unless the mean length of several is given."""
    syllables = sum(map(_syllables, words)) / len(words)
    return round(0.39 * (words_a_sentence or len(words)) + 11.8 * syllables - 15.59, 1)


def _syllables(word: str) -> int:
    word = word.lower()
    count = len(_VOWELS.findall(word))
    silent_e = word.endswith("e") and not word.endswith(("le", "ee"))
    silent_ed = word.endswith("ed") and word[-3:-2] not in "td"
    return max(1, count - (silent_e or silent_ed))


def chinese(text: str, *, traditional: bool) -> Chinese:
    clauses = [clause for part in _CLAUSE_END.split(text) if _HAN.search(clause := part.strip())]
    rare = frozenset(c for c in text if _HAN.match(c) and not is_everyday(c, traditional=traditional))
    if not clauses:
        return Chinese(0.0, "", rare)
    mean = sum(map(len, clauses)) / len(clauses)
    return Chinese(round(mean, 1), max(clauses, key=len), rare)


def is_everyday(character: str, *, traditional: bool) -> bool:
    """Whether it is in the everyday level of the script's national character set.

    GB 2312 level 1 (3,755 characters, rows 16 to 55) and Big5 level 1 (5,401 characters, A440 to C67E).
    """
    if traditional:
        code = _encoded(character, "big5")
        return b"\xa4\x40" <= code <= b"\xc6\x7e"
    code = _encoded(character, "gb2312")
    return b"\xb0\xa1" <= code <= b"\xd7\xf9"


def in_script(character: str, *, traditional: bool) -> bool:
    """Whether the character belongs to the script at all, everyday or not.

    Big5's second level also holds old forms that only simplified text uses today (确, 体): everyday there, rare here.
    """
    if not traditional:
        return bool(_encoded(character, "gb2312"))
    everyday_elsewhere = is_everyday(character, traditional=False) and not is_everyday(character, traditional=True)
    return bool(_encoded(character, "big5")) and not everyday_elsewhere


def _encoded(character: str, encoding: str) -> bytes:
    try:
        return character.encode(encoding)
    except UnicodeEncodeError:
        return b""
