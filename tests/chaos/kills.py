"""Processes that die, freeze or are told to go: workers at every boundary of their way, beats, engines."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.chaos.arena import LEASE_SECONDS, SWEEP_SECONDS
from tests.chaos.links import Session
from tests.chaos.rounds import Fault, Script, Trial

#: Every boundary of a reminder's way, in order, as the wiretap names it.
BOUNDARIES = {
    "lock.before": "before the lock",
    "intents.before": "before the intents",
    "intents.commit": "before the intents' commit",
    "intents.committed": "after the intents' commit",
    "stamp.before": "before the stamp",
    "stamp.committed": "between stamp and first byte",
    "sms.asked": "at the first byte of an SMS",
    "sms.accepted": "SMS accepted, not answered",
    "email.asked": "at the final dot of a mail",
    "email.accepted": "mail accepted, not answered",
    "record.before": "before the record",
    "record.commit": "before the record's commit",
    "record.committed": "after the record",
}

#: The provider's clock and the database's are one; what was under way may take so long.
LATE_SECONDS = 1.0

#: Commits of which a worker may not learn.
COMMITS = {
    "intents": "the intents' commit sent",
    "stamp": "the stamp's commit sent",
    "record": "the record's commit sent",
}


def killed_at(place: str, victim: str) -> Callable[[Trial], Script]:
    """kill -9 the moment that a worker passes there. `victim`: its pool child, its parent, or all of it."""

    def script(trial: Trial) -> Script:
        def kill(session: Session) -> None:
            if session.pid is None:
                return
            group = trial.arena.group_of(session.pid)
            chosen = {"pool child": [session.pid], "parent": group[:1], "whole worker": group}[victim]
            for pid in chosen:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            session.cut()

        wire = trial.arena.trip(place, kill)
        yield lambda: wire.is_tripped
        trial.harm_is_done()
        yield 0.5

    return script


def frozen_at(place: str) -> Callable[[Trial], Script]:
    """SIGSTOP a pool child at a place for longer than its lease and a sweep, then SIGCONT."""

    def script(trial: Trial) -> Script:
        stopped: list[int] = []
        first = len(trial.judge.arrivals())

        def freeze(session: Session) -> None:
            if session.pid is not None:
                os.kill(session.pid, signal.SIGSTOP)
                stopped.append(session.pid)

        wire = trial.arena.trip(place, freeze)
        yield lambda: wire.is_tripped
        yield float(LEASE_SECONDS + SWEEP_SECONDS + 2)
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        trial.harm_is_done()
        yield 0.5
        if place == "stamp.committed" and not trial.has_company:  # a silent link delivers late too
            trial.expect(lambda: sent_on_a_lost_lease(trial, first))

    return script


def sent_on_a_lost_lease(trial: Trial, first: int) -> str | None:
    """What arrived although a sweep had given it up: its worker stood still, and should have looked at its clock."""
    query = "SELECT contact_id, recorded_at FROM contact_event WHERE kind = 'uncertain' AND dedupe_key = 'sweep'"
    given_up = dict(trial.arena.ask(lambda conn: conn.execute(query).fetchall()))
    late = [
        one
        for one in trial.judge.arrivals()[first:]
        if one.contact in given_up and one.at > given_up[one.contact].timestamp() + LATE_SECONDS
    ]
    return f"{len(late)} messages left after their worker had lost its lease" if late else None


def worker_frozen(trial: Trial) -> Script:
    """A whole worker stands still past its lease, at any moment, and goes on."""
    part = trial.dice.choice(trial.arena.workers)
    assert part.process is not None
    pids = trial.arena.group_of(part.process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield float(LEASE_SECONDS + SWEEP_SECONDS + 2)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def all_workers_killed(trial: Trial) -> Script:
    for part in trial.arena.workers:
        assert part.process is not None
        for pid in trial.arena.group_of(part.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    trial.harm_is_done()
    yield 1.0


def beat_killed(trial: Trial) -> Script:
    for part in trial.arena.beats:
        assert part.process is not None
        part.process.kill()
    trial.harm_is_done()
    yield 1.0


def console_killed(trial: Trial) -> Script:
    part = next(part for part in trial.arena.running_fleet.parts if part.name == "console")
    assert part.process is not None
    part.process.kill()
    trial.harm_is_done()
    yield 1.0


def database_killed(trial: Trial) -> Script:
    trial.arena.kill_database()
    trial.harm_is_done()
    yield 1.0


def database_killed_at(what: str) -> Callable[[Trial], Script]:
    def script(trial: Trial) -> Script:
        wire = trial.arena.trip(f"{what}.commit_sent", lambda session: trial.arena.kill_database())
        yield lambda: wire.is_tripped
        trial.harm_is_done()
        yield 1.0

    return script


def cut_at(what: str) -> Callable[[Trial], Script]:
    """The connection dies after COMMIT was sent: whether it was committed, the worker cannot know."""

    def script(trial: Trial) -> Script:
        wire = trial.arena.trip(f"{what}.committed", Session.cut)
        yield lambda: wire.is_tripped
        trial.harm_is_done()
        yield 0.5

    return script


def broker_killed(trial: Trial, *, wipe: bool) -> Script:
    trial.arena.kill_broker(wipe=wipe)
    trial.harm_is_done()
    yield 1.0


def worker_told_to_go(trial: Trial) -> Script:
    """A soft deploy: SIGTERM under load, and the supervisor starts it again."""
    part = trial.dice.choice(trial.arena.workers)
    assert part.process is not None
    gone = part.process
    gone.terminate()
    yield lambda: gone.poll() is not None
    trial.harm_is_done()
    yield 1.0


def rolling_deploy(trial: Trial) -> Script:
    """A new worker comes, an old one goes, until all are new; and all the time there is work."""
    arena = trial.arena
    for number, old in enumerate(list(arena.workers)):
        fresh = arena.worker_part(f"worker-new-{number}")
        fresh.start()
        arena.extras.append(fresh)
        yield partial(_is_ready, trial, fresh.name)
        assert old.process is not None
        going = old.process
        going.terminate()
        yield lambda going=going: going.poll() is not None  # type: ignore[misc]
        yield 0.5
    for part in [part for part in arena.extras if part.name.startswith("worker-new")]:
        arena.extras.remove(part)  # the supervisor has started those of the old names again by now
        assert part.process is not None
        part.process.terminate()
        yield lambda part=part: not part.is_running  # type: ignore[misc]


def _is_ready(trial: Trial, name: str) -> bool:
    part = next(part for part in trial.arena.workers if part.name == name)
    return len(trial.arena.children(part)) >= trial.arena.settings.worker_concurrency


def deploy_cut_short(trial: Trial) -> Script:
    """SIGTERM, and SIGKILL before it could finish: what an impatient orchestrator does."""
    part = trial.dice.choice(trial.arena.workers)
    assert part.process is not None
    group = trial.arena.group_of(part.process.pid)
    part.process.terminate()
    yield trial.dice.uniform(0.05, 1.5)
    for pid in group:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    trial.harm_is_done()
    yield 1.0


FAULTS = [
    *(Fault("kill -9 of a pool child", words, killed_at(place, "pool child")) for place, words in BOUNDARIES.items()),
    *(
        Fault("kill -9 of a worker's parent", BOUNDARIES[place], killed_at(place, "parent"))
        for place in ("intents.committed", "stamp.committed", "sms.accepted")
    ),
    *(
        Fault("kill -9 of a whole worker", BOUNDARIES[place], killed_at(place, "whole worker"))
        for place in ("intents.committed", "stamp.committed", "sms.accepted", "record.before")
    ),
    Fault("kill -9 of all workers", "any moment", all_workers_killed),
    Fault("SIGSTOP past the lease", BOUNDARIES["intents.committed"], frozen_at("intents.committed")),
    Fault("SIGSTOP past the lease", BOUNDARIES["stamp.committed"], frozen_at("stamp.committed")),
    Fault("SIGSTOP past the lease", BOUNDARIES["sms.asked"], frozen_at("sms.asked")),
    Fault("SIGSTOP past the lease", BOUNDARIES["email.accepted"], frozen_at("email.accepted")),
    Fault("SIGSTOP past the lease", "a whole worker, any moment", worker_frozen),
    Fault("kill -9 of beat", "any moment", beat_killed),
    Fault("kill -9 of the console", "any moment", console_killed),
    Fault("kill -9 of PostgreSQL", "any moment", database_killed),
    *(Fault("kill -9 of PostgreSQL", words, database_killed_at(what)) for what, words in COMMITS.items()),
    *(Fault("connection cut, commit unknown", words, cut_at(what)) for what, words in COMMITS.items()),
    Fault("kill -9 of the broker", "with its data", partial(broker_killed, wipe=False)),
    Fault("kill -9 of the broker", "its data wiped", partial(broker_killed, wipe=True)),
    Fault("deploy", "soft, under load", worker_told_to_go),
    Fault("deploy", "rolling, under load", rolling_deploy),
    Fault("deploy", "SIGTERM, then SIGKILL", deploy_cut_short),
]
