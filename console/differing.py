"""What one release changes against another: file by file, and message by message as its reader would see it."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from domain.bundle import Bundle
from messages import preview
from messages.catalogue import Catalogue, Key
from messages.fault import CopyError
from messages.preview import View

#: Lines of one file's difference that are shown on a screen; the rest is counted.
MOST_LINES = 60


@dataclass(frozen=True, slots=True)
class FileChange:
    """`mark` is added, removed or changed; `lines` are a unified difference without its head."""

    path: str
    mark: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rewording:
    """One text, for the made-up customers that `who` names, before and after; None where there is none."""

    message: str
    channel: str
    locale: str
    who: str
    before: str | None
    after: str | None


def file_changes(before: Bundle, after: Bundle) -> list[FileChange]:
    """Every file that differs, in order of path."""
    old, new = before.files, after.files
    return [
        FileChange(path, _mark(path, old, new), tuple(_lines(old.get(path, ""), new.get(path, ""))))
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path)
    ]


def rewordings(before: Bundle, after: Bundle) -> list[Rewording]:
    """Every text that a reader would see otherwise. A side that does not compile has none: the checks say why."""
    if before.under("templates") == after.under("templates"):
        return []
    old, new = _texts(before), _texts(after)
    who: dict[tuple[Key, str | None, str | None], list[str]] = {}
    for key, title in dict.fromkeys((*new, *old)):
        was, will_be = old.get((key, title)), new.get((key, title))
        if was != will_be:
            who.setdefault((key, was, will_be), []).append(title)
    return [
        Rewording(key[0], key[1].value, key[2], ", ".join(titles), was, will_be)
        for (key, was, will_be), titles in who.items()
    ]


def draw(changes: list[FileChange], reworded: list[Rewording]) -> Group:
    """All of it for a screen."""
    parts: list[RenderableType] = []
    for change in changes:
        parts.append(Text(f"{change.mark:8} {change.path}", style="bold"))
        parts += [Text(f"    {line}", style=_STYLES.get(line[:1], "dim")) for line in change.lines[:MOST_LINES]]
        if len(change.lines) > MOST_LINES:
            parts.append(Text(f"    ... {len(change.lines) - MOST_LINES} lines more", style="dim"))
    if reworded:
        parts += [Text(), Text("What readers will see otherwise", style="bold")]
    for each in reworded:
        parts.append(Text(f"{each.message} · {each.channel} · {each.locale} · {each.who}", style="bold"))
        parts += [Text(f"  - {line}", style="red") for line in (each.before or "").splitlines()]
        parts += [Text(f"  + {line}", style="green") for line in (each.after or "").splitlines()]
    return Group(*parts)


_STYLES: Mapping[str, str] = {"+": "green", "-": "red"}


def _mark(path: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    return "added" if path not in old else "removed" if path not in new else "changed"


def _lines(before: str, after: str) -> Iterator[str]:
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1):
        if not line.startswith(("---", "+++")):
            yield line


def _texts(bundle: Bundle) -> dict[tuple[Key, str], str]:
    try:
        catalogue = Catalogue.untried(bundle.under("templates"))
    except CopyError:
        return {}
    return {
        (key, title): _reading(shown)
        for key in sorted(catalogue.templates)
        for shown in preview.views(catalogue, key)
        for title in shown.titles
    }


def _reading(shown: View) -> str:
    return "\n".join(part for part in (shown.rendered.subject, shown.reading) if part)
