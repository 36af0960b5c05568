"""Who carries a channel follows from the release and from what we can log in with."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from channels.credentials import BadCredentials, Credentials, live_credentials, sandbox_credentials
from config.settings import BadSettings, load_from
from domain.channel import Channel
from domain.route import Route
from worker.providers import credentials_for, fingerprints, with_apple

SMS = (Route("twilio", "twilio", Channel.SMS), Route("second", "twilio", Channel.SMS))
MAIL = (Route("smtp", "smtp", Channel.EMAIL), Route("spare", "smtp", Channel.EMAIL))
PUSH = (Route("fcm", "fcm", Channel.PUSH),)
ROUTES = {Channel.SMS: SMS, Channel.EMAIL: MAIL, Channel.PUSH: PUSH}

LIVE = live_credentials(
    twilio_account_sid="AC1", twilio_auth_token="first", smtp_url="smtps://user:sesame@relay.example"
)


def hashed(clear: bytes) -> bytes:
    return hashlib.sha256(clear).digest()


def test_the_first_of_a_kind_has_the_usual_log_in_and_any_other_needs_its_own() -> None:
    assert credentials_for(SMS[0], SMS, LIVE, {}) == replace(LIVE, smtp=None), "its own log-in and no other"
    assert credentials_for(SMS[1], SMS, LIVE, {}) is None

    urls = {"second": "twilio://AC2:o%2Cther@api.twilio.com", "spare": "smtp+starttls://u:p@spare.example:587"}
    second, spare = credentials_for(SMS[1], SMS, LIVE, urls), credentials_for(MAIL[1], MAIL, LIVE, urls)

    assert second is not None
    assert (second.twilio.account_sid, second.twilio.auth_token, second.smtp) == ("AC2", "o,ther", None)
    assert spare is not None
    assert (spare.smtp.host, spare.twilio) == ("spare.example", None)


def test_in_the_sandbox_no_provider_is_real_whatever_its_url() -> None:
    sandbox = sandbox_credentials(http_url="http://127.0.0.1:1", smtp_url="smtp://127.0.0.1:2")

    assert credentials_for(SMS[1], SMS, sandbox, {}).twilio.base_url == "http://127.0.0.1:1"
    other = credentials_for(SMS[1], SMS, sandbox, {"second": "http://127.0.0.1:3"})
    assert (other.twilio.base_url, other.is_sandbox) == ("http://127.0.0.1:3", True)
    settings = load_from({"DULY_PROVIDER_URLS": "second=twilio://AC2:t@api.twilio.com"})
    assert settings.urls_by_provider == {}, "real log-ins are for live providers only"


@pytest.mark.parametrize("url", ["https://api.twilio.com", "twilio://AC2@api.twilio.com", "twilio://"])
def test_a_url_that_is_no_log_in_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadCredentials, match="second: write second=twilio") as refused:
        credentials_for(SMS[1], SMS, LIVE, {"second": url})

    assert "AC2" not in str(refused.value)


def test_a_push_project_of_a_second_account_comes_from_its_key_file(tmp_path: Path) -> None:
    routes = (*PUSH, Route("other", "fcm", Channel.PUSH))

    with pytest.raises(BadCredentials, match="cannot read"):
        credentials_for(routes[1], routes, LIVE, {"other": f"fcm://{tmp_path}/none.json"})
    with pytest.raises(BadCredentials, match="write other=fcm"):
        credentials_for(routes[1], routes, LIVE, {"other": "fcm://relative"})


def test_fingerprints_change_with_the_log_in_and_with_nothing_else() -> None:
    def marks(credentials: Credentials, **urls: str) -> dict[str, str]:
        return fingerprints(ROUTES, credentials, urls, hashed)

    assert marks(LIVE) == marks(replace(LIVE))
    assert set(marks(LIVE)) == {"twilio", "smtp"}, "nobody to log in as, no fingerprint"
    renewed = marks(replace(LIVE, twilio=replace(LIVE.twilio, auth_token="renewed")))
    assert renewed["twilio"] != marks(LIVE)["twilio"]
    assert renewed["smtp"] == marks(LIVE)["smtp"]

    sandbox = [
        sandbox_credentials(http_url=f"http://127.0.0.1:{port}", smtp_url="smtp://127.0.0.1:9") for port in (1, 2)
    ]
    assert marks(sandbox[0])["twilio"] != marks(sandbox[1])["twilio"]


def test_apples_provider_stands_beside_firebases() -> None:
    assert [route.name for route in with_apple(ROUTES)[Channel.PUSH]] == ["fcm", "apns"]
    assert with_apple(with_apple(ROUTES)) == with_apple(ROUTES)


@pytest.mark.parametrize("wrong", ["second", "second=sesame", "Second=smtp://sesame", "a=smtp://x,sesame"])
def test_urls_that_are_no_list_are_refused_by_the_name_of_their_key(wrong: str) -> None:
    with pytest.raises(BadSettings, match="DULY_PROVIDER_URLS: must read name=") as refused:
        load_from({"DULY_PROVIDER_URLS": wrong})

    assert "sesame" not in str(refused.value)
