"""Builds the adapter of each channel from what was decided and what was given."""

from collections.abc import Mapping

from channels.base import Adapter
from channels.credentials import BadCredentials, Credentials
from channels.dkim import load_signers
from channels.email_smtp import SmtpEmail
from channels.null import NullAdapter
from channels.push import PushByPlatform
from channels.push_apns import ApnsPush
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
    signers = load_signers(config.email.dkim, credentials.dkim_keys) if credentials.smtp else None
    adapters: dict[Channel, Adapter] = {Channel.NULL: NullAdapter()}
    push = _push(config, credentials)  # before any session is open: keys may not be readable
    if push:
        adapters[Channel.PUSH] = push
    if credentials.twilio:
        adapters[Channel.SMS] = TwilioSms(
            config.sms, credentials.twilio, public_url=public_url, is_sandbox=credentials.is_sandbox
        )
    if credentials.smtp:
        adapters[Channel.EMAIL] = SmtpEmail(
            config.email, credentials.smtp, is_sandbox=credentials.is_sandbox, signers=signers
        )
    return adapters


def _push(config: ChannelsConfig, credentials: Credentials) -> Adapter | None:
    """One provider of push or, by the token's platform, two."""
    apns = ApnsPush(config.push, credentials.apns, is_sandbox=credentials.is_sandbox) if credentials.apns else None
    fcm = FcmPush(config.push, credentials.fcm, is_sandbox=credentials.is_sandbox) if credentials.fcm else None
    return PushByPlatform(fcm, apns) if fcm and apns else fcm or apns
