import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.channel import AddressChannel
from storage.sealing import NONCE_BYTES, CustomerKey, Keyring, KeyringError, Unsealable

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
RING = Keyring({"old": OLD}, OLD)
ROTATED = Keyring({"new": NEW, "old": OLD}, OLD)


@given(st.binary(max_size=500))
def test_what_is_sealed_opens_again_and_never_looks_the_same_twice(plain: bytes) -> None:
    key, _, _ = RING.new_customer_key()

    first, second = key.seal(plain), key.seal(plain)

    assert key.open(first) == key.open(second) == plain
    assert first != second
    assert len(plain) < 4 or plain not in first


@given(st.lists(st.binary(max_size=60), max_size=20), st.data())
def test_several_are_sealed_each_under_its_own_key_and_never_under_one_nonce(
    plains: list[bytes], data: st.DataObject
) -> None:
    keys = [RING.new_customer_key()[0] for _ in plains]

    sealed = CustomerKey.seal_each(keys, plains)

    assert CustomerKey.open_each(keys, sealed) == plains
    assert [key.open(each) for key, each in zip(keys, sealed, strict=True)] == plains
    assert len({each[:NONCE_BYTES] for each in sealed}) == len(plains)
    if len(plains) > 1:
        astray = data.draw(st.integers(1, len(plains) - 1))
        with pytest.raises(Unsealable):
            CustomerKey.open_each(keys, [*sealed[astray:], *sealed[:astray]])


def test_the_keys_of_several_open_together_or_not_at_all() -> None:
    made = [RING.new_customer_key() for _ in range(3)]
    sealed = [key.seal(b"hello") for key, _, _ in made]
    wrapped = [(key_id, each) for _, key_id, each in made]

    assert CustomerKey.open_each(RING.open_customer_keys(wrapped), sealed) == [b"hello"] * 3
    for spoilt in [*wrapped[:2], ("gone", wrapped[2][1])], [*wrapped[:2], ("old", b"short")]:
        with pytest.raises(Unsealable):
            RING.open_customer_keys(spoilt)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_one_changed_bit_anywhere_is_noticed(plain: bytes, data: st.DataObject) -> None:
    key, _, _ = RING.new_customer_key()
    sealed = bytearray(key.seal(plain))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(Unsealable, match="changed"):
        key.open(bytes(sealed))


@pytest.mark.parametrize("cut", [b"", b"short", b"x" * 20])
def test_what_is_cut_short_is_noticed(cut: bytes) -> None:
    key, _, _ = RING.new_customer_key()

    with pytest.raises(Unsealable):
        key.open(cut)


def test_one_customers_key_does_not_open_anothers_words() -> None:
    mine, _, _ = RING.new_customer_key()
    yours, _, _ = RING.new_customer_key()

    with pytest.raises(Unsealable):
        yours.open(mine.seal(b"+886900000101"))


def test_a_rotated_ring_opens_the_old_and_wraps_under_the_new() -> None:
    key, key_id, wrapped = RING.new_customer_key()
    sealed = key.seal(b"hello")

    again, rewrapped = ROTATED.rewrap(key_id, wrapped)

    assert (key_id, again) == ("old", "new")
    assert ROTATED.open_customer_key(key_id, wrapped).open(sealed) == b"hello"
    assert ROTATED.open_customer_key(again, rewrapped).open(sealed) == b"hello"
    assert Keyring({"new": NEW}, OLD).open_customer_key(again, rewrapped).open(sealed) == b"hello"


def test_a_retired_master_key_that_is_missing_is_asked_for() -> None:
    _, key_id, wrapped = RING.new_customer_key()

    with pytest.raises(Unsealable, match="not on the ring"):
        Keyring({"new": NEW}, OLD).open_customer_key(key_id, wrapped)


def test_the_inbox_opens_after_a_rotation_and_not_with_a_customers_wrapping() -> None:
    sealed = RING.seal_inbox(b"From=%2B886900000101&Body=STOP")

    assert ROTATED.open_inbox(sealed) == b"From=%2B886900000101&Body=STOP"
    for broken in (b"", sealed[:10], sealed[:-1]):
        with pytest.raises(Unsealable):
            ROTATED.open_inbox(broken)


def test_the_lookup_hash_is_equal_for_equal_addresses_of_one_channel_only() -> None:
    phone = RING.lookup(AddressChannel.PHONE, "+886900000101")

    assert phone == ROTATED.lookup(AddressChannel.PHONE, "+886900000101")
    assert phone != RING.lookup(AddressChannel.SOCIAL, "+886900000101")
    assert phone != Keyring({"old": OLD}, NEW).lookup(AddressChannel.PHONE, "+886900000101")
    assert phone != RING.fingerprint(b"phone:+886900000101")
    assert len(phone) == 16


@pytest.mark.parametrize(
    ("masters", "lookup", "said"),
    [
        ("nokey", "A" * 43 + "=", "id:base64"),
        ("k:" + "A" * 43 + "=,k:" + "A" * 43 + "=", "A" * 43 + "=", "twice"),
        ("k:AAAA", "A" * 43 + "=", "has 3 bytes: 32 are needed"),
        ("k:***", "A" * 43 + "=", "not base64"),
        ("k:" + "A" * 43 + "=", "AAAA", "look-up key"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_without_being_repeated(masters: str, lookup: str, said: str) -> None:
    with pytest.raises(KeyringError, match=said) as caught:
        Keyring.from_text(masters, lookup)

    assert "A" * 20 not in str(caught.value)


def test_the_ring_does_not_show_its_keys() -> None:
    assert repr(ROTATED) == "Keyring(new, old)"


def test_the_key_file_is_made_once_for_its_owner_only_however_many_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / "home" / "keys"

    together = Barrier(8)

    def start(_: int) -> Keyring:
        together.wait(10)
        return Keyring.load_or_create(path)

    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(start, range(8)))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len({ring.lookup(AddressChannel.EMAIL, "a@b.example") for ring in rings}) == 1
    key, key_id, wrapped = rings[0].new_customer_key()
    assert rings[-1].open_customer_key(key_id, wrapped).open(key.seal(b"x")) == b"x"
    assert list(path.parent.iterdir()) == [path]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    Keyring.load_or_create(path)
    os.chmod(path, 0o644)

    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.load_or_create(path)


def test_half_a_key_file_is_refused_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    path.write_text("master_keys = k1:AAAA\n")

    with pytest.raises(KeyringError, match="not a whole key file"):
        Keyring.load_or_create(path)

    assert path.read_text() == "master_keys = k1:AAAA\n"
