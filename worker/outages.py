"""After an outage: which stages have spoken, so that those that have not begin anew and nobody skips a level."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from storage import outages
from storage.picture import Due
from storage.rows import Conn
from worker.releases import Release

#: The first day of a stage is the customer's; a day of room is wider than any zone.
A_DAY = timedelta(days=1)


def stages_spoken(conn: Conn, release: Release, due: Iterable[Due], *, now: datetime) -> set[tuple[int, int]]:
    """The accounts (party, account) of expired steps whose stage has spoken before. No expired step, no query."""
    expired = []
    for row in due:
        ladder = release.ladders.get(row.ladder)
        if row.expires_at > now or ladder is None:
            continue
        days = [step.day for step in ladder.steps if step.stage.value == row.stage]
        if days:
            expired.append((row.party_id, row.account_id, row.stage, row.due_on + timedelta(days=min(days)) - A_DAY))
    return outages.spoken(conn, expired)
