"""How a phone would break a text into lines: at spaces, between Han characters, never inside a word or a link."""

import re
from collections.abc import Iterator

from rich.cells import cell_len

#: May not begin a line: closing marks stay with what they close (the core of JIS X 4051 and GB/T 15834).
_CLOSING = "，。、；：？！）」』”’】》…"
_OPENING = "（「『“‘【《"
_PIECE = re.compile(
    rf"[{_OPENING}]*(?:[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]|[^\s\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef{_CLOSING}{_OPENING}]+|\S)"
    rf"[{_CLOSING}]*|\s+"
)


def lines(text: str, columns: int) -> list[str]:
    """The text in lines of at most so many terminal cells; a word longer than a line is cut, as phones do."""
    return [line for paragraph in text.split("\n") for line in _lines_of(paragraph, columns)]


def _lines_of(paragraph: str, columns: int) -> Iterator[str]:
    line = ""
    for piece in (part for match in _PIECE.finditer(paragraph) for part in _cut(match.group(), columns)):
        if line and cell_len(line + piece.rstrip()) > columns:
            yield line.rstrip()
            line = ""
        line += piece if line else piece.lstrip()
    yield line.rstrip()


def _cut(piece: str, columns: int) -> Iterator[str]:
    while cell_len(piece) > columns:
        end = next(n for n in range(len(piece), 0, -1) if cell_len(piece[:n]) <= columns)
        yield piece[:end]
        piece = piece[end:]
    yield piece
