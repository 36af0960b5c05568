"""How each channel's provider is used: time-outs and pools. Where it lives and as whom we log in are credentials."""

from dataclasses import dataclass, field
from datetime import timedelta

from domain.route import Routes


@dataclass(frozen=True, slots=True)
class ProviderUse:
    """`deadline` bounds one send from first to last byte; `connect_within` the part before its first byte."""

    provider: str
    deadline: timedelta
    connect_within: timedelta
    connections: int


@dataclass(frozen=True, slots=True)
class DkimUse:
    """Mail from addresses of `domain` (or below it) is signed; the key is found at `selector`._domainkey.`domain`."""

    domain: str
    selector: str


@dataclass(frozen=True, slots=True)
class MailUse:
    """A relay's connections are kept alive, and replaced by age and by number of messages.

    `message_id_domain` is the right-hand side of our Message-IDs: a domain of ours. `bounce_address` is the mailbox
    that bounces come back to, each with its contact in the address; None: they go to the lender's own sender.
    """

    provider: str
    deadline: timedelta
    connect_within: timedelta
    connections: int
    messages_per_connection: int
    connection_age: timedelta
    message_id_domain: str
    bounce_address: str | None = None
    dkim: tuple[DkimUse, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelsConfig:
    """What `config/channels.toml` decides. `routes` are the providers of each channel, its own one first."""

    sms: ProviderUse
    email: MailUse
    push: ProviderUse
    routes: Routes = field(default_factory=dict)
