"""The auditor finds what should not be in a ledger, by its rule, and nothing in one where all was well."""

import json
import os
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from domain.bundle import Bundle
from domain.channel import Channel
from domain.contact import new_contact_id
from domain.lane import Lane, shard_of
from storage import lanes, retention
from storage.retention import Mark
from storage.sealing import Keyring
from tests.builders import TUESDAY_MORNING, a_customer, a_live_release, a_reminder, an_account, the_bundle
from tests.rehearsal import Fleet, fleet, sandbox
from worker import dispatch
from worker.auditing import Audit, audit_ledger
from worker.wiring import keyring

__all__ = ["fleet", "sandbox"]

KEYS = Keyring({"k1": os.urandom(32)}, os.urandom(32))
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

#: Tuesday 2026-03-03, 12:00 in Taipei: far from every edge.
NOON = datetime(2026, 3, 3, 4, 0, tzinfo=UTC)


class Ledger:
    """A small ledger in which contacts are planted without asking anybody."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn = conn
        self.release = a_live_release(conn)
        self.customer = a_customer(conn, KEYS)
        self.account = an_account(conn, self.customer, due_on=NOON.date() - 20 * DAY)
        conn.execute("UPDATE consent SET given_at = %s", (NOON - 400 * DAY,))

    def contact(
        self, at: datetime = NOON, channel: Channel = Channel.SMS, outcome: str | None = "sent", **changed: Any
    ) -> None:
        row: dict[str, Any] = {
            "party_id": self.customer.party_id, "contact_id": new_contact_id(at), "intended_at": at,
            "customer_id": self.customer.customer_id, "lender_id": "lantern", "actor": "creditor",
            "channel": channel.value, "purpose": "reminder", "rule": "planted", "pack": "tests",
            "packs": ["baseline", "tw"], "zones": ["Asia/Taipei"], "account_ids": [self.account],
            "release_hash": self.release, "address_lookup": b"theirs",
            **changed,
        }  # fmt: skip
        inputs = {"zone_confirmed": True, "residence": "TW", "number_country": "TW", "days_past_due": [20]}
        row["inputs"] = json.dumps(inputs | row.get("inputs", {}))
        columns = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, row))
        slots = psycopg.sql.SQL(", ").join(map(psycopg.sql.Placeholder, row))
        self.conn.execute(psycopg.sql.SQL("INSERT INTO contact ({}) VALUES ({})").format(columns, slots), row)
        if outcome is not None:
            self.event(row, outcome, at)

    def event(self, row: dict[str, Any], kind: str, at: datetime) -> None:
        self.conn.execute(
            """
            INSERT INTO contact_event (party_id, contact_id, intended_at, kind, dedupe_key, at)
            VALUES (%s, %s, %s, %s, 'dispatch', %s)
            """,
            (row["party_id"], row["contact_id"], row["intended_at"], kind, at),
        )

    def hold(self, kind: str, since: datetime, ends_at: datetime | None = None, account: int | None = None) -> None:
        self.conn.execute(
            """
            INSERT INTO hold (party_id, account_id, kind, reason, source, since, ends_at)
            VALUES (%s, %s, %s, 'tests', 'tests', %s, %s)
            """,
            (self.customer.party_id, account, kind, since, ends_at),
        )

    def audit(self) -> Audit:
        return audit_ledger(self.conn)

    def broken(self) -> list[str]:
        return [each.rule for each in self.audit().listed]


@pytest.fixture
def planted(connection: psycopg.Connection) -> Ledger:
    return Ledger(connection)


def test_a_clean_journey_gives_no_violation(fleet: Fleet) -> None:
    customer = a_customer(fleet.conn, keyring(fleet.settings))
    account = an_account(fleet.conn, customer)
    a_reminder(fleet.conn, customer, account)
    spine = fleet.spine()
    for day in range(8):
        lanes.step_clock(fleet.conn, TUESDAY_MORNING + day * DAY)
        for channel in (Channel.SMS, Channel.EMAIL):
            dispatch.drain(spine, Lane("lantern", channel, shard_of(customer.party_id)))
    spine.close()

    found = audit_ledger(fleet.conn)

    assert found.contacts == 2
    assert found.violations == 0
    assert found.people.most == 2
    assert {"baseline.hours.messages", "tw.hours", "baseline.contacts.day"} <= {each.rule for each in found.checked}


def test_a_contact_at_noon_is_well(planted: Ledger) -> None:
    planted.contact()

    assert planted.broken() == []


def test_an_empty_ledger_is_well(planted: Ledger) -> None:
    found = planted.audit()

    assert (found.contacts, found.violations, found.people.people) == (0, 0, 0)


def test_nothing_is_left_behind(planted: Ledger) -> None:
    planted.contact()
    planted.conn.commit()
    planted.audit()

    assert planted.conn.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'audit%'").fetchone() == (0,)


def test_a_contact_at_night_breaks_the_hours_of_both_packs(planted: Ledger) -> None:
    planted.contact(NOON + 11 * HOUR)

    found = planted.audit()

    assert [each.rule for each in found.listed] == ["baseline.hours.messages", "tw.hours"]
    assert found.listed[0].accounts == ["A1-1"]
    assert found.listed[0].local == "Tue 2026-03-03 23:00:00"
    assert found.listed[0].zone == "Asia/Taipei"
    assert "outside its hours" in found.listed[0].why


@pytest.mark.parametrize(
    ("clock", "rules"),
    [
        ("09:04:59", ["baseline.hours.messages"]),
        ("09:05:00", []),
        ("19:54:59", []),
        ("19:55:00", ["baseline.hours.messages"]),
    ],
)
def test_the_margin_belongs_to_the_night(planted: Ledger, clock: str, rules: list[str]) -> None:
    planted.contact(datetime.fromisoformat(f"2026-03-03T{clock}+08:00"))

    assert planted.broken() == rules


def test_what_is_handed_over_late_is_judged_by_that_moment(planted: Ledger) -> None:
    planted.contact(NOON, outcome=None)
    row = planted.conn.execute("SELECT party_id, contact_id, intended_at FROM contact").fetchone()
    planted.event(dict(zip(("party_id", "contact_id", "intended_at"), row, strict=True)), "sent", NOON + 9 * HOUR)

    assert planted.broken() == ["baseline.hours.messages"]


def test_a_contact_on_a_holiday_is_found(planted: Ledger) -> None:
    planted.contact(datetime(2026, 2, 17, 4, 0, tzinfo=UTC))  # Lunar New Year's Day

    assert planted.broken() == ["baseline.hours.messages"]


def test_a_contact_on_a_sunday_is_found(planted: Ledger) -> None:
    planted.contact(NOON - 2 * DAY)

    assert planted.broken() == ["baseline.hours.messages"]


def test_a_day_that_nobody_has_reviewed_is_a_holiday(planted: Ledger) -> None:
    planted.contact(datetime(2028, 3, 7, 4, 0, tzinfo=UTC))

    assert planted.broken() == ["baseline.hours.messages"]


def test_every_zone_must_be_open(planted: Ledger) -> None:
    planted.contact(NOON, zones=["Asia/Taipei", "Europe/Berlin"])

    found = planted.audit()

    assert [each.rule for each in found.listed] == ["baseline.hours.messages", "tw.hours"]
    assert all("05:00:00 in Europe/Berlin" in each.why for each in found.listed)


def test_hours_shared_by_less_than_one_hour_are_not_enough(planted: Ledger) -> None:
    """09:00 in St John's is 19:30 in Taipei: half an hour until 20:00."""
    planted.contact(datetime.fromisoformat("2026-03-20T19:45:00+08:00"), zones=["Asia/Taipei", "America/St_Johns"])
    planted.contact(datetime.fromisoformat("2026-03-23T18:45:00+08:00"), zones=["Asia/Taipei", "America/Noronha"])

    found = planted.audit()

    assert [(each.rule, each.at.day) for each in found.listed if each.at.day == 20] == [("zones.no_overlap", 20)]
    assert "30 minutes in common" in found.listed[-1].why


def test_the_numbers_zones_join_while_the_zone_is_not_confirmed(planted: Ledger) -> None:
    planted.contact(NOON, inputs={"zone_confirmed": False, "number_zones": ["America/New_York"]})

    assert "tw.hours" in planted.broken()


def test_a_second_contact_in_a_day_is_found_and_a_refused_one_does_not_count(planted: Ledger) -> None:
    planted.contact(NOON - HOUR, outcome="rejected")
    planted.contact(NOON)
    assert planted.broken() == []
    planted.contact(NOON + HOUR, Channel.EMAIL, outcome=None)

    found = planted.audit()

    assert [each.rule for each in found.listed] == ["baseline.contacts.day"]
    assert found.listed[0].channel == "email"
    assert found.contacts == 2


def test_what_others_did_counts_and_is_not_audited(planted: Ledger) -> None:
    planted.contact(NOON - 14 * HOUR, origin="imported")
    planted.contact(NOON - HOUR, origin="imported")
    planted.contact(NOON)

    found = planted.audit()

    assert found.contacts == 1
    assert [each.rule for each in found.listed] == ["baseline.contacts.day"]


def test_a_fourth_contact_in_seven_days_is_found(planted: Ledger) -> None:
    for day in (0, 1, 2, 6):
        planted.contact(NOON + day * DAY)

    assert planted.broken() == ["baseline.contacts.week"]


def test_the_seventh_day_is_over_when_the_eighth_begins(planted: Ledger) -> None:
    for day in (0, 1, 2, 7):
        planted.contact(NOON + day * DAY)

    assert planted.broken() == []


def test_a_call_before_the_wait_ends_is_found(planted: Ledger) -> None:
    planted.contact(NOON, Channel.CALL, outcome="no_answer")
    planted.contact(NOON + 3 * HOUR, Channel.CALL, outcome="no_answer")

    assert planted.broken() == ["baseline.calls.apart"]


def test_a_call_within_seven_days_of_a_talk_is_found(planted: Ledger) -> None:
    planted.contact(NOON, Channel.CALL, outcome="conversation")
    planted.contact(NOON + 6 * DAY, Channel.CALL, outcome="no_answer")
    planted.contact(NOON + 7 * DAY, Channel.CALL, outcome="no_answer")

    assert planted.broken() == ["baseline.calls.after_talk"]


def test_a_call_counts_as_a_talk_until_its_ending_is_known(planted: Ledger) -> None:
    planted.contact(NOON, Channel.CALL, outcome="dialled")
    row = planted.conn.execute("SELECT party_id, contact_id, intended_at FROM contact").fetchone()
    ended = dict(zip(("party_id", "contact_id", "intended_at"), row, strict=True))
    planted.event(ended, "no_answer", NOON + 2 * HOUR)
    planted.contact(NOON + HOUR, Channel.SMS)
    planted.contact(NOON + 3 * HOUR, Channel.SMS)

    found = planted.audit()

    assert [(each.rule, each.at) for each in found.listed] == [
        ("baseline.contacts.day", NOON + HOUR),
        ("baseline.contacts.day", NOON + 3 * HOUR),
    ]
    assert "1 counted" in found.listed[1].why  # the text message; the call reached nobody


#: An e-mail of an agency's to somebody in Ontario, where a letter has to go before and days have to pass.
IN_ONTARIO: dict[str, Any] = {
    "actor": "agency", "packs": ["baseline", "ca-on"], "zones": ["America/Toronto"],
    "inputs": {"residence": "CA-ON", "number_country": None},
}  # fmt: skip
NOON_IN_TORONTO = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)


def test_a_letter_that_may_have_been_forgotten_is_not_missed_and_one_that_cannot_have_been_is(planted: Ledger) -> None:
    planted.contact(NOON_IN_TORONTO, Channel.EMAIL, **IN_ONTARIO)
    assert planted.broken() == ["ca-on.letter_first"]

    retention.set_mark(planted.conn, Mark(date(2024, 3, 3)))
    assert planted.broken() == ["ca-on.letter_first"], "it counts for 730 days, and all of them are there"

    retention.set_mark(planted.conn, Mark(date(2024, 4, 1)))
    found = planted.audit()
    assert found.violations == 0
    [forgotten] = [each for each in found.not_audited if each.rule == "retention.forgotten"]
    assert "the ledger before 2024-04-01 is gone" in forgotten.why


def test_a_letter_is_not_taken_for_the_first_when_earlier_ones_may_have_been_forgotten(planted: Ledger) -> None:
    for days in (500, 3):
        planted.contact(NOON_IN_TORONTO - days * DAY, Channel.LETTER, origin="imported")
    planted.contact(NOON_IN_TORONTO, Channel.EMAIL, **IN_ONTARIO)
    assert planted.broken() == []

    planted.conn.execute("DELETE FROM contact WHERE intended_at < %s", (NOON_IN_TORONTO - 400 * DAY,))
    assert planted.broken() == ["ca-on.after_letter"]

    retention.set_mark(planted.conn, Mark(date(2025, 2, 1)))
    assert planted.broken() == []


def test_a_contact_during_a_hold_is_found(planted: Ledger) -> None:
    planted.hold("hardship", NOON - DAY, NOON + DAY)
    planted.contact()

    assert planted.broken() == ["hold.hardship"]


def test_a_hold_on_another_debt_or_that_is_over_or_yet_to_come_bars_nothing(planted: Ledger) -> None:
    other = an_account(planted.conn, planted.customer, 2)
    planted.hold("dispute", NOON - DAY, account=other)
    planted.hold("dispute", NOON - 2 * DAY, NOON)
    planted.hold("dispute", NOON + HOUR)
    planted.contact()

    assert planted.broken() == []


def test_an_answer_passes_a_hold_that_waits_for_one_and_none_that_does_not(planted: Ledger) -> None:
    planted.hold("dispute", NOON - DAY)
    planted.hold("bereavement", NOON - DAY)
    planted.contact(purpose="reply")

    assert planted.broken() == ["hold.bereavement"]


def test_a_contact_without_consent_is_found(planted: Ledger) -> None:
    planted.conn.execute("DELETE FROM consent WHERE channel = 'sms'")
    planted.contact()

    assert planted.broken() == ["consent.missing"]


def test_a_consent_given_later_does_not_help(planted: Ledger) -> None:
    planted.conn.execute("UPDATE consent SET given_at = %s", (NOON + HOUR,))
    planted.contact()

    assert planted.broken() == ["consent.missing"]


def test_a_contact_after_the_withdrawal_is_found_and_one_before_it_is_not(planted: Ledger) -> None:
    planted.conn.execute(
        """
        INSERT INTO consent (party_id, customer_id, channel, lookup, given_at, withdrawn_at, source)
        VALUES (%s, %s, 'sms', 'theirs', %s, %s, 'tests')
        """,
        (planted.customer.party_id, planted.customer.customer_id, NOON - 9 * DAY, NOON + HOUR),
    )
    planted.contact(NOON)
    planted.contact(NOON + DAY)

    found = planted.audit()

    assert [(each.rule, each.at) for each in found.listed] == [("consent.withdrawn", NOON + DAY)]


def test_a_debt_too_young_for_the_place_is_found(planted: Ledger) -> None:
    greek = {"packs": ["baseline", "gr"], "zones": ["Europe/Athens"]}
    inputs = {"residence": "GR", "number_country": "GR"}
    planted.contact(NOON + 6 * HOUR, **greek, inputs={**inputs, "days_past_due": [10]})
    planted.contact(NOON + 9 * DAY + 6 * HOUR, **greek, inputs={**inputs, "days_past_due": [11]})

    found = planted.audit()

    assert [(each.rule[:3], each.at) for each in found.listed] == [("gr.", NOON + 6 * HOUR)]
    assert "10 days past due" in found.listed[0].why


def test_a_channel_that_providers_refuse_is_found(planted: Ledger) -> None:
    planted.contact(
        NOON + 12 * HOUR, actor="agency", packs=["baseline", "us"], zones=["America/New_York"],
        inputs={"residence": "US", "number_country": "US"},
    )  # fmt: skip

    assert planted.broken() == ["provider-a2p-north-america.third_party_sms"]


def test_a_pack_of_the_place_that_was_left_out_is_found(planted: Ledger) -> None:
    planted.contact(packs=["baseline"])

    found = planted.audit()

    assert [each.rule for each in found.listed] == ["packs.place", "packs.place"]
    assert "residence TW asks for tw" in found.listed[0].why + found.listed[1].why


def test_a_contact_without_a_zone_or_release_is_found(planted: Ledger) -> None:
    planted.contact(zones=[])
    planted.contact(NOON + 10 * DAY, zones=["Mars/Olympus_Mons"])
    planted.contact(NOON + 20 * DAY, release_hash=None)

    assert planted.broken() == ["release.unknown", "zones.unknown", "zones.unknown"]


def test_a_near_miss_is_counted_and_shown(planted: Ledger) -> None:
    planted.contact(datetime.fromisoformat("2026-03-03T19:51:00+08:00"))

    near = {each.rule: each for each in planted.audit().near_misses}

    assert near["baseline.hours.messages"].number == 1
    assert near["baseline.contacts.day"].number == 1  # the one slot of the day
    assert "baseline.contacts.week" not in near


def test_only_the_asked_days_are_audited_and_those_before_them_count(planted: Ledger) -> None:
    planted.contact(NOON - 9 * HOUR)  # 03:00, before the days that are asked for
    planted.contact(NOON)

    found = audit_ledger(planted.conn, since=NOON - HOUR, until=NOON + HOUR)

    assert found.contacts == 1
    assert [each.rule for each in found.listed] == ["baseline.contacts.day"]


def test_rules_that_are_not_understood_are_named_and_never_passed_over(planted: Ledger) -> None:
    files = dict(the_bundle().files)
    files["policies/tw.toml"] += """
[[rules]]
id = "tw.moon"
kind = "moon_phase"
[[rules]]
id = "tw.odd"
kind = "cap"
counts = "contact"
subject = "person"
limit = 1
window = { kind = "local_day" }
unless_raining = true
"""
    bundle = Bundle(files)
    planted.release = a_live_release(planted.conn, bundle)
    planted.contact()

    found = {each.rule: each.why for each in planted.audit().not_audited}

    assert "moon_phase" in found["tw.moon"]
    assert "unless_raining" in found["tw.odd"]
    assert "tw.third_parties" in found
    assert "customer.refused_channel" in found
    assert "tw.hours" not in found


def test_packs_are_read_as_they_were(planted: Ledger) -> None:
    files = dict(the_bundle().files)
    files["policies/tw.toml"] = files["policies/tw.toml"].replace('until = "22:00"', 'until = "11:00"')
    a_live_release(planted.conn, Bundle(files))
    planted.contact()  # by the release before

    assert planted.broken() == []

    planted.contact(NOON + DAY, release_hash=Bundle(files).hash)
    assert planted.broken() == ["tw.hours"]
