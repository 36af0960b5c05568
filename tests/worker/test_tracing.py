"""One span for each batch, linked to the tick that woke its lane; received by a real collector over HTTP."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from config.settings import Settings
from domain.channel import Channel
from domain.lane import Lane, shard_of
from tests.builders import HOUSE, a_customer, a_reminder, an_account
from tests.rehearsal import Fleet, fleet, sandbox
from worker import dispatch
from worker.ticking import look
from worker.tracing import SPANS, Spans, cause_of, read_cause
from worker.wiring import keyring

__all__ = ["fleet", "sandbox"]

PEOPLE = 12


class Collector:
    """Takes what is posted to /v1/traces."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], ExportTraceServiceRequest]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                collector.requests.append((dict(self.headers), ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def spans(self) -> list[Span]:
        return [
            span
            for _, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    SPANS.end()
    made.close()


def by_name(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def attributes(span: Span) -> dict[str, object]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}


def test_a_batch_is_one_span_linked_to_its_tick_and_names_nobody(fleet: Fleet, collector: Collector) -> None:
    people = [a_customer(fleet.conn, keyring(fleet.settings), n) for n in range(1, PEOPLE + 1)]
    for person in people:
        a_reminder(fleet.conn, person, an_account(fleet.conn, person))
    SPANS.begin(Settings(otel_exporter_otlp_endpoint=collector.url, otel_exporter_otlp_headers="key=a%20secret"))
    spine = fleet.spine()

    tick = SPANS.tick()
    woken = look(fleet.conn, cause=cause_of(tick)).lanes
    tick.end()
    drained = [dispatch.drain(spine, lane) for lane in woken]
    spine.close()
    SPANS.end()

    assert sum(each.sent for each in drained) == PEOPLE
    spans = collector.spans()
    [ticked], batches = by_name(spans, "duly.tick"), by_name(spans, "duly.batch")
    assert sum(attributes(span)["duly.sent"] for span in batches) == PEOPLE
    assert len(batches) < PEOPLE
    assert all([link.span_id for link in span.links] == [ticked.span_id] for span in batches)
    assert all(span.trace_id != ticked.trace_id for span in batches)
    assert {attributes(span)["duly.lender"] for span in batches} == {"lantern"}
    assert all(span.end_time_unix_nano > span.start_time_unix_nano for span in batches)
    sent = str(collector.requests)
    assert not [each for person in people for each in (person.phone, person.email, person.ref) if f'"{each}"' in sent]
    assert "Ana" not in sent
    assert all(headers["key"] == "a secret" for headers, _ in collector.requests)


def test_a_batch_that_fails_is_a_span_with_the_error_s_kind(fleet: Fleet, collector: Collector) -> None:
    person = a_customer(fleet.conn, keyring(fleet.settings))
    a_reminder(fleet.conn, person, an_account(fleet.conn, person))
    fleet.conn.execute("ALTER TABLE contact RENAME COLUMN purpose TO something_else")
    SPANS.begin(Settings(otel_exporter_otlp_endpoint=collector.url))
    spine = fleet.spine()

    dispatch.drain(spine, Lane("lantern", Channel.SMS, shard_of(person.party_id)))
    spine.close()
    SPANS.end()

    [span] = by_name(collector.spans(), "duly.batch")
    assert span.status.message == "UndefinedColumn"


def test_without_a_collector_in_the_settings_there_are_no_spans() -> None:
    spans = Spans()

    spans.begin(Settings())

    assert spans.tick() is None
    assert cause_of(None) is None


WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry.sdk"] = None
sys.modules["opentelemetry.exporter"] = None
from config.settings import Settings
from worker.tracing import SPANS
SPANS.begin(Settings(otel_exporter_otlp_endpoint="http://127.0.0.1:9"))
assert SPANS.tick() is None
"""


def test_without_the_extra_a_worker_says_so_and_works_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA], cwd=HOUSE, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "duly[otel]" in done.stdout + done.stderr


def test_a_share_of_nothing_sends_nothing_and_leaves_no_cause(collector: Collector) -> None:
    SPANS.begin(Settings(otel_exporter_otlp_endpoint=collector.url, otel_traces_sampler_arg=0))

    tick = SPANS.tick()
    tick.end()
    SPANS.batch(Lane("lantern", Channel.SMS, 3), seconds=0.1, cause=cause_of(tick), attributes={})
    SPANS.end()

    assert cause_of(tick) is None
    assert collector.spans() == []


def test_a_cause_is_read_as_it_was_written(collector: Collector) -> None:
    SPANS.begin(Settings(otel_exporter_otlp_endpoint=collector.url))
    tick = SPANS.tick()

    context = read_cause(cause_of(tick))

    assert (context.trace_id, context.span_id) == (tick.get_span_context().trace_id, tick.get_span_context().span_id)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_begins_without_its_parent_s_spans(collector: Collector) -> None:
    SPANS.begin(Settings(otel_exporter_otlp_endpoint=collector.url))
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(write, b"none" if SPANS.tick() is None else b"some")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(read, 4) == b"none"
    os.close(read)
    os.close(write)
