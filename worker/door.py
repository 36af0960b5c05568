"""What comes from the broker and is let in: our own wake-ups, and nothing else.

Whoever can write to the broker can write anything. A message that we would not have sent is dropped and counted:
another content type, a packed or oversized body, a task that is not ours, arguments that no wake-up has, a time limit
or a delay, a chain of further tasks, any header that Celery does not write. Libraries are not made for such messages
and die of some, and a message that ended one worker comes back to the next; so they never see them. Commands to
workers and their gossip are not listened to at all.
"""

import json
import os
import socket
import time
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from queue import Empty
from typing import Any, Final

import structlog
from celery.signals import worker_shutdown
from celery.worker.consumer import Consumer
from kombu.transport import redis, virtual

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

#: The longest name in an envelope: ids and tags are 36 characters, queues fewer.
LONGEST_NAME: Final = 64

#: The longest of the remarks that Celery adds for people: a host's name has up to 255 characters.
LONGEST_REMARK: Final = 1024


def _is_empty(value: object) -> bool:
    return not value


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME


def _is_name_or_none(value: object) -> bool:
    return value is None or _is_name(value)


def _is_remark(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_REMARK


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_time(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() is not None
    except ValueError:
        return False


#: Celery writes the limits of the settings into each message that a known task is called by.
_OUR_TIME_LIMITS: Final = (None, [None, None], [HARD_LIMIT_SECONDS, SOFT_LIMIT_SECONDS])

#: What could follow after a task, in each message, and never does.
_NOTHING_MORE: Final = frozenset({"callbacks", "errbacks", "chain", "chord"})

#: Every header that a wake-up may have (Celery 5.7, `app/amqp.py`, `beat.py`; kombu adds `redelivered`). Those that
#: must be empty would let it wait, repeat, belong to others or cut a wave short; one that is not here may do anything.
_HEADERS: Final[Mapping[str, Callable[[object], bool]]] = {
    "lang": _is_name,
    "task": _is_name,
    "id": _is_name,
    "root_id": _is_name_or_none,
    "parent_id": _is_name_or_none,
    "argsrepr": _is_remark,
    "kwargsrepr": _is_remark,
    "origin": _is_remark,
    "ignore_result": _is_flag,
    "celery_beat_task": _is_flag,
    "redelivered": _is_flag,
    "expires": _is_time,
    "timelimit": lambda value: value in _OUR_TIME_LIMITS,
    **dict.fromkeys(
        ("eta", "group", "group_index", "retries", "shadow", "stamped_headers", "stamps", "replaced_task_nesting"),
        _is_empty,
    ),
}


def refusal(
    headers: Mapping[str, Any], content_type: object, content_encoding: object, body: object, *, tasks: Collection[str]
) -> str | None:
    """Why a message is refused, in a few fixed words; None for one that may be ours."""
    name = headers.get("task")
    if not isinstance(name, str) or name not in tasks:
        return "unknown task"
    if content_type != "application/json" or content_encoding != "utf-8" or headers.get("compression"):
        return "not JSON"
    if not isinstance(body, str | bytes) or len(body) > LARGEST_BODY_BYTES:
        return "oversized"
    if "id" not in headers or not all(key in _HEADERS and _HEADERS[key](value) for key, value in headers.items()):
        return "not a wake-up"
    try:
        said = json.loads(body if isinstance(body, str) else body.decode("utf-8"))
    except (ValueError, RecursionError):
        return "not JSON"
    return _refusal_of(name, said)


def _refusal_of(name: str, said: object) -> str | None:
    if not isinstance(said, list) or len(said) != 3:
        return "wrong arguments"
    args, named, embedded = said
    if named != {} or not isinstance(args, list) or not isinstance(embedded, dict):
        return "wrong arguments"
    if not embedded.keys() <= _NOTHING_MORE or any(value is not None for value in embedded.values()):
        return "wrong arguments"
    if name != DRAIN:
        return "wrong arguments" if args else None
    try:
        Lane.parse(args[0] if len(args) == 1 else None)
    except BadLane:
        return "not a lane name"
    return None


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

    def __init__(self, *args: Any, **named: Any) -> None:
        # Another step requires Mingle, so that leaving it out does not suffice: it would ask the other workers for what
        # they have heard, believe any answer, and wait a second for it at each start and each return of the broker.
        super().__init__(*args, **named, without_mingle=True, without_gossip=True)

    def create_task_handler(self, *args: Any, **named: Any) -> Callable[[Any], Any]:
        take = super().create_task_handler(*args, **named)
        ours = frozenset(name for name in self.app.tasks if name.startswith("duly."))

        def on_task_received(message: Any) -> Any:
            why = _refusal_or_fault(message, ours)
            if why is not None:
                return self._refuse(message, why)
            try:
                return take(message)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                if isinstance(error, self.connection_errors):
                    raise
                # A wake-up is worth nothing, and one that Celery cannot take would end worker after worker.
                log.error("message_not_taken", error=type(error).__name__)
                return self._refuse(message, "not readable")

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Instead of Celery's own, which shows the whole message in the log."""
        self._refuse(message, "not readable")

    def _refuse(self, message: Any, why: str) -> None:
        REFUSALS.add(why)
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors)


def _refusal_or_fault(message: Any, tasks: Collection[str]) -> str | None:
    headers = message.headers
    if message.errors or not isinstance(headers, dict):
        return "not readable"
    return refusal(headers, message.content_type, message.content_encoding, message.body, tasks=tasks)


class _QoS(redis.QoS):
    """Counts what is answered as answered, also where the broker could not be told.

    Kombu 5.7 does not, and Celery only logs it: with each such answer a worker could take one message less, until it
    took none and waited for ever. The broker brings the message back after its visibility timeout.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu is untyped
        finally:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]  # likewise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]  # likewise
        finally:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]  # likewise


class _Channel(redis.Channel):
    QoS = _QoS

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
    """Whether it has the outer shape of a message: headers, a body that is neither packed nor huge, a tag, a place.

    Kombu keeps it by its tag and place until it is answered, and whoever comes next puts it back there.
    """
    if not isinstance(message, dict):
        return False
    properties, headers, body = message.get("properties"), message.get("headers"), message.get("body")
    if not isinstance(properties, dict) or not isinstance(headers, dict) or not isinstance(body, str):
        return False
    if len(body) > LARGEST_RAW_BYTES or headers.get("compression"):
        return False
    return properties.get("body_encoding") == "base64" and _is_base64(body) and _is_addressed(properties)


def _is_addressed(properties: Mapping[str, object]) -> bool:
    place = properties.get("delivery_info")
    if not isinstance(place, dict) or not _is_name(place.get("routing_key")):
        return False
    if place.get("exchange") != "" and not _is_name(place.get("exchange")):
        return False
    if not all(_is_name_or_none(properties.get(key)) for key in ("correlation_id", "reply_to")):
        return False
    return isinstance(properties.get("priority", 0), int) and _is_name(properties.get("delivery_tag"))


def _is_base64(body: str) -> bool:
    try:
        return b64decode(body, validate=True) is not None
    except ValueError:
        return False
