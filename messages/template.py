"""One piece of copy, compiled: from facts to the words as they leave."""

import html
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

from markupsafe import Markup, escape

from domain.channel import Channel
from domain.message import Rendered
from domain.value import made_of
from messages.facts import BadFacts, Facts
from messages.fault import CopyError
from messages.fields import Getter, Medium
from messages.guard import Guard, in_a_name
from messages.language import Compiled
from messages.skeleton import OWN, Look, Own, Skeleton, piece_of, with_signs

#: Characters that a medium may carry; a longer text is a fault of the copy, not of the customer.
LIMITS: Mapping[Channel, int] = {
    Channel.SMS: 612,  # four GSM segments; the checks already warn beyond two
    Channel.PUSH: 240,
    Channel.SOCIAL: 2000,
    Channel.EMAIL: 20_000,
    Channel.CALL: 20_000,
    Channel.LETTER: 40_000,
}
_SUBJECT_LIMIT = 160
#: A page holds the words and their markup.
_PAGE_FACTOR = 3

_LINKS = frozenset({"pay_url", "help_url"})
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_TRIPLE_LINES = re.compile(r"\n{3,}")
_SPACES = re.compile(" {2,}")

#: Shapes kept per piece of copy; a lender's fleet has a few hundred, by days past due.
_SKELETONS_KEPT = 4096

#: One is made for each message.
_rendered: Final = made_of(Rendered)

#: Text, subject and page.
Texts = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML part. One made from plain words stands between the pieces of the layout and has its links made live."""

    words: Compiled
    layout: tuple[str, str, str] | None = None
    preheader: Compiled | None = None

    @property
    def pieces(self) -> tuple[Compiled | None, ...]:
        return self.words, self.preheader

    def render(self, values: Mapping[str, Any]) -> str:
        if self.layout is None:
            return self.words.fill(values).strip()
        above, between, below = self.layout
        linked = {field: _link(value) if field in _LINKS else value for field, value in values.items()}
        paragraphs = _BLANK_LINES.sub("</p>\n<p>", self.words.fill(linked).strip())
        lines = paragraphs.replace("\n", "<br>\n").replace("</p><br>", "</p>")
        preheader = self.preheader.fill(values) if self.preheader else ""
        return f"{above}{preheader}{between}<p>{lines}</p>{below}"


def _link(url: str) -> Markup:
    href = url if "://" in url else f"https://{url}"
    return Markup('<a href="{}">{}</a>').format(href, url)


@dataclass(frozen=True, slots=True)
class Template:
    """The copy of one message, channel and locale, ready to fill. `single_line` is a medium without line breaks."""

    file: str
    channel: Channel
    locale: str
    medium: Medium
    guard: Guard
    getters: tuple[tuple[str, Getter], ...]
    shape: Callable[[Mapping[str, Any]], Hashable]
    text: Compiled | None
    subject: Compiled | None
    page: Page | None
    single_line: bool
    look: Look
    required: tuple[tuple[str, Getter], ...] = ()
    _skeletons: dict[Hashable, Skeleton] = field(default_factory=dict, init=False, repr=False, compare=False)

    def render(self, facts: Facts, channel: Channel) -> Rendered:
        """Fill it in and look at the result once more. Raises CopyError; no customer's data is part of the error."""
        try:
            own, shape = self.look(facts, self.medium)
        except BadFacts as error:
            raise self._refused(error) from None
        skeleton = self._skeletons.get(shape)
        if skeleton is None:
            values = self.values(facts)
            rendered = self._in_full(values, channel)
            if shape is not None:
                self._remember(shape, values, own, rendered)
            return rendered
        texts = _filled(skeleton, own)
        self._check_length(*texts)
        name = own[0]
        return _rendered((channel, self.locale, *texts, in_a_name(name) if name else ()))

    def _in_full(self, values: Mapping[str, Any], channel: Channel) -> Rendered:
        name = values.get("name", "")
        text, subject, page = texts = self._texts(values)
        self._check_length(*texts)
        shape = self.shape(values)
        if not self.guard.knows(shape):
            glance = self._glance(values, subject, text)
            self.guard.check(self.file, shape, f"{subject or ''}\n{text or page}", name, glance=glance)
        return Rendered(channel, self.locale, text, subject, page, in_a_name(name) if name else ())

    def _texts(self, values: Mapping[str, Any]) -> Texts:
        text = "" if self.text is None else _tidy(self.text.fill(values), single_line=self.single_line)
        subject = None if self.subject is None else _tidy(self.subject.fill(values), single_line=True)
        return text, subject, None if self.page is None else self.page.render(values)

    def _remember(self, shape: Hashable, values: Mapping[str, Any], own: Own, rendered: Rendered) -> None:
        """Keep the skeleton of a shape that was let pass, if filling it in says the same."""
        text, subject, page = self._texts(with_signs(values))
        skeleton = Skeleton(
            piece_of(text),
            None if subject is None else piece_of(subject),
            None if page is None else piece_of(page),
        )
        if _filled(skeleton, own) == (rendered.text, rendered.subject, rendered.html):
            if len(self._skeletons) >= _SKELETONS_KEPT:
                self._skeletons.clear()
            self._skeletons[shape] = skeleton

    def _refused(self, error: BadFacts) -> CopyError:
        return CopyError(self.file, None, str(error), "Correct the lender's file")

    def _glance(self, values: Mapping[str, Any], subject: str | None, text: str) -> str:
        """What others can see without opening it."""
        preheader = self.page.preheader if self.page else None
        seen = [subject or "", html.unescape(preheader.fill(values)) if preheader else ""]
        return "\n".join([*seen, text] if self.channel is Channel.PUSH else seen)

    def values(self, facts: Facts) -> dict[str, Any]:
        """The fields that this copy uses, written for its locale and medium."""
        medium = self.medium
        try:
            values = {field: get(facts, medium) for field, get in self.getters}
        except BadFacts as error:
            raise self._refused(error) from None
        for wanted, get in self.required:
            if not get(facts, medium):
                problem = f"the required fact {wanted!r} is not known"
                raise CopyError(self.file, None, problem, "Send another message, or give the fact in the lender's file")
        return values

    def _check_length(self, text: str, subject: str | None, page: str | None) -> None:
        limit = LIMITS[self.channel]
        too_long = len(text) > limit or (page is not None and len(page) > limit * _PAGE_FACTOR)
        if too_long or (subject is not None and len(subject) > _SUBJECT_LIMIT):
            raise CopyError(self.file, None, f"comes out longer than {self.channel} may be", "Shorten the words")


def shape_of(fields: Iterable[str]) -> Callable[[Mapping[str, Any]], Hashable]:
    """A function from values to what they share with other customers' texts of the same copy."""
    fields = set(fields)
    shared = sorted(fields - set(OWN) - {"debts"})
    rest = itemgetter(*shared) if shared else lambda values: ()
    if "debts" in fields:
        return lambda values: (bool(values.get("name")), rest(values), tuple(d.product for d in values["debts"]))
    return lambda values: (bool(values.get("name")), rest(values))


def _filled(skeleton: Skeleton, own: Own) -> Texts:
    text, subject, page = skeleton
    return (
        text.fill(own),
        None if subject is None else subject.fill(own),
        None if page is None else page.fill([value and escape(value) for value in own]),
    )


def _tidy(text: str, *, single_line: bool) -> str:
    """Without the gaps that an untaken branch leaves."""
    text = text.strip()
    if single_line:
        return _SPACES.sub(" ", text) if "  " in text else text
    return _TRIPLE_LINES.sub("\n\n", text) if "\n\n\n" in text else text
