"""The channels file is read whole, or refused with the key that is wrong."""

from datetime import timedelta
from pathlib import Path

import pytest

from config.channels import DEFAULT, BadChannels, load_channels, parse_channels


def test_the_packaged_file_can_be_used_as_it_is() -> None:
    channels = load_channels()

    assert channels.sms.provider == "twilio"
    assert channels.sms.deadline == timedelta(seconds=10)
    assert channels.email.connections == 8
    assert channels == parse_channels(DEFAULT.read_text(encoding="utf-8"), name="a release")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('provider = "twilio"', 'provider = "carrier-pigeon"', "sms.provider"),
        ("connections = 8 ", "connections = 0 ", "email.connections"),
        ("connections = 8 ", "conections = 8 ", "email.con"),
        ("[push]", "[pusch]", "push"),
        ("deadline_seconds = 10        #", "deadline_seconds = 2 #", "sms.connect_seconds: must be shorter"),
        ("duly.invalid", "not a domain", "email.message_id_domain"),
        ("duly.invalid", "x>\\r\\nBcc: a", "email.message_id_domain"),
        ("[sms]", "[sms", "is not TOML"),
        ("deadline_seconds = 10 ", 'deadline_seconds = "soon" ', "deadline_seconds"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(old: str, new: str, says: str, tmp_path: Path) -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "channels.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(BadChannels) as refused:
        load_channels(path)

    assert str(refused.value).startswith(str(path))
    assert says in str(refused.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe[sms]"])
def test_a_file_that_cannot_be_read_is_named_with_a_remedy(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(BadChannels, match=r"give the path|save it as UTF-8"):
        load_channels(path)
