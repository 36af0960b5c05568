"""Sealing: everything personal is AES-256-GCM under its customer's own key, and that key under a master key with an id.

Erasing a customer destroys one wrapped key. A keyed hash stands in for an address where equality must be seen.
"""

import base64
import binascii
import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.channel import AddressChannel

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # 96 bits, the length GCM is made for (NIST SP 800-38D, section 8.2)
LOOKUP_BYTES: Final = 16  # collisions need about 2**64 addresses

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")

_CHANGED: Final = "changed since it was sealed, or sealed under another key"

# The purpose of a keyed hash, so that equal inputs of different kinds never meet (BLAKE2 personalisation, 16 bytes).
_FOR_ADDRESS: Final = b"duly address"
_FOR_ROW: Final = b"duly row"


class Unsealable(Exception):
    """What was sealed cannot be opened: changed, cut short, or sealed under another key."""


class KeyDestroyed(Unsealable):
    """The customer was erased, and with the key everything that was sealed under it."""


class KeyringError(ValueError):
    """The keys cannot be used as they stand; the message never repeats one."""


class CustomerKey:
    """The key of one customer, in memory for as long as a batch needs it."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes) -> bytes:
        """The nonce, then ciphertext and tag. Two seals of one text differ."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, None)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. Raises Unsealable."""
        return _open(self._cipher, sealed)

    @staticmethod
    def seal_each(keys: Sequence["CustomerKey"], plains: Sequence[bytes]) -> list[bytes]:
        """Each text under its own key, as `seal` does; the system is asked for chance only once."""
        chance = os.urandom(NONCE_BYTES * len(plains))
        nonces = [chance[start : start + NONCE_BYTES] for start in range(0, len(chance), NONCE_BYTES)]
        return [
            nonce + key._cipher.encrypt(nonce, plain, None)
            for key, plain, nonce in zip(keys, plains, nonces, strict=True)
        ]

    @staticmethod
    def open_each(keys: Sequence["CustomerKey"], sealed: Sequence[bytes]) -> list[bytes]:
        """What was sealed, each under its own key. Raises Unsealable for any of them."""
        try:
            return [
                key._cipher.decrypt(each[:NONCE_BYTES], each[NONCE_BYTES:], None)
                for key, each in zip(keys, sealed, strict=True)
            ]
        except (InvalidTag, ValueError) as error:
            raise Unsealable(_CHANGED) from error


class Keyring:
    """The master keys by id (the first seals, all open) and the key of the look-up hashes."""

    def __init__(self, master_keys: Mapping[str, bytes], lookup_key: bytes) -> None:
        if not master_keys:
            raise KeyringError("no master key: write id:base64 of 32 random bytes")
        self._masters = {key_id: AESGCM(_derived(key, b"duly customer keys")) for key_id, key in master_keys.items()}
        self._inboxes = {key_id: AESGCM(_derived(key, b"duly inbox")) for key_id, key in master_keys.items()}
        self._current = next(iter(master_keys))
        self._keyed = {
            purpose: hashlib.blake2b(key=lookup_key, digest_size=LOOKUP_BYTES, person=purpose)
            for purpose in (_FOR_ADDRESS, _FOR_ROW)
        }

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._masters)})"

    @classmethod
    def from_text(cls, master_keys: str, lookup_key: str) -> Self:
        """Read `id:base64,id2:base64` (the first is current) and the base64 look-up key. Raises KeyringError."""
        masters: dict[str, bytes] = {}
        for position, entry in enumerate(master_keys.split(","), start=1):
            key_id, colon, text = entry.strip().partition(":")
            if not colon or not _KEY_ID.fullmatch(key_id):
                raise KeyringError(f"master key {position}: write it as id:base64, separated by commas")
            if key_id in masters:
                raise KeyringError(f"master key id {key_id!r} is there twice: give each key its own id")
            masters[key_id] = _decoded(text, f"master key {key_id!r}")
        return cls(masters, _decoded(lookup_key.strip(), "the look-up key"))

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file of an embedded installation, made on first use with mode 0600. Raises KeyringError.

        Safe when several processes start at once: the first file that is complete stays.
        """
        if not path.exists():
            _create(path)
        return cls._load(path)

    @classmethod
    def _load(cls, path: Path) -> Self:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyringError(f"{path} can be read by others: run chmod 600 {path}")
        entries = dict(line.split(" = ", 1) for line in path.read_text("ascii").splitlines() if " = " in line)
        if entries.keys() < {"master_keys", "lookup_key"}:
            raise KeyringError(f"{path} is not a whole key file: restore it, sealed names and addresses need it")
        return cls.from_text(entries["master_keys"], entries["lookup_key"])

    def new_customer_key(self) -> tuple[CustomerKey, str, bytes]:
        """A fresh key, the id of the master key that wraps it, and the wrapped key to store."""
        key = os.urandom(KEY_BYTES)
        nonce = os.urandom(NONCE_BYTES)
        return CustomerKey(key), self._current, nonce + self._masters[self._current].encrypt(nonce, key, None)

    def open_customer_key(self, master_key_id: str, wrapped: bytes) -> CustomerKey:
        """The customer's key. Raises Unsealable, naming the master key that is missing."""
        return self.open_customer_keys([(master_key_id, wrapped)])[0]

    def open_customer_keys(self, wrapped: Iterable[tuple[str, bytes]]) -> list[CustomerKey]:
        """The keys of several, each given by its master key's id and its wrapped bytes. Raises Unsealable for any."""
        masters = self._masters
        try:
            return [
                CustomerKey(self._known(masters, key_id).decrypt(each[:NONCE_BYTES], each[NONCE_BYTES:], None))
                for key_id, each in wrapped
            ]
        except (InvalidTag, ValueError) as error:
            raise Unsealable(_CHANGED) from error

    def rewrap(self, master_key_id: str, wrapped: bytes) -> tuple[str, bytes]:
        """The same customer key under the current master key: how master keys rotate."""
        nonce = os.urandom(NONCE_BYTES)
        key = self._unwrap(master_key_id, wrapped)
        return self._current, nonce + self._masters[self._current].encrypt(nonce, key, None)

    def lookup(self, channel: AddressChannel, normalised: str) -> bytes:
        """A keyed hash of an address: equal for everyone who shares it, and nothing else about it can be told."""
        return self._hash(f"{channel.value}:{normalised}".encode(), _FOR_ADDRESS)

    def fingerprint(self, row: bytes) -> bytes:
        """A keyed hash of what a file said about one customer or account, to see that it says the same again."""
        return self._hash(row, _FOR_ROW)

    def seal_inbox(self, body: bytes) -> bytes:
        """Seal what came in from outside, before anybody knows whose it is. The master key's id goes in front."""
        key_id = self._current.encode()
        nonce = os.urandom(NONCE_BYTES)
        return bytes([len(key_id)]) + key_id + nonce + self._inboxes[self._current].encrypt(nonce, body, None)

    def open_inbox(self, sealed: bytes) -> bytes:
        """What came in. Raises Unsealable."""
        length = sealed[0] if sealed else 0
        key_id = sealed[1 : 1 + length].decode("ascii", "replace")
        return _open(self._known(self._inboxes, key_id), sealed[1 + length :])

    def _unwrap(self, master_key_id: str, wrapped: bytes) -> bytes:
        return _open(self._known(self._masters, master_key_id), wrapped)

    def _hash(self, data: bytes, purpose: bytes) -> bytes:
        keyed = self._keyed[purpose].copy()
        keyed.update(data)
        return keyed.digest()

    @staticmethod
    def _known(ciphers: Mapping[str, AESGCM], key_id: str) -> AESGCM:
        cipher = ciphers.get(key_id)
        if cipher is None:
            raise Unsealable("sealed under a master key that is not on the ring: put the retired key behind the first")
        return cipher


def _open(cipher: AESGCM, sealed: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
    except (InvalidTag, ValueError) as error:  # ValueError: too short to hold a nonce
        raise Unsealable(_CHANGED) from error


def _derived(master: bytes, purpose: bytes) -> bytes:
    """One key per purpose from one master key (HKDF, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(master)


def _decoded(text: str, name: str) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise KeyringError(f"{name} is not base64") from None
    if len(key) != KEY_BYTES:
        raise KeyringError(f"{name} has {len(key)} bytes: {KEY_BYTES} are needed (openssl rand -base64 {KEY_BYTES})")
    return key


def _create(path: Path) -> None:
    """Write a whole key file beside its place, then link it there: a link never replaces what another one made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    master, lookup = (base64.b64encode(os.urandom(KEY_BYTES)).decode() for _ in range(2))
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"master_keys = k1:{master}\nlookup_key = {lookup}\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
