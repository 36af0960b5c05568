"""Where each provider lives and as whom we log in. Filled from the settings by worker/wiring.py, or for the sandbox."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

TWILIO_URL = "https://api.twilio.com"
FCM_URL = "https://fcm.googleapis.com"

#: developer.apple.com, "Sending notification requests to APNs"; `api.sandbox.push.apple.com` serves development builds.
APNS_HOST = "api.push.apple.com"

#: The account that the sandbox knows. None of it opens anything else.
SANDBOX_ACCOUNT = "AC" + "5a" * 16
SANDBOX_TOKEN = "sandbox-only-" + "5a" * 9
SANDBOX_PROJECT = "duly-sandbox"
SANDBOX_TEAM = "SANDBOX000"
SANDBOX_TOPIC = "test.duly.app"


class Security(StrEnum):
    """How a relay's connection is protected: from the start, by STARTTLS, or not at all (a relay on this host)."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


_SECURITY = {"smtps": (Security.TLS, 465), "smtp+starttls": (Security.STARTTLS, 587), "smtp": (Security.NONE, 25)}


@dataclass(frozen=True, slots=True)
class TwilioCredentials:
    account_sid: str
    auth_token: str = field(repr=False)
    base_url: str = TWILIO_URL


@dataclass(frozen=True, slots=True)
class SmtpCredentials:
    host: str
    port: int
    security: Security
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FcmCredentials:
    """`service_account` is Google's key file, parsed; its `token_uri` says where tokens come from."""

    service_account: Mapping[str, str] = field(repr=False)
    base_url: str = FCM_URL


@dataclass(frozen=True, slots=True)
class ApnsCredentials:
    """Apple's token-based login: the text of the .p8 key, its id, the team's, and the app's bundle id as topic.

    `trusted` is the PEM of a certificate to trust instead of the usual ones: the sandbox's.
    """

    key: str = field(repr=False)
    key_id: str
    team_id: str
    topic: str
    host: str = APNS_HOST
    port: int = 443
    trusted: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A channel without credentials is left out. `is_sandbox` is true of all or none.

    `dkim_keys` are private keys, PEM, by the name of the DNS record that publishes their other half.
    """

    twilio: TwilioCredentials | None
    smtp: SmtpCredentials | None
    fcm: FcmCredentials | None
    is_sandbox: bool
    apns: ApnsCredentials | None = None
    dkim_keys: Mapping[str, str] = field(default_factory=dict, repr=False)


class BadCredentials(ValueError):
    """Credentials that cannot be used; the message names what is wrong and never repeats a value."""


def live_credentials(
    *,
    twilio_account_sid: str | None = None,
    twilio_auth_token: str | None = None,
    smtp_url: str | None = None,
    fcm_service_account: str | None = None,
    apns: ApnsCredentials | None = None,
    dkim_keys: Mapping[str, str] | None = None,
) -> Credentials:
    """Credentials of real providers; what is None leaves its channel out. Raises BadCredentials.

    `smtp_url` is `smtp+starttls://user:password@host:587`, `smtps://...` or `smtp://...`; `fcm_service_account` is the
    text of Google's key file.
    """
    if (twilio_account_sid is None) != (twilio_auth_token is None):
        raise BadCredentials("Twilio needs both an account SID and an auth token: set both or neither")
    twilio = (
        TwilioCredentials(twilio_account_sid, twilio_auth_token) if twilio_account_sid and twilio_auth_token else None
    )
    return Credentials(
        twilio=twilio,
        smtp=parse_smtp_url(smtp_url) if smtp_url else None,
        fcm=FcmCredentials(_parse_service_account(fcm_service_account)) if fcm_service_account else None,
        is_sandbox=False,
        apns=apns,
        dkim_keys=dkim_keys or {},
    )


def sandbox_credentials(
    *,
    http_url: str,
    smtp_url: str,
    apns_url: str | None = None,
    apns_trusted: str | None = None,
    dkim_keys: Mapping[str, str] | None = None,
) -> Credentials:
    """Credentials that the sandbox at these addresses accepts. Makes an RSA key: about a tenth of a second.

    `apns_trusted` is the PEM of the certificate that the sandbox shows for APNs.
    """
    http_url = http_url.rstrip("/")
    return Credentials(
        twilio=TwilioCredentials(SANDBOX_ACCOUNT, SANDBOX_TOKEN, http_url),
        smtp=parse_smtp_url(smtp_url),
        fcm=FcmCredentials(_sandbox_service_account(f"{http_url}/token"), http_url),
        is_sandbox=True,
        apns=_sandbox_apns(apns_url, apns_trusted) if apns_url else None,
        dkim_keys=dkim_keys or {},
    )


def _sandbox_apns(url: str, trusted: str | None) -> ApnsCredentials:
    parts = urlsplit(url)
    return ApnsCredentials(
        key=_sandbox_p8(),
        key_id="SANDBOXKEY",
        team_id=SANDBOX_TEAM,
        topic=SANDBOX_TOPIC,
        host=parts.hostname or "",
        port=parts.port or 443,
        trusted=trusted,
    )


def parse_smtp_url(url: str) -> SmtpCredentials:
    """A relay from its URL; ports default to 465, 587 and 25. Raises BadCredentials without repeating the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadCredentials("the SMTP URL cannot be read: write smtp+starttls://user:password@host:587") from error
    if parts.scheme not in _SECURITY or not parts.hostname:
        raise BadCredentials("the SMTP URL must be smtps://, smtp+starttls:// or smtp:// with a host")
    security, usual_port = _SECURITY[parts.scheme]
    return SmtpCredentials(
        host=parts.hostname,
        port=port or usual_port,
        security=security,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _parse_service_account(text: str) -> dict[str, str]:
    try:
        info = json.loads(text)
    except ValueError as error:
        raise BadCredentials("the FCM service account is not JSON: give the key file that Google issued") from error
    wanted = ("project_id", "private_key", "client_email", "token_uri")
    missing = [key for key in wanted if not (isinstance(info, dict) and isinstance(info.get(key), str))]
    if missing:
        raise BadCredentials(
            f"the FCM service account lacks {', '.join(missing)}: give the key file that Google issued"
        )
    return {key: value for key, value in info.items() if isinstance(value, str)}


def _sandbox_service_account(token_uri: str) -> dict[str, str]:
    """A key file like Google's. Its key id is the public key itself, so the sandbox can check what this key signs."""
    key = _sandbox_key()
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "type": "service_account",
        "project_id": SANDBOX_PROJECT,
        "private_key_id": base64.urlsafe_b64encode(public).decode(),
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": f"reminders@{SANDBOX_PROJECT}.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }


@cache
def _sandbox_p8() -> str:
    """A key like Apple's .p8 file. The sandbox does not check who signed, only that the token is one."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def _sandbox_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
