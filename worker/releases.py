"""A release in the hands of a worker: the live bundle, compiled once and kept until another goes live."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from config.channels import parse_channels
from config.ladders import load_ladders
from config.lenders import load_lenders
from domain.bundle import Bundle
from domain.ladder import Ladder
from domain.lender import Lender
from domain.provider import ChannelsConfig
from messages.catalogue import Catalogue
from policy.packs import PackBook


class BadRelease(ValueError):
    """Parts of a bundle that do not fit each other; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Release:
    """Everything decided, ready to be used. `hash` is what each contact carries."""

    hash: str
    packs: PackBook
    ladders: Mapping[str, Ladder]
    lenders: Mapping[str, Lender]
    channels: ChannelsConfig
    catalogue: Catalogue


def compile_release(bundle: Bundle) -> Release:
    """Read every part of a bundle and hold the parts against each other.

    Raises PackError, ConfigError, BadChannels, CopyError or BadRelease, each naming file, key and remedy.
    """
    channels = bundle.files.get("channels.toml")
    if channels is None:
        raise BadRelease("channels.toml: is missing from the bundle; it says which provider each channel uses")
    release = Release(
        hash=bundle.hash,
        packs=PackBook.from_files(bundle.under("policies")),
        ladders=load_ladders(bundle.under("ladders")),
        lenders=load_lenders(bundle.under("lenders")),
        channels=parse_channels(channels, name="channels.toml"),
        catalogue=Catalogue.from_files(bundle.under("templates")),
    )
    _check_ladders(release)
    _check_lenders(release)
    return release


def _check_ladders(release: Release) -> None:
    for ladder in release.ladders.values():
        for step in ladder.steps:
            message = release.catalogue.messages.get(step.message)
            if message is None:
                raise BadRelease(
                    f"ladders/{ladder.id}.toml: step {step.id!r} sends {step.message!r}, which templates/ does not have"
                )


def _check_lenders(release: Release) -> None:
    for lender in release.lenders.values():
        for choice in lender.ladders:
            if choice.ladder not in release.ladders:
                raise BadRelease(
                    f"lenders/{lender.id}.toml: names ladder {choice.ladder!r}, which ladders/ does not have"
                )
        if lender.licence not in release.packs.packs:
            raise BadRelease(f"lenders/{lender.id}.toml: licence {lender.licence!r} is no pack in policies/")


class LiveRelease:
    """The compiled live release of this process; compiles anew when the live hash changes."""

    def __init__(self, fetch: Callable[[str], Bundle]) -> None:
        self._fetch = fetch
        self._release: Release | None = None

    def at(self, release_hash: str) -> Release:
        """The release of that hash; raises what compile_release raises."""
        if self._release is None or self._release.hash != release_hash:
            self._release = compile_release(self._fetch(release_hash))
        return self._release
