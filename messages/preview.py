"""Copy as its readers will see it, rendered for made-up or for true facts; a terminal or a page draws it."""

import html
import re
from dataclasses import dataclass

from domain.channel import Channel
from domain.message import Rendered
from domain.segments import Route, Segments, count
from messages import samples
from messages.catalogue import Catalogue, Key
from messages.checks import read_as_text
from messages.facts import Facts
from messages.fault import CopyError

_PREHEADER = re.compile(r'<div class="preheader">(.*?)</div>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class View:
    """One rendered text with the samples that look exactly like it; `segments` for an SMS only."""

    titles: tuple[str, ...]
    rendered: Rendered
    segments: Segments | None

    @property
    def by_route(self) -> dict[Route, Segments]:
        """An SMS counted for each route that counts it otherwise; empty for other media."""
        if self.segments is None:
            return {}
        counted = {route: count(self.rendered.text, route) for route in (Route.AUTO, Route.CN)}
        return counted if counted[Route.AUTO] != counted[Route.CN] else {Route.AUTO: counted[Route.AUTO]}

    @property
    def preheader(self) -> str:
        """What a mail program shows beside the subject; empty for other media."""
        found = _PREHEADER.search(self.rendered.html or "")
        return html.unescape(found.group(1)) if found and self.rendered.channel is Channel.EMAIL else ""

    @property
    def reading(self) -> str:
        """What a person reads, without markup."""
        return self.rendered.text or read_as_text(self.rendered.html or "")


def view(catalogue: Catalogue, key: Key, facts: Facts, *titles: str) -> View:
    """One text from given facts. Raises CopyError."""
    name, channel, locale = key
    rendered = catalogue.render(name, channel, locale, facts)
    return View(titles, rendered, segments_of(rendered))


def views(catalogue: Catalogue, key: Key) -> tuple[View, ...]:
    """Every text that this copy can become, for made-up customers: one for each that differs, ordinary life first."""
    message, by_text = catalogue.messages[key[0]], dict[Rendered, View]()
    for sample in samples.branches(message, key[2]):
        try:
            made = view(catalogue, key, sample.facts, sample.title)
        except CopyError:
            continue  # the checks say why
        known = by_text.get(made.rendered)
        by_text[made.rendered] = (
            made if known is None else View((*known.titles, sample.title), known.rendered, made.segments)
        )
    return tuple(by_text.values())


def segments_of(rendered: Rendered) -> Segments | None:
    """Counted for the route that its language usually takes."""
    if rendered.channel not in (Channel.SMS, Channel.NULL):
        return None
    return count(rendered.text, Route.CN if rendered.locale.startswith("zh-Hans") else Route.AUTO)


def badge_of(segments: Segments) -> str:
    """`2 segments · 294 GSM-7 units`."""
    return f"{segments.segments} segment{'s' * (segments.segments > 1)} · {segments.units} {segments.encoding} units"
