"""The composition root of a worker: what each process holds, made when first needed and kept.

Nothing here is made before the fork: connections, the event loop and its clients belong to one process.
"""

import os
import socket
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import psycopg
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from channels.base import Adapter
from channels.credentials import ApnsCredentials, Credentials, live_credentials, sandbox_credentials
from channels.registry import build
from config.settings import Settings
from domain.bundle import Bundle
from domain.channel import Channel
from messages.catalogue import Catalogue
from storage import database, releases
from storage.rows import Conn
from storage.sealing import Keyring
from worker.approvals import Admission, admit
from worker.loop import LoopThread
from worker.poison import Watch
from worker.releases import LiveRelease, Release
from worker.turns import Pace

Value = TypeVar("Value")

#: The keys of an embedded run live beside its data, readable by their owner only.
KEY_FILE = "keys"

#: One attempt to connect, where attempts are repeated.
ATTEMPT_SECONDS = 1.0

#: Releases of the past whose copy a process keeps compiled, to show what was written by them.
PAST_KEPT = 8

#: Making or closing a channel's clients.
BUILD_SECONDS = 30.0


class NoProviders(ValueError):
    """Sandbox providers are wanted and their addresses are not known."""


class Spine:
    """One process's connection, keys, live release, event loop and channel adapters."""

    def __init__(self, settings: Settings, database_url: str, *, role: str = "worker") -> None:
        self.settings = settings
        self.database_url = database_url
        self.name = f"{role}@{socket.gethostname()}:{os.getpid()}"
        self.pace = Pace()
        self._role = role
        self._conn: Conn | None = None
        self._live = LiveRelease(self._fetch, admit=self._admit, before=self._lived_before)
        self._past: dict[str, Catalogue] = {}
        self._adapters: tuple[str, Mapping[Channel, Adapter]] | None = None

    @property
    def conn(self) -> Conn:
        """This process's connection, in autocommit; a broken one is replaced. Raises DatabaseDown."""
        return self._connected(database.PATIENCE_SECONDS)

    @cached_property
    def keyring(self) -> Keyring:
        return keyring(self.settings)

    @cached_property
    def loop(self) -> LoopThread:
        return LoopThread()

    @cached_property
    def watch(self) -> Watch:
        """The notes of whom this process has in hand."""
        return Watch(
            lambda: database.connect(self.database_url, autocommit=True, application_name="duly watch"),
            name=self.name, lease=timedelta(seconds=self.settings.lease_seconds),
        )  # fmt: skip

    @property
    def release_hash(self) -> str | None:
        """The release that this process works by; None before its first batch."""
        return self._live.hash

    def release(self, release_hash: str) -> Release:
        """The live release of that hash, once it is admitted; if it is refused, the one that was used before it.

        Raises worker.releases.NoneStands.
        """
        return self._live.at(release_hash)

    def past_words(self, release_hash: str) -> Catalogue:
        """The copy of any release, to show again what was written by it, whatever became of it. A few are kept.

        Compiled without trying it on samples: what has left is shown, also where we would not send it today.
        Raises CopyError, NoSuchRelease or TamperedRelease.
        """
        if release_hash not in self._past:
            while len(self._past) >= PAST_KEPT:
                del self._past[next(iter(self._past))]
            self._past[release_hash] = (
                Catalogue.untried(self._fetch(release_hash).under("templates")).without_last_look()
            )
        return self._past[release_hash]

    def adapters(self, release: Release) -> Mapping[Channel, Adapter]:
        """The channels' clients on this process's loop; made anew when a release changes how they are used."""
        if self._adapters is None or self._adapters[0] != release.hash:
            self._close_adapters()
            credentials = credentials_of(self.settings)
            made = self.loop.run(_build(release, credentials, self.public_url), within_seconds=BUILD_SECONDS)
            self._adapters = (release.hash, made)
        return self._adapters[1]

    def provider_name(self, channel: Channel) -> str | None:
        """The provider that carries a channel in this process; None before its adapters are made."""
        adapter = self._adapters[1].get(channel) if self._adapters else None
        return adapter.name if adapter else None

    def persist(self, work: Callable[[Conn], Value], *, meanwhile: Callable[[], None] | None = None) -> Value:
        """Do idempotent work, again on a new connection if this one dies, for as long as the lease would stand.

        What was sent is known only to this process until it is written: a database that is away must not lose it.
        `meanwhile` is called between attempts, for whoever can do something about it.
        """
        attempts = Retrying(
            retry=retry_if_exception_type((psycopg.OperationalError, database.DatabaseDown)),
            stop=stop_after_delay(self.settings.lease_seconds),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            before_sleep=(lambda _: meanwhile()) if meanwhile else None,
            reraise=True,
        )
        return attempts(lambda: work(self._connected(ATTEMPT_SECONDS)))

    def close(self) -> None:
        self._close_adapters()
        if "loop" in self.__dict__:
            self.loop.close()
        if "watch" in self.__dict__:
            self.watch.close()
        if self._conn is not None:
            self._conn.close()

    @property
    def public_url(self) -> str:
        """Where providers and customers reach our console, without a slash at its end."""
        settings = self.settings
        return settings.public_url or f"http://{settings.console_host}:{settings.console_port}"

    def _connected(self, patience_seconds: float) -> Conn:
        if self._conn is None or self._conn.closed:
            self._conn = database.connect(
                self.database_url, autocommit=True, application_name=f"duly {self._role}", prepare_threshold=2,
                patience_seconds=patience_seconds,
            )  # fmt: skip
        return self._conn

    def _admit(self, release_hash: str) -> Admission:
        return admit(self.conn, release_hash)

    def _lived_before(self, release_hash: str) -> list[str]:
        return releases.lived_before(self.conn, release_hash)

    def _fetch(self, release_hash: str) -> Bundle:
        return releases.fetch(self.conn, release_hash)

    def _close_adapters(self) -> None:
        if self._adapters is not None:
            self.loop.run(_close(self._adapters[1]), within_seconds=BUILD_SECONDS)
            self._adapters = None


async def _build(release: Release, credentials: Credentials, public_url: str) -> Mapping[Channel, Adapter]:
    return build(release.channels, credentials, public_url=public_url)


async def _close(adapters: Mapping[Channel, Adapter]) -> None:
    for adapter in adapters.values():
        await adapter.aclose()


def keyring(settings: Settings) -> Keyring:
    """The keys to everything personal: the operator's own, else those made for this home. Raises KeyringError."""
    if settings.master_keys is not None and settings.lookup_key is not None:
        return Keyring.from_text(settings.master_keys.get_secret_value(), settings.lookup_key.get_secret_value())
    return Keyring.load_or_create(settings.home / KEY_FILE)


def credentials_of(settings: Settings) -> Credentials:
    """Where the providers are and as whom we log in: the sandbox, or the real ones. Raises NoProviders."""
    if settings.is_live:
        token, relay, account = settings.twilio_auth_token, settings.smtp_url, settings.fcm_service_account_file
        return live_credentials(
            twilio_account_sid=settings.twilio_account_sid,
            twilio_auth_token=token.get_secret_value() if token else None,
            smtp_url=relay.get_secret_value() if relay else None,
            fcm_service_account=account.read_text(encoding="utf-8") if account else None,
            apns=_apns(settings),
            dkim_keys=_dkim_keys(settings),
        )
    if settings.sandbox_http_url is None or settings.sandbox_smtp_url is None:
        raise NoProviders(
            "no sandbox to send to: run `duly up`, which starts one, or set DULY_SANDBOX_HTTP_URL and "
            "DULY_SANDBOX_SMTP_URL to one that runs"
        )
    trusted = settings.sandbox_apns_certificate_file
    return sandbox_credentials(
        http_url=settings.sandbox_http_url,
        smtp_url=settings.sandbox_smtp_url,
        apns_url=settings.sandbox_apns_url,
        apns_trusted=trusted.read_text(encoding="ascii") if trusted else None,
        dkim_keys=_dkim_keys(settings),
    )


def _apns(settings: Settings) -> ApnsCredentials | None:
    key, key_id, team, topic = (
        settings.apns_key_file, settings.apns_key_id, settings.apns_team_id, settings.apns_topic,
    )  # fmt: skip
    if key is None or key_id is None or team is None or topic is None:
        return None
    return ApnsCredentials(key.read_text(encoding="ascii"), key_id, team, topic)


def _dkim_keys(settings: Settings) -> dict[str, str]:
    """The private keys of the folder, by file name without `.pem`: the name of the record they belong to."""
    if settings.dkim_keys_dir is None:
        return {}
    return {path.stem: path.read_text(encoding="ascii") for path in sorted(settings.dkim_keys_dir.glob("*.pem"))}


def folders(settings: Settings) -> tuple[Path, Path]:
    """The reviewed files and the copy: the operator's folders, else those that come with the package."""
    house = Path(__file__).resolve().parent.parent
    return settings.config_dir or house / "config", settings.templates_dir or house / "templates"
