"""The proof that words shown later are the words that left: a keyed hash, written on the contact when it is decided."""

from domain.message import Rendered
from storage.sealing import Keyring


def proof_of(keyring: Keyring, rendered: Rendered) -> str:
    """A keyed hash of what leaves: equal words, equal proof; without our key it tells nothing."""
    words = f"words\0{rendered.subject or ''}\0{rendered.text}\0{rendered.html or ''}"
    return keyring.fingerprint(words.encode()).hex()
