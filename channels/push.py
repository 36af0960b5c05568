"""Push to whichever platform a token is of: APNs for Apple's own tokens, FCM for all others."""

from channels.base import Outbound, Receipt
from channels.push_apns import ApnsPush
from channels.push_fcm import FcmPush
from channels.push_tokens import is_apns_token
from domain.channel import Channel


class PushByPlatform:
    """Both providers of push behind one adapter; a receipt names the one that took the message."""

    name = "push"
    channel = Channel.PUSH
    folds_repeats = True

    def __init__(self, fcm: FcmPush, apns: ApnsPush) -> None:
        self.fcm = fcm
        self.apns = apns
        self.is_sandbox = fcm.is_sandbox and apns.is_sandbox

    async def send(self, outbound: Outbound) -> Receipt:
        return await (self.apns if is_apns_token(outbound.to) else self.fcm).send(outbound)

    async def aclose(self) -> None:
        await self.fcm.aclose()
        await self.apns.aclose()
