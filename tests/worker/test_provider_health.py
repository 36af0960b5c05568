"""What workers see becomes weights and stops for the whole fleet: said once, on record, and taken back by itself."""

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from structlog.testing import capture_logs

from channels.breaker import PROBES
from channels.pacing import Pacer
from channels.several import Watch
from config.lenders import load_lenders
from domain.channel import Channel
from domain.lender import Lender, LenderProvider
from domain.route import Route
from storage import database, lanes, providers
from storage.rows import Conn
from tests.builders import TUESDAY_MORNING, the_bundle
from worker.provider_health import Traffic, try_again

ROUTES = {Channel.SMS: (Route("twilio", "twilio", Channel.SMS, 70), Route("second", "twilio", Channel.SMS, 30))}
LENDER = load_lenders(the_bundle().under("lenders"))["lantern"]


@pytest.fixture
def conn(connection: Conn) -> Conn:
    connection.autocommit = True
    lanes.step_clock(connection, TUESDAY_MORNING)
    return connection


def a_worker(conn: Conn, name: str = "one") -> Traffic:
    def never() -> Pacer:
        raise AssertionError("nothing is limited here")

    traffic = Traffic(name, pacer=never)
    traffic.watches = {route.name: Watch(5.0) for route in ROUTES[Channel.SMS]}
    traffic.register(conn, ROUTES, release_hash="f" * 64)
    return traffic


def see(
    traffic: Traffic, provider: str, *, good: int = 0, slow: int = 0, failed: int = 0, code: str = "connect"
) -> None:
    watch = traffic.watches[provider]
    watch.good, watch.slow, watch.failed, watch.code = good, slow, failed, code if failed else None


def room(conn: Conn, traffic: Traffic, lender: Lender = LENDER) -> int:
    return traffic.room(conn, ROUTES, lender, Channel.SMS, wanted=500, now=lanes.business_now(conn))


def weights(conn: Conn) -> dict[str, int]:
    return dict(conn.execute("SELECT provider, weight FROM provider").fetchall())


def pass_time(conn: Conn, **by: float) -> None:
    lanes.step_clock(conn, lanes.business_now(conn) + timedelta(**by))


def test_a_slow_provider_loses_weight_once_for_all_who_see_it_and_has_it_back(conn: Conn, database_url: str):
    one = a_worker(conn)
    pass_time(conn, minutes=2)
    with database.connect(database_url, autocommit=True) as elsewhere, capture_logs() as logs:
        other = a_worker(elsewhere, "other")
        for traffic, its in ((one, conn), (other, elsewhere)):
            see(traffic, "twilio", good=40, slow=20, failed=1)
            see(traffic, "second", good=40)
            traffic.settle(its)

    assert weights(conn) == {"twilio": 60, "second": 30}
    (said,) = [line for line in logs if line["event"] == "provider_weight"]
    assert (said["provider"], said["was"], said["weight"]) == ("twilio", 70, 60)
    (latest, *_) = providers.changes(conn, "twilio")
    assert (latest.by_whom, latest.reason) == ("one", "1 of 41 answers failed and 20 were slow")

    pass_time(conn, minutes=20)
    one.look_after(conn, dict)
    assert weights(conn) == {"twilio": 70, "second": 30}
    assert providers.changes(conn, "twilio")[0].reason == "quiet for 15 minutes: back towards 70"


def test_all_workers_stop_together_and_one_of_them_tries(conn: Conn, database_url: str):
    one = a_worker(conn)
    with database.connect(database_url, autocommit=True) as elsewhere:
        other = a_worker(elsewhere, "other")
        for name in ("twilio", "second"):
            see(one, name, failed=6)
            see(other, name, failed=6)
        one.settle(conn)
        assert room(conn, one) == 500, "six failures say little"
        with capture_logs() as logs:
            other.settle(elsewhere)
        assert [line["provider"] for line in logs if line["event"] == "provider_turned"] == ["second", "twilio"]
        one.settle(conn)
        one.look_after(conn, dict)

        assert room(conn, one) == room(elsewhere, other) == 0

        pass_time(conn, seconds=6)
        assert room(conn, one) == 2 * PROBES
        assert room(elsewhere, other) == 0, "the other does not try what is being tried"

        see(one, "second", good=2)
        see(one, "twilio", failed=1)
        one.settle(conn)
        assert room(conn, one) == 500, "one of the two is well"
        states = dict(conn.execute("SELECT provider, state FROM provider").fetchall())
        assert states == {"second": "closed", "twilio": "open"}


def test_refused_credentials_stop_it_and_only_other_credentials_or_a_person_try_again(conn: Conn):
    traffic = a_worker(conn)
    traffic.fingerprints = {"twilio": "old"}
    traffic.watches["twilio"].wrong = traffic.watches["twilio"].code = "20003"
    with capture_logs() as logs:
        traffic.settle(conn)
    (said,) = [line for line in logs if line["event"] == "provider_misconfigured"]
    assert said["log_level"] == "error"
    assert traffic.watches["twilio"].is_stopped

    pass_time(conn, days=1)
    traffic.look_after(conn, lambda: {"twilio": "old"})
    assert conn.execute("SELECT state FROM provider WHERE provider = 'twilio'").fetchone() == ("misconfigured",)

    traffic.look_after(conn, lambda: {"twilio": "new"})

    found = providers.standings(conn, window=timedelta(1), weighing=timedelta(1))
    standing = next(each for each in found if each.provider == "twilio")
    assert (standing.state, standing.retry_at) == ("open", lanes.business_now(conn))
    assert try_again(conn, standing, by="ana", reason="reset")
    assert not try_again(conn, standing, by="ana", reason="reset"), "it was moved since she looked"


def test_a_lender_may_keep_to_one_provider(conn: Conn):
    traffic = a_worker(conn)
    see(traffic, "second", failed=20)
    see(traffic, "twilio", good=20)
    traffic.settle(conn)

    keeps = replace(LENDER, providers={"second": LenderProvider(1)})

    assert room(conn, traffic) == 500
    assert room(conn, traffic, keeps) == 0, "its only provider is stopped"


def test_what_was_seen_is_told_again_when_the_database_was_away(conn: Conn, database_url: str):
    traffic = a_worker(conn)
    see(traffic, "twilio", failed=3)
    with database.connect(database_url, autocommit=True) as closed:
        pass
    with pytest.raises(psycopg.OperationalError):
        traffic.settle(closed)

    for _ in range(2):
        traffic.settle(conn)

    assert conn.execute("SELECT sum(failed) FROM provider_answer").fetchone() == (3,), "and only once"


def test_a_channel_without_any_log_in_is_not_kept_waiting(conn: Conn):
    traffic = a_worker(conn)
    traffic.watches = {"smtp": Watch(5.0)}

    assert room(conn, traffic) == 500, "who sends says that there is no provider"

    traffic.watches = {"second": Watch(5.0)}
    see(traffic, "second", failed=20)
    traffic.settle(conn)
    assert room(conn, traffic) == 0, "the only one that we can log in to is stopped"
