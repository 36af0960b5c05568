import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import phonenumbers
import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from worker import logs

FORMATS = (
    phonenumbers.PhoneNumberFormat.E164,
    phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    phonenumbers.PhoneNumberFormat.NATIONAL,
    phonenumbers.PhoneNumberFormat.RFC3966,
)
EXAMPLES = [
    example
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    if (example := phonenumbers.example_number_for_type(region, kind)) is not None
]

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written() -> Iterator[Lines]:
    """What was logged, as JSON lines read back."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(level="INFO", log_format="json", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def digits(text: str) -> str:
    return "".join(character for character in text if character.isdecimal())


@given(st.sampled_from(EXAMPLES), st.sampled_from(FORMATS), st.text(), st.text())
def test_no_phone_number_survives_in_any_text(
    number: phonenumbers.PhoneNumber, form: int, before: str, after: str
) -> None:
    written_number = phonenumbers.format_number(number, form)
    assume(len(digits(written_number)) >= logs.FEWEST_DIGITS)

    masked = logs.mask_text(f"{before} {written_number} {after}")

    assert written_number not in masked
    assert not digits(logs.mask_text(written_number))


@given(st.emails(), st.text(), st.text())
def test_no_email_address_survives_in_any_text(address: str, before: str, after: str) -> None:
    masked = logs.mask_text(f"{before} {address} {after}")

    assert address not in masked


@given(st.sampled_from(EXAMPLES), st.emails())
def test_nothing_personal_survives_however_deep_it_lies(number: phonenumbers.PhoneNumber, address: str) -> None:
    phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assume(len(digits(phone)) >= logs.FEWEST_DIGITS)

    masked = logs.masked(
        None,
        "info",
        {
            "event": f"sent to {phone}",
            "tried": [{"at": (address, {phone: 1})}],
            "why": ValueError(address),
            "raw": b"x",
        },
    )

    assert phone not in repr(masked)
    assert address not in repr(masked)


@pytest.mark.parametrize(
    "key", ["to", "address", "phone", "email", "name", "customer_name", "body", "text", "reply_to"]
)
def test_personal_keys_are_hidden_whatever_they_hold(key: str) -> None:
    assert logs.masked(None, "info", {key: "Ada"}) == {key: "[hidden]"}
    assert logs.masked(None, "info", {"within": {key: ["Ada"]}}) == {"within": {key: "[hidden]"}}


def test_what_operators_need_stays_readable() -> None:
    entry = {
        "event": "3 reminders held until 2026-03-02 09:00:00 by release "
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "contact_id": "01932c07-1234-7890-8123-123456789012",
        "id": UUID("01932c07-1234-7890-8123-123456789012"),
        "account_id": 12345678,
        "queue_name": "sms",
        "at": datetime(2026, 3, 2, 9, tzinfo=UTC),
        "host": "127.0.0.1:5432",
        "node": "celery@worker-1",
    }

    assert logs.masked(None, "info", dict(entry)) == entry


def test_lines_are_json_with_level_time_and_logger(written: Lines) -> None:
    structlog.get_logger("worker.sending").warning("wave refused", lane="sms/7", to="+447700900123")

    (line,) = written()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "wave refused",
        "lane": "sms/7",
        "to": "[hidden]",
        "level": "warning",
        "logger": "worker.sending",
    }


def test_libraries_that_log_for_themselves_are_masked_too(written: Lines) -> None:
    logging.getLogger("some.library").error("cannot reach %s at %s", "ada@example.com", "+44 7700 900123")

    (line,) = written()
    assert line["event"] == "cannot reach [e-mail] at [phone]"


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_are_masked(form: str, written: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure(level="INFO", log_format=form, stream=stream)
    for logger in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        try:
            raise ValueError("no route to +447700900123")
        except ValueError:
            logger.exception("failed")

    text = stream.getvalue()
    assert text.count("ValueError: no route to [phone]") == 2
    assert "900123" not in text
    assert "900123" not in "".join(capsys.readouterr())


def test_the_level_is_kept_to(written: Lines) -> None:
    structlog.get_logger("ours").debug("noise")
    logging.getLogger("theirs").debug("noise")

    assert written() == []


def test_a_console_that_is_no_terminal_gets_plain_lines() -> None:
    stream = io.StringIO()
    logs.configure(level="INFO", log_format="console", stream=stream)

    structlog.get_logger("ours").info("ready", lanes=3)

    assert "ready" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    logs.configure(level="INFO", log_format="console", stream=sys.stderr)
