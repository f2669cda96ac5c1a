"""An OpenTelemetry collector: it takes OTLP over real HTTP, and decodes the protobuf."""

import contextlib
import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from protocols.net.tls import TLS

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True)
class Span:
    """A span as it has arrived."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    """Trace and span id of each."""
    attributes: dict[str, Any]
    failed: bool
    service: str
    state: str
    """Its tracestate."""
    began: int
    ended: int
    """Nanoseconds since 1970."""


class Refused(Exception):
    """The spans of this request are not taken."""


def taken(request: BaseHTTPRequestHandler, rejected: int = 0) -> None:
    """Answer that the spans are taken, all but so many."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    body = answer.SerializeToString()
    request.send_response(200)
    request.send_header("Content-Type", "application/x-protobuf")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


class Collector:
    """Listens on a free port from the beginning, by TLS if there is a certificate."""

    def __init__(self, tls: TLS | None = None) -> None:
        self.spans: list[Span] = []
        self.requests = 0
        self.answers: Callable[[BaseHTTPRequestHandler], None] = taken
        """Answers a request in its own way, before its spans are taken. It may raise :class:`Refused`."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests += 1
                with contextlib.suppress(Refused, OSError):
                    collector.answers(self)
                    collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/v1/traces"

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _values(resource.resource.attributes).get("service.name", "")
            self.spans += [_span(sent, service) for scope in resource.scope_spans for sent in scope.spans]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def first(self, name: str, which: Callable[[Span], bool] = lambda span: True) -> Span | None:
        return next((span for span in self.named(name) if which(span)), None)

    def below(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if span.parent == parent.id]


def _span(sent: Sent, service: str) -> Span:
    return Span(
        name=sent.name,
        kind=KINDS[sent.kind],
        trace=sent.trace_id.hex(),
        id=sent.span_id.hex(),
        parent=sent.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in sent.links),
        attributes=_values(sent.attributes),
        failed=sent.status.code == 2,
        service=service,
        state=sent.trace_state,
        began=sent.start_time_unix_nano,
        ended=sent.end_time_unix_nano,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting(tls: TLS | None = None) -> Iterator[Collector]:
    collector = Collector(tls)
    try:
        yield collector
    finally:
        collector.close()
