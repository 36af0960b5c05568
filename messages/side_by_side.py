"""Every message in every locale and branch, lined up for a person to read in one go: what the page of all copy draws.

A row is one way that life can go (two debts, no name, only a plan); its cells are the languages. Rows that read alike
in every language are one row. Each row says what it has that the first, the ordinary one, has not; and each cell what
it says otherwise than the words that are live.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.channel import Channel
from domain.message import Rendered
from messages import preview, samples
from messages.catalogue import Catalogue, Key
from messages.checks import Finding, as_finding, check, sound_part
from messages.fault import CopyError
from messages.manifest import Message
from messages.preview import View
from messages.rules import Severity


@dataclass(frozen=True, slots=True)
class Piece:
    """A few words; `kind` is same, new or gone, beside the text that they are compared to."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One language of a row. `view` is None where there is no copy, or where it cannot be filled in. `lines` are what
    is read, compared to the first row; `since_live` what changed, empty when nothing did."""

    locale: str
    file: str
    view: View | None
    lines: tuple[tuple[Piece, ...], ...]
    since_live: tuple[Piece, ...]
    is_new: bool


@dataclass(frozen=True, slots=True)
class Row:
    titles: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """One channel of a message: rows of languages, the ordinary one first, with what to change in its files."""

    channel: Channel
    rows: tuple[Row, ...]
    findings: Mapping[str, tuple[Finding, ...]]


@dataclass(frozen=True, slots=True)
class Chapter:
    message: Message
    bands: tuple[Band, ...]
    changed: int


@dataclass(frozen=True, slots=True)
class Book:
    """`changed` and `removed` are files, beside what is live; both empty when there is nothing to compare with."""

    chapters: tuple[Chapter, ...]
    locales: Mapping[str, str]
    findings: tuple[Finding, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def errors(self) -> int:
        return sum(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors


def book(
    files: Mapping[str, str],
    *,
    live: Mapping[str, str] | None = None,
    only: str | None = None,
    unread: Sequence[CopyError] = (),
) -> Book:
    """All copy of a folder (or one message of it), lined up. Copy that does not compile is in the findings only.

    `live` are the files that are live. `unread` is why some files could not be read at all.
    """
    sound, broken = sound_part(files)
    unfit = tuple(map(as_finding, unread))
    if sound is None:
        return Book((), {}, (*unfit, *broken), (), ())
    catalogue = sound.without_last_look()
    findings = (*unfit, *(each for each in check(files) if each.file not in {fault.file for fault in unread}))
    before = _compiled(live)
    names = [message.name for message in in_order(catalogue.messages.values()) if only in (None, message.name)]
    return Book(
        chapters=tuple(_chapter(catalogue, name, findings, before) for name in names),
        locales={at: words.name for at, words in catalogue.locales.words.items()},
        findings=findings,
        changed=() if live is None else tuple(sorted(at for at, text in files.items() if live.get(at) != text)),
        removed=() if live is None else tuple(sorted(live.keys() - files.keys())),
    )


def in_order(messages: Iterable[Message]) -> list[Message]:
    """As a customer would meet them."""
    return sorted(messages, key=lambda message: (message.days, message.name))


def _compiled(live: Mapping[str, str] | None) -> Catalogue | None:
    sound = sound_part(live)[0] if live else None
    return sound and sound.without_last_look()


def _chapter(catalogue: Catalogue, name: str, findings: Sequence[Finding], live: Catalogue | None) -> Chapter:
    have = {key[1] for key in catalogue.templates if key[0] == name}
    bands = tuple(_band(catalogue, name, channel, findings, live) for channel in Channel if channel in have)
    changed = sum(bool(cell.since_live or cell.is_new) for band in bands for row in band.rows for cell in row.cells)
    return Chapter(catalogue.messages[name], bands, changed)


def _band(
    catalogue: Catalogue, name: str, channel: Channel, findings: Sequence[Finding], live: Catalogue | None
) -> Band:
    locales = tuple(catalogue.locales.words)
    rows = _rows(catalogue, name, channel, locales)
    first = rows[0][1] if rows else ()
    files = {at: _file_of(catalogue, (name, channel, at)) for at in locales}
    return Band(
        channel=channel,
        rows=tuple(
            Row(
                titles,
                tuple(
                    _cell((name, channel, at), files[at], view, ordinary, row == 0, live, titles[0])
                    for at, view, ordinary in zip(locales, views, first, strict=True)
                ),
            )
            for row, (titles, views) in enumerate(rows)
        ),
        findings={at: tuple(each for each in findings if each.file == file) for at, file in files.items()},
    )


Views = tuple[View | None, ...]


def _rows(
    catalogue: Catalogue, name: str, channel: Channel, locales: Sequence[str]
) -> list[tuple[tuple[str, ...], Views]]:
    """The rows that differ in some language, each with the titles of all samples that look like it."""
    message = catalogue.messages[name]
    by_sample = zip(*(samples.branches(message, at) for at in locales), strict=True)
    found: dict[tuple[Rendered | None, ...], tuple[tuple[str, ...], Views]] = {}
    for alike in by_sample:
        views = tuple(_view(catalogue, (name, channel, at), sample) for at, sample in zip(locales, alike, strict=True))
        looks = tuple(view.rendered if view else None for view in views)
        titles = found[looks][0] if looks in found else ()
        found[looks] = ((*titles, alike[0].title), views)
    return list(found.values())


def _view(catalogue: Catalogue, key: Key, sample: samples.Sample) -> View | None:
    if key not in catalogue.templates:
        return None
    try:
        return preview.view(catalogue, key, sample.facts, sample.title)
    except CopyError:
        return None  # the findings say why


def _file_of(catalogue: Catalogue, key: Key) -> str:
    template = catalogue.templates.get(key)
    return template.file if template else f"{key[0]}/{key[1]}.{key[2]}"


def _cell(
    key: Key, file: str, view: View | None, ordinary: View | None, is_first: bool, live: Catalogue | None, title: str
) -> Cell:
    if view is None:
        return Cell(key[2], file, None, (), (), False)
    same = is_first or ordinary is None
    lines = _plain(view.reading) if same else compared_lines(ordinary.reading if ordinary else "", view.reading)
    before = _reading_at(live, key, title)
    changed = live is not None and before != _whole(view)
    return Cell(
        locale=key[2],
        file=file,
        view=view,
        lines=lines,
        since_live=compared(before, _whole(view)) if changed and before is not None else (),
        is_new=changed and before is None,
    )


def _reading_at(live: Catalogue | None, key: Key, title: str) -> str | None:
    """What the words that are live say to the same made-up customer; None where they say nothing."""
    if live is None or key not in live.templates:
        return None
    made = samples.branches(live.messages[key[0]], key[2])
    sample = next((each for each in made if each.title == title), None)
    shown = sample and _view(live, key, sample)
    return _whole(shown) if shown else None


def _whole(view: View) -> str:
    return f"{view.rendered.subject}\n{view.reading}" if view.rendered.subject else view.reading


# ------------------------------------------------------------------------------------------------------- what differs

_TOKEN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.,:/@'-]*[A-Za-z0-9])?|\s+|.", re.DOTALL)

#: Words between two changes that are too few to hold on to while reading.
_FEW = 4


def _plain(text: str) -> tuple[tuple[Piece, ...], ...]:
    return tuple((Piece("same", line),) for line in text.split("\n"))


def compared_lines(before: str, after: str) -> tuple[tuple[Piece, ...], ...]:
    """The lines of both; a line that both have is one piece, the same."""
    old, new = before.split("\n"), after.split("\n")
    lines: list[tuple[Piece, ...]] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += ((Piece("same", line),) for line in new[j1:j2])
        elif tag == "replace" and i2 - i1 == j2 - j1:
            lines += (compared(o, n) for o, n in zip(old[i1:i2], new[j1:j2], strict=True))
        else:
            lines += ((Piece("gone", line),) for line in old[i1:i2] if line.strip())
            lines += ((Piece("new" if line.strip() else "same", line),) for line in new[j1:j2])
    return tuple(lines)


def compared(before: str | None, after: str) -> tuple[Piece, ...]:
    """The words of both texts in one line of reading, each the same, new or gone."""
    old, new = _TOKEN.findall(before or ""), _TOKEN.findall(after)
    return tuple(piece for change in _changes(old, new) for piece in _pieces(*change))


def _changes(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str, bool]]:
    """What was, what is, and whether they are the same; changes with few words between them are one."""
    found: list[tuple[str, str, bool]] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        found.append(("".join(old[i1:i2]), "".join(new[j1:j2]), tag == "equal"))
        if len(found) > 2 and tag != "equal" and found[-2][2] and len(found[-2][0].strip()) < _FEW:
            last, between, first = found.pop(), found.pop(), found.pop()
            found.append((first[0] + between[0] + last[0], first[1] + between[1] + last[1], False))
    return found


def _pieces(was: str, now: str, is_same: bool) -> Iterator[Piece]:
    if is_same:
        yield Piece("same", now)
        return
    if was:
        yield Piece("gone", was)
    if now:
        yield Piece("new", now)
