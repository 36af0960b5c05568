"""What a message would say to one real customer now: for staff at a terminal. Nothing is written, sent or logged."""

from domain.bundle import Bundle
from domain.channel import Channel
from messages.catalogue import Catalogue
from messages.facts import BadFacts
from messages.preview import View, view
from storage import lanes, one_account
from storage.ledger import Account
from storage.sealing import KeyDestroyed, Unsealable
from worker.cases import Scene, customer_key, facts_of
from worker.releases import compile_release
from worker.wiring import Spine


class CannotShow(Exception):
    """There is nothing to show; the message says why, and nothing of the customer."""


def view_for(
    spine: Spine, bundle: Bundle, words: Catalogue, account: Account, message: str, channel: Channel, wanted: str | None
) -> tuple[str, View]:
    """The locale and the text, from the account as it stands, and lenders and terms as the bundle has them.

    `wanted` is a locale to see; without it, the customer's own. Raises CannotShow, CopyError or what compile_release
    raises.
    """
    now = lanes.business_now(spine.conn)
    row = one_account.as_due(spine.conn, account, channel, now=now)
    locale = words.locale_for(message, channel, wanted or row.locale)
    if locale is None:
        raise CannotShow(f"{message} has no {channel} copy in a language that this customer reads")
    release = compile_release(bundle)
    if account.lender_id not in release.lenders:
        raise CannotShow(f"lenders/{account.lender_id}.toml is not there: whose words they are is not known")
    scene = Scene(now, release, release.lenders[account.lender_id], spine.keyring, spine.public_url)
    try:
        key = customer_key(spine.keyring, row)
        facts = facts_of(scene, row, [row], locale, name=key.open(row.name_sealed or b"").decode())
    except KeyDestroyed:
        raise CannotShow("the customer's key is destroyed: nobody can show their name again") from None
    except Unsealable:
        raise CannotShow("the customer's name cannot be unsealed: are these the right keys?") from None
    except BadFacts as refused:
        raise CannotShow(f"no message would be sent: {refused}") from None
    return locale, view(words, (message, channel, locale), facts, f"account {account.external_ref}, as it stands")
