"""What the operator decides outside the reviewed files: the only reader of the environment.

Every key starts with `DULY_`. A `.env` file in the working folder is read too, and the environment wins over it. A
secret may also come from a file: `DULY_MASTER_KEYS_FILE=/run/secrets/keys` stands for `DULY_MASTER_KEYS`.
"""

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

PREFIX = "DULY_"

#: Names that OpenTelemetry gives everybody: read too, and ours (`DULY_OTEL_...`) win over them.
STANDARD = (
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER_ARG",
)  # fmt: skip

#: A secret in a file beyond this is a mistake: a log, a key store, a device.
LARGEST_SECRET_BYTES = 64 * 1024

#: AES-256 and HMAC-SHA-256 keys.
KEY_BYTES = 32

KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")


class BadSettings(ValueError):
    """The settings cannot stand; the message names each key and what to do, never a value that may be secret."""


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))


def _with_scheme(*schemes: str) -> AfterValidator:
    def check(url: Any) -> Any:
        clear = url.get_secret_value() if isinstance(url, SecretStr) else url
        try:
            parts = urlsplit(clear)
            if "," not in parts.netloc:  # libpq takes several hosts
                _ = parts.port  # raises for one that is no number
        except ValueError:
            raise ValueError("cannot be read as an address") from None
        if parts.scheme not in schemes:
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if not parts.netloc and not parts.path.strip("/"):
            raise ValueError("names no host")
        return url

    return AfterValidator(check)


def _check_key(secret: SecretStr) -> SecretStr:
    try:
        text = secret.get_secret_value().strip().replace("-", "+").replace("_", "/")
        key = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("holds a key that is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"holds a key of {len(key)} bytes: {KEY_BYTES} are needed (openssl rand -base64 {KEY_BYTES})")
    return secret


def _check_ring(secret: SecretStr) -> SecretStr:
    names = set()
    for entry in secret.get_secret_value().split(","):
        name, colon, text = entry.strip().partition(":")
        if not colon or not KEY_ID.fullmatch(name):
            raise ValueError("must read id:base64key,id:base64key with the current key first")
        if name in names:
            raise ValueError("names one key id twice")
        names.add(name)
        _check_key(SecretStr(text))
    return secret


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


DatabaseUrl = Annotated[SecretStr, _with_scheme("postgresql", "postgres")]
BrokerUrl = Annotated[SecretStr, _with_scheme("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps")]
HttpUrl = Annotated[str, _with_scheme("http", "https"), AfterValidator(lambda url: url.rstrip("/"))]
SmtpUrl = Annotated[SecretStr, _with_scheme("smtp", "smtps", "smtp+starttls")]
Folder = Annotated[Path, AfterValidator(_absolute)]


def _check_named_urls(value: Any) -> Any:
    clear = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not all(_NAMED_URL.fullmatch(part) for part in _split(clear)):
        raise ValueError("must read name=scheme://..., with a comma between two; write a comma in a password as %2C")
    return value


_NAMED_URL = re.compile(r"[a-z][a-z0-9-]{0,30}=[a-z+]+://\S+")


class Settings(BaseModel):
    """Everything duly takes from its surroundings, frozen. Without any of it: embedded engines and the sandbox."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # where things live
    home: Folder = Field(default=Path(".duly"), validate_default=True)
    config_dir: Folder | None = None  # None: the packaged config/
    templates_dir: Folder | None = None  # None: the packaged templates/

    # engines; None: embedded in `home`
    database_url: DatabaseUrl | None = None
    broker_url: BrokerUrl | None = None

    # sealing
    master_keys: Annotated[SecretStr, AfterValidator(_check_ring)] | None = None
    lookup_key: Annotated[SecretStr, AfterValidator(_check_key)] | None = None

    # providers
    providers: Literal["sandbox", "live"] = "sandbox"
    sandbox_http_url: HttpUrl | None = None
    sandbox_smtp_url: Annotated[str, _with_scheme("smtp")] | None = None
    sandbox_apns_url: HttpUrl | None = None
    sandbox_apns_certificate_file: Folder | None = None
    public_url: HttpUrl | None = None  # where providers reach our webhooks
    twilio_account_sid: str | None = None
    twilio_auth_token: SecretStr | None = None
    twilio_webhook_algorithm: Literal["sha1", "sha256"] = "sha1"
    twilio_webhook_secret: SecretStr | None = None  # None: the auth token
    smtp_url: SmtpUrl | None = None
    fcm_service_account_file: Folder | None = None
    provider_urls: Annotated[SecretStr, AfterValidator(_check_named_urls)] | None = None  # of the further providers
    sandbox_provider_urls: Annotated[str, AfterValidator(_check_named_urls)] | None = None
    limiter_url: Annotated[SecretStr, _with_scheme("redis", "rediss", "redis+socket")] | None = None  # None: the broker
    apns_key_file: Folder | None = None
    apns_key_id: str | None = None
    apns_team_id: str | None = None
    apns_topic: str | None = None
    dkim_keys_dir: Folder | None = None
    bounces_imap_url: Annotated[SecretStr, _with_scheme("imap", "imaps")] | None = None
    callback_secret: SecretStr | None = None
    staff_addresses: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(default=(), repr=False)

    # who signs the steps of a release
    user: Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,39}$")] | None = None
    signing_key_file: Folder | None = None  # None: users/<user>.key in `home`
    signing_passphrase: SecretStr | None = None

    # the ledger; None: everything is kept
    keep_ledger_days: int | None = Field(default=None, ge=1, le=36_500)

    # console
    console_host: str = "127.0.0.1"
    console_port: int = Field(default=8321, ge=1, le=65535)
    metrics_token: SecretStr | None = None  # None: /metrics is open to whoever reaches the console

    # the fleet
    tick_seconds: float = Field(default=0.25, ge=0.05, le=60)
    lease_seconds: int = Field(default=120, ge=10, le=3600)
    batch_size: int = Field(default=1000, ge=1, le=5000)
    wave_size: int = Field(default=50, ge=1, le=1000)
    worker_concurrency: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=256)

    # logs
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = "INFO"
    log_format: Literal["console", "json"] = "console"

    # spans; None: no spans
    otel_exporter_otlp_endpoint: HttpUrl | None = None
    otel_exporter_otlp_headers: SecretStr | None = None
    otel_service_name: str = "duly"
    otel_traces_sampler_arg: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        missing = [_key_of(name) for name in ("master_keys", "lookup_key") if getattr(self, name) is None]
        if self.is_live and missing:
            raise ValueError(
                f"{PREFIX}PROVIDERS is live, and that needs {' and '.join(missing)}: real people, own keys"
            )
        apns = ("apns_key_file", "apns_key_id", "apns_team_id", "apns_topic")
        absent = [_key_of(name) for name in apns if getattr(self, name) is None]
        if 0 < len(absent) < len(apns):
            raise ValueError(f"{', '.join(absent)} is not set: push through Apple needs key, key id, team id and topic")
        if len(missing) == 1:
            raise ValueError(f"{missing[0]} is not set: the master keys and the look-up key only go together")
        return self

    @property
    def is_live(self) -> bool:
        return self.providers == "live"

    @property
    def urls_by_provider(self) -> dict[str, str]:
        """Where the providers are that channels.toml names beside a channel's own: real ones only when live."""
        live = self.provider_urls.get_secret_value() if self.provider_urls is not None else None
        written = (live if self.is_live else self.sandbox_provider_urls) or ""
        return {name: url for name, _, url in (part.partition("=") for part in _split(written))}


_adopted: list[Settings] = []


def load() -> Settings:
    """The settings of this process: those it adopted, else the environment over `.env`, read once.

    Raises BadSettings.
    """
    if not _adopted:
        from_file = {key: value for key, value in dotenv_values(".env").items() if value is not None}
        _adopted.append(load_from({**from_file, **os.environ}))
    return _adopted[0]


def adopt(settings: Settings) -> Settings:
    """Let this process live by these settings instead of its environment: a demonstration has a home of its own."""
    _adopted[:] = [settings]
    return settings


def load_from(environment: Mapping[str, str]) -> Settings:
    """Settings from a mapping like the environment. Raises BadSettings naming every key that is wrong."""
    values = {key.lower(): environment[key].strip() for key in STANDARD if environment.get(key, "").strip()}
    complaints: list[str] = []
    for key in sorted(environment):
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX).lower()
        if key == key.upper() and name in Settings.model_fields:
            if environment[key].strip():  # an empty value is an unset one: compose files and .env write them so
                values[name] = environment[key].strip()
        elif key == key.upper() and name.removesuffix("_file") in SECRETS:
            complaints += _read_secret(key, environment, values)
        else:
            complaints.append(f"{key} is not a setting of duly: see .env.example for the names")
    if complaints:
        raise BadSettings("\n".join(complaints))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        # From None: pydantic's own report would repeat the values.
        raise BadSettings("\n".join(_sentence(dict(fault)) for fault in error.errors())) from None


def for_a_demonstration(settings: Settings, home: Path) -> Settings:
    """The same settings in a home of its own, with nothing of the operator's: embedded engines, sandbox, own keys."""
    kept = settings.model_dump(include={"config_dir", "templates_dir", "worker_concurrency", "log_level", "log_format"})
    return Settings(home=home, **kept)


def child_environment(settings: Settings, **changes: str) -> dict[str, str]:
    """The environment for a process of ours that lives by these settings, some of them changed by name.

    What the settings leave unset is unset for the child too, whatever this process's own environment says.
    """
    ours = {name: _written(getattr(settings, name)) for name in Settings.model_fields} | changes
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    return {**inherited, **{_key_of(name): value for name, value in ours.items()}}


def _written(value: Any) -> str:
    """A setting as the environment writes it."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _read_secret(key: str, environment: Mapping[str, str], values: dict[str, str]) -> list[str]:
    """Take a secret from the file that `key` names; the complaints, if any."""
    plain = key.removesuffix("_FILE")
    if not environment[key].strip():
        return []
    if environment.get(plain, "").strip():
        return [f"{key} and {plain} are both set: keep one"]
    path = Path(environment[key].strip())
    try:
        with path.open("rb") as file:
            secret = file.read(LARGEST_SECRET_BYTES + 1)
        text = secret.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        return [f"{key}: cannot read {path}: {why}"]
    if len(secret) > LARGEST_SECRET_BYTES:
        return [f"{key}: {path} is larger than {LARGEST_SECRET_BYTES // 1024} KiB: this is no secret"]
    if not text:
        return [f"{key}: {path} is empty"]
    values[plain.removeprefix(PREFIX).lower()] = text
    return []


def _sentence(fault: dict[str, Any]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    return f"{_key_of(str(fault['loc'][0]))}: {message[:1].lower()}{message[1:]}"


def _key_of(name: str) -> str:
    return PREFIX + name.upper()


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in getattr(annotation, "__args__", ()))


#: The settings that may also come from a file, as `DULY_<NAME>_FILE`.
SECRETS = frozenset(name for name, field in Settings.model_fields.items() if _is_secret(field.annotation))
