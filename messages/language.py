"""The language of templates: Jinja, sandboxed, cut down to what copy needs, and compiled once per release.

Copy may show fields, choose with `if`, list debts with `for debt in debts`, and include shared words. There are no
calls, filters, assignments or arithmetic, so no template can loop for long, grow without bound, or reach anything but
fields.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from markupsafe import escape

from messages.fault import CopyError
from messages.fields import DEBT_FIELDS, FIELDS
from messages.manifest import suggest

Root = Callable[[Context], Iterator[str]]

#: How deep shared words may include shared words.
_DEPTH = 4

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For,
    nodes.Getattr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Include,
)  # fmt: skip
_LOOP_FIELDS = ("first", "last", "index")


def _environment(*, autoescape: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=autoescape, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.clear()
    return environment


_PLAIN = _environment(autoescape=False)
_HTML = _environment(autoescape=True)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One compiled text: an SMS, a subject, a page. `fields` are those it uses."""

    file: str
    fields: frozenset[str]
    root: Root
    environment: ImmutableSandboxedEnvironment

    def fill(self, values: Mapping[str, Any]) -> str:
        """The text. Raises CopyError when a field is missing or of the wrong kind."""
        try:
            return "".join(self.root(Context(self.environment, values, self.file, {})))  # type: ignore[arg-type]  # read-only
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise CopyError(
                self.file, None, f"cannot be filled in ({type(error).__name__})", "Run `duly templates check`"
            ) from None


@dataclass(frozen=True, slots=True)
class Source:
    """A text to compile. `first_line` is where it begins in `file`."""

    file: str
    text: str
    first_line: int = 1


Shared = Callable[[str], Source | None]


@dataclass(slots=True)
class Marks:
    """The branches of a tree, each given a private-use character that shows in the text when it was taken."""

    places: list[tuple[str, int]]

    def mark(self, file: str, line: int) -> nodes.Output:
        self.places.append((file, line))
        return nodes.Output([nodes.TemplateData(self.sign(len(self.places) - 1))], lineno=line)

    @staticmethod
    def sign(number: int) -> str:
        return chr(0xF0000 + number)


def parse(source: Source, shared: Shared, marks: Marks | None = None) -> nodes.Template:
    """The checked tree, with shared words put in place of their includes. Raises CopyError with the line.

    With `marks`, every branch is given its sign: for checking that samples reach it, never for sending.
    """
    return _with_includes(_parse_one(source, marks), source, shared, marks, depth=0)


def _parse_one(source: Source, marks: Marks | None) -> nodes.Template:
    try:
        tree = _PLAIN.parse(_keep_line_ends(source.text))
    except TemplateSyntaxError as error:
        line = error.lineno + source.first_line - 1
        raise CopyError(source.file, line, f"template syntax: {error.message}", _syntax_remedy(error)) from None
    except RecursionError:
        raise CopyError(source.file, None, "is nested too deeply", "Take it apart into shared words") from None
    _Reader(source).read(tree)
    if marks is not None:
        _mark_branches(tree, source, marks)
    return tree


def _mark_branches(tree: nodes.Template, source: Source, marks: Marks) -> None:
    offset = source.first_line - 1
    branches = [node for node in tree.find_all(nodes.Stmt) if isinstance(node, nodes.If | nodes.For)]
    for branch in branches:
        branch.body.insert(0, marks.mark(source.file, branch.lineno + offset))
        if branch.else_:
            first = branch.else_[0]
            branch.else_.insert(0, marks.mark(source.file, first.lineno + offset))


def _syntax_remedy(error: TemplateSyntaxError) -> str:
    if "end of" in (error.message or "") or "Missing end" in (error.message or ""):
        return "Close what was opened: {{ }} for fields, {% if %} with {% endif %}, {% for %} with {% endfor %}"
    return "Fields are written {{ name }}, choices {% if several %}...{% endif %}"


def _keep_line_ends(text: str) -> str:
    """A tag that ends a line with other words on it, or an include, keeps its line end; a lone `{% if %}` vanishes."""
    return "\n".join(map(_keep_line_end, text.split("\n")))


def _keep_line_end(line: str) -> str:
    stripped = line.rstrip()
    start = stripped.rfind("{%")
    if not stripped.endswith("%}") or stripped.endswith(("-%}", "+%}")) or start < 0:
        return line
    alone = not stripped[:start].strip() and not re.match(r"\{%[-+]?\s*include\b", stripped[start:])
    return line if alone else stripped[:-2] + "+%}"


class _Reader:
    """Walks a tree and refuses what copy may not do."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def read(self, tree: nodes.Node) -> None:
        self._visit(tree, {})

    def _refuse(self, node: nodes.Node, problem: str, remedy: str) -> CopyError:
        return CopyError(self.source.file, node.lineno + self.source.first_line - 1, problem, remedy)

    def _visit(self, node: nodes.Node, loops: Mapping[str, tuple[str, ...]]) -> None:
        """`loops` maps the names that an enclosing loop defines to what may be asked of them."""
        if not isinstance(node, _ALLOWED):
            raise self._refuse(node, f"{_called(node)} cannot be used in copy", _WHAT_COPY_MAY)
        match node:
            case nodes.For():
                self._visit_for(node, loops)
                return
            case nodes.Getattr():
                self._visit_getattr(node, loops)
                return
            case nodes.Name() if node.name in loops:
                raise self._refuse(
                    node, f"{node.name!r} is a whole entry", f"Show one of its fields: {node.name}.amount"
                )
            case nodes.Name() if node.name not in FIELDS:
                raise self._refuse(node, f"unknown field {node.name!r}", suggest(node.name, FIELDS))
            case nodes.Include():
                self._visit_include(node)
                return
            case nodes.Compare():
                self._visit_compare(node)
            case nodes.Output():
                self._visit_output(node)
        for child in node.iter_child_nodes():
            self._visit(child, loops)

    def _visit_output(self, node: nodes.Output) -> None:
        for shown in node.nodes:
            if isinstance(shown, nodes.Name) and shown.name in ("debts", "several", "opt_out", "can_plan", "can_pause"):
                remedy = "Choose with {% if %}" if shown.name != "debts" else "List it: {% for debt in debts %}"
                raise self._refuse(shown, f"{shown.name!r} is not a text to show", remedy)

    def _visit_compare(self, node: nodes.Compare) -> None:
        """Only numbers are compared: a branch may not hang on the wording of an amount, a date or a name."""
        for side in (node.expr, *(operand.expr for operand in node.ops)):
            number = isinstance(side, nodes.Const) and isinstance(side.value, int)
            field = isinstance(side, nodes.Name) and side.name in ("count", "days_past_due")
            if not number and not field:
                raise self._refuse(node, "only count and days_past_due can be compared", "Write {% if count > 2 %}")

    def _visit_for(self, node: nodes.For, loops: Mapping[str, tuple[str, ...]]) -> None:
        over_debts = isinstance(node.iter, nodes.Name) and node.iter.name == "debts"
        if not over_debts or not isinstance(node.target, nodes.Name) or node.test or node.recursive or loops:
            raise self._refuse(node, "a loop may only go over debts, once", "Write {% for debt in debts %}")
        if node.target.name in FIELDS:
            raise self._refuse(node, f"the loop's name {node.target.name!r} hides a field", "Call it debt")
        inside = {node.target.name: tuple(DEBT_FIELDS), "loop": _LOOP_FIELDS}
        for child in node.body:
            self._visit(child, inside)
        for child in node.else_:
            self._visit(child, loops)

    def _visit_getattr(self, node: nodes.Getattr, loops: Mapping[str, tuple[str, ...]]) -> None:
        owner = node.node.name if isinstance(node.node, nodes.Name) else ""
        if owner not in loops:
            raise self._refuse(node, f"'.{node.attr}' cannot be asked for here", _WHAT_COPY_MAY)
        if node.attr not in loops[owner]:
            raise self._refuse(node, f"{owner} has no field {node.attr!r}", suggest(node.attr, loops[owner]))

    def _visit_include(self, node: nodes.Include) -> None:
        if not isinstance(node.template, nodes.Const) or not isinstance(node.template.value, str):
            raise self._refuse(node, "an include must name its file", 'Write {% include "sender" %}')


_WHAT_COPY_MAY = "Copy may show fields, use if, list debts with for, and include shared words"


def _called(node: nodes.Node) -> str:
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
        return f"{node.node.name}()"
    if isinstance(node, nodes.Filter):
        return f"the filter {node.name!r}"
    return type(node).__name__.lower()


class _Includes(NodeTransformer):
    """Puts shared words where they are included: one render function, and no look-up while rendering."""

    def __init__(self, source: Source, shared: Shared, marks: Marks | None, depth: int) -> None:
        self.source, self.shared, self.marks, self.depth = source, shared, marks, depth

    def visit_Include(self, node: nodes.Include) -> list[nodes.Node]:
        assert isinstance(node.template, nodes.Const)
        wanted = node.template.value
        line = node.lineno + self.source.first_line - 1
        found = self.shared(wanted)
        if found is None:
            raise CopyError(self.source.file, line, f"no shared words {wanted!r} here", "Add them under _shared/")
        if self.depth >= _DEPTH:
            raise CopyError(
                self.source.file, line, f"{wanted!r} includes too deeply", "Shared words may not go in circles"
            )
        tree = _parse_one(found, self.marks)
        return _with_includes(tree, found, self.shared, self.marks, self.depth + 1).body


def _with_includes(
    tree: nodes.Template, source: Source, shared: Shared, marks: Marks | None, depth: int
) -> nodes.Template:
    done: nodes.Template = _Includes(source, shared, marks, depth).visit(tree)
    return done


class _OneLine(NodeTransformer):
    """Line breaks in the file of a one-line medium are there for the editor only."""

    def __init__(self, joint: str) -> None:
        self.joint = joint

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.TemplateData:
        node.data = re.sub(r"[ \t]*\n\s*", self.joint, node.data)
        return node


class _Escaped(NodeTransformer):
    """Plain words as HTML: what the editor wrote is text, not markup."""

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.TemplateData:
        node.data = str(escape(node.data))
        return node


def one_line(tree: nodes.Template, joint: str) -> nodes.Template:
    done: nodes.Template = _OneLine(joint).visit(tree)
    return done


def escaped(tree: nodes.Template) -> nodes.Template:
    done: nodes.Template = _Escaped().visit(tree)
    return done


def compiled(tree: nodes.Template, file: str, *, html: bool) -> Compiled:
    """Compile a checked tree to a render function."""
    environment = _HTML if html else _PLAIN
    fields = frozenset(node.name for node in tree.find_all(nodes.Name) if node.name in FIELDS)
    tree.set_environment(environment)
    code = environment.compile(tree, name=file, filename=file)
    template = environment.template_class.from_code(environment, code, {})
    return Compiled(file, fields, template.root_render_func, environment)
