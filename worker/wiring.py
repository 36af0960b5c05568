"""The composition root of a worker: what each process holds, made when first needed and kept.

Nothing of it is made before the fork: connections, the event loop and its clients belong to one process. Only the live
release is compiled before, which is a value.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import psycopg
import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from channels.base import Adapter, Outbound
from channels.credentials import ApnsCredentials, Credentials, live_credentials, sandbox_credentials
from channels.pacing import Pacer, shared_buckets
from channels.several import Several
from config.settings import Settings
from domain.bundle import Bundle
from domain.channel import Channel
from domain.route import Routes
from messages.catalogue import Catalogue
from storage import database, picture, releases
from storage.rows import Conn
from storage.sealing import Keyring
from worker import engines
from worker.approvals import Admission, admit
from worker.loop import LoopThread
from worker.poison import Watch
from worker.provider_health import Traffic
from worker.providers import Carriers, build_all, fingerprints, with_apple
from worker.releases import LiveRelease, Release, compile_release
from worker.turns import Pace

Value = TypeVar("Value")

log = structlog.get_logger()

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


def compiled_before_the_fork(database_url: str) -> Mapping[str, Release]:
    """The live release, compiled once for all processes of a pool and for those that come after them.

    Nothing when the database is away or the release is faulty: each process looks for itself then, and says why.
    """
    try:
        with database.connect(database_url, autocommit=True, application_name="duly start", patience_seconds=0) as conn:
            release_hash = picture.open_drain(conn, "*").release_hash
            if release_hash is None:
                return {}
            return {release_hash: compile_release(releases.fetch(conn, release_hash))}
    except (psycopg.Error, database.DatabaseDown, ValueError, LookupError) as error:
        log.warning("release_not_ready", error=type(error).__name__)
        return {}


class Spine:
    """One process's connection, keys, live release, event loop and channel adapters."""

    def __init__(
        self,
        settings: Settings,
        database_url: str,
        *,
        role: str = "worker",
        ready: Mapping[str, Release] = MappingProxyType({}),
    ) -> None:
        """`ready` are releases that were compiled before this process was forked."""
        self.settings = settings
        self.database_url = database_url
        self.name = f"{role}@{socket.gethostname()}:{os.getpid()}"
        self.pace = Pace()
        self.traffic = Traffic(self.name, pacer=self._pacer)
        self._role = role
        self._conn: Conn | None = None
        self._live = LiveRelease(self._fetch, admit=self._admit, before=self._lived_before, ready=ready)
        self._past: dict[str, Catalogue] = {}
        self._adapters: tuple[str, Mapping[Channel, Adapter]] | None = None
        self._routes: tuple[str, Routes] | None = None

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
            self._past[release_hash] = Catalogue.untried(
                self._fetch(release_hash).under("templates")
            ).without_last_look()
        return self._past[release_hash]

    def adapters(self, release: Release) -> Mapping[Channel, Adapter]:
        """The channels' clients on this process's loop; made anew when a release changes how they are used."""
        if self._adapters is None or self._adapters[0] != release.hash:
            self._close_adapters()
            credentials, urls = credentials_of(self.settings), self.settings.urls_by_provider
            routes = self.routes(release)
            made = self.loop.run(
                _build(release, routes, credentials, urls, self.public_url), within_seconds=BUILD_SECONDS
            )
            self._adapters = (release.hash, made.adapters)
            self.traffic.watches = made.watches
            self.traffic.fingerprints = fingerprints(routes, credentials, urls, self.keyring.fingerprint)
            self.persist(lambda conn: self.traffic.register(conn, routes, release_hash=release.hash))
        return self._adapters[1]

    def routes(self, release: Release) -> Routes:
        """The providers of each channel, as the release and our credentials have them."""
        if self._routes is None or self._routes[0] != release.hash:
            written = release.channels.routes
            self._routes = (release.hash, with_apple(written) if self._has_apple else written)
        return self._routes[1]

    def settle(self) -> None:
        """Tell the fleet what the providers answered. What cannot be told now is told after the next batch."""
        try:
            self.traffic.settle(self.conn)
        except (psycopg.OperationalError, database.DatabaseDown) as error:
            log.warning("providers_unsettled", error=type(error).__name__)

    def look_after_providers(self) -> None:
        """Try again what was mended, also where nothing is sent: our credentials may be the new ones."""
        self.traffic.look_after(self.conn, self._fingerprints)

    def _fingerprints(self) -> Mapping[str, str]:
        release_hash = picture.open_drain(self.conn, "*").release_hash
        if release_hash is None:
            return {}
        routes, urls = self.routes(self.release(release_hash)), self.settings.urls_by_provider
        return fingerprints(routes, credentials_of(self.settings), urls, self.keyring.fingerprint)

    def provider_of(self, outbound: Outbound) -> str | None:
        """The provider that is to carry a message; None before the adapters are made, or when none can."""
        adapter = self._adapters[1].get(outbound.channel) if self._adapters else None
        return adapter.provider_of(outbound) if isinstance(adapter, Several) else adapter.name if adapter else None

    def persist(self, work: Callable[[Conn], Value], *, meanwhile: Callable[[], None] | None = None) -> Value:
        """Do idempotent work, again on a new connection if this one dies, for as long as the lease would stand.

        What was sent is known only to this process until it is written: a database that is away must not lose it.
        `meanwhile` is called between attempts, for whoever can do something about it.
        """
        try:
            return work(self._connected(ATTEMPT_SECONDS))
        except (psycopg.OperationalError, database.DatabaseDown):
            if meanwhile:
                meanwhile()
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

    @property
    def _has_apple(self) -> bool:
        settings = self.settings
        return (settings.apns_key_file if settings.is_live else settings.sandbox_apns_url) is not None

    def _pacer(self) -> Pacer:
        url = limiter_url(self.settings)
        return Pacer(shared_buckets(url) if url is not None else None, clock=time.monotonic)

    def _close_adapters(self) -> None:
        if self._adapters is not None:
            self.loop.run(_close(self._adapters[1]), within_seconds=BUILD_SECONDS)
            self._adapters = None


async def _build(
    release: Release, routes: Routes, credentials: Credentials, urls: Mapping[str, str], public_url: str
) -> Carriers:
    return build_all(release.channels, routes, credentials, urls, public_url=public_url)


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


def limiter_url(settings: Settings) -> str | None:
    """Where rate limits are counted: a Redis or Valkey of the operator's, or the broker; None if that is neither."""
    given = settings.limiter_url or settings.broker_url
    url = engines.ensure(settings).broker_url if given is None else given.get_secret_value()
    return url if url.startswith(("redis://", "rediss://", "redis+socket://")) else None


def folders(settings: Settings) -> tuple[Path, Path]:
    """The reviewed files and the copy: the operator's folders, else those that come with the package."""
    house = Path(__file__).resolve().parent.parent
    return settings.config_dir or house / "config", settings.templates_dir or house / "templates"
