"""The pooled HTTP session under the adapters that speak HTTP, and how its failures are told apart.

What matters is one question: could the provider have read the request? A failure to get a connection says no; anything
later leaves it open.
"""

from collections.abc import Mapping
from datetime import timedelta

import aiohttp

from channels.base import ChannelError, Misconfigured, OutcomeUnknown, TryLater

#: Idle connections are dropped before a provider is likely to drop them: a send on a connection that the other side is
#: just closing ends as "may have been sent". Seconds.
KEEP_ALIVE_SECONDS = 15

#: Providers answer with a few hundred bytes. More is not an answer.
LARGEST_ANSWER_BYTES = 256 * 1024


def open_session(*, deadline: timedelta, connect_within: timedelta, connections: int) -> aiohttp.ClientSession:
    """A session on the running loop. It follows no proxy variables, keeps no cookies and retries nothing."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=deadline.total_seconds(), connect=connect_within.total_seconds()),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=True,
    )


async def read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The answer's body. Raises OutcomeUnknown when it is larger than any answer is."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES:
            raise OutcomeUnknown("answer too large")
    return body


def as_channel_error(error: Exception) -> ChannelError:
    """Most specific first: no connection means nothing was sent; the rest may have been."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return Misconfigured("tls certificate")
        case aiohttp.ClientConnectorSSLError():
            return TryLater("tls")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return TryLater("connect")
        case aiohttp.InvalidURL():
            return Misconfigured("provider url")
        case TimeoutError():
            return OutcomeUnknown("timeout")
        case _:
            return OutcomeUnknown("connection lost")


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """The provider's wish in seconds, bounded to a day; None when it has none, or wrote a date."""
    wish = headers.get("Retry-After", "")
    return timedelta(seconds=min(int(wish), 86_400)) if wish.isascii() and wish.isdigit() else None
