"""Push through FCM HTTP v1: a data message without content, which the app fills after the phone is unlocked.

Nothing about a debt reaches a lock screen or Google: the payload is the contact's id. Collapse ids are always set, so a
repeat replaces what it repeats and an uncertain contact may be sent again.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, NoReturn

import aiohttp
from google.auth.crypt import RSASigner
from google.oauth2.service_account import Credentials as ServiceAccount

from channels.base import Misconfigured, Outbound, OutcomeUnknown, Receipt, Rejected, TryLater
from channels.credentials import BadCredentials, FcmCredentials
from channels.fcm_errors import read_failure, refusal
from channels.http_session import as_channel_error, open_session, read_bounded, retry_after
from channels.push_tokens import is_apns_token
from domain.channel import Channel
from domain.provider import ProviderUse

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"

#: FCM keeps a message for 0 to 2,419,200 seconds (firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode).
LONGEST_LIFE = timedelta(seconds=2_419_200)

#: APNs limits apns-collapse-id to 64 bytes (developer.apple.com, "Sending notification requests to APNs").
LONGEST_COLLAPSE_KEY = 64

#: A token is renewed this long before Google would refuse it; one refused younger than this was never good. Seconds.
RENEW_BEFORE_SECONDS = 300
NEW_TOKEN_SECONDS = 60


class FcmPush:
    """One Firebase project."""

    name = "fcm"
    channel = Channel.PUSH
    folds_repeats = True

    def __init__(self, use: ProviderUse, credentials: FcmCredentials, *, is_sandbox: bool) -> None:
        self.is_sandbox = is_sandbox
        account = _read_account(credentials.service_account)
        self._session = open_session(
            deadline=use.deadline, connect_within=use.connect_within, connections=use.connections
        )
        project = credentials.service_account["project_id"]
        self._url = f"{credentials.base_url.rstrip('/')}/v1/projects/{project}/messages:send"
        self._tokens = _Tokens(account, self._session)

    async def send(self, outbound: Outbound) -> Receipt:
        if not outbound.to or not outbound.to.isascii() or not outbound.to.isprintable():
            raise Rejected("bad token", True)
        if is_apns_token(outbound.to):  # FCM would call it invalid, and a good token would be retired
            raise Rejected("apns token")
        authorization = await self._tokens.current()
        try:
            async with self._session.post(
                self._url,
                data=json.dumps(payload(outbound)).encode(),
                headers={"Authorization": authorization, "Content-Type": "application/json; charset=utf-8"},
                allow_redirects=False,
            ) as answer:
                body = await read_bounded(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise as_channel_error(error) from error
        if 200 <= answer.status < 300:
            return Receipt(self.name, _name_of(body))
        if answer.status == 401 and self._tokens.forget(authorization):
            raise TryLater("token expired")
        raise refusal(answer.status, read_failure(body), retry_after(answer.headers))

    async def aclose(self) -> None:
        await self._session.close()


def payload(outbound: Outbound) -> dict[str, Any]:
    """The request's body. Rendered words stay here: only the contact's id leaves."""
    key = outbound.collapse_key[:LONGEST_COLLAPSE_KEY] or str(outbound.contact_id)
    life = int(max(timedelta(), min(outbound.still_valid_for, LONGEST_LIFE)).total_seconds())
    return {
        "message": {
            "token": outbound.to,
            "data": {"contact": str(outbound.contact_id)},
            "android": {"collapse_key": key, "priority": "normal", "ttl": f"{life}s"},
            "apns": {
                "headers": {
                    "apns-collapse-id": key,
                    "apns-push-type": "background",
                    "apns-priority": "5",
                    **_expiration(outbound),
                },
                "payload": {"aps": {"content-available": 1}},
            },
        }
    }


def _expiration(outbound: Outbound) -> dict[str, str]:
    """APNs wants a moment, and the contact's id carries the moment of the intent (UUIDv7)."""
    if outbound.contact_id.version != 7:
        return {}
    life = max(timedelta(), min(outbound.valid_for, LONGEST_LIFE))
    return {"apns-expiration": str((outbound.contact_id.int >> 80) // 1000 + int(life.total_seconds()))}


def _name_of(body: bytes) -> str:
    try:
        name = json.loads(body)["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise OutcomeUnknown("unreadable answer") from error
    if not isinstance(name, str) or not name:
        raise OutcomeUnknown("unreadable answer")
    return name


def _read_account(service_account: Mapping[str, str]) -> ServiceAccount:
    try:
        signer = _signer(service_account["private_key"], service_account.get("private_key_id"))
    except ValueError as error:
        raise BadCredentials("the FCM service account's private key cannot be read: get a new key file") from error
    return ServiceAccount(  # type: ignore[no-untyped-call]  # google-auth
        signer, service_account["client_email"], service_account["token_uri"], scopes=[SCOPE]
    )


@lru_cache(maxsize=8)  # to check an RSA key takes a tenth of a second, and adapters are made anew with each release
def _signer(private_key: str, key_id: str | None) -> RSASigner:
    signer: RSASigner = RSASigner.from_string(private_key, key_id)  # type: ignore[no-untyped-call]  # google-auth
    return signer


class _Tokens:
    """Access tokens by google-auth, one request at a time. Its failures come before any message is sent."""

    def __init__(self, account: ServiceAccount, session: aiohttp.ClientSession) -> None:
        self._account = account
        self._session = session
        self._lock = asyncio.Lock()
        self._authorization = ""
        self._fetched = 0.0
        self._renew_at = 0.0

    async def current(self) -> str:
        """The Authorization header. Raises Misconfigured or TryLater, never OutcomeUnknown."""
        if self._is_stale():
            async with self._lock:
                if self._is_stale():
                    await self._renew()
        return self._authorization

    def forget(self, authorization: str) -> bool:
        """Drop a token that was refused. False when it was new, so that the next one would be refused too."""
        if authorization != self._authorization:
            return True
        self._authorization = ""
        return time.monotonic() - self._fetched >= NEW_TOKEN_SECONDS

    def _is_stale(self) -> bool:
        return not self._authorization or time.monotonic() >= self._renew_at

    async def _renew(self) -> None:
        grant = self._grant()
        try:
            async with self._session.post(
                grant.url, data=grant.body, headers=grant.headers, allow_redirects=False
            ) as answer:
                body = await read_bounded(answer)
        except (aiohttp.ClientError, TimeoutError, OSError, OutcomeUnknown) as error:
            certificate = isinstance(error, aiohttp.ClientConnectorCertificateError)
            raise (Misconfigured("token tls certificate") if certificate else TryLater("token unavailable")) from error
        if answer.status == 429 or answer.status >= 500:
            raise TryLater("token unavailable", retry_after(answer.headers))
        if answer.status != 200:
            raise Misconfigured(f"token refused: http {answer.status}")
        self._keep(body)

    def _keep(self, body: bytes) -> None:
        try:
            token = json.loads(body)
            authorization, seconds = f"Bearer {token['access_token']}", float(token.get("expires_in", 3600))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TryLater("token unreadable") from error
        self._authorization = authorization
        self._fetched = time.monotonic()
        self._renew_at = self._fetched + max(seconds - RENEW_BEFORE_SECONDS, seconds / 2)

    def _grant(self) -> "_Grant":
        """The token request that google-auth would make, signed; it is ours to send, on our own session."""
        try:
            self._account.refresh(_take)  # type: ignore[no-untyped-call]  # google-auth
        except _Grant as grant:
            return grant
        raise Misconfigured("google-auth asked for no token")


class _Grant(Exception):
    """Carries google-auth's request out of its blocking call before anything blocks."""

    def __init__(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.url = url
        self.body = body
        self.headers = headers


def _take(
    url: str, method: str = "POST", body: bytes = b"", headers: Mapping[str, str] | None = None, **_: object
) -> NoReturn:
    """A transport in the shape that google.auth.transport.Request asks for."""
    raise _Grant(url, body, headers or {})
