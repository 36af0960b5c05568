"""SMS through Twilio: its SDK's async client, with our own small HTTP client under it.

The SDK's own HTTP client ignores its time-out and cannot be pointed at another base URL, and its exceptions lose the
Retry-After header (twilio 9.13, `http/async_http_client.py`).
"""

import json
import logging
import re
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import aiohttp
from twilio.base.exceptions import TwilioException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from channels.base import ChannelError, Outbound, OutcomeUnknown, Receipt, Rejected, TryLater
from channels.credentials import TWILIO_URL, TwilioCredentials
from channels.http_session import as_channel_error, open_session, read_bounded, retry_after
from channels.twilio_errors import refusal
from domain.channel import Channel
from domain.provider import ProviderUse

#: ValidityPeriod takes 1 to 36,000 seconds (Message resource, twilio.com/docs/messaging/api/message-resource).
LONGEST_VALIDITY = timedelta(seconds=36_000)
SHORTEST_VALIDITY = timedelta(seconds=1)

#: Room for the provider's clock to differ from ours when messages are looked up.
CLOCK_SLACK = timedelta(seconds=30)

#: An attempt reaches Twilio within its deadline, a wave within its lease; what was made later is another message.
ATTEMPT_SPAN = timedelta(minutes=10)

#: What a trial account puts in front of every text (twilio.com/docs/usage/tutorials, page on the trial account).
_TRIAL = "Sent from your Twilio trial account - "

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_MESSAGING_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")


class TwilioSms:
    """A message is known to Twilio by its SID, and to us by the contact id in its status callback's URL."""

    name = "twilio"
    channel = Channel.SMS
    folds_repeats = False  # the Messages resource has no idempotency key (SDK 9.13)

    def __init__(self, use: ProviderUse, credentials: TwilioCredentials, *, public_url: str, is_sandbox: bool) -> None:
        self.is_sandbox = is_sandbox
        self._callback = f"{public_url.rstrip('/')}/callbacks/twilio/status"
        self._session = open_session(
            deadline=use.deadline, connect_within=use.connect_within, connections=use.connections
        )
        client = Client(
            credentials.account_sid,
            credentials.auth_token,
            http_client=_TwilioHttp(self._session, credentials),
            environment={"TWILIO_REGION": ""},  # otherwise the SDK lets the environment change the host
        )
        self._messages = client.messages

    async def send(self, outbound: Outbound) -> Receipt:
        if not _E164.fullmatch(outbound.to):
            raise Rejected("bad address", True)
        valid_for = outbound.still_valid_for
        if valid_for < SHORTEST_VALIDITY:
            raise TryLater("window closed")
        try:
            message = await self._messages.create_async(
                to=outbound.to,
                body=outbound.rendered.text,
                status_callback=f"{self._callback}?contact={outbound.contact_id}&party={outbound.party_id}",
                validity_period=int(min(valid_for, LONGEST_VALIDITY).total_seconds()),
                **_from(outbound.sender),
            )
        except (TwilioException, ValueError, TypeError, AttributeError) as error:
            # Answered with success, in a shape that the SDK cannot read: it has most likely been sent.
            raise OutcomeUnknown("unreadable answer") from error
        if not isinstance(message.sid, str) or not message.sid:
            raise OutcomeUnknown("answer without sid")
        return Receipt(self.name, message.sid)

    async def find(
        self, outbound_contact: UUID, to: str, since: datetime, *, body: str | None = None
    ) -> Receipt | None:
        """The receipt, if exactly one message with these words went to this number around then; otherwise None.

        Twilio does not tell our id back (it is in the callback's URL, which a message does not show), so whoever
        records the receipt must check that its SID is not already another contact's.
        """
        try:
            messages = await self._messages.list_async(to=to, date_sent_after=since - CLOCK_SLACK, limit=50)
        except (TwilioException, ValueError, TypeError, AttributeError) as error:
            raise OutcomeUnknown("unreadable answer") from error
        ours = [
            message
            for message in messages
            if message.sid
            and message.to == to
            and message.direction == "outbound-api"
            and _is_of_then(message.date_created, since)
            and (body is None or _words(message.body or "") == _words(body))
        ]
        return Receipt(self.name, str(ours[0].sid)) if len(ours) == 1 else None

    async def aclose(self) -> None:
        await self._session.close()


def _is_of_then(created: datetime | None, since: datetime) -> bool:
    return created is not None and since - CLOCK_SLACK <= created <= since + ATTEMPT_SPAN


def _words(body: str) -> str:
    """A text without what a provider may change on its way: spaces, and the mark of a trial account."""
    return " ".join(body.removeprefix(_TRIAL).split())


def _from(sender: str) -> dict[str, str]:
    """A Messaging Service is named by its SID, anything else is a number or an alphanumeric sender."""
    return {"messaging_service_sid": sender} if _MESSAGING_SERVICE.fullmatch(sender) else {"from_": sender}


class _TwilioHttp(AsyncHttpClient):  # type: ignore[misc]  # the SDK is untyped
    """The SDK's way to the wire: one pooled session, any base URL, refusals already told apart."""

    def __init__(self, session: aiohttp.ClientSession, credentials: TwilioCredentials) -> None:
        super().__init__(logging.getLogger(__name__), is_async=True)
        self._session = session
        self._base_url = credentials.base_url.rstrip("/")
        self._auth = aiohttp.encode_basic_auth(credentials.account_sid, credentials.auth_token)

    async def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """One request, never repeated and never redirected. Raises a ChannelError for anything but success."""
        url = self._base_url + uri.removeprefix(TWILIO_URL)
        if params:
            url = f"{url}?{urlencode(params)}"
        try:
            async with self._session.request(
                method,
                url,
                data=urlencode(data).encode() if data else None,
                headers={**(headers or {}), "Authorization": self._auth},
                allow_redirects=False,
            ) as answer:
                body = await read_bounded(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise as_channel_error(error) from error
        if not 200 <= answer.status < 300:
            raise _refusal(answer, body)
        return Response(answer.status, body.decode("utf-8"), answer.headers)


def _refusal(answer: aiohttp.ClientResponse, body: bytes) -> ChannelError:
    return refusal(answer.status, _code(body), retry_after(answer.headers))


def _code(body: bytes) -> int | None:
    """Twilio's own code out of an error body, whatever else the body is."""
    try:
        payload = json.loads(body)
    except ValueError:
        return None
    code = payload.get("code") if isinstance(payload, dict) else None
    return code if isinstance(code, int) else None
