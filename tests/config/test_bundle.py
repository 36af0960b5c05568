import os
from pathlib import Path

import pytest

from config.bundle import read_bundle
from config.files import ConfigError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    config, templates = tmp_path / "config", tmp_path / "templates"
    for name in ("policies/cn.toml", "ladders/standard.toml", "lenders/lantern.toml", "profiles/uci.toml"):
        (config / name).parent.mkdir(parents=True, exist_ok=True)
        (config / name).write_text(f"id = '{name}'\n", encoding="utf-8")
    (config / "channels.toml").write_text("", encoding="utf-8")
    (templates / "first_notice").mkdir(parents=True)
    (templates / "first_notice" / "sms.zh-Hant.txt").write_text("您好", encoding="utf-8")
    return config, templates


def test_a_bundle_holds_all_that_decides_and_nothing_else(folders: tuple[Path, Path]) -> None:
    config, templates = folders
    (config / "ladders" / "standard.toml~").write_text("left by an editor")
    (templates / ".first.swp").write_bytes(b"\xff\xfe")

    bundle = read_bundle(config, templates)

    assert sorted(bundle.files) == [
        "channels.toml",
        "ladders/standard.toml",
        "lenders/lantern.toml",
        "policies/cn.toml",
        "templates/first_notice/sms.zh-Hant.txt",
    ]
    assert bundle.files["templates/first_notice/sms.zh-Hant.txt"] == "您好"


def test_the_hash_moves_with_a_letter_and_a_name_and_with_nothing_else(folders: tuple[Path, Path]) -> None:
    config, templates = folders
    before = read_bundle(config, templates).hash

    assert read_bundle(config, templates).hash == before
    (templates / "first_notice" / "sms.zh-Hant.txt").write_text("你好", encoding="utf-8")
    letter = read_bundle(config, templates).hash
    (templates / "first_notice" / "sms.zh-Hant.txt").rename(templates / "first_notice" / "sms.zh-Hans.txt")

    assert len({before, letter, read_bundle(config, templates).hash}) == 3


def test_a_file_that_is_not_utf8_is_named(folders: tuple[Path, Path]) -> None:
    config, templates = folders
    (templates / "first_notice" / "sms.en.txt").write_bytes("café".encode("latin-1"))

    with pytest.raises(ConfigError, match=r"first_notice/sms\.en\.txt:1: is not UTF-8: save it as UTF-8"):
        read_bundle(config, templates)


def test_a_huge_file_is_named(folders: tuple[Path, Path]) -> None:
    config, templates = folders
    with (config / "policies" / "dump.toml").open("wb") as file:
        file.truncate(5 * 1024 * 1024 + 1)

    with pytest.raises(ConfigError, match=r"dump\.toml: 5\.0 MB: .* take it back"):
        read_bundle(config, templates)


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside.toml"])
def test_a_link_out_of_the_folder_is_refused(folders: tuple[Path, Path], target: str) -> None:
    config, templates = folders
    (config / "outside.toml").write_text("secret")
    (config / "policies" / "us.toml").symlink_to(target)

    with pytest.raises(ConfigError, match=r"us\.toml: a link out of"):
        read_bundle(config, templates)


def test_a_link_to_a_folder_is_refused(folders: tuple[Path, Path]) -> None:
    config, templates = folders
    os.symlink(config, templates / "more")

    with pytest.raises(ConfigError, match="a link to a folder"):
        read_bundle(config, templates)


def test_a_missing_folder_is_named(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        read_bundle(folders[0], folders[1] / "nowhere")


def test_a_device_in_the_folder_is_refused(folders: tuple[Path, Path]) -> None:
    os.mkfifo(folders[0] / "policies" / "pipe.toml")

    with pytest.raises(ConfigError, match=r"pipe\.toml: no such file"):
        read_bundle(*folders)


def test_the_packaged_configuration_can_be_read() -> None:
    root = Path(__file__).resolve().parents[2]

    assert read_bundle(root / "config", root / "templates").under("ladders").keys() >= {"standard.toml", "small.toml"}


def test_a_file_saved_as_gbk_is_named_with_its_line_and_its_encoding(folders: tuple[Path, Path]) -> None:
    config, templates = folders
    (templates / "first_notice" / "sms.zh-Hans.txt").write_bytes("Hello\n您好，您的账单".encode("gbk"))

    with pytest.raises(ConfigError, match=r"first_notice/sms\.zh-Hans\.txt:2: is not UTF-8: it looks like GBK"):
        read_bundle(config, templates)


def test_how_windows_saves_a_file_makes_no_other_release(folders: tuple[Path, Path]) -> None:
    config, templates = folders
    file = templates / "first_notice" / "sms.en.txt"
    file.write_bytes(b"Hello,\nthis is due.\n")
    before = read_bundle(config, templates).hash

    file.write_bytes(b"\xef\xbb\xbfHello,\r\nthis is due.\r\n")

    assert read_bundle(config, templates).hash == before
