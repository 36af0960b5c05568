"""FCM HTTP v1 and Google's token endpoint, as far as we use them.

Emulated after firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send, .../ErrorCode and
developers.google.com/identity/protocols/oauth2/service-account. Tokens that begin with `unregistered`, `invalid` or
`mismatch` are refused accordingly: that is ours, the vendor has no magic tokens.
"""

import base64
import binascii
import hashlib
import hmac
import itertools
import json
import os
import re
import time
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from channels.credentials import SANDBOX_PROJECT
from simulator.providers.answers import Answer, answer_with_fault
from simulator.providers.faults import Faults
from simulator.providers.outbox import Outbox

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: What google-auth writes as audience, whatever the key file's token_uri says (google-auth 2.62).
GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
TOKEN_SECONDS = 3_600
LARGEST_DATA_BYTES = 4_096
CLOCK_SLACK_SECONDS = 300

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"

#: errorCode: HTTP status and canonical status.
ERRORS = {
    "INVALID_ARGUMENT": (400, "INVALID_ARGUMENT"),
    "UNREGISTERED": (404, "NOT_FOUND"),
    "SENDER_ID_MISMATCH": (403, "PERMISSION_DENIED"),
    "QUOTA_EXCEEDED": (429, "RESOURCE_EXHAUSTED"),
    "UNAVAILABLE": (503, "UNAVAILABLE"),
    "INTERNAL": (500, "INTERNAL"),
    "THIRD_PARTY_AUTH_ERROR": (401, "UNAUTHENTICATED"),
}

_SEND = f"/v1/projects/{SANDBOX_PROJECT}/messages:send"
_TTL = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?s")
_TOKEN_KEY = b"the sandbox signs its tokens so that they outlive it"


class BadMessage(ValueError):
    """A message that FCM would call an invalid argument; carries the field."""


class FcmSandbox:
    """One Firebase project and the token endpoint of its service accounts."""

    def __init__(self, outbox: Outbox, faults: Faults) -> None:
        self._outbox = outbox
        self._faults = faults
        self._run = os.urandom(8).hex()
        self._numbers = itertools.count(1)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != _SEND or request.method != "POST":
            return Answer(404, b'{"error":{"code":404,"message":"Not found.","status":"NOT_FOUND"}}').response()
        if not _is_ours(request.headers.get("Authorization", "")):
            return _unauthenticated().response()
        try:
            message = _checked(json.loads(await request.read()))
        except BadMessage as error:
            return _refusal("INVALID_ARGUMENT", field=str(error)).response()
        except (ValueError, TypeError, AttributeError):
            return _refusal("INVALID_ARGUMENT", field="message").response()
        token = message["token"]
        refused = _magic(token)
        if refused:
            return refused.response()
        fault = self._faults.strike("push", token)
        if fault is None:
            return (await self._accept(message)).response()
        return await answer_with_fault(request, fault, accept=lambda: self._accept(message), refuse=_refusal)

    async def handle_token(self, request: web.BaseRequest) -> web.StreamResponse:
        """RFC 7523: a signed assertion for an access token."""
        fields = {key: values[0] for key, values in parse_qs((await request.read()).decode("latin-1")).items()}
        fault = self._faults.strike("token", "")

        async def grant() -> Answer:
            complaint = _complaint(fields, f"{request.scheme}://{request.host}{request.path}")
            if complaint:
                return _no_token(complaint)
            token = {"access_token": _new_token(), "expires_in": TOKEN_SECONDS, "token_type": "Bearer"}
            return Answer(200, json.dumps(token).encode())

        if fault is None:
            return (await grant()).response()
        return await answer_with_fault(request, fault, accept=grant, refuse=lambda code: _no_token(code or "refused"))

    async def _accept(self, message: dict[str, Any]) -> Answer:
        data = message.get("data") or {}
        name = f"projects/{SANDBOX_PROJECT}/messages/{self._run}{next(self._numbers):016x}"
        text = json.dumps({"data": data, "notification": message.get("notification")}, ensure_ascii=False)
        await self._outbox.accept("push", to=message["token"], text=text, ref=name, contact=data.get("contact"))
        return Answer(200, json.dumps({"name": name}).encode())


def _checked(payload: Any) -> dict[str, Any]:
    message = payload["message"] if isinstance(payload, dict) and "message" in payload else None
    if not isinstance(message, dict):
        raise BadMessage("message")
    token = message.get("token")
    if not isinstance(token, str) or not token:
        raise BadMessage("message.token")
    data = message.get("data", {})
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise BadMessage("message.data")
    if len(json.dumps(data)) > LARGEST_DATA_BYTES or any(key.startswith("google") or key == "from" for key in data):
        raise BadMessage("message.data")
    if not _TTL.fullmatch(message.get("android", {}).get("ttl", "0s")):
        raise BadMessage("message.android.ttl")
    return message


def _magic(token: str) -> Answer | None:
    if token.startswith("unregistered"):
        return _refusal("UNREGISTERED")
    if token.startswith("mismatch"):
        return _refusal("SENDER_ID_MISMATCH")
    return _refusal("INVALID_ARGUMENT", field="message.token") if token.startswith("invalid") else None


def _refusal(code: str, field: str | None = None) -> Answer:
    status, canonical = ERRORS.get(code, ERRORS["INTERNAL"])
    details: list[dict[str, Any]] = [{"@type": FCM_ERROR, "errorCode": code}]
    if field:
        details.append({"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": "Invalid value"}]})
    error = {"code": status, "message": "The request was refused.", "status": canonical, "details": details}
    return Answer(status, json.dumps({"error": error}).encode(), retry_after=30 if status in (429, 503) else None)


def _unauthenticated() -> Answer:
    error = {"code": 401, "message": "Invalid authentication credentials.", "status": "UNAUTHENTICATED"}
    return Answer(401, json.dumps({"error": error}).encode())


def _no_token(complaint: str) -> Answer:
    return Answer(400, json.dumps({"error": "invalid_grant", "error_description": complaint}).encode())


def _complaint(fields: dict[str, str], audience: str) -> str | None:
    """What is wrong with a grant; None when it is good. The key id of a sandbox account is its public key."""
    if fields.get("grant_type") != JWT_GRANT:
        return "unsupported grant"
    try:
        head, claims, signature = fields.get("assertion", "").split(".")
        header = json.loads(_unbase64(head))
        key = load_der_public_key(base64.urlsafe_b64decode(header["kid"]))
        if header["alg"] != "RS256" or not isinstance(key, RSAPublicKey):
            return "wrong algorithm"
        key.verify(_unbase64(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
        claimed = json.loads(_unbase64(claims))
        return _claims_complaint(claimed, audience)
    except (ValueError, KeyError, TypeError, binascii.Error):
        return "misshapen assertion"
    except InvalidSignature:
        return "signature does not fit"


def _claims_complaint(claims: dict[str, Any], audience: str) -> str | None:
    now = time.time()
    if claims["aud"] not in (audience, GOOGLE_TOKEN_URL):
        return "wrong audience"
    if SCOPE not in str(claims["scope"]).split():
        return "wrong scope"
    if not claims["iat"] - CLOCK_SLACK_SECONDS <= now < claims["exp"] or claims["exp"] - claims["iat"] > TOKEN_SECONDS:
        return "wrong times"
    return None if claims["iss"] else "no issuer"


def _new_token() -> str:
    until = str(int(time.time()) + TOKEN_SECONDS)
    return f"sandbox.{until}.{_seal(until)}"


def _is_ours(authorization: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    prefix, _, rest = token.partition(".")
    until, _, seal = rest.partition(".")
    return (
        scheme == "Bearer"
        and prefix == "sandbox"
        and until.isdigit()
        and hmac.compare_digest(seal.encode(), _seal(until).encode())
        and time.time() < int(until)
    )


def _seal(until: str) -> str:
    return hmac.new(_TOKEN_KEY, until.encode(), hashlib.sha256).hexdigest()


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
