"""What the judge is given, and how far back it is fetched."""

from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace

import msgspec
import pytest

from domain.case import CustomerFacts
from domain.channel import Channel
from domain.ladder import PlannedStep
from messages import samples
from storage.picture import Standing
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, the_bundle
from worker.cases import Scene, case_of, facts_of, lookback
from worker.planner import reminder_for
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


def test_what_may_be_offered_and_the_contracts_dates_are_those_of_this_day():
    row = SimpleNamespace(
        account_ref="NB-004821", product="card", balance_minor=600_00, currency="HKD", due_on=date(2026, 2, 1),
        as_of=datetime(2026, 3, 2, 20, tzinfo=UTC), zones=["Asia/Hong_Kong"],
    )  # fmt: skip
    scene = Scene(TUESDAY_MORNING, RELEASE, RELEASE.lenders["northbank"], Keyring({"k": bytes(32)}, bytes(32)))

    now = facts_of(scene, row, [row], "en", name="Ana")
    later = facts_of(replace(scene, now=datetime(2026, 6, 1, tzinfo=UTC)), row, [row], "en", name="Ana")

    assert (now.days_past_due, now.as_of) == (30, date(2026, 3, 3)), "both on the customer's calendar"
    assert (now.offers, now.deadline_on, now.report_on) == (("plan", "pause"), date(2026, 3, 18), date(2026, 4, 2))
    assert (later.offers, later.deadline_on, later.report_on) == (("plan",), None, None)


def test_what_is_made_without_counting_its_fields_has_all_of_them() -> None:
    at = TUESDAY_MORNING
    row = SimpleNamespace(
        expires_at=at, account_id=1, due_on=date(2026, 2, 1), balance_minor=1, currency="HKD", zones=[], household=None
    )
    reach = SimpleNamespace(lookup=b"x", kind="mobile", zones=[], country="TW")
    standing = Standing(1, 1, "sms", None, "reminder", at, None)
    person = SimpleNamespace(facts=CustomerFacts(()), history=(), holds=(), standings=[standing])
    scene = Scene(at, RELEASE, RELEASE.lenders["northbank"], Keyring({"k": bytes(32)}, bytes(32)))
    step = RELEASE.ladders["standard"].steps[0]
    planned = reminder_for(
        PlannedStep(step, at, at), party_id=1, account_id=1, lender_id="northbank", ladder="standard", reachable=set()
    )
    message = RELEASE.catalogue.messages["first_notice"]
    for name in ("Ana", "Ana"):  # in full, and out of what was kept of it
        facts = msgspec.structs.replace(samples.ordinary(message, "en"), customer_name=name)
        words = RELEASE.catalogue.render("first_notice", Channel.SMS, "en", facts)

    case = case_of(scene, person, row, Channel.SMS, reach)

    for made in (case, case.account, case.attempt, *case.consents, planned, words):
        assert len(made) == len(made._fields), type(made).__name__
