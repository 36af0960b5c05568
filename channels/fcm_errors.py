"""What FCM's error codes mean for us, as data.

Sources: firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode and
firebase.google.com/docs/cloud-messaging/error-codes (read November 2026).
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, Rejected, TryLater

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"

#: The quota's window is a minute; without Retry-After that is how long FCM asks to wait (cloud-messaging/error-codes).
QUOTA_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class FcmFailure:
    """An error body, read: the code, and whether it complains about the token."""

    code: str | None
    names_token: bool


def read_failure(body: bytes) -> FcmFailure:
    """The code out of an error body, whatever else the body is."""
    try:
        payload = json.loads(body)
    except ValueError:
        return FcmFailure(None, False)
    error = payload.get("error") if isinstance(payload, dict) else None
    if not isinstance(error, dict):
        return FcmFailure(None, False)
    details = [part for part in error.get("details") or () if isinstance(part, dict)]
    fcm = next((part.get("errorCode") for part in details if part.get("@type") == FCM_ERROR), None)
    code = fcm or error.get("status")
    return FcmFailure(str(code) if code else None, _names_token(details, str(error.get("message", ""))))


def _names_token(details: list[dict[str, Any]], message: str) -> bool:
    fields = [
        field.get("field")
        for part in details
        if part.get("@type") == BAD_REQUEST
        for field in part.get("fieldViolations") or ()
        if isinstance(field, dict)
    ]
    return "message.token" in fields or "registration token is not a valid" in message


def refusal(status: int, failure: FcmFailure, after: timedelta | None) -> ChannelError:
    """The error for an answer that is no acceptance. A server's failure leaves the outcome open: FCM folds repeats."""
    word = failure.code or f"http {status}"
    if status >= 500:
        return OutcomeUnknown(word)
    match failure.code:
        case "UNREGISTERED":
            return Rejected(word, True)
        case "INVALID_ARGUMENT":
            # Our payload is the same for everyone: an invalid one is ours to mend, unless the token is named.
            return Rejected(word, True) if failure.names_token else Misconfigured(word)
        case "SENDER_ID_MISMATCH":
            # The token is another project's. Retiring it would empty the books when it is we who hold the wrong key.
            return Rejected(word)
        case "THIRD_PARTY_AUTH_ERROR" | "UNAUTHENTICATED" | "PERMISSION_DENIED":
            return Misconfigured(word)
        case "QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED":
            return TryLater(word, after or QUOTA_WINDOW)
    if status in (408, 429):
        return TryLater(word, after or QUOTA_WINDOW)
    return Rejected(word) if status == 400 else Misconfigured(word)
