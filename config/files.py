"""Strict reading of the reviewed TOML files: an unknown key is refused, naming the file and the key."""

import tomllib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
    """A configuration file that cannot stand; the message names the file, the key and the remedy."""


class Strict(BaseModel):
    """A table of a reviewed file. Keys nobody reads are mistakes, so they are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Strict)


def read_toml(text: str, shape: type[S], *, name: str) -> S:
    """The text as `shape`. Raises ConfigError with the file's name and the key, or the line for bad TOML."""
    try:
        return shape.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError("\n".join(f"{name}: {_fault(dict(fault))}" for fault in error.errors())) from error


def toml_files(files: Mapping[str, str], *, folder: str) -> dict[str, str]:
    """The TOML texts of a folder by their stem, in order. Raises ConfigError for a stray file or an empty folder."""
    stray = sorted(path for path in files if not path.endswith(".toml") or "/" in path)
    if stray:
        raise ConfigError(f"{folder}/{stray[0]}: only .toml files belong in {folder}/: move it elsewhere")
    if not files:
        raise ConfigError(f"{folder}/ holds no .toml file: at least one is needed")
    return {path.removesuffix(".toml"): files[path] for path in sorted(files)}


def _fault(fault: Mapping[str, object]) -> str:
    location = fault["loc"]
    assert isinstance(location, tuple)
    key = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in location) or "file"
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key: correct its spelling or remove it"
        case "missing":
            return f"{key}: missing: add it"
        case _:
            return f"{key}: {str(fault['msg']).removeprefix('Value error, ')}"
