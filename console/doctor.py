"""`duly doctor`: looks at everything a fleet rests on and says what is wrong, and what to do about it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from urllib.request import urlopen
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from config.settings import Settings
from console.house import bundle_of
from storage import database, health, releases
from storage.rows import Conn
from worker import approvals, engines
from worker.approvals import Grounds
from worker.releases import Release, compile_release
from worker.wiring import credentials_of, keyring

#: Leases compare the database's clock with itself; receipts and logs compare machines. More than this confuses people.
MOST_CLOCK_SKEW = timedelta(seconds=2)

#: Zones that are compared even while there are no customers: they changed their rules lately, or change twice a year.
COMPARED_ZONES = (
    "Asia/Taipei",
    "Asia/Shanghai",
    "America/New_York",
    "America/Mexico_City",
    "Asia/Almaty",
    "Europe/Kyiv",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is what to do; None when all is well."""

    subject: str
    is_well: bool
    detail: str
    remedy: str | None = None


def examine(settings: Settings, *, real_now: Callable[[], datetime]) -> list[Finding]:
    """Look at engines, clock, zones, keys, release and providers. Starts nothing and changes nothing."""
    findings = list(_engines(settings))
    findings.extend(_files(settings))
    findings.append(_keys(settings))
    findings.append(_providers(settings))
    if all(finding.is_well for finding in findings if finding.subject in ("PostgreSQL", "database")):
        try:
            conn = database.connect(engines.ensure(settings).database_url, autocommit=True, patience_seconds=1)
        except database.DatabaseDown as error:
            findings.append(Finding("database", False, str(error), "start it, or correct DULY_DATABASE_URL"))
        else:
            with conn:
                findings.extend(_database(conn, real_now))
                findings.append(_live(conn, settings))
    return findings


def _engines(settings: Settings) -> Iterator[Finding]:
    for engine in engines.status(settings):
        detail = f"{engine.version or 'version unknown'}, {engine.place}"
        if engine.running:
            yield Finding(engine.name, True, detail)
        elif engine.embedded:
            yield Finding(
                engine.name, False, engine.trouble or "embedded, not running", "any command starts it: duly up"
            )
        else:
            yield Finding(
                engine.name, False, engine.trouble or "does not answer", "start it, or correct its DULY_*_URL"
            )


def _files(settings: Settings) -> Iterator[Finding]:
    try:
        release = compile_release(bundle_of(settings))
    except ValueError as error:  # every loader's error is one, and names file, key and remedy
        yield Finding("config and templates", False, str(error), "mend the file; what is live stays live")
        return
    yield Finding("packs", True, f"{len(release.packs.packs)}: {', '.join(sorted(release.packs.packs))}")
    yield Finding("templates", True, f"{len(release.catalogue.messages)} messages; see also `duly templates check`")
    yield Finding("ladders and lenders", True, _ladders(release))


def _ladders(release: Release) -> str:
    return f"{len(release.ladders)} ladders, {len(release.lenders)} lenders, release {release.hash[:12]}"


def _keys(settings: Settings) -> Finding:
    try:
        keyring(settings)
    except (ValueError, OSError) as error:
        return Finding("keys", False, str(error), "set DULY_MASTER_KEYS and DULY_LOOKUP_KEY")
    where = "from the settings" if settings.master_keys else f"made for this home, in {settings.home / 'keys'}"
    return Finding("keys", True, where)


def _providers(settings: Settings) -> Finding:
    if settings.is_live:
        try:
            given = credentials_of(settings)
        except (ValueError, OSError) as error:
            return Finding("providers", False, str(error), "correct the provider's DULY_* settings")
        there = [name for name in ("twilio", "smtp", "fcm") if getattr(given, name)]
        if not there:
            return Finding(
                "providers", False, "live, and none is configured", "set at least one provider's credentials"
            )
        return Finding("providers", True, f"live: {', '.join(there)}")
    if settings.sandbox_http_url is None:
        return Finding("providers", True, "sandbox; `duly up` starts it")
    try:
        with urlopen(f"{settings.sandbox_http_url}/sandbox/pending", timeout=2):  # noqa: S310 - http by validation
            return Finding("providers", True, f"sandbox at {settings.sandbox_http_url}")
    except OSError:
        return Finding("providers", False, "the sandbox does not answer", "start it: duly sandbox, or duly up")


def _database(conn: Conn, real_now: Callable[[], datetime]) -> Iterator[Finding]:
    vitals = health.vitals(conn)
    skew = abs(vitals.now - real_now())
    yield Finding(
        "clock", skew <= MOST_CLOCK_SKEW, f"database and this machine differ by {skew.total_seconds():.2f} s",
        None if skew <= MOST_CLOCK_SKEW else "let NTP set both clocks",
    )  # fmt: skip
    durable = (vitals.fsync, vitals.synchronous_commit) == ("on", "on")
    yield Finding(
        "durability", durable, f"fsync {vitals.fsync}, synchronous_commit {vitals.synchronous_commit}",
        None if durable else "turn both on: a stamp that a crash forgets is a second message",
    )  # fmt: skip
    yield _zones(conn, vitals.now)


def _zones(conn: Conn, now: datetime) -> Finding:
    """Whether Python and PostgreSQL read the same clocks in our customers' zones, this year and next."""
    names = sorted({*COMPARED_ZONES, *health.zones_in_use(conn)})
    moments = [(now + timedelta(days=30 * n)).astimezone(UTC).replace(microsecond=0) for n in range(24)]
    theirs = health.utc_offsets(conn, names, moments)
    differ = []
    for name in names:
        try:
            zone = ZoneInfo(name)
        except ZoneInfoNotFoundError:
            differ.append(name)
            continue
        if any(theirs.get((name, moment)) != _offset(zone, moment) for moment in moments):
            differ.append(name)
    detail = f"{len(names)} zones compared over two years, tzdata {version('tzdata')}"
    if not differ:
        return Finding("time zones", True, detail)
    return Finding(
        "time zones", False, f"{detail}; Python and PostgreSQL differ in {', '.join(differ)}",
        "update the tzdata package and PostgreSQL's time zone data to the same release",
    )  # fmt: skip


def _offset(zone: ZoneInfo, moment: datetime) -> float:
    offset = moment.astimezone(zone).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _live(conn: Conn, settings: Settings) -> Finding:
    live = releases.live_hash(conn)
    if live is None:
        return Finding("release", not settings.is_live, "none is live", "duly release publish")
    try:
        folder = bundle_of(settings).hash
    except ValueError:
        return Finding("release", True, f"{live[:12]} is live; the folders do not hold a valid one")
    same = "as in the folders" if folder == live else f"the folders hold another one, {folder[:12]}"
    try:
        admission = approvals.admit(conn, live)
    except approvals.NotApproved as error:
        return Finding("release", False, str(error), "workers refuse it: approve it, or `duly release rollback`")
    by = f"approved by {admission.approver}" if admission.proposer else "approved by nobody"
    is_well = admission.grounds is not Grounds.UNAPPROVED or not settings.is_live
    return Finding(
        "release", is_well, f"{live[:12]} is live, {same}, {by}",
        None if is_well else "real people are written to: register who approves (docs/releases.md)",
    )  # fmt: skip
