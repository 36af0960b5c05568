"""Whose a push token is: Apple's are hexadecimal, Firebase's never are."""

import re

#: "Treat it as opaque, of variable length" (developer.apple.com, "Registering your app with APNs"); 32 bytes today.
_APNS = re.compile(r"[0-9a-fA-F]{64,200}")


def is_apns_token(token: str) -> bool:
    return _APNS.fullmatch(token) is not None
