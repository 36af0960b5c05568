"""A release in the hands of a worker: the live bundle, compiled once and kept until another goes live."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from config.channels import parse_channels
from config.experiments import load_experiments
from config.ladders import load_ladders
from config.lenders import load_lenders
from domain.bundle import Bundle
from domain.experiment import Experiment, Experiments
from domain.ladder import Ladder
from domain.lender import Lender
from domain.provider import ChannelsConfig
from domain.purpose import Purpose
from messages.catalogue import Catalogue
from policy.packs import PackBook

log = structlog.get_logger()

#: Releases that a process keeps compiled: taking one back should not wait for it to be compiled again.
COMPILED_KEPT = 3

#: A release that was refused is looked at again after so long: somebody may approve it.
LOOK_AGAIN_SECONDS = 5.0


class BadRelease(ValueError):
    """Parts of a bundle that do not fit each other; the message names the file and the remedy."""


class NoneStands(ValueError):
    """Neither the live release nor any before it may be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Release:
    """Everything decided, ready to be used. `hash` is what each contact carries."""

    hash: str
    packs: PackBook
    ladders: Mapping[str, Ladder]
    lenders: Mapping[str, Lender]
    channels: ChannelsConfig
    catalogue: Catalogue
    experiments: Experiments


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
        experiments=load_experiments(bundle.under("experiments")),
    )
    _check_ladders(release)
    _check_lenders(release)
    for experiment in release.experiments.values():
        _check_experiment(release, experiment)
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
        for name in lender.providers:
            if not any(route.name == name for several in release.channels.routes.values() for route in several):
                raise BadRelease(f"lenders/{lender.id}.toml: providers.{name}: channels.toml has no such provider")
        if lender.licence not in release.packs.packs:
            raise BadRelease(f"lenders/{lender.id}.toml: licence {lender.licence!r} is no pack in policies/")


def _check_experiment(release: Release, experiment: Experiment) -> None:
    """The challenger says the same things at the same stage, on every channel and in every language."""
    name = f"experiments/{experiment.id}.toml"
    messages = release.catalogue.messages
    for key, message in (("message", experiment.message), ("challenger", experiment.challenger)):
        if message not in messages:
            raise BadRelease(f"{name}: {key}: {message!r}, which templates/ does not have")
    champion, challenger = messages[experiment.message], messages[experiment.challenger]
    if (champion.purpose, champion.stage, champion.days) != (challenger.purpose, challenger.stage, challenger.days):
        raise BadRelease(
            f"{name}: challenger: templates/{challenger.name}/message.toml differs in purpose, stage or days from "
            f"{champion.name}: an experiment changes the words, not when and for what they are"
        )
    if champion.purpose is not Purpose.REMINDER:
        raise BadRelease(
            f"{name}: message: {champion.name!r} is a {champion.purpose}: only reminders are experimented on"
        )
    copies = release.catalogue.templates
    for _, channel, locale in sorted(key for key in copies if key[0] == champion.name):
        if (challenger.name, channel, locale) not in copies:
            raise BadRelease(
                f"{name}: challenger: templates/{challenger.name}/ has no {channel}.{locale} copy, which "
                f"{champion.name} has: write it, or who reads {locale} gets nothing"
            )
    unknown = sorted(experiment.lenders - release.lenders.keys())
    if unknown:
        raise BadRelease(f"{name}: lenders: {unknown[0]!r}, which lenders/ does not have")


class LiveRelease:
    """The release that this process works by. Another one is adopted only when it stands; else it goes on as before."""

    def __init__(
        self,
        fetch: Callable[[str], Bundle],
        *,
        admit: Callable[[str], object],
        before: Callable[[str], Sequence[str]],
        ready: Mapping[str, Release] = MappingProxyType({}),
    ) -> None:
        """`admit` raises when a release may not be used; `before` names what was live before one, the latest first.

        What is `ready` is compiled already; it is admitted like any other.
        """
        self._fetch = fetch
        self._admit = admit
        self._before = before
        self._release: Release | None = None
        self._compiled: dict[str, Release] = dict(ready)
        self._refused: tuple[str, float] | None = None

    @property
    def hash(self) -> str | None:
        """The release that is worked by; None before the first."""
        return self._release.hash if self._release else None

    def at(self, release_hash: str) -> Release:
        """The release of that hash, admitted and compiled; else the one that was used before, with an error logged.

        A process that knows none looks for the last one that was live and stands. Raises NoneStands.
        """
        if self._release is not None and (self._release.hash == release_hash or self._is_refused(release_hash)):
            return self._release
        try:
            return self._adopt(release_hash)
        except (ValueError, LookupError) as refusal:  # every loader's error is a ValueError
            return self._instead_of(release_hash, refusal)

    def _is_refused(self, release_hash: str) -> bool:
        refused, at = self._refused or ("", 0.0)
        return refused == release_hash and time.monotonic() < at + LOOK_AGAIN_SECONDS

    def _adopt(self, release_hash: str) -> Release:
        self._admit(release_hash)
        release = self._compiled.pop(release_hash, None) or compile_release(self._fetch(release_hash))
        self._compiled[release_hash] = release
        while len(self._compiled) > COMPILED_KEPT:
            del self._compiled[next(iter(self._compiled))]
        if self._release is not None:
            log.info("release_adopted", release=release_hash[:12], instead_of=self._release.hash[:12])
        self._release = release
        return release

    def _instead_of(self, release_hash: str, refusal: Exception) -> Release:
        log.error("release_refused", release=release_hash[:12], why=str(refusal))
        self._refused = (release_hash, time.monotonic())
        if self._release is not None:
            return self._release
        for earlier in self._before(release_hash):
            try:
                release = self._adopt(earlier)
            except (ValueError, LookupError) as no_better:
                log.error("release_refused", release=earlier[:12], why=str(no_better))
            else:
                log.warning("release_kept", release=earlier[:12], refused=release_hash[:12])
                return release
        raise NoneStands(
            f"nothing is sent: the live release {release_hash[:12]} is refused, and none that was live before stands: "
            f"{refusal}"
        ) from refusal
