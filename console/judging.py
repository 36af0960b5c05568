"""`duly judge`, `duly policies` and `duly zones`: the rules, for people who answer for them. No database needed."""

import gc
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.table import Table

from config import settings as configuration
from config.files import ConfigError
from console.judge_lines import LineJudge
from console.output import fail, print_json
from console.policy_text import as_table, differences, page, rule_as_json, summary, week
from domain.days import is_zone
from policy.pack import Pack
from policy.packs import PackBook, PackError
from policy.zones import country_of_number, zones_of_number

#: Lines per piece of work. Fewer are judged in this process: starting another costs more than they do.
CHUNK_LINES = 4000

policies_app = typer.Typer(no_args_is_help=True, help="The packs: what each jurisdiction asks, and how sure that is.")

Policies = Annotated[
    Path | None, typer.Option("--policies", help="A folder of packs instead of the configured one, to try a change.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]


def judge_command(
    file: Annotated[Path | None, typer.Argument(help="JSON lines; standard input when left out or -.")] = None,
    policies: Policies = None,
    trace: Annotated[bool, typer.Option("--trace", help="Add every rule that was asked to each answer.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that judge a long file.")] = 2,
) -> None:
    """May we, now? One JSON case per line in, one verdict per line out, in the same order; 1 if a line is not right."""
    texts = pack_texts(policies)
    PackBook.from_files(texts)  # a pack that may not be used is said once, before anything is judged
    gc.freeze()  # what is loaded by now stays: collecting it again and again costs a tenth of the time
    with _opened(file) as lines:
        raise typer.Exit(write_answers(lines, sys.stdout.buffer, texts, with_trace=trace, processes=processes))


def zones_command(
    number: Annotated[str, typer.Argument(help="A phone number in international form, such as +12705550100.")],
    as_json: AsJson = False,
) -> None:
    """Every time zone that a number may be in, and its country."""
    zones, country = zones_of_number(number), country_of_number(number)
    if as_json:
        print_json({"schema": 1, "country": country, "zones": list(zones)})
    elif not zones and country is None:
        fail("not a phone number that tells where it is: write it as +12705550100", code=1)
    else:
        print_lines([f"country: {country or 'unknown'}", *(zones or ("no zone: nothing is sent on this alone",))])


@policies_app.command("list")
def list_command(policies: Policies = None, as_json: AsJson = False) -> None:
    """Every pack: rules, soft ones, marks of confidence, and how far its holidays are reviewed."""
    book = read_book(policies)
    if as_json:
        print_json({"schema": 1, "packs": [summary(book.packs[pack_id]) for pack_id in sorted(book.packs)]})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("pack", "of", "rules", "soft", "confidence", "holidays until"):
        table.add_column(heading)
    for row in as_table(book):
        table.add_row(*row)
    Console().print(table)


@policies_app.command("show")
def show_command(pack: str, policies: Policies = None, as_json: AsJson = False) -> None:
    """One pack, rule by rule, with sources."""
    found = pack_named(read_book(policies), pack)
    if as_json:
        rules = [rule_as_json(rule) for rule in found.rules]
        print_json({"schema": 1, **summary(found), "rules": rules, "not_encoded": list(found.not_encoded)})
    else:
        print_lines([page(found)])


@policies_app.command("diff")
def diff_command(a: str, b: str, policies: Policies = None) -> None:
    """What pack A says and B does not (-), and the other way round (+)."""
    book = read_book(policies)
    print_lines([differences(pack_named(book, a), pack_named(book, b))])


@policies_app.command("hours")
def hours_command(
    pack: str,
    zone: Annotated[str, typer.Option(help="An IANA time zone, such as Asia/Taipei.")],
    on: Annotated[str, typer.Option(help="The first of the seven days, as 2026-03-02.")],
    policies: Policies = None,
) -> None:
    """A week of a pack's hours (with what it extends), drawn; * marks a holiday."""
    book = read_book(policies)
    pack_named(book, pack)
    if not is_zone(zone):
        fail(f"unknown time zone {zone!r}: use an IANA name such as Asia/Taipei", code=2)
    print_lines([week(book.named([pack]), zone, _as_day(on))])


def write_answers(
    lines: Iterable[bytes], out: BinaryIO, texts: Mapping[str, str], *, with_trace: bool = False, processes: int = 1
) -> int:
    """Judge all lines by these packs and write the answers in order; 1 when a line was not right, else 0."""
    code = 0
    for answers, faulty in _judged(lines, texts, with_trace=with_trace, processes=processes):
        out.write(answers)
        code = 1 if faulty else code
    out.flush()
    return code


def pack_texts(folder: Path | None) -> dict[str, str]:
    """The texts of all packs by file name: of this folder, or of the configured one. Raises ConfigError."""
    if folder is None:
        folder = (configuration.load().config_dir or Path(configuration.__file__).parent) / "policies"
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder: name a folder of packs")
    texts = {path.name: _text(path) for path in sorted(folder.glob("*.toml"))}
    if not texts:
        raise ConfigError(f"{folder}: holds no .toml file: name a folder of packs")
    return texts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {unreadable}") from unreadable


def read_book(folder: Path | None = None) -> PackBook:
    return PackBook.from_files(pack_texts(folder))


def pack_named(book: PackBook, pack_id: str) -> Pack:
    """The pack of that id; raises PackError with the ids there are."""
    if pack_id not in book.packs:
        raise PackError(f"unknown pack {pack_id!r}; use one of: {', '.join(sorted(book.packs))}")
    return book.packs[pack_id]


def print_lines(lines: Iterable[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


Piece = tuple[int, list[bytes]]


def _judged(
    lines: Iterable[bytes], texts: Mapping[str, str], *, with_trace: bool, processes: int
) -> Iterator[tuple[bytes, bool]]:
    """Pieces of answers in order, and whether each holds a fault."""
    pieces = _pieces(lines)
    first = list(islice(pieces, 2))
    if len(first) < 2 or processes == 1:
        judge = LineJudge(PackBook.from_files(texts), with_trace=with_trace)
        yield from (_answer_piece(judge, piece) for piece in (*first, *pieces))
        return
    with multiprocessing.Pool(processes, _start_judge, (dict(texts), with_trace)) as pool:
        yield from pool.imap(_answer_in_child, (piece for part in (first, pieces) for piece in part))


def _pieces(lines: Iterable[bytes]) -> Iterator[Piece]:
    source, number = iter(lines), 1
    while piece := list(islice(source, CHUNK_LINES)):
        yield number, piece
        number += len(piece)


#: The judge of a child process; set once when the child starts.
_judge_of_child: list[LineJudge] = []


def _start_judge(texts: Mapping[str, str], with_trace: bool) -> None:
    _judge_of_child[:] = [LineJudge(PackBook.from_files(texts), with_trace=with_trace)]
    gc.freeze()


def _answer_in_child(piece: Piece) -> tuple[bytes, bool]:
    return _answer_piece(_judge_of_child[0], piece)


def _answer_piece(judge: LineJudge, piece: Piece) -> tuple[bytes, bool]:
    number, lines = piece
    answers = list(judge.answers(lines, first_line=number))
    return b"".join(answer.line + b"\n" for answer in answers), any(answer.is_fault for answer in answers)


def _opened(file: Path | None) -> BinaryIO:
    if file is None or str(file) == "-":
        return sys.stdin.buffer
    try:
        return file.open("rb")
    except OSError as unreadable:
        fail(f"{file}: cannot be read: {unreadable.strerror}: name a file of JSON lines", code=2)


def _as_day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  a calendar day has no zone
    except ValueError:
        fail(f"--on {text!r} is not a day: write it as 2026-03-02", code=2)
