"""The catalogue: every message of one release, compiled once, rendered many times."""

import re
from collections.abc import Mapping
from dataclasses import replace

from domain.channel import Channel
from domain.message import Rendered
from messages import guard, language, locales, manifest, markup, samples, skeleton
from messages.facts import Facts
from messages.fault import CopyError as CopyError
from messages.fields import FIELDS, Getter, Medium
from messages.language import Compiled, Source
from messages.locales import Locales, LocaleWords
from messages.manifest import Message as Message
from messages.source import CopyFile, check_text, read_file
from messages.template import Page, Template, shape_of

_ONE_LINE = frozenset({Channel.SMS, Channel.PUSH})
_LAYOUT = "_shared/email.html"
#: Languages whose letters the GSM alphabet knows, more or less; others make every text UCS-2 anyway.
_LATIN = frozenset({"en", "de", "fr", "es", "pt", "it", "nl", "id", "ms", "tl", "sv", "da", "nb", "fi"})

Key = tuple[str, Channel, str]

#: Answers kept of which locale serves a wish: a customer may wish for any tag.
_WISHES_KEPT = 4096


class Catalogue:
    """Every message of a release. Immutable once built; safe to share between tasks."""

    def __init__(self, messages: Mapping[str, Message], templates: Mapping[Key, Template], known: Locales) -> None:
        self.messages = messages
        self.templates = templates
        self.locales = known
        self._found: dict[Key, str | None] = {}

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> "Catalogue":
        """Compile a folder of copy, given by path and text, and try each piece on a few made-up customers.

        Raises CopyError for the first thing that is wrong.
        """
        catalogue = cls.untried(files)
        for (name, channel, locale), template in catalogue.templates.items():
            for facts in samples.extremes(catalogue.messages[name], locale):
                template.render(facts, channel)
        return catalogue

    @classmethod
    def untried(cls, files: Mapping[str, str]) -> "Catalogue":
        """Compile only: for the checks, which try every piece on far more and say more about it."""
        return _Build(files).catalogue()

    def without_last_look(self) -> "Catalogue":
        """The same words for checks and previews, which say themselves what is wrong; never for sending."""
        open = {key: replace(template, guard=guard.OFF) for key, template in self.templates.items()}
        return Catalogue(self.messages, open, self.locales)

    def locale_for(self, message: str, channel: Channel, wanted: str) -> str | None:
        """The best locale of this copy that the customer reads, by the declared chain; None if there is none."""
        key = (message, _COPY_OF[channel], wanted)
        if key not in self._found:
            if len(self._found) >= _WISHES_KEPT:
                self._found.clear()
            chain = self.locales.chain(wanted)
            self._found[key] = next((at for at in chain if (message, key[1], at) in self.templates), None)
        return self._found[key]

    def render(self, message: str, channel: Channel, locale: str, facts: Facts) -> Rendered:
        """The words as they leave. `locale` is one that `locale_for` gave. Raises CopyError; output is bounded."""
        template = self.templates.get((message, _COPY_OF[channel], locale))
        if template is None:
            raise CopyError(f"{message}/{channel}.{locale}", None, "there is no such copy", "Ask locale_for first")
        return template.render(facts, channel)


#: Whose copy a channel takes that has none of its own: the null channel measures the SMS way.
_COPY_OF = {**{channel: channel for channel in Channel}, Channel.NULL: Channel.SMS}


class _Build:
    """One pass over the files of a release."""

    def __init__(self, files: Mapping[str, str]) -> None:
        if locales.FILE not in files:
            raise CopyError(locales.FILE, None, "is missing", "Copy it from the shipped templates")
        self.files = files
        self.locales = locales.read(files[locales.FILE])
        self.messages: dict[str, Message] = {}

    def catalogue(self) -> Catalogue:
        copies = self._sorted_by_copy()
        templates = {key: self._template(key, parts) for key, parts in copies.items()}
        self._check_names(templates)
        return Catalogue(self.messages, templates, self.locales)

    def _sorted_by_copy(self) -> dict[Key, dict[str, CopyFile]]:
        """The files of copy by message, channel and locale, then by ending; reads each message.toml on the way."""
        copies: dict[Key, dict[str, CopyFile]] = {}
        for path, text in sorted(self.files.items()):
            name, _, file = path.partition("/")
            if path.endswith("README.md"):
                continue
            check_text(path, text)
            if name == "_shared":
                continue
            if file == "message.toml":
                self.messages[name] = manifest.read(name, text)
                continue
            copy = read_file(path, text)
            copies.setdefault((name, copy.channel, copy.locale), {})[copy.ending] = copy
        return copies

    def _template(self, key: Key, parts: Mapping[str, CopyFile]) -> Template:
        name, channel, locale = key
        lead = parts.get("txt") or parts.get("md") or parts["html"]
        message, words = self._message_of(name), self._words_of(locale, lead)
        text = self._text(parts, channel, words)
        subject = self._subject(lead, words)
        page = self._page(parts, channel, words)
        required = () if channel is Channel.PUSH else tuple(message.required)
        getters = _getters(lead, message, text, subject, *(page.pieces if page else ()))
        return Template(
            file=lead.body.file,
            channel=channel,
            locale=locale,
            medium=_medium(channel, words),
            guard=guard.guard_for(message),
            getters=getters,
            shape=shape_of(field for field, _ in getters),
            text=text,
            subject=subject,
            page=page,
            single_line=channel in _ONE_LINE,
            required=tuple((field, FIELDS[field].get) for field in required),
            look=skeleton.look_for([*required, *(field for field, _ in getters)]),
        )

    def _message_of(self, name: str) -> Message:
        if name not in self.messages:
            raise CopyError(f"{name}/message.toml", None, "is missing", "Say what the message is for; copy another one")
        return self.messages[name]

    def _words_of(self, locale: str, lead: CopyFile) -> LocaleWords:
        if locale not in self.locales.words:
            remedy = manifest.suggest(locale, self.locales.words)
            raise CopyError(lead.body.file, None, f"unknown locale {locale!r}", remedy)
        return self.locales.words[locale]

    def _text(self, parts: Mapping[str, CopyFile], channel: Channel, words: LocaleWords) -> Compiled | None:
        copy = parts.get("txt") or parts.get("md")
        if copy is None and channel is Channel.EMAIL:
            raise CopyError(parts["html"].body.file, None, "has no plain text beside it", "Add this e-mail's .txt")
        if copy is None:
            return None
        tree = language.parse(copy.body, shared_words(self.files, channel, words.id))
        if channel in _ONE_LINE:
            tree = language.one_line(tree, words.joins_lines_with)
        return language.compiled(tree, copy.body.file, html=False)

    def _subject(self, lead: CopyFile, words: LocaleWords) -> Compiled | None:
        source = lead.front.get("subject")
        if source is None:
            return None
        tree = language.parse(source, shared_words(self.files, lead.channel, words.id))
        return language.compiled(tree, source.file, html=False)

    def _page(self, parts: Mapping[str, CopyFile], channel: Channel, words: LocaleWords) -> Page | None:
        """The HTML part: its own file, or for e-mail the plain words laid out."""
        shared = shared_words(self.files, channel, words.id)
        own = parts.get("html")
        if own is not None:
            markup.check_page(own.body)
            return Page(language.compiled(language.parse(own.body, shared), own.body.file, html=True))
        if channel is not Channel.EMAIL:
            return None
        plain = parts["txt"]
        preheader = plain.front.get("preheader")
        return Page(
            words=_as_html(plain.body, shared),
            layout=self._layout(words.id),
            preheader=None if preheader is None else _as_html(preheader, shared),
        )

    def _layout(self, locale: str) -> tuple[str, str, str]:
        text = self.files.get(_LAYOUT, "").replace("{{ locale }}", locale).strip()
        markup.check_page(Source(_LAYOUT, text))
        pieces = re.split(r"\{\{ (?:preheader|words) \}\}", text)
        if len(pieces) != 3 or "{{" in "".join(pieces) or text.find("preheader }}") > text.find("words }}"):
            remedy = "It holds {{ locale }}, then {{ preheader }} once, then {{ words }} once, and no other field"
            raise CopyError(_LAYOUT, None, "is not a layout", remedy)
        return pieces[0], pieces[1], pieces[2]

    def _check_names(self, templates: Mapping[Key, Template]) -> None:
        with_copy = {name for name, _, _ in templates}
        for name in self.messages:
            file = f"{name}/message.toml"
            if name not in with_copy:
                raise CopyError(file, None, "has no copy beside it", "Add the words, or delete the folder")


def shared_words(files: Mapping[str, str], channel: Channel, locale: str) -> language.Shared:
    """Finds `hello` as `_shared/hello.sms.en.txt`, or for every medium as `_shared/hello.en.txt`."""

    def find(name: str) -> Source | None:
        for path in (f"_shared/{name}.{channel}.{locale}.txt", f"_shared/{name}.{locale}.txt"):
            if path in files:
                return Source(path, files[path])
        return None

    return find


def _as_html(source: Source, shared: language.Shared) -> Compiled:
    return language.compiled(language.escaped(language.parse(source, shared)), source.file, html=True)


def _medium(channel: Channel, words: LocaleWords) -> Medium:
    latin = words.id.split("-")[0] in _LATIN
    short = channel in _ONE_LINE
    return Medium(words, near_years=short, gsm7_names=channel is Channel.SMS and latin, bare_links=short)


def _getters(lead: CopyFile, message: Message, *pieces: Compiled | None) -> tuple[tuple[str, Getter], ...]:
    used = frozenset[str]().union(*(piece.fields for piece in pieces if piece))
    for field in sorted(used - message.fields.keys()):
        problem = f"uses the field {field!r}, which message.toml does not declare"
        raise CopyError(lead.body.file, None, problem, f'Add {field} = "{FIELDS[field].type}" to its [fields]')
    return tuple((field, FIELDS[field].get) for field in sorted(used))
