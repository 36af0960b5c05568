"""What comes from the broker and is let in: our own wake-ups, and nothing else.

Whoever can write to the broker can write anything. A message that we would not have sent is dropped and counted:
another content type, a packed or oversized body, a task that is not ours, arguments that no wake-up has, a time limit
or a delay, a chain of further tasks. Commands to workers and their gossip are not listened to at all.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from queue import Empty
from typing import Any, Final

import structlog
from celery.signals import worker_shutdown
from celery.worker.consumer import Consumer
from kombu.transport import redis

from config import settings as configuration
from domain.lane import BadLane, Lane
from worker import engines
from worker.app import HARD_LIMIT_SECONDS, SOFT_LIMIT_SECONDS
from worker.metrics import REFUSED, TALLY
from worker.reporting import Reporter

log = structlog.get_logger()

#: A wake-up with all its headers takes a third of this.
LARGEST_BODY_BYTES: Final = 2048
LARGEST_RAW_BYTES: Final = 16 * 1024

#: The one task that takes an argument: the name of a lane.
DRAIN: Final = "duly.drain"

#: Of each reason, one line in the log for so long; all are counted.
LOG_EVERY_SECONDS: Final = 5.0

#: Headers that a wake-up never fills: they would let a message wait, repeat, belong to others, or cut a wave short.
_EMPTY_HEADERS: Final = ("eta", "group", "group_index", "retries", "shadow", "stamped_headers", "stamps", "chord")

#: Celery writes the limits of the settings into each message that a known task is called by.
_OUR_TIME_LIMITS: Final = (None, [None, None], [HARD_LIMIT_SECONDS, SOFT_LIMIT_SECONDS])


def refusal(headers: Mapping[str, Any], content_type: object, body: object, *, tasks: Collection[str]) -> str | None:
    """Why a message is refused, in a few fixed words; None for one that may be ours."""
    name = headers.get("task")
    if not isinstance(name, str) or name not in tasks:
        return "unknown task"
    if content_type != "application/json" or headers.get("compression"):
        return "not JSON"
    if not isinstance(body, str | bytes) or len(body) > LARGEST_BODY_BYTES:
        return "oversized"
    if any(headers.get(key) for key in _EMPTY_HEADERS) or headers.get("timelimit") not in _OUR_TIME_LIMITS:
        return "not a wake-up"
    if not _is_name(headers.get("id")) or not _is_time(headers.get("expires")):
        return "not a wake-up"
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return "not JSON"
    return _refusal_of(name, said)


def _refusal_of(name: str, said: object) -> str | None:
    if not isinstance(said, list) or len(said) != 3:
        return "wrong arguments"
    args, named, embedded = said
    if named != {} or not isinstance(args, list) or not isinstance(embedded, dict) or any(embedded.values()):
        return "wrong arguments"
    if name != DRAIN:
        return "wrong arguments" if args else None
    try:
        Lane.parse(args[0] if len(args) == 1 else None)
    except BadLane:
        return "not a lane name"
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 64


def _is_time(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False


class Refusals:
    """Counts what one worker's main process refused, and tells the database while there is something to tell."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}
        self._reporter: Reporter | None = None

    def add(self, why: str) -> None:
        TALLY.count(REFUSED, (why,))
        now = time.monotonic()
        if now - self._logged.get(why, -LOG_EVERY_SECONDS) >= LOG_EVERY_SECONDS:
            self._logged[why] = now
            log.warning("refused_message", why=why)
        if self._reporter is None:
            self._reporter = Reporter(
                _database_url(), name=f"door@{socket.gethostname()}:{os.getpid()}", role="door", every_seconds=2,
                idle_seconds=0,
            )  # fmt: skip
            self._reporter.start()

    def end(self) -> None:
        """The last report."""
        if self._reporter is not None:
            self._reporter.end()


def _database_url() -> str:
    return engines.ensure(configuration.load()).database_url


REFUSALS: Final = Refusals()


@worker_shutdown.connect  # type: ignore[untyped-decorator]  # Celery is untyped
def _end(**_: object) -> None:
    REFUSALS.end()


class Door(Consumer):  # type: ignore[misc]  # Celery is untyped
    """Celery's consumer behind a guard, deaf to remote control and to other workers."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]  # likewise
        default_steps = [  # noqa: RUF012 - as Celery has it
            step
            for step in Consumer.Blueprint.default_steps
            if step.rpartition(":")[2] not in {"Mingle", "Gossip", "Control", "Agent"}
        ]

    def create_task_handler(self, *args: Any, **named: Any) -> Callable[[Any], Any]:
        take = super().create_task_handler(*args, **named)
        ours = frozenset(name for name in self.app.tasks if name.startswith("duly."))

        def on_task_received(message: Any) -> Any:
            why = _refusal_or_fault(message, ours)
            if why is None:
                return take(message)
            REFUSALS.add(why)
            return message.reject_log_error(log, self.connection_errors)

        return on_task_received


def _refusal_or_fault(message: Any, tasks: Collection[str]) -> str | None:
    headers = message.headers
    if message.errors or not isinstance(headers, dict):
        return "not readable"
    return refusal(headers, message.content_type, message.body, tasks=tasks)


class _Channel(redis.Channel):
    def _brpop_read(self, **options: Any) -> Any:
        """What cannot even be read must not end the worker: it is off the list already."""
        self.connection.has_read = False
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu is untyped
        except (Empty, *self.connection_errors):
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            if self.connection.has_read:
                raise
            REFUSALS.add("not readable")
            return True


class Transport(redis.Transport):
    """Kombu's Redis transport, which drops what is no message of ours before anything is unpacked."""

    Channel = _Channel

    def _deliver(self, message: Any, queue: str) -> Any:
        if not _is_message(message):
            REFUSALS.add("not readable")
            return None
        self.has_read = True
        return super()._deliver(message, queue)  # type: ignore[no-untyped-call]  # kombu is untyped


def _is_message(message: object) -> bool:
    """Whether it has the outer shape of a message: headers, a body that is neither packed nor huge, a tag."""
    if not isinstance(message, dict):
        return False
    properties, headers, body = message.get("properties"), message.get("headers"), message.get("body")
    if not isinstance(properties, dict) or not isinstance(headers, dict) or not isinstance(body, str):
        return False
    if len(body) > LARGEST_RAW_BYTES or headers.get("compression"):
        return False
    return isinstance(properties.get("delivery_tag"), str) and properties.get("body_encoding") == "base64"
