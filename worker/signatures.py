"""Signing what one does to a release: Ed25519 keys in files of their own, and statements that say it all.

A statement names the deed, the release by its hash, the person and the time: a signature serves for nothing else.
"""

import base64
import binascii
import os
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from storage.releases import Signed

#: The shape of a statement; another shape gets another number.
SHAPE: Final = 1

#: An Ed25519 key (RFC 8032).
PUBLIC_KEY_BYTES: Final = 32

#: Shorter ones are guessed; a sentence is easier to remember anyway.
SHORTEST_PASSPHRASE: Final = 12


class BadKey(ValueError):
    """A key file that cannot be used; the message names the file and the remedy, never what is in it."""


class NeedsPassphrase(BadKey):
    """The key file is locked and no passphrase was given."""


class Signer:
    """A person with their private key in memory."""

    def __init__(self, user: str, key: Ed25519PrivateKey) -> None:
        self.user = user
        self._key = key

    def __repr__(self) -> str:
        return f"Signer({self.user})"

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, deed: str, subject: str, *, at: datetime, **more: Any) -> Signed:
        """Sign that this person did this deed to this subject (a release's hash, a user's name) at that time."""
        values = {"duly": SHAPE, "deed": deed, "subject": subject, "by": self.user, "at": at, **more}
        statement = orjson.dumps(values, option=orjson.OPT_SORT_KEYS, default=str)
        return Signed(statement, self._key.sign(statement), self.public_key)


def read_statement(signed: Signed) -> Mapping[str, Any] | None:
    """What was signed, or None when the signature is not the key's or the statement not ours."""
    try:
        Ed25519PublicKey.from_public_bytes(signed.public_key).verify(signed.signature, signed.statement)
        values = orjson.loads(signed.statement)
    except (InvalidSignature, ValueError):
        return None
    return values if isinstance(values, dict) and values.get("duly") == SHAPE else None


def make_key(path: Path, *, passphrase: str | None) -> bytes:
    """Write a new private key (mode 0600) and its public half beside it (`.pub`); the public key.

    Never overwrites. Raises BadKey.
    """
    if passphrase is not None and len(passphrase) < SHORTEST_PASSPHRASE:
        raise BadKey(f"a passphrase of fewer than {SHORTEST_PASSPHRASE} characters is guessed: take a sentence")
    key = Ed25519PrivateKey.generate()
    locked: KeySerializationEncryption = (
        NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.encode())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        public_file(path).write_text(f"{written(public)}\n", encoding="ascii")
    except FileExistsError:
        raise BadKey(f"{path}: there is a key already: keep it, or name another file with --key") from None
    except OSError as error:
        raise BadKey(f"{path}: cannot be written: {error.strerror}") from None
    return public


def load_signer(user: str, path: Path, *, passphrase: str | None) -> Signer:
    """The person with the key of that file. Raises NeedsPassphrase, or BadKey for a file that must not be used."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        pem = path.read_bytes()
    except OSError as error:
        raise BadKey(
            f"{path}: cannot be read: {error.strerror}: name your key with --key, or make one with "
            f"`duly users key {user}`"
        ) from None
    if mode & 0o077:
        raise BadKey(f"{path} can be read by others: run chmod 600 {path}")
    try:
        key = load_pem_private_key(pem, passphrase.encode() if passphrase is not None else None)
    except TypeError:  # locked and no passphrase, or the other way round
        if passphrase is not None:
            return load_signer(user, path, passphrase=None)
        raise NeedsPassphrase(f"{path} is locked: give its passphrase when asked, or DULY_SIGNING_PASSPHRASE") from None
    except ValueError:
        raise BadKey(f"{path}: the passphrase is wrong, or this is no private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path}: is no Ed25519 key: make one with `duly users key {user}`")
    return Signer(user, key)


def public_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")


def written(public_key: bytes) -> str:
    """A public key as people pass it on: base64."""
    return base64.b64encode(public_key).decode()


def read_public(text: str) -> bytes:
    """A public key from base64, or from a file that holds it. Raises BadKey."""
    path = Path(text)
    try:
        if path.is_file():
            text = path.read_text(encoding="ascii")
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError, OSError):
        key = b""
    if len(key) != PUBLIC_KEY_BYTES:
        raise BadKey(
            "that is no public key: give the file ending in .pub that `duly users key` wrote, or the line in it"
        )
    return key
