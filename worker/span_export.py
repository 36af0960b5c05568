"""Spans over OTLP and HTTP to a collector. The only file that needs the extra `otel`; worker/tracing.py imports it."""

from urllib.parse import unquote

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

from config.settings import Settings

#: A collector that is away must not hold up a worker that ends.
EXPORT_SECONDS = 5.0

#: Spans that wait for the collector, at most; what comes then is dropped. One is about a kilobyte.
MOST_WAITING = 2048


class SpanExport:
    """A tracer of one process, and the thread that sends its spans."""

    def __init__(self, exporter: SpanExporter, *, service: str, share: float) -> None:
        """`share` of the traces are sent, chosen by their id."""
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=Resource.create({"service.name": service}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=MOST_WAITING))
        self._tracer = self._provider.get_tracer("duly")

    @property
    def tracer(self) -> Tracer:
        return self._tracer

    def end(self) -> None:
        self._provider.shutdown()


def otlp(settings: Settings) -> SpanExport:
    """An export to the collector of the settings."""
    headers = settings.otel_exporter_otlp_headers
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.otel_exporter_otlp_endpoint}/v1/traces",
        headers=read_headers(headers.get_secret_value()) if headers else {},
        timeout=EXPORT_SECONDS,
    )
    return SpanExport(exporter, service=settings.otel_service_name, share=settings.otel_traces_sampler_arg)


def read_headers(text: str) -> dict[str, str]:
    """`key=value,key=value`, percent-encoded, as OpenTelemetry writes headers."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in pairs}
