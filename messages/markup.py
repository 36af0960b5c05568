"""What markup a page of copy may hold: words and their shape, nothing that loads, runs or calls home."""

import re
from html.parser import HTMLParser

from messages.fault import CopyError
from messages.language import Source

_TAGS = frozenset({
    "html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "article", "address",
    "div", "span", "p", "br", "hr", "h1", "h2", "h3", "h4", "b", "i", "em", "strong", "small", "sup", "sub", "ul", "ol",
    "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "blockquote", "a",
})  # fmt: skip
_VOID = frozenset({"br", "hr", "meta"})
_ATTRIBUTES = frozenset({
    "class", "id", "lang", "dir", "style", "charset", "name", "content", "colspan", "rowspan", "scope", "width",
    "align", "valign", "role", "href",
})  # fmt: skip
_LOADS = re.compile(r"url\s*\(|@import|expression\s*\(|javascript:", re.IGNORECASE)
_OFFICIAL = re.compile(r"(?:https://)?\{\{ (?:pay_url|help_url) \}\}|tel:\{\{ help_phone \}\}")
_DECLARED = frozenset({"viewport", "color-scheme", "supported-color-schemes", "format-detection"})


def check_page(source: Source) -> None:
    """Raises CopyError with the line for a tag, attribute or style that a page of copy may not hold."""
    reader = _PageReader(source)
    reader.feed(source.text)
    reader.close()
    reader.check_end()


class _PageReader(HTMLParser):
    """Template code inside is text to this reader: it stands in no tag, but in an official `href`."""

    def __init__(self, source: Source) -> None:
        super().__init__(convert_charrefs=True)
        self.source = source
        self.open: list[tuple[str, int]] = []

    def _refuse(self, problem: str, remedy: str) -> CopyError:
        return CopyError(self.source.file, self.getpos()[0] + self.source.first_line - 1, problem, remedy)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            remedy = "Pages of copy hold words only: headings, paragraphs, lists, tables, links to pay or to get help"
            raise self._refuse(f"<{tag}> cannot be used in copy", remedy)
        given = dict(attrs)
        for name, value in given.items():
            if name not in _ATTRIBUTES:
                raise self._refuse(f"the attribute {name!r} cannot be used in copy", "Delete it")
            if _LOADS.search(value or ""):
                raise self._refuse(f"{name!r} loads something from elsewhere", "Delete it: a page must be whole")
        if "href" in given and not _OFFICIAL.fullmatch(given["href"] or ""):
            raise self._refuse("a link of its own", 'Write <a href="{{ pay_url }}"> or <a href="{{ help_url }}">')
        if tag == "meta" and given.get("name", "viewport") not in _DECLARED:
            raise self._refuse(f"the meta name {given['name']!r} cannot be used in copy", "Delete the line")
        if tag not in _VOID:
            self.open.append((tag, self.getpos()[0]))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if not self.open or self.open[-1][0] != tag:
            inside = f"<{self.open[-1][0]}> is still open" if self.open else "nothing is open"
            raise self._refuse(f"</{tag}> closes nothing: {inside}", "Close tags in the order of opening")
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] == "style" and _LOADS.search(data):
            raise self._refuse("the style loads something from elsewhere", "Delete it: a page must be whole")

    def check_end(self) -> None:
        if self.open:
            tag, line = self.open[-1]
            place = line + self.source.first_line - 1
            raise CopyError(self.source.file, place, f"<{tag}> is never closed", f"Add </{tag}>")
