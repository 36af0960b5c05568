import base64
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from config.settings import SECRETS, BadSettings, Settings, child_environment, load_from

KEY = base64.b64encode(bytes(32)).decode()
OTHER_KEY = base64.b64encode(bytes(range(32))).decode()


def test_without_any_environment_the_defaults_are_embedded_engines_and_the_sandbox() -> None:
    settings = load_from({})

    assert settings.home == Path.cwd() / ".duly"
    assert (settings.database_url, settings.broker_url) == (None, None)
    assert not settings.is_live
    assert settings.worker_concurrency == os.cpu_count()


def test_keys_of_other_programs_are_none_of_our_business() -> None:
    assert load_from({"PATH": "/bin", "PGHOST": "elsewhere", "DULYNOTED": "1"}) == load_from({})


@pytest.mark.parametrize("key", ["DULY_TICKSECONDS", "DULY_HOMES", "DULY_", "DULY_HOME_FILE", "DULY_home"])
def test_an_unknown_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(BadSettings, match=f"{key} is not a setting"):
        load_from({key: "1"})


def test_a_database_may_be_named_by_several_hosts() -> None:
    assert load_from({"DULY_DATABASE_URL": "postgresql://duly@one:5432,two:5432/duly"}).database_url


def test_an_empty_value_is_an_unset_one() -> None:
    assert load_from({"DULY_SMTP_URL": "", "DULY_TICK_SECONDS": " ", "DULY_BROKER_URL_FILE": ""}) == load_from({})


WRONG = {
    "DULY_DATABASE_URL": "mysql://duly:sesame@host/duly",
    "DULY_BROKER_URL": "http://:sesame@host",
    "DULY_MASTER_KEYS": "sesame",
    "DULY_LOOKUP_KEY": "c2VzYW1l",
    "DULY_SMTP_URL": "sesame",
    "DULY_PROVIDERS": "sesame",
    "DULY_PUBLIC_URL": "https://",
    "DULY_SANDBOX_HTTP_URL": "http://[sesame",
    "DULY_SANDBOX_SMTP_URL": "smtp://host:sesame",
    "DULY_CONSOLE_PORT": "70000",
    "DULY_TICK_SECONDS": "0",
    "DULY_KEEP_LEDGER_DAYS": "0",
    "DULY_LEASE_SECONDS": "sesame",
    "DULY_BATCH_SIZE": "1e3",
    "DULY_WAVE_SIZE": "-1",
    "DULY_LOG_LEVEL": "sesame",
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_value_is_refused_by_the_name_of_its_key_and_not_repeated(key: str) -> None:
    with pytest.raises(BadSettings, match=key) as refusal:
        load_from({key: WRONG[key]})

    assert "sesame" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(BadSettings) as refusal:
        load_from(WRONG)

    assert all(key in str(refusal.value) for key in WRONG)


@given(st.sampled_from(sorted(SECRETS)), st.text().map(lambda text: f"¤{text}¤"))
def test_no_secret_shows_in_a_refusal_or_a_repr(name: str, text: str) -> None:
    try:
        shown = repr(load_from({f"DULY_{name.upper()}": text}))
    except BadSettings as refusal:
        shown = str(refusal)

    assert text.strip() not in shown


def test_secrets_hide_in_the_repr_and_so_do_addresses() -> None:
    settings = load_from(
        {
            "DULY_DATABASE_URL": "postgresql://duly:sesame@host/duly",
            "DULY_TWILIO_AUTH_TOKEN": "sesame",
            "DULY_STAFF_ADDRESSES": "sesame@example.com, other@example.com",
        }
    )

    assert "sesame" not in repr(settings)
    assert "sesame" not in str(settings)
    assert settings.staff_addresses == ("sesame@example.com", "other@example.com")


def test_settings_are_frozen_and_cross_to_other_processes() -> None:
    settings = load_from({"DULY_SMTP_URL": "smtp://relay"})

    with pytest.raises(ValidationError, match="frozen"):
        settings.batch_size = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_names_that_opentelemetry_gives_everybody_are_read_and_ours_win() -> None:
    theirs = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://theirs:4318", "OTEL_TRACES_SAMPLER_ARG": "0.5"}

    assert load_from(theirs).otel_exporter_otlp_endpoint == "http://theirs:4318"
    assert load_from(theirs).otel_traces_sampler_arg == 0.5
    ours = load_from({**theirs, "DULY_OTEL_EXPORTER_OTLP_ENDPOINT": "http://ours:4318"})
    assert ours.otel_exporter_otlp_endpoint == "http://ours:4318"
    with pytest.raises(BadSettings, match="DULY_OTEL_TRACES_SAMPLER_ARG"):
        load_from({"OTEL_TRACES_SAMPLER_ARG": "often"})


def test_folders_become_absolute() -> None:
    settings = load_from({"DULY_HOME": "state/../here", "DULY_TEMPLATES_DIR": "~/words"})

    assert settings.home == Path.cwd() / "here"
    assert settings.templates_dir == Path.home() / "words"


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_every_secret_may_come_from_a_file(tmp_path: Path, name: str) -> None:
    values = {
        "database_url": "postgresql://h/d",
        "broker_url": "redis://h",
        "smtp_url": "smtp://h",
        "limiter_url": "redis://h",
        "provider_urls": "second=smtp://h",
        "bounces_imap_url": "imap://h",
        "twilio_auth_token": "t",
        "master_keys": f"k1:{KEY}",
        "lookup_key": KEY,
    }
    partner = {"master_keys": {"DULY_LOOKUP_KEY": KEY}, "lookup_key": {"DULY_MASTER_KEYS": f"k1:{KEY}"}}
    file = tmp_path / "secret"
    file.write_text(values.get(name, "t") + "\n")

    settings = load_from({f"DULY_{name.upper()}_FILE": str(file), **partner.get(name, {})})

    secret = getattr(settings, name)
    assert isinstance(secret, SecretStr)
    assert secret.get_secret_value() == values.get(name, "t")


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "is empty"), (b"\xff\xfe", "not UTF-8"), (b"x" * 70_000, "larger than 64 KiB")],
)
def test_a_secret_file_that_is_no_secret_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(BadSettings, match=rf"DULY_TWILIO_AUTH_TOKEN_FILE: .*{why}"):
        load_from({"DULY_TWILIO_AUTH_TOKEN_FILE": str(file)})


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="are both set"):
        load_from({"DULY_SMTP_URL": "smtp://a", "DULY_SMTP_URL_FILE": str(tmp_path)})


def test_going_live_takes_own_keys() -> None:
    with pytest.raises(BadSettings, match="DULY_MASTER_KEYS and DULY_LOOKUP_KEY"):
        load_from({"DULY_PROVIDERS": "live"})

    ring = f"k2:{OTHER_KEY},k1:{KEY}"
    assert load_from({"DULY_PROVIDERS": "live", "DULY_MASTER_KEYS": ring, "DULY_LOOKUP_KEY": KEY}).is_live


def test_the_two_kinds_of_keys_only_go_together() -> None:
    with pytest.raises(BadSettings, match="DULY_LOOKUP_KEY is not set"):
        load_from({"DULY_MASTER_KEYS": f"k1:{KEY}"})


def test_a_key_id_is_used_once() -> None:
    with pytest.raises(BadSettings, match="one key id twice"):
        load_from({"DULY_MASTER_KEYS": f"k1:{KEY},k1:{OTHER_KEY}", "DULY_LOOKUP_KEY": KEY})


def test_a_child_process_reads_the_settings_of_its_parent() -> None:
    parent = Settings(home=Path("/somewhere"))

    child = load_from(child_environment(parent, database_url="postgresql://h/d", console_port="9000"))

    assert child == parent.model_copy(update={"database_url": SecretStr("postgresql://h/d"), "console_port": 9000})
