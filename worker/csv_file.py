"""Somebody else's CSV file, read as a stream: refused as a whole when it is not of the promised shape."""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from config.profiles import RowFault

#: Longest masked value in a rejects file: enough to see the shape of what was wrong.
LONGEST_MASK: Final = 40

_DELIMITERS: Final = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}

Progress = Callable[[int, int], None]


class ShapeError(Exception):
    """The file is not what was promised; nothing was changed. The message says why and what to do."""


class Line(NamedTuple):
    """One row with the line of the file that it ends on."""

    number: int
    cells: list[str]


class CsvFile:
    """A UTF-8 CSV file with a header; lines are read once. `progress` hears bytes read and bytes in all."""

    def __init__(self, path: Path, *, delimiter: str = ",", progress: Progress | None = None) -> None:
        self.path, self._delimiter = path, delimiter
        try:
            self._raw = _Watched(path, progress)
        except OSError as error:
            raise ShapeError(f"{path}: cannot be read: {error.strerror}. Give the path of a CSV file") from error
        self._text = io.TextIOWrapper(io.BufferedReader(self._raw, 1 << 16), encoding="utf-8-sig", newline="")
        self._reader = csv.reader(self._text, delimiter=delimiter, strict=True)
        self.header = self._read_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    @property
    def sha256(self) -> str:
        """Of the bytes read so far: of the file once all lines were read."""
        return self._raw.digest.hexdigest()

    def require(self, columns: Sequence[str], *, promised_by: str) -> None:
        """Pass when the header has all these columns. Raises ShapeError."""
        missing = [name for name in columns if name not in self.header]
        if missing:
            raise ShapeError(
                f"{self.path}: column {', '.join(map(repr, missing))} missing, which {promised_by} needs{self._guess()}"
            )

    def lines(self) -> Iterator[Line]:
        """Every row that is not blank. Raises ShapeError for bytes or quotes that cannot be read."""
        read = 0
        while (cells := self._next()) is not None:
            if cells:
                read += 1
                yield Line(self._reader.line_num, cells)
        if not read:
            raise ShapeError(f"{self.path}: holds a header and no row: ask for the whole file")

    def cells(self, line: Line) -> dict[str, str]:
        """The cells of a line by column, without spaces around them. Raises RowFault when there are too few or many."""
        if len(line.cells) != len(self.header):
            raise RowFault("", "", f"{len(line.cells)} cells where the header has {len(self.header)}")
        return {name: cell.strip() for name, cell in zip(self.header, line.cells, strict=True)}

    def _read_header(self) -> list[str]:
        try:
            header = self._next()
            while header == []:
                header = self._next()
            if header is None:
                raise ShapeError(f"{self.path}: empty: ask for the whole file")
            names = [name.strip() for name in header]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ShapeError(f"{self.path}: column {twice[0]!r} is there twice: each needs a name of its own")
        except ShapeError:
            self._text.close()
            raise
        return names

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except UnicodeDecodeError as error:
            where = f"after line {self._reader.line_num}"
            raise ShapeError(f"{self.path}: not UTF-8 text ({where}): save it as CSV in UTF-8") from error
        except csv.Error as error:
            raise ShapeError(
                f"{self.path}: line {self._reader.line_num + 1}: not CSV ({error}): close every quote"
            ) from error

    def _guess(self) -> str:
        if len(self.header) > 1:
            return ": is it the right profile, or did the file change?"
        other = next((d for d in _DELIMITERS if d != self._delimiter and d in self.header[0]), None)
        if other is None:
            return ": is this a CSV file with a header?"
        return f": it seems parted by {_DELIMITERS[other]}, not by {_DELIMITERS.get(self._delimiter, 'what it should')}"


class _Watched(io.RawIOBase):
    """The file's bytes, hashed and counted as they pass."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self._file = path.open("rb", buffering=0)
        self._size, self._seen, self._progress = path.stat().st_size, 0, progress
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed: any Buffer
        got = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:got])
        self._seen += got
        if self._progress is not None:
            self._progress(self._seen, self._size)
        return got

    def close(self) -> None:
        self._file.close()
        super().close()


class Rejects:
    """The rows that were left out: line, column, masked value, reason. The file exists only when there are any."""

    HEADER: Final = ("line", "column", "value", "reason")

    def __init__(self, path: Path | None) -> None:
        self.path, self.count = path, 0
        self._file: io.TextIOWrapper | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        elif self.path is not None:
            _remove_old(self.path)

    def add(self, line: int, column: str, value: str, reason: str) -> None:
        self.count += 1
        if self.path is None:
            return
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(self.HEADER)
        csv.writer(self._file).writerow((line, column, masked(value), reason))


def moment_of(written: str, zone: str, *, column: str) -> datetime:
    """A date or a time as a file writes it (ISO 8601), aware UTC. Raises RowFault.

    A time without an offset is read in `zone`; a date stands for the start of that day there.
    """
    try:
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RowFault(column, written, "not a time such as 2026-03-31T14:05:00+08:00 or 2026-03-31") from None


def masked(value: str) -> str:
    """The shape of a value and nothing of what it says: `+8869x` becomes `+9999x`, any other letter an x."""
    shape = re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", value[: LONGEST_MASK + 1]))
    printable = "".join(letter if letter.isprintable() else "?" for letter in shape)
    return printable if len(value) <= LONGEST_MASK else printable[:LONGEST_MASK] + "…"


def _remove_old(path: Path) -> None:
    """Remove what an earlier run left here, if it is a rejects file: it would be taken for this run's."""
    try:
        with path.open(encoding="utf-8") as old:
            is_ours = old.readline().strip() == ",".join(Rejects.HEADER)
    except (OSError, UnicodeDecodeError):
        return
    if is_ours:
        path.unlink(missing_ok=True)
