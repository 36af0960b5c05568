"""Folders of copy to test with: the shipped one, and a small one that is easy to break."""

from functools import cache
from pathlib import Path

from messages.source import read_folder

FOLDER = Path(__file__).parents[2] / "templates"


@cache
def _shipped() -> dict[str, str]:
    return read_folder(FOLDER)


def shipped(**changes: str) -> dict[str, str]:
    return {**_shipped(), **changes}


def with_sms(text: str, locale: str = "en") -> dict[str, str]:
    """The shipped shared words and one message, `first_notice`, whose only copy is this SMS."""
    files = {path: words for path, words in _shipped().items() if path.startswith("_shared/")}
    manifest = _shipped()["first_notice/message.toml"].replace('follows = "due_today"\n', "")
    return {**files, "first_notice/message.toml": manifest, f"first_notice/sms.{locale}.txt": text}


def only(message: str, **changes: str) -> dict[str, str]:
    """The shipped shared words and one shipped message, with some files replaced: quick to check."""
    files = {path: words for path, words in _shipped().items() if path.startswith(("_shared/", f"{message}/"))}
    manifest = f"{message}/message.toml"
    lines = files[manifest].split("\n")
    files[manifest] = "\n".join(line for line in lines if not line.startswith("follows"))
    return {**files, **changes}
