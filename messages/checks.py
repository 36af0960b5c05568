"""Checks of copy: every branch of every message, rendered for made-up customers and held against the rules.

Used alike by the command line, the tests, the preview and a release: one error and the release is refused.
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.channel import Channel
from messages import language, samples
from messages.catalogue import Catalogue, Key, shared_words
from messages.facts import Facts
from messages.fault import CopyError
from messages.guard import folded, guard_for
from messages.language import Marks
from messages.manifest import Message, suggest
from messages.rules import Found, Look, Severity, rules_for
from messages.samples import Sample
from messages.source import read_file
from messages.template import Template

_DIGITS = re.compile(r"\d[\d.]*")  # the same complaint about another sample is one complaint

#: Broken files reported in one go before we give up.
_MOST_BROKEN = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to change. `rule` is C01 to C24, or COPY, BRANCH, EDGE, FACTS, LOCALE, TONE for what has no number."""

    rule: str
    severity: Severity
    file: str
    line: int | None
    problem: str
    suggestion: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.severity} {self.rule}: {self.problem}. {self.suggestion}"


def check(files: Mapping[str, str]) -> tuple[Finding, ...]:
    """Everything to change in a folder of copy, by file and line. Empty: fit for a release."""
    catalogue, broken = sound_part(files)
    if catalogue is None:
        return _sorted(broken)
    return _sorted([*broken, *_follow(catalogue, files), *check_catalogue(catalogue, files)])


def _follow(catalogue: Catalogue, files: Mapping[str, str]) -> Iterator[Finding]:
    folders = {path.split("/")[0] for path in files}
    for name, message in catalogue.messages.items():
        if message.follows is not None and message.follows not in folders:
            problem, remedy = f"follows the unknown message {message.follows!r}", suggest(message.follows, folders)
            yield Finding("COPY", Severity.ERROR, f"{name}/message.toml", None, problem, remedy)
        used = {field for key, each in catalogue.templates.items() if key[0] == name for field, _ in each.getters}
        for field in sorted(message.fields.keys() - used - set(message.required)):
            file, line = _place_of_field(files, name, field)
            yield Finding("COPY", Severity.WARNING, file, line, f"{field!r} is in no words of it", "Delete the line")


def _place_of_field(files: Mapping[str, str], message: str, field: str) -> tuple[str, int | None]:
    file = f"{message}/message.toml"
    lines = files.get(file, "").split("\n")
    return file, next((number for number, line in enumerate(lines, 1) if line.startswith(field)), None)


def check_catalogue(catalogue: Catalogue, files: Mapping[str, str]) -> Iterator[Finding]:
    seen = catalogue.without_last_look()  # the rules report what it would stop, with its place
    for key in seen.templates:
        yield from check_copy(seen, files, key)
    yield from _same_facts(catalogue)


def sound_part(files: Mapping[str, str]) -> tuple[Catalogue | None, list[Finding]]:
    """A catalogue of the files that compile, and what is wrong with the rest; None when nothing can be read."""
    left, broken = dict(files), list[Finding]()
    while len(broken) < _MOST_BROKEN:
        try:
            return Catalogue.untried(left), broken
        except CopyError as error:
            broken.append(as_finding(error))
            if not _without(left, error.file):
                break
    return None, broken


def as_finding(fault: CopyError) -> Finding:
    """Copy that cannot be used, as one of the things to change."""
    return Finding("COPY", Severity.ERROR, fault.file, fault.line, fault.problem, fault.remedy)


def _without(files: dict[str, str], broken: str) -> bool:
    """Take out the broken file, or a message whose message.toml is broken or alone; False when that is no help."""
    message, _, name = broken.partition("/")
    if message == "_shared" and not name.endswith(".txt"):
        return False
    others = [path for path in files if path.startswith(f"{message}/") and path != broken]
    whole = name == "message.toml" or others == [f"{message}/message.toml"]
    gone = [path for path in files if path == broken or (whole and path in others)]
    for path in gone:
        del files[path]
    return bool(gone)


def check_copy(catalogue: Catalogue, files: Mapping[str, str], key: Key) -> list[Finding]:
    """What to change in one piece of copy."""
    message = catalogue.messages[key[0]]
    template = catalogue.templates[key]
    ordinary = samples.branches(message, template.locale)
    found: dict[tuple[str, str], Finding] = {}
    for look in _looks(catalogue, template, message, ordinary):
        for rule in rules_for(message, template.channel):
            for each in rule(look):
                found.setdefault((each.rule, _DIGITS.sub("", each.problem)), _placed(each, template, files))
    return [*found.values(), *_edges(template, message), *_unreached(template, ordinary, files)]


def _looks(catalogue: Catalogue, template: Template, message: Message, ordinary: Sequence[Sample]) -> Iterator[Look]:
    before = catalogue.templates.get((message.follows or "", template.channel, template.locale))
    for number, sample in enumerate((*ordinary, *samples.edges(message, template.locale))):
        try:
            rendered = template.render(sample.facts, template.channel)
        except CopyError:
            continue  # reported by _edges
        yield Look(
            message=message,
            stopped=guard_for(message).stopped,
            template=template,
            facts=sample.facts,
            rendered=rendered,
            body=rendered.text or read_as_text(rendered.html or ""),
            preheader=_preheader(template, template.values(sample.facts)),
            common=number < len(ordinary) and sample.facts.debts[0].due_on.year == sample.facts.as_of.year,
            previous=_fill(before, sample.facts) if before and number == 0 else "",
        )


def _fill(template: Template, facts: Facts) -> str:
    return "" if template.text is None else template.text.fill(template.values(facts)).strip()


def _preheader(template: Template, values: Mapping[str, object]) -> str:
    page = template.page
    return html.unescape(page.preheader.fill(values)) if page and page.preheader else ""


def read_as_text(page: str) -> str:
    """What a person reads of a page: no markup, no style."""
    shown = re.sub(r"(?s)<(style|title|head)\b.*?</\1>", "", page)
    shown = re.sub(r"</(?:p|h\d|li|tr|div)>|<br\s*/?>", "\n", shown)
    return html.unescape(re.sub(r"<[^>]+>", " ", shown)).strip()


def _edges(template: Template, message: Message) -> Iterator[Finding]:
    """Everything that can come in must come out."""
    for sample in samples.all_samples(message, template.locale):
        try:
            template.render(sample.facts, template.channel)
        except CopyError as error:
            problem = f"with {sample.title} it {error.problem}"
            yield Finding("EDGE", Severity.ERROR, error.file, error.line, problem, error.remedy)


def _unreached(template: Template, ordinary: Sequence[Sample], files: Mapping[str, str]) -> Iterator[Finding]:
    """Branches that no sample enters: nobody has seen those words."""
    shared = shared_words(files, template.channel, template.locale)
    for path in _own_files(template, files):
        marks = Marks([])
        copy = read_file(path, files[path])
        sources = (copy.body, *copy.front.values())
        compiled = [
            language.compiled(language.parse(source, shared, marks), path, html=copy.ending == "html")
            for source in sources
        ]
        seen = ""
        for sample in ordinary:
            values = template.values(sample.facts)
            seen += "".join(piece.fill(values) for piece in compiled)
        for number, (file, line) in enumerate(marks.places):
            # shared words may offer branches that this message has no use for
            if Marks.sign(number) not in seen and file == path:
                remedy = "Delete it, or make its condition one that can be true"
                yield Finding("BRANCH", Severity.ERROR, file, line, "no sample ever reaches this branch", remedy)


def _own_files(template: Template, files: Mapping[str, str]) -> Iterator[str]:
    stem = template.file.rsplit(".", 1)[0]
    return (path for path in sorted(files) if path.rsplit(".", 1)[0] == stem)


def _same_facts(catalogue: Catalogue) -> Iterator[Finding]:
    """All locales of a message say the same facts, and none is missing."""
    for name in catalogue.messages:
        for channel in Channel:
            by_locale = {at: t for (m, c, at), t in catalogue.templates.items() if (m, c) == (name, channel)}
            if not by_locale:
                continue
            yield from _compared(by_locale)
            for missing in sorted(catalogue.locales.words.keys() - by_locale.keys()):
                file = next(iter(by_locale.values())).file.replace(next(iter(by_locale)), missing)
                remedy = f"Write it; until then who reads {missing} gets nothing"
                yield Finding("LOCALE", Severity.WARNING, file, None, "is missing", remedy)


#: Fields that choose words rather than state a fact.
_NOT_FACTS = frozenset({"name", "several", "debts", "count", "opt_out", "ref"})


def _compared(by_locale: Mapping[str, Template]) -> Iterator[Finding]:
    facts = {at: {field for field, _ in t.getters} - _NOT_FACTS for at, t in by_locale.items()}
    every = set[str]().union(*facts.values())
    for at, said in facts.items():
        for field in sorted(every - said):
            others = ", ".join(sorted(other for other in facts if field in facts[other]))
            problem = f"does not say {field!r}, which {others} does"
            yield Finding("FACTS", Severity.ERROR, by_locale[at].file, None, problem, "Say the same in every language")


def _placed(found: Found, template: Template, files: Mapping[str, str]) -> Finding:
    file, line = _place(found.needle, template, files)
    return Finding(found.rule, found.severity, file, line, found.problem, found.suggestion)


def _place(needle: str, template: Template, files: Mapping[str, str]) -> tuple[str, int | None]:
    """Where the words stand: in the message's own files, else in the shared ones of its locale."""
    if needle:
        shared = (p for p in sorted(files) if p.startswith("_shared/") and f".{template.locale}." in p)
        for path in (*_own_files(template, files), *shared):
            for number, text in enumerate(files[path].split("\n"), start=1):
                if needle in text or folded(needle) in folded(text):
                    return path, number
    return template.file, None


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (f.severity, f.file, f.line or 0, f.rule, f.problem)))
