"""Spans: one for each batch, linked to the tick that woke its lane; never one for a reminder, never a person in one.

Nothing is made until `begin` finds an OpenTelemetry collector in the settings. The tick's place in its trace is kept in
the database beside the wake-up, since the broker carries names of lanes and nothing else.
"""

import importlib
import os
import time
from collections.abc import Mapping
from typing import Final, Protocol

import structlog
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from config.settings import Settings
from domain.lane import Lane

log = structlog.get_logger()

#: The part of ours that needs the extra `otel`; imported when spans are wanted.
EXPORT: Final = "worker.span_export"

Attributes = Mapping[str, str | int | float]


class Export(Protocol):
    """Where spans go: a tracer, and an end that sends what is left."""

    @property
    def tracer(self) -> Tracer: ...

    def end(self) -> None: ...


class Spans:
    """One process's spans. Costs a comparison while there is no export."""

    def __init__(self) -> None:
        self._export: Export | None = None

    def begin(self, settings: Settings) -> None:
        """Send spans from now on, if the settings name a collector. Called after the fork, once."""
        if settings.otel_exporter_otlp_endpoint is None:
            return
        try:
            module = importlib.import_module(EXPORT)
        except ModuleNotFoundError as missing:
            log.error("no_spans", missing=missing.msg, remedy="install duly with its extra: pip install 'duly[otel]'")
            return
        self.send_to(module.otlp(settings))

    def send_to(self, export: Export) -> None:
        """Send spans to this export from now on."""
        self._export = export

    def end(self) -> None:
        """Send what is left, and no more."""
        export, self._export = self._export, None
        if export is not None:
            export.end()

    def forget(self) -> None:
        """Another process now: its parent's export has threads that this one does not."""
        self._export = None

    def tick(self) -> Span | None:
        """A tick begins. It is sent when it is ended, which a tick that wakes nobody never is."""
        return self._export.tracer.start_span("duly.tick", kind=SpanKind.PRODUCER) if self._export else None

    def batch(
        self, lane: Lane, *, seconds: float, cause: str | None, attributes: Attributes, error: str | None = None
    ) -> None:
        """A batch that took so long and is over now. `cause` is what the tick left beside the wake-up."""
        if self._export is None:
            return
        ended_at = time.time_ns()
        context = read_cause(cause)
        span = self._export.tracer.start_span(
            "duly.batch",
            kind=SpanKind.CONSUMER,
            links=[Link(context)] if context else [],
            start_time=ended_at - round(seconds * 1e9),
            attributes={
                "duly.lender": lane.lender, "duly.channel": lane.channel.value, "duly.shard": lane.shard, **attributes
            },
        )  # fmt: skip
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(ended_at)


#: This process's spans.
SPANS: Final = Spans()
os.register_at_fork(after_in_child=SPANS.forget)


def cause_of(span: Span | None) -> str | None:
    """A span's place in its trace as W3C's `traceparent` writes it; None for one that is not sent."""
    context = span.get_span_context() if span is not None else None
    if context is None or not context.is_valid or not context.trace_flags.sampled:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def read_cause(cause: str | None) -> SpanContext | None:
    """What `cause_of` wrote."""
    if cause is None:
        return None
    _, trace_id, span_id, flags = cause.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
