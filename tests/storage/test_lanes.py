"""Wake-ups: enough of them, and no more."""

import psycopg
import pytest

from domain.channel import Channel
from domain.lane import Lane
from storage import lanes

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
