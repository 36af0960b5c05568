"""Entering the house: engines up, schema there, a release live, a spine to work with. Every command begins here."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from config import settings as configuration
from config.bundle import read_bundle
from config.settings import Settings
from domain.bundle import Bundle
from storage import lanes, releases, schema, users
from storage.rows import Conn
from worker import approvals, engines, logs, nightly
from worker.releases import Release, compile_release
from worker.wiring import Spine, folders

log = structlog.get_logger()

#: Who publishes what comes with the package.
HOUSE = "duly"


class NoRelease(Exception):
    """Nothing is live: a person has to publish a release first."""


@contextmanager
def enter(settings: Settings, *, role: str = "console") -> Iterator[Spine]:
    """A spine on a database that is ready, for the length of a `with` block.

    Embedded engines are started and migrated; a database of the operator's own must have been (`duly migrate`).
    Raises EngineFailed, DatabaseDown, SchemaMissing or NewerSchema.
    """
    running = engines.ensure(settings)
    if running.embedded:
        schema.migrate(running.database_url)
    else:
        schema.require_schema(running.database_url)
    spine = Spine(settings, running.database_url, role=role)
    try:
        nightly.schedule(spine.conn, now=lanes.business_now(spine.conn))
        yield spine
    finally:
        spine.close()


@contextmanager
def entered() -> Iterator[Spine]:
    """Enter with the settings of this process, logs set up: what most commands begin with."""
    settings = configuration.load()
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    with enter(settings) as spine:
        yield spine


def bundle_of(settings: Settings) -> Bundle:
    """The bundle that the folders hold now."""
    return read_bundle(*folders(settings))


def publish(conn: Conn, bundle: Bundle, *, by: str, why: str = "") -> Release:
    """Check a bundle, store it and make it live, approved by nobody: only while no users are registered.

    Raises what compile_release raises, or NotYourPart, with nothing changed.
    """
    release = compile_release(bundle)
    with conn.transaction():
        releases.propose(conn, bundle, by=by)
        approvals.publish(conn, bundle.hash, by=by, why=why)
    log.info("release_live", release=bundle.hash[:12], by=by)
    return release


def live_release(spine: Spine) -> Release:
    """The live release. With sandbox providers what the folders hold is made live first: one rehearses what one edits.

    With real providers, or once users are registered, only people change it. Raises NoRelease when nothing is live.
    """
    live = releases.live_hash(spine.conn)
    if not spine.settings.is_live and not users.has_users(spine.conn):
        bundle = bundle_of(spine.settings)
        if bundle.hash != live:
            return publish(spine.conn, bundle, by=HOUSE, why="what the folders hold, for a rehearsal")
    if live is None:
        raise NoRelease(
            "no release is live: check one with `duly release check`, then let it be proposed, approved and made live "
            "(docs/releases.md)"
        )
    return spine.release(live)
