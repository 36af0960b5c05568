"""Wake-ups: enough of them, and no more."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.channel import Channel
from domain.lane import Lane
from storage import lanes, picture

LANE = Lane("lantern", Channel.SMS, 3)


def test_a_lane_is_woken_once_until_somebody_begins(connection: psycopg.Connection):
    assert lanes.claim_wake_ups(connection, [LANE]) == [LANE]
    assert lanes.claim_wake_ups(connection, [LANE]) == []

    lanes.begin_wake_up(connection, LANE)

    assert lanes.claim_wake_ups(connection, [LANE]) == [LANE]


@pytest.mark.parametrize("moved", ["- interval '3 seconds'", "+ interval '1 hour'"])
def test_a_lost_wake_up_is_made_again_also_when_the_clock_was_set_back(connection: psycopg.Connection, moved: str):
    lanes.claim_wake_ups(connection, [LANE])
    connection.execute(f"UPDATE wake_up SET published_at = published_at {moved}")

    assert lanes.claim_wake_ups(connection, [LANE]) == [LANE]


@given(
    planned=st.lists(
        st.tuples(
            st.sampled_from(["aspen", "birch", "cedar"]), st.sampled_from(["call", "email", "sms"]), st.integers(0, 5),
            st.integers(-3, 3), st.booleans(),
        ),
        max_size=40,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_lane_with_something_planned_is_found_with_its_first(
    connection: psycopg.Connection, planned: list[tuple[str, str, int, int, bool]]
):
    now = datetime(2026, 3, 3, 2, 30, tzinfo=UTC)
    rows = [
        (number, lender, channel, shard, now + timedelta(hours=hours), "planned" if is_open else "sent", is_open)
        for number, (lender, channel, shard, hours, is_open) in enumerate(planned)
    ]
    with connection.transaction(force_rollback=True):
        lanes.step_clock(connection, now)
        connection.cursor().executemany(
            """
            INSERT INTO reminder (party_id, account_id, lender_id, ladder, step, stage, channel, shard, planned_for,
                                  due_at, expires_at, state, contact_id)
            SELECT number, 1, lender, 'standard', 'first_notice', 'initial', channel, shard, at, at, at, state,
                   CASE WHEN is_open THEN NULL ELSE gen_random_uuid() END
            FROM (SELECT %s::bigint, %s, %s, %s::smallint, %s::timestamptz, %s, %s)
                 AS v(number, lender, channel, shard, at, state, is_open)
            """,
            rows,
        )
        found = connection.execute(lanes.LANES).fetchall()
        due = picture.due_lanes(connection)

    first: dict[tuple[str, str, int], datetime] = {}
    for _, lender, channel, shard, at, _, is_open in rows:
        if is_open:
            first[lender, channel, shard] = min(at, first.get((lender, channel, shard), at))
    assert found == [(*lane, at) for lane, at in sorted(first.items())]
    late = {(lender, channel) for (lender, channel, _), at in first.items() if at <= now}
    assert {(lane.lender, lane.channel.value) for lane in due} == late
    assert all(first[lane.lender, lane.channel.value, lane.shard] <= now for lane in due)


def test_what_was_sent_is_vacuumed_away_however_much_is_kept(connection: psycopg.Connection):
    """A tick walks over it. A share alone would be most of a million rows of forty million, and any tick slower."""
    options = dict(
        connection.execute(
            "SELECT o.option_name, o.option_value::float FROM pg_class, pg_options_to_table(reloptions) o"
            " WHERE oid = 'reminder'::regclass"
        ).fetchall()
    )

    assert options["autovacuum_vacuum_scale_factor"] <= 0.02
    assert options["autovacuum_vacuum_max_threshold"] <= 250_000
