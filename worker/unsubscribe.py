"""The token in an unsubscribe link: whose contact and which address, sealed, so that nobody can read or make one."""

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

from storage.sealing import Keyring, Unsealable

#: In front of what is sealed, so that no stored inbox body can be taken for a token, nor a token for a body.
_MARK = b"u1"
_PARTY_BYTES, _CONTACT_BYTES, _LOOKUP_BYTES = 8, 16, 16

#: A token is about a hundred characters; what is much longer was not made by us.
LONGEST_TOKEN = 300


class BadToken(ValueError):
    """A token that we did not make, or whose key is gone."""


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The wish in a link: no more messages to this address. `lookup` finds everyone who shares it."""

    party_id: int
    contact_id: UUID
    lookup: bytes


def token_for(keyring: Keyring, wish: Unsubscribed) -> str:
    """The token of one message, for the link in its List-Unsubscribe header (RFC 8058)."""
    plain = _MARK + wish.party_id.to_bytes(_PARTY_BYTES, "big") + wish.contact_id.bytes + wish.lookup
    return base64.urlsafe_b64encode(keyring.seal_inbox(plain)).rstrip(b"=").decode()


def read_token(keyring: Keyring, token: str) -> Unsubscribed:
    """What a token says. Raises BadToken."""
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise BadToken("not a token of ours")
    try:
        plain = keyring.open_inbox(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (Unsealable, binascii.Error, ValueError) as error:
        raise BadToken("not a token of ours") from error
    if len(plain) != len(_MARK) + _PARTY_BYTES + _CONTACT_BYTES + _LOOKUP_BYTES or not plain.startswith(_MARK):
        raise BadToken("not a token of ours")
    party, contact, lookup = plain[2:10], plain[10:26], plain[26:]
    return Unsubscribed(int.from_bytes(party, "big"), UUID(bytes=contact), lookup)
