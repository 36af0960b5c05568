import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.profiles import RowFault
from worker.csv_file import CsvFile, masked, moment_of


@given(st.text(max_size=100))
def test_a_masked_value_keeps_its_shape_and_nothing_it_says(value: str) -> None:
    shown = masked(value)

    assert len(shown) <= 41
    assert shown.isprintable()
    assert not any(letter.isalnum() and letter not in "x9" for letter in shown if letter.isascii())
    assert not any(letter.isalpha() and letter != "x" for letter in shown)


@pytest.mark.parametrize(
    ("written", "zone", "at"),
    [
        ("2026-03-04", "UTC", datetime(2026, 3, 4, tzinfo=UTC)),
        ("2026-03-04", "Asia/Taipei", datetime(2026, 3, 3, 16, tzinfo=UTC)),
        ("2026-03-04 09:30", "Asia/Taipei", datetime(2026, 3, 4, 1, 30, tzinfo=UTC)),
        ("2026-03-04T09:30:00Z", "Asia/Taipei", datetime(2026, 3, 4, 9, 30, tzinfo=UTC)),
        ("2026-03-04T09:30:00-05:00", "UTC", datetime(2026, 3, 4, 14, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_with_its_offset_or_in_the_zone(written: str, zone: str, at: datetime) -> None:
    assert moment_of(written, zone, column="at") == at


@pytest.mark.parametrize("written", ["yesterday", "04/03/2026", "2026-02-30", "9999-12-31T23:59:59-12:00"])
def test_what_is_no_time_names_its_column(written: str) -> None:
    with pytest.raises(RowFault) as caught:
        moment_of(written, "UTC", column="paid_at")

    assert caught.value.column == "paid_at"


def test_progress_hears_every_byte_and_the_hash_is_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2\n" * 50_000)
    heard: list[tuple[int, int]] = []

    with CsvFile(path, progress=lambda done, total: heard.append((done, total))) as file:
        assert sum(1 for _ in file.lines()) == 50_000
        digest = file.sha256

    assert heard[-1] == (200_004, 200_004)
    assert heard == sorted(heard)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
