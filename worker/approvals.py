"""The life of a release: proposed by one person, approved by another, live, taken back. Every step verifies anew.

What counts is decided here and checked again by the worker that adopts a release: a signature is the signer's own,
over this hash, by somebody with that role who is not retired and whose key is not replaced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import structlog

from domain.bundle import Bundle
from storage import releases, switches, users
from storage.releases import Deed, NoSuchRelease, Standing
from storage.rows import Conn
from storage.switches import Switch
from storage.users import User
from worker.releases import compile_release
from worker.signatures import Signer, read_statement

log = structlog.get_logger()

#: What is written in the history of a release that nobody approved, while nobody is registered who could.
UNAPPROVED: Final = "shipped with duly or published by hand, approved by nobody: no users are registered"


class NotApproved(ValueError):
    """A release that may not go live, or may not be used, and what it lacks."""


class NotYourPart(ValueError):
    """A person who may not do this: not registered, retired, without the role, or not with this key."""


class Role(StrEnum):
    EDITOR = "editor"
    APPROVER = "approver"
    OPERATOR = "operator"


class Grounds(StrEnum):
    """Why a release may be used."""

    APPROVED = "approved"  # proposed by one person, approved by another
    KEPT = "kept"  # was live when the first user came, and kept by that user's signature
    UNAPPROVED = "unapproved"  # nobody is registered


@dataclass(frozen=True, slots=True)
class Admission:
    """Why a release may be used, and by whose signatures."""

    grounds: Grounds
    proposer: str | None = None
    approver: str | None = None


# ----------------------------------------------------------------------------------------------------- what may be used


def admit(conn: Conn, release_hash: str, *, to_go_live: bool = False) -> Admission:
    """Why this release may be used. Raises NotApproved or NoSuchRelease.

    `to_go_live` asks whether it may go live now; else whether it was rightly live when it last was: somebody who
    retires does not stop what went live before.
    """
    release = releases.standing(conn, release_hash)
    if not release.has_users:
        return Admission(Grounds.UNAPPROVED)
    as_of = release.now if to_go_live or release.live_at is None else release.live_at
    if release.kept:
        keeper = next((deed.by_whom for deed in release.deeds if _fault(deed, release, "kept", deed.at) is None), None)
        if keeper is not None:
            return Admission(Grounds.KEPT, approver=keeper)
    return _approval(release, as_of)


def _approval(release: Standing, as_of: datetime) -> Admission:
    faults: list[str] = []
    for proposal in _deeds(release, "proposed", as_of, faults):
        if proposal.by_whom != release.proposer:
            continue
        for approval in _deeds(release, "approved", as_of, faults):
            if approval.by_whom != proposal.by_whom:
                return Admission(Grounds.APPROVED, proposal.by_whom, approval.by_whom)
    lacks = "; ".join(dict.fromkeys(faults)) or _lack(release)
    raise NotApproved(
        f"release {release.release_hash[:12]} is not approved: {lacks}. Two persons: `duly release propose` by an "
        "editor, `duly release approve` by another person who is an approver"
    )


def _lack(release: Standing) -> str:
    if release.proposer is None:
        return "no registered user has proposed it"
    return "nobody but its proposer has approved it"


def _deeds(release: Standing, kind: str, as_of: datetime, faults: list[str]) -> Iterator[Deed]:
    """The signed deeds of one kind that count; what is wrong with the others is added to `faults`."""
    for deed in release.deeds:
        if deed.kind != kind:
            continue
        fault = _fault(deed, release, kind, as_of)
        if fault is None:
            yield deed
        else:
            faults.append(fault)


_ROLE_FOR: Final = {"proposed": Role.EDITOR, "approved": Role.APPROVER, "kept": Role.OPERATOR}


def _fault(deed: Deed, release: Standing, kind: str, as_of: datetime) -> str | None:
    """Why a signed deed does not count, or None."""
    what = f"what {deed.by_whom} {deed.kind}"
    said = read_statement(deed.signed)
    if deed.kind != kind or said is None or deed.key_owner != deed.by_whom:
        return f"{what} does not bear their signature"
    if (said.get("deed"), said.get("subject"), said.get("by")) != (kind, release.release_hash, deed.by_whom):
        return f"{what} was signed for something else"
    if _ROLE_FOR[kind] not in deed.roles:
        return f"{deed.by_whom} may not have {kind} it: not {_ROLE_FOR[kind]}"
    if deed.user_retired_at is not None and deed.user_retired_at <= as_of:
        return f"{what} no longer counts: {deed.by_whom} is retired"
    if deed.key_retired_at is not None and deed.key_retired_at <= as_of:
        return f"{what} no longer counts: the key was replaced"
    return None


# ------------------------------------------------------------------------------------------------------------ the steps


def propose(conn: Conn, bundle: Bundle, signer: Signer, *, at: datetime, why: str, draft: bool, **source: str) -> bool:
    """Store a bundle and put the editor's name to it; whether its content was new. Raises NotYourPart, NotApproved.

    The caller has run the checks, unless it is a draft.
    """
    with conn.transaction():
        _require(conn, signer, Role.EDITOR)
        fresh = releases.propose(conn, bundle, by=signer.user, state="draft" if draft else "checked", why=why)
        release = releases.standing(conn, bundle.hash)
        if release.proposer not in (None, signer.user) and any(d.kind == "approved" for d in release.deeds):
            raise NotApproved(f"release {bundle.hash[:12]} was proposed by {release.proposer} and is approved already")
        if not draft:
            releases.mark_checked(conn, bundle.hash, by=signer.user)
        signed = signer.sign("proposed", bundle.hash, at=at, why=why)
        releases.sign_proposal(conn, bundle.hash, signer.user, signed, detail={"why": why, **source})
    return fresh


def approve(conn: Conn, release_hash: str, signer: Signer, *, at: datetime, why: str) -> None:
    """Approve by a second person. Raises NotYourPart or NotApproved; the database refuses it once more."""
    with conn.transaction():
        _require(conn, signer, Role.APPROVER)
        release = releases.standing(conn, release_hash)
        short = release_hash[:12]
        if release.proposer is None:
            raise NotApproved(f"release {short} was proposed by nobody: an editor runs `duly release propose {short}`")
        if release.proposer == signer.user:
            raise NotYourPart(f"{signer.user} proposed release {short}: another person must approve it")
        if release.state == "draft":
            raise NotApproved(f"release {short} is a draft: `duly release check {short}` comes first")
        releases.approve(
            conn, release_hash, signer.user, signer.sign("approved", release_hash, at=at, why=why), why=why
        )


def go_live(
    conn: Conn,
    release_hash: str,
    signer: Signer,
    *,
    at: datetime,
    why: str = "",
    kind: str = "live",
    starts: datetime | None = None,
    until: datetime | None = None,
) -> Admission:
    """Make a release live, by an operator, now or from `starts` on (business time). Raises NotApproved, NotYourPart."""
    with conn.transaction():
        releases.lock(conn)
        _require(conn, signer, Role.OPERATOR)
        signed = signer.sign(kind, release_hash, at=at, why=why, starts=starts, until=until)
        admission = admit(conn, release_hash, to_go_live=True)
        if starts is not None:
            switches.plan(conn, "go_live", release_hash, starts, until=until, by=signer.user, why=why)
            releases.note(
                conn, release_hash, "scheduled", signer.user, signed=signed, why=why, starts=starts, until=until
            )
        else:
            _switch(conn, release_hash, admission, by=signer.user, kind=kind, why=why, until=until, signed=signed)
    return admission


def publish(conn: Conn, release_hash: str, *, by: str, why: str = "", kind: str = "live") -> None:
    """Make a release live that nobody approved; only while nobody is registered. Raises NotYourPart."""
    with conn.transaction():
        releases.lock(conn)
        if users.has_users(conn):
            raise NotYourPart(
                "users are registered, so a release needs two persons: `duly release propose`, then `approve` by "
                "another one, then `go-live`; say who you are with --as"
            )
        _switch(conn, release_hash, Admission(Grounds.UNAPPROVED), by=by, kind=kind, why=why, until=None)


def _switch(
    conn: Conn,
    release_hash: str,
    admission: Admission,
    *,
    by: str,
    kind: str,
    why: str,
    until: datetime | None,
    signed: releases.Signed | None = None,
) -> None:
    before = releases.live_hash(conn)
    unapproved = UNAPPROVED if admission.grounds is Grounds.UNAPPROVED else None
    releases.go_live(
        conn, release_hash, by=by, kind=kind, signed=signed, why=why, before=before, until=until,
        grounds=admission.grounds.value, note=unapproved,
    )  # fmt: skip
    if before is not None:
        switches.drop_expiries(conn, before)
    switches.drop_expiries(conn, release_hash)
    if until is not None:
        switches.plan(conn, "expire", release_hash, until, until=None, by=by, why=why)


def previous(conn: Conn) -> str:
    """The release that was live before the live one. Raises NoSuchRelease."""
    live = releases.live_hash(conn)
    before = releases.lived_before(conn, live or "", limit=1)
    if not before:
        raise NoSuchRelease("nothing was live before what is live now: there is nothing to go back to")
    return before[0]


# --------------------------------------------------------------------------------------------------- at their own times


def run_switches(conn: Conn, now: datetime) -> int:
    """Carry out what was scheduled and is due, inside the caller's transaction; how many. Verifies again, now.

    What may no longer go live is refused and written down; what is live stays live.
    """
    releases.lock(conn)
    due = switches.due(conn, now)
    for switch in due:
        try:
            _carry_out(conn, switch)
        except (ValueError, LookupError) as refusal:  # every loader's error is a ValueError
            switches.end(conn, switch.release_switch_id, state="refused", outcome=str(refusal))
            releases.note(conn, switch.release_hash, f"{switch.kind}_refused", "duly", why=str(refusal))
            log.error("release_switch_refused", release=switch.release_hash[:12], kind=switch.kind, why=str(refusal))
    switches.wake(conn)
    return len(due)


def _carry_out(conn: Conn, switch: Switch) -> None:
    number = switch.release_switch_id
    if switch.kind == "go_live":
        _adoptable(conn, switch.release_hash)
        admission = admit(conn, switch.release_hash, to_go_live=True)
        switches.end(conn, number, state="done", outcome="live")
        _switch(
            conn, switch.release_hash, admission, by=switch.by_whom, kind="live", why=switch.why, until=switch.until
        )
        return
    if releases.live_hash(conn) != switch.release_hash:
        switches.end(conn, number, state="cancelled", outcome="was not live any more")
        return
    back = previous(conn)
    _adoptable(conn, back)
    admission = admit(conn, back, to_go_live=True)
    switches.end(conn, number, state="done", outcome=f"{back[:12]} is live again")
    releases.note(conn, switch.release_hash, "expired", switch.by_whom, why=switch.why)
    _switch(conn, back, admission, by=switch.by_whom, kind="rolled_back", why="the one after it expired", until=None)


def cancel(conn: Conn, number: int, signer: Signer, *, at: datetime) -> bool:
    """Take back what was scheduled, by an operator; false when it no longer waits. Raises NotYourPart."""
    with conn.transaction():
        _require(conn, signer, Role.OPERATOR)
        switch = next((each for each in switches.waiting(conn) if each.release_switch_id == number), None)
        if switch is None:
            return False
        signed = signer.sign("cancelled", switch.release_hash, at=at, number=number)
        releases.note(conn, switch.release_hash, "cancelled", signer.user, signed=signed, what=switch.kind)
        return switches.end(conn, number, state="cancelled", outcome=f"cancelled by {signer.user}")


def _adoptable(conn: Conn, release_hash: str) -> None:
    """Raises what a worker would raise that adopts it."""
    compile_release(releases.fetch(conn, release_hash))


# ----------------------------------------------------------------------------------------------------------- the people


def register(
    conn: Conn, user_id: str, *, full_name: str, roles: list[Role], public_key: bytes, signer: Signer, at: datetime
) -> None:
    """Register a person, by an operator. The first one registers themselves, and what is live then stays live.

    Raises NotYourPart or storage.users.UserTaken.
    """
    plain = sorted({role.value for role in roles})
    with conn.transaction():
        releases.lock(conn)
        is_first = not users.has_users(conn)
        if is_first and (Role.OPERATOR not in roles or signer.user != user_id or signer.public_key != public_key):
            raise NotYourPart("the first user registers themselves, as an operator: they register the others")
        if not is_first:
            _require(conn, signer, Role.OPERATOR)
        signed = signer.sign("registered", user_id, at=at, roles=plain, public_key=public_key.hex())
        users.add(conn, user_id, full_name=full_name, roles=plain, public_key=public_key, by=signer.user, signed=signed)
        live = releases.live_hash(conn)
        if is_first and live is not None:
            releases.keep_live(conn, user_id, signer.sign("kept", live, at=at))


def retire(conn: Conn, user_id: str, *, signer: Signer, at: datetime) -> bool:
    """From now on nothing goes live by this person's signature. Raises NotYourPart, NoSuchUser."""
    with conn.transaction():
        releases.lock(conn)
        _require(conn, signer, Role.OPERATOR)
        leaver = users.find(conn, user_id)
        if leaver.retired_at is None and Role.OPERATOR in leaver.roles and users.operators(conn) == 1:
            raise NotYourPart(f"{user_id} is the only operator: register another one first")
        return users.retire(conn, user_id, by=signer.user, signed=signer.sign("retired", user_id, at=at))


def replace_key(conn: Conn, user_id: str, public_key: bytes, *, signer: Signer, at: datetime) -> None:
    """Give a person another key. Raises NotYourPart, NoSuchUser, UserTaken."""
    with conn.transaction():
        releases.lock(conn)
        _require(conn, signer, Role.OPERATOR)
        users.find(conn, user_id)
        signed = signer.sign("new_key", user_id, at=at, public_key=public_key.hex())
        users.replace_key(conn, user_id, public_key, by=signer.user, signed=signed)


def _require(conn: Conn, signer: Signer, role: Role) -> User:
    user = users.find(conn, signer.user)
    if user.retired_at is not None:
        raise NotYourPart(f"{user.user_id} is retired since {user.retired_at:%Y-%m-%d}")
    if role not in user.roles:
        raise NotYourPart(f"{user.user_id} is {', '.join(user.roles)}, and this takes {role}")
    if user.public_key != signer.public_key:
        raise NotYourPart(f"the key is not the one that is registered for {user.user_id}: see `duly users list`")
    return user
