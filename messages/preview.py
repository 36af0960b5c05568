"""Copy as its readers will see it: the pieces for a terminal, and a page with every message, locale and branch."""

import difflib
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.channel import Channel
from domain.message import Rendered
from domain.segments import Route, Segments, count
from messages import samples
from messages.catalogue import Catalogue, Key
from messages.checks import Finding, check, read_as_text, sound_part
from messages.facts import Facts
from messages.fault import CopyError
from messages.manifest import Message
from messages.rules import Severity


@dataclass(frozen=True, slots=True)
class View:
    """One rendered text with the samples that look exactly like it; `segments` for an SMS only."""

    titles: tuple[str, ...]
    rendered: Rendered
    segments: Segments | None

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


def page(files: Mapping[str, str], *, live: Mapping[str, str] | None = None, only: str | None = None) -> str:
    """An HTML page of the whole catalogue (or one message), side by side by locale, with segments and findings.

    `live` are the files of the release that is live: what differs is shown. Copy that does not compile is listed.
    """
    catalogue, broken = sound_part(files)
    catalogue = catalogue and catalogue.without_last_look()
    findings = broken if catalogue is None else check(files)
    body = [_head(findings)]
    if catalogue is not None:
        wanted = [name for name in _in_order(catalogue.messages.values()) if only in (None, name)]
        body += [_message(catalogue, name, findings, files, live) for name in wanted]
    return _FRAME.format(body="\n".join(body))


def _in_order(messages: Iterable[Message]) -> list[str]:
    return [message.name for message in sorted(messages, key=lambda m: (m.days, m.name))]


def _head(findings: Sequence[Finding]) -> str:
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = len(findings) - errors
    state = "fit for a release" if not errors else "not fit for a release"
    rows = "".join(_finding(finding) for finding in findings)
    said = f"<ul class='findings'>{rows}</ul>" if rows else ""
    return f"<header><h1>The words</h1><p>{errors} errors, {warnings} warnings: {state}.</p>{said}</header>"


def _message(
    catalogue: Catalogue,
    name: str,
    findings: Sequence[Finding],
    files: Mapping[str, str],
    live: Mapping[str, str] | None,
) -> str:
    message = catalogue.messages[name]
    about = "".join(f"<p lang='{_x(at)}'>{_x(words)}</p>" for at, words in message.about.items())
    first, last = message.days
    when = f"{message.stage} · day {first} to {last}" if first != last else f"{message.stage} · day {first}"
    channels = [channel for channel in Channel if any(key[:2] == (name, channel) for key in catalogue.templates)]
    rows = "".join(_channel(catalogue, name, channel, findings, files, live) for channel in channels)
    return f"<section id='{name}'><h2>{_x(name)}</h2><p class='when'>{_x(when)}</p>{about}{rows}</section>"


def _channel(
    catalogue: Catalogue,
    name: str,
    channel: Channel,
    findings: Sequence[Finding],
    files: Mapping[str, str],
    live: Mapping[str, str] | None,
) -> str:
    cells = []
    for locale in catalogue.locales.words:
        key = (name, channel, locale)
        if key not in catalogue.templates:
            cells.append(f"<td><h4>{_x(locale)}</h4><p class='missing'>missing</p></td>")
            continue
        file = catalogue.templates[key].file
        shown = views(catalogue, key)
        first, others = shown[:1], shown[1:]
        more = f"<details><summary>{len(others)} other branches</summary>{''.join(map(_card, others))}</details>"
        mine = "".join(_finding(finding) for finding in findings if finding.file == file)
        said = f"<ul class='findings'>{mine}</ul>" if mine else ""
        changed = "" if live is None else _changes(file, live.get(file, ""), files[file])
        cells.append(
            f"<td lang='{_x(locale)}'><h4>{_x(file)}</h4>{''.join(map(_card, first))}{said}{more}{changed}</td>"
        )
    return f"<h3>{channel}</h3><table><tr>{''.join(cells)}</tr></table>"


def _card(shown: View) -> str:
    rendered = shown.rendered
    kind = {Channel.SMS: "phone", Channel.PUSH: "phone"}.get(rendered.channel, "sheet")
    subject = f"<b>{_x(rendered.subject)}</b>" if rendered.subject else ""
    badge = f"<span class='badge'>{_x(badge_of(shown.segments))}</span>" if shown.segments else ""
    titles = f"<span class='titles'>{_x(', '.join(shown.titles))}</span>"
    return f"<div class='{kind}'>{subject}<p>{_x(shown.reading)}</p></div><p class='under'>{badge}{titles}</p>"


def badge_of(segments: Segments) -> str:
    """`2 segments · 294 GSM-7 units`."""
    return f"{segments.segments} segment{'s' * (segments.segments > 1)} · {segments.units} {segments.encoding} units"


def _changes(file: str, before: str, after: str) -> str:
    if before == after:
        return ""
    lines = list(_diff(before, after))
    title = "new" if not before else "differs from what is live"
    return f"<details open><summary>{title}</summary><pre>{''.join(lines)}</pre></details>"


def _diff(before: str, after: str) -> Iterator[str]:
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1):
        if line.startswith(("---", "+++", "@@")):
            continue
        tag = {"+": "ins", "-": "del"}.get(line[:1], "span")
        yield f"<{tag}>{_x(line[1:])}</{tag}>\n"


def _finding(finding: Finding) -> str:
    place = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
    return (
        f"<li class='{finding.severity}'><b>{_x(finding.rule)}</b> {_x(finding.problem)}. "
        f"{_x(finding.suggestion)} <code>{_x(place)}</code></li>"
    )


def _x(text: str) -> str:
    return html.escape(str(text))


_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The words</title>
<style>
:root {{ --ink: #23302b; --soft: #6b7a73; --line: #d8dfda; --paper: #ffffff; --ground: #f1f3ef; --ours: #dcebe4; }}
body {{ margin: 0 auto; padding: 2rem; max-width: 84rem; background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, "Noto Sans CJK SC", sans-serif; }}
h1, h2 {{ font-family: Georgia, "Noto Serif CJK SC", serif; font-weight: 500; margin: 0 0 0.3rem; }}
h3 {{ margin: 1.4rem 0 0.4rem; font-size: 0.95rem; font-weight: 600; color: var(--soft); }}
h4 {{ margin: 0 0 0.6rem; font: 500 0.8rem ui-monospace, monospace; color: var(--soft); }}
section {{ margin-top: 2.5rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }}
section > p {{ margin: 0.1rem 0; max-width: 60ch; }}
.when, .under, .titles, .missing {{ color: var(--soft); font-size: 0.85rem; }}
table {{ width: 100%; table-layout: fixed; border-spacing: 1rem 0; margin: 0 -1rem; }}
td {{ vertical-align: top; padding: 0; }}
.phone, .sheet {{ background: var(--paper); border: 1px solid var(--line); padding: 0.8rem 1rem; }}
.phone {{ background: var(--ours); border-radius: 1.1rem 1.1rem 1.1rem 0.2rem; border: 0; max-width: 24rem; }}
.sheet {{ max-height: 24rem; overflow: auto; }}
.phone p, .sheet p {{ margin: 0.2rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }}
.under {{ margin: 0.3rem 0 0.8rem; }}
.badge {{ margin-right: 0.8rem; color: var(--ink); font-variant-numeric: tabular-nums; }}
.findings {{ padding-left: 1.1rem; font-size: 0.85rem; }}
.error b {{ text-decoration: underline wavy #b4552d; }}
ins {{ background: #dcebe4; text-decoration: none; }} del {{ background: #f3e2d8; }}
pre {{ white-space: pre-wrap; font-size: 0.8rem; }}
summary {{ cursor: pointer; color: var(--soft); font-size: 0.85rem; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
