"""What the judge is given, and how far back it is fetched."""

from types import SimpleNamespace

import pytest

from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, the_bundle
from worker.cases import Scene, lookback
from worker.releases import compile_release

RELEASE = compile_release(the_bundle())


@pytest.mark.parametrize(("residence", "days"), [("TW", 32), ("IE", 33), ("CA-ON", 730), ("Atlantis", 31), (None, 31)])
def test_history_is_read_as_far_back_as_the_packs_of_these_people_look(residence: str | None, days: int):
    scene = Scene(TUESDAY_MORNING, RELEASE, RELEASE.lenders["lantern"], Keyring({"k": bytes(32)}, bytes(32)))
    people = [SimpleNamespace(residence="TW"), SimpleNamespace(residence=residence)]

    found = lookback(scene, people[1:], [])
    together = lookback(scene, people, [])

    assert found.days == days + 1, "a day more: their days begin at the customer's midnight"
    assert together.days == max(days, 32) + 1
