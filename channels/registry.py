"""Builds the adapter of each channel from what was decided and what was given."""

from collections.abc import Mapping

from channels.base import Adapter
from channels.credentials import BadCredentials, Credentials
from channels.email_smtp import SmtpEmail
from channels.null import NullAdapter
from channels.push_fcm import FcmPush
from channels.sms_twilio import TwilioSms
from domain.channel import Channel
from domain.provider import ChannelsConfig


def build(config: ChannelsConfig, credentials: Credentials, *, public_url: str) -> Mapping[Channel, Adapter]:
    """An adapter for every channel that has credentials. Call it on the event loop that will send.

    `public_url` is where providers reach our webhooks. Raises BadCredentials when a key cannot be read, or when real
    e-mail would go out under a domain that is not ours.
    """
    if credentials.smtp and not credentials.is_sandbox and config.email.message_id_domain.endswith(".invalid"):
        raise BadCredentials("channels.toml: email.message_id_domain is a placeholder: write a domain of yours there")
    adapters: dict[Channel, Adapter] = {Channel.NULL: NullAdapter()}
    if credentials.fcm:  # first: the one that may raise, before any session is open
        adapters[Channel.PUSH] = FcmPush(config.push, credentials.fcm, is_sandbox=credentials.is_sandbox)
    if credentials.twilio:
        adapters[Channel.SMS] = TwilioSms(
            config.sms, credentials.twilio, public_url=public_url, is_sandbox=credentials.is_sandbox
        )
    if credentials.smtp:
        adapters[Channel.EMAIL] = SmtpEmail(config.email, credentials.smtp, is_sandbox=credentials.is_sandbox)
    return adapters
