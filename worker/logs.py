"""Logs of every process, masked: what is personal is hidden before anything is written, whoever logged it.

Hidden by key (`to`, `customer_name`, ...) and, in any text whatever its key, everything that looks like a phone number
or an e-mail address. What only looks like one (an IPv4 address, say) is hidden too: better a poorer log.
"""

import logging
import re
import sys
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TextIO
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: A key is personal if its last word is one of these: `to`, `reply_to`, `customer_name`.
PERSONAL: Final = frozenset(
    {"to", "from", "address", "addresses", "recipient", "recipients", "phone", "mobile", "msisdn", "tel", "number"}
    | {"email", "mail", "name", "body", "text", "html", "subject", "title", "content", "reply", "facts"}
    | {"password", "passphrase", "secret", "token", "authorization", "cookie"}
)

#: ... except where it names a thing of ours.
OURS: Final = frozenset({"queue_name", "task_name", "worker_name", "file_name", "template_name", "program_name"})

#: Fewer digits are no phone number that can be dialled from abroad; more are none either, but may hold one.
FEWEST_DIGITS: Final = 7

#: Libraries that tell at INFO what concerns only themselves.
CHATTY: Final = ("alembic.runtime.migration", "celery.app.trace", "celery.worker.strategy", "celery.beat")

HIDDEN: Final = "[hidden]"

# The first three are kept: ids, hashes and times are full of digits.
_SENSITIVE: Final = re.compile(
    rf"""
    (?P<keep>
        \b[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}\b    # a UUID
      | \b(?=[0-9]*[a-f])[0-9a-f]{{32,128}}\b                                         # a hash
      | \b(?:19|20)\d\d-[01]\d-[0-3]\d[T\ ][0-2]\d:[0-5]\d(?::[0-6]\d(?:[.,]\d{{1,6}})?)?(?!\d)  # a time
    )
    | (?P<email> [^\s@<>\[\](),;:"]{{1,128}} @ [^\s@<>\[\](),;:"']{{1,255}} \. [^\s@<>\[\](),;:"']+ )
    | (?P<phone> [+\uff0b]? (?: \d [\s().\-\u2010-\u2015\u2212/\u00b7]{{0,3}} ){{{FEWEST_DIGITS - 1},}} \d )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def configure(*, level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging alike; safe to call again. Logs go to standard error.

    `level` and `log_format` (console or json) are those of the settings.
    """
    output = stream or sys.stderr
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        masked,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(log_format, output)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def masked(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that hides what is personal; it also flattens unknown objects, which may hold anything."""
    return {key: value if key.startswith("_") else _masked_entry(key, value) for key, value in event.items()}


def mask_text(text: str) -> str:
    """A text without anything that looks like a phone number or an e-mail address."""
    return _SENSITIVE.sub(_replacement, text)


def _masked_entry(key: str, value: Any) -> Any:
    return HIDDEN if _is_personal(key) and value not in (None, "") else _masked_value(value)


def _is_personal(key: str) -> bool:
    return key not in OURS and re.split(r"[_\W]", key.lower())[-1] in PERSONAL


def _masked_value(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | Decimal() | UUID() | datetime() | date() | time() | timedelta():
            return value
        case str():
            return mask_text(value)
        case bytes():
            return f"<{len(value)} bytes>"
        case Mapping():
            return {mask_text(str(key)): _masked_entry(str(key), inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked_value(inner) for inner in value]
        case _:
            return mask_text(str(value))


def _replacement(found: re.Match[str]) -> str:
    if found["keep"]:
        return found["keep"]
    return "[e-mail]" if found["email"] else "[phone]"


def _renderer(log_format: str, output: TextIO) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    # The traceback is text by now, masked: the renderer must not look at the exception again.
    return structlog.dev.ConsoleRenderer(
        colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
