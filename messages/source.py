"""The folder of copy as editors see it: which files there may be, and the front matter of e-mail and push."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.channel import Channel
from messages.fault import CopyError
from messages.language import Source
from messages.manifest import suggest
from messages.reading import is_everyday

#: No copy is this long: a larger file is a paste by mistake.
MAX_FILE_BYTES = 64 * 1024
MAX_FILES = 5000

#: How the file of each channel ends. E-mail's own .html is optional: without it the page is made from the words.
ENDINGS: Mapping[Channel, tuple[str, ...]] = {
    Channel.SMS: ("txt",),
    Channel.PUSH: ("txt",),
    Channel.EMAIL: ("txt", "html"),
    Channel.CALL: ("md",),
    Channel.LETTER: ("html",),
    Channel.SOCIAL: ("txt",),
}
_FRONT_KEYS: Mapping[Channel, tuple[str, ...]] = {
    Channel.EMAIL: ("subject", "preheader"),
    Channel.PUSH: ("subject",),
    Channel.LETTER: ("subject",),
}
_NEEDS_SUBJECT = (Channel.EMAIL, Channel.PUSH)

_CHINESE_ENCODINGS = (("gb18030", "GBK"), ("big5", "Big5"))
#: Read in the wrong one of them, few characters are everyday ones. Punctuation is none either.
_LIKELY = 0.5

_NAME = re.compile(r"(?P<channel>[a-z]+)\.(?P<locale>[A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)\.(?P<ending>[a-z]+)")
_MESSAGE = re.compile(r"[a-z][a-z0-9_]{1,40}")
_INVISIBLE = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f\\u00ad\\u200b\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff\\ufeff\\ufffd]"
)
_FRONT = re.compile(r"---[ \t]*\n(?P<lines>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CopyFile:
    """One file of one message: its words, and its front matter by key, each with its place."""

    message: str
    channel: Channel
    locale: str
    ending: str
    body: Source
    front: Mapping[str, Source]


def read_folder(folder: Path) -> dict[str, str]:
    """Every file of a folder of copy by its path in it. Raises CopyError for the first not UTF-8 or too large."""
    files, faults = scan(folder)
    if faults:
        raise faults[0]
    return files


def scan(folder: Path) -> tuple[dict[str, str], list[CopyError]]:
    """The files that can be read, and what is wrong with each of the others. Raises CopyError for no folder of copy."""
    if not folder.is_dir():
        raise CopyError(str(folder), None, "is no folder", "Name the folder that holds the messages")
    files: dict[str, str] = {}
    faults: list[CopyError] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or path.name == "README.md" or any(part.startswith((".", "__")) for part in name.split("/")):
            continue
        try:
            files[name] = _read(path, name)
        except CopyError as fault:
            faults.append(fault)
        if len(files) + len(faults) > MAX_FILES:
            raise CopyError(str(folder), None, f"holds more than {MAX_FILES} files", "Name the folder of the messages")
    return files, faults


def _read(path: Path, name: str) -> str:
    if path.is_symlink():
        raise CopyError(name, None, "is a link to another place", "Put the file itself here")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CopyError(name, None, "is larger than 64 KB", "Copy is short: a paste went wrong, take it back")
        return decode(name, path.read_bytes())
    except OSError as error:
        raise CopyError(name, None, f"cannot be read: {error.strerror}", "Look at the file's permissions") from None


def decode(name: str, data: bytes) -> str:
    """UTF-8, with or without a byte order mark; raises CopyError naming the line and the likely encoding."""
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        remedy = f"It looks like {_guess(data)}: save it as UTF-8" if _guess(data) else "Save it as UTF-8"
        raise CopyError(name, line, "is not UTF-8", remedy) from None


def _guess(data: bytes) -> str | None:
    """The encoding in which it reads like Chinese: most of its characters are everyday ones."""
    likely = [(_everyday(data, encoding, traditional=shown == "Big5"), shown) for encoding, shown in _CHINESE_ENCODINGS]
    share, shown = max(likely)
    return shown if share > _LIKELY else None


def _everyday(data: bytes, encoding: str, *, traditional: bool) -> float:
    """The share of everyday characters among those beyond ASCII; 0 when it cannot be read so."""
    try:
        others = [c for c in data.decode(encoding) if c > "\x7f"]
    except UnicodeDecodeError:
        return 0.0
    return sum(is_everyday(c, traditional=traditional) for c in others) / max(len(others), 1)


def read_file(path: str, text: str) -> CopyFile:
    """One file of copy from its path and text. Raises CopyError when either is not of the promised shape."""
    check_text(path, text)
    message, _, name = path.partition("/")
    parts = _NAME.fullmatch(name)
    known = {channel.value for channel in ENDINGS}
    if parts is None or not _MESSAGE.fullmatch(message):
        raise CopyError(path, None, "is not named like a file of copy", "Name it like first_notice/sms.en.txt")
    if parts["channel"] not in known:
        raise CopyError(path, None, f"unknown channel {parts['channel']!r}", suggest(parts["channel"], known))
    channel = Channel(parts["channel"])
    if parts["ending"] not in ENDINGS[channel]:
        raise CopyError(path, None, f"{channel} copy cannot end in .{parts['ending']}", f"Use .{ENDINGS[channel][0]}")
    front, body = _split(path, text, channel)
    if channel in _NEEDS_SUBJECT and parts["ending"] == "txt" and "subject" not in front:
        raise CopyError(path, 1, "has no subject", "Begin the file with the lines ---, subject: ..., ---")
    return CopyFile(message, channel, parts["locale"], parts["ending"], body, front)


def check_text(path: str, text: str) -> None:
    """Raises CopyError for a text too large, empty, or with characters in it that nobody can see."""
    if len(text) > MAX_FILE_BYTES:
        raise CopyError(path, None, "is larger than 64 KB", "Copy is short: a paste went wrong, take it back")
    for number, line in enumerate(text.split("\n"), start=1):
        bad = _INVISIBLE.search(line)
        if bad is not None:
            problem = f"holds the invisible character U+{ord(bad.group()):04X}"
            raise CopyError(path, number, problem, "Delete the line and type it again")
    if not text.strip():
        raise CopyError(path, None, "is empty", "Write the words, or delete the file")


def _split(path: str, text: str, channel: Channel) -> tuple[dict[str, Source], Source]:
    if not text.startswith("---"):
        return {}, Source(path, text)
    matched = _FRONT.match(text)
    if matched is None:
        raise CopyError(path, 1, "the front matter is not closed", "End it with a line of three dashes: ---")
    front: dict[str, Source] = {}
    for number, line in enumerate(matched["lines"].split("\n"), start=2):
        if not line.strip():
            continue
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        known = _FRONT_KEYS.get(channel, ())
        if not colon or key not in known:
            remedy = suggest(key, known) if known else f"{channel} copy has no front matter: delete it"
            raise CopyError(path, number, f"front matter has no {key!r}", remedy)
        if key in front or not value:
            raise CopyError(path, number, f"{key} must be given once and not be empty", "Correct the line")
        front[key] = Source(path, value, first_line=number)
    body = Source(path, text[matched.end() :], first_line=text.count("\n", 0, matched.end()) + 1)
    if not body.text.strip():
        raise CopyError(path, body.first_line, "has no words after its front matter", "Write the message")
    return front, body
