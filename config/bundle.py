"""Reads everything that can be decided, from disk or from git, into one bundle: the content of a release."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from config.files import ConfigError
from domain.bundle import Bundle

#: Words and rules are kilobytes; beyond this, something else has landed in the folder.
LARGEST_FILE_BYTES: Final = 1024 * 1024

#: The folders of the configuration that a release carries. Profiles map a lender's files: they decide nothing.
FOLDERS: Final = ("policies", "ladders", "lenders")

#: Folders that need not be there.
OPTIONAL: Final = ("experiments",)

CHANNELS: Final = "channels.toml"


def read_bundle(config_dir: Path, templates_dir: Path) -> Bundle:
    """Packs, ladders, lenders, channels and copy as one bundle. Raises ConfigError with the file and the remedy.

    Hidden files and what editors leave behind (`name~`, `.name.swp`) are left out.
    """
    found = {CHANNELS: _read(config_dir / CHANNELS, config_dir)}
    for folder in (*FOLDERS, *(name for name in OPTIONAL if (config_dir / name).is_dir())):
        found |= {f"{folder}/{path}": data for path, data in _under(config_dir / folder).items()}
    found |= {f"templates/{path}": data for path, data in _under(templates_dir).items()}
    return bundle_of_bytes(found)


def bundle_of_bytes(files: Mapping[str, bytes]) -> Bundle:
    """A bundle of files as they stand in a folder, by their path in the bundle. Raises ConfigError.

    A byte order mark and Windows' line ends go: who saved a file with what does not make it another release.
    """
    return Bundle({path: _text(path, files[path]) for path in sorted(files)})


def is_debris(name: str) -> bool:
    """Whether a file or folder of that name is what systems and editors leave behind."""
    return name.startswith((".", "__")) or name.endswith(("~", ".py", ".pyc", ".typed"))


def check_size(path: str, size: int) -> None:
    """Raise ConfigError for a file that is too large to be words or rules."""
    if size > LARGEST_FILE_BYTES:
        raise ConfigError(
            f"{path}: {size / 1024 / 1024:.1f} MB: words and rules are kilobytes: something was pasted or saved here "
            "by mistake, take it back"
        )


def _under(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder: check DULY_CONFIG_DIR and DULY_TEMPLATES_DIR")
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(is_debris(part) for part in inside.parts):
            continue
        if path.is_symlink() and path.is_dir():
            raise ConfigError(f"{path}: a link to a folder: copy the folder here, a release must hold what it says")
        if not path.is_dir():
            found[inside.as_posix()] = _read(path, folder)
    return found


def _read(path: Path, folder: Path) -> bytes:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{path}: a link out of {folder}: copy the file here, a release must hold what it says")
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: no such file: restore it from the package or a backup")
        check_size(str(path), path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        remedy = f"it looks like {guessed}: save it as UTF-8" if (guessed := _guess(data)) else "save it as UTF-8"
        raise ConfigError(f"{path}:{line}: is not UTF-8: {remedy}") from None


def _guess(data: bytes) -> str | None:
    """The encoding in which these bytes are Chinese text, if there is one."""
    for encoding, shown in (("gb18030", "GBK"), ("big5", "Big5")):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if sum("\u4e00" <= letter <= "\u9fff" for letter in text) > 1:
            return shown
    return None
