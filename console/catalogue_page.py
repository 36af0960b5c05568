"""The page of all copy: every message, language and branch, made for a person to read in one go. One file, no script.

It loads nothing and sends nothing: it can be mailed to whoever approves the words.
"""

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from domain.channel import Channel
from domain.segments import Route
from messages.manifest import Message
from messages.preview import View, badge_of
from messages.side_by_side import Book, Piece

_BODY = re.compile(r"<body>(.*)</body>", re.DOTALL)
_MARKDOWN = MarkdownIt("commonmark", {"html": False})

#: What people call the ways out of the house.
_CHANNELS = {
    Channel.SMS: "Text message", Channel.EMAIL: "E-mail", Channel.PUSH: "Push notice", Channel.LETTER: "Letter",
    Channel.CALL: "What is said on the phone", Channel.SOCIAL: "Chat",
}  # fmt: skip

#: A message that is true for so many days has no last one.
_FOR_GOOD = 365


def draw(book: Book, *, live_name: str | None = None) -> str:
    """The page, as one HTML document. `live_name` is what the words were compared to, if to anything."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"day": day_of, "runs": runs, "spoken": spoken, "paper": paper, "badges": badges}
    page = environment.from_string((files("console") / "pages" / "catalogue.html").read_text("utf-8"))
    return page.render(book=book, live_name=live_name, channels=_CHANNELS).strip() + "\n"


def day_of(message: Message) -> str:
    """`D+1 to D+14`: the days past due in which a message is true."""
    first, last = message.days
    if last >= _FOR_GOOD:
        return f"from {_day(first)}"
    return _day(first) if first == last else f"{_day(first)} to {_day(last)}"


def _day(day: int) -> str:
    return "due day" if day == 0 else f"D{'+' if day > 0 else '−'}{abs(day)}"


def badges(view: View) -> list[str]:
    """What an SMS costs, and what in mainland China, where routes count every text as Unicode."""
    said = [badge_of(view.segments)] if view.segments else []
    other = view.by_route.get(Route.CN)
    return said if other is None else [*said, f"{other.segments} in mainland China"]


def runs(lines: Iterable[tuple[Piece, ...]]) -> Iterator[tuple[bool, list[tuple[Piece, ...]]]]:
    """Lines in runs: those as in the ordinary text, and those that differ."""
    run: list[tuple[Piece, ...]] = []
    was_same = True
    for line in lines:
        is_same = all(piece.kind == "same" for piece in line)
        if run and is_same is not was_same:
            yield was_same, run
            run = []
        was_same = is_same
        run.append(line)
    if run:
        yield was_same, run


def spoken(text: str) -> Markup:
    """A call script as its reader sees it. Markup in it stays text."""
    return Markup(_MARKDOWN.render(text))  # noqa: S704  # html is off: everything but Markdown is escaped


def paper(page: str) -> Markup:
    """What stands on a letter. Its markup is ours: pages of copy hold words only, and values are escaped."""
    found = _BODY.search(page)
    return Markup(found.group(1) if found else "")  # noqa: S704
