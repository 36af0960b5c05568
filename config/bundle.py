"""Reads everything that can be decided from disk into one bundle, the content of a release."""

from pathlib import Path
from typing import Final

from config.files import ConfigError
from domain.bundle import Bundle

#: Words and rules are kilobytes; beyond this, something else has landed in the folder.
LARGEST_FILE_BYTES: Final = 5 * 1024 * 1024

#: The folders of the configuration that a release carries. Profiles map a lender's files: they decide nothing.
FOLDERS: Final = ("policies", "ladders", "lenders")


def read_bundle(config_dir: Path, templates_dir: Path) -> Bundle:
    """Packs, ladders, lenders, channels and copy as one bundle. Raises ConfigError with the file and the remedy.

    Hidden files and what editors leave behind (`name~`, `.name.swp`) are left out.
    """
    files = {"channels.toml": _text(config_dir / "channels.toml", config_dir)}
    for folder in FOLDERS:
        files |= {f"{folder}/{path}": text for path, text in _under(config_dir / folder).items()}
    files |= {f"templates/{path}": text for path, text in _under(templates_dir).items()}
    return Bundle(files)


def _under(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder: check DULY_CONFIG_DIR and DULY_TEMPLATES_DIR")
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(_is_debris(part) for part in inside.parts):
            continue
        if path.is_symlink() and path.is_dir():
            raise ConfigError(f"{path}: a link to a folder: copy the folder here, a release must hold what it says")
        if not path.is_dir():
            found[inside.as_posix()] = _text(path, folder)
    return found


def _is_debris(name: str) -> bool:
    return name.startswith((".", "__")) or name.endswith(("~", ".py", ".pyc", ".typed"))


def _text(path: Path, folder: Path) -> str:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{path}: a link out of {folder}: copy the file here, a release must hold what it says")
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: no such file: restore it from the package or a backup")
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {LARGEST_FILE_BYTES // 1024 // 1024} MB: move it elsewhere")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8: save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
