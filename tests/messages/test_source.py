"""The folder on disk is read whole or refused with the file, the line and what to do."""

from pathlib import Path

import pytest

from messages.fault import CopyError
from messages.source import MAX_FILE_BYTES, read_folder
from tests.messages.copies import FOLDER


def test_the_shipped_folder_is_read_by_path_without_its_guide() -> None:
    files = read_folder(FOLDER)

    assert "first_notice/sms.zh-Hant.txt" in files
    assert "README.md" not in files


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("您好\n您的账单还没有到账".encode("gbk"), "sms.zh-Hans.txt:1: is not UTF-8. It looks like GBK"),
        ("您好\n您的帳單還沒有入帳，請告訴我們".encode("big5"), "sms.zh-Hans.txt:1: is not UTF-8. It looks like Big5"),
        (b"Hi\nthere \xff\xfe", "sms.zh-Hans.txt:2: is not UTF-8. Save it as UTF-8"),
        (b"a" * (MAX_FILE_BYTES + 1), "larger than 64 KB"),
    ],
)
def test_a_file_that_is_not_copy_is_refused_with_its_remedy(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "first_notice").mkdir()
    (tmp_path / "first_notice" / "sms.zh-Hans.txt").write_bytes(data)

    with pytest.raises(CopyError, match=says):
        read_folder(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfHi\r\nthere\r\n")

    assert read_folder(tmp_path) == {"a.txt": "Hi\nthere\n"}


def test_a_link_to_another_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("/etc/hostname")

    with pytest.raises(CopyError, match="link to another place"):
        read_folder(tmp_path)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CopyError, match="is no folder"):
        read_folder(tmp_path / "nowhere")
