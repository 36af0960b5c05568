"""The only thing that a broker message may say, and all else that it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.channel import Channel
from domain.lane import NEIGHBOURS, SHARDS, BadLane, Lane, shard_of


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True), st.sampled_from(Channel), st.integers(0, SHARDS - 1))
def test_a_lane_survives_the_broker(lender: str, channel: Channel, shard: int):
    assert Lane.parse(str(Lane(lender, channel, shard))) == Lane(lender, channel, shard)


@given(st.integers(1, 2**40))
def test_neighbours_share_a_shard_and_all_shards_are_used(party_id: int):
    block = party_id // NEIGHBOURS

    assert shard_of(party_id) == shard_of(block * NEIGHBOURS) == shard_of((block + 1) * NEIGHBOURS - 1)
    assert {shard_of((block + each) * NEIGHBOURS) for each in range(SHARDS)} == set(range(SHARDS))


@pytest.mark.parametrize(
    "forged",
    [None, 7, ["lantern:sms:3"], {}, "", "lantern:sms", "lantern:sms:16", "lantern:fax:3", "lantern:sms:3\n",
     "lantern:sms:-1", "LANTERN:sms:3", "a'; DROP TABLE party;--:sms:3", "x" * 5000],
)  # fmt: skip
def test_what_we_did_not_write_is_no_lane_and_is_not_repeated(forged: object):
    with pytest.raises(BadLane, match=r"^not a lane name$"):
        Lane.parse(forged)
