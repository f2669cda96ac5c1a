"""HTTP with a collector, in bounded memory and time."""

import io
import os
import time
from typing import Any

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from urllib3.exceptions import HTTPError

MOST_READ = 64 * 1024
"""Bytes of an answer. A longer one is not read to its end."""
_CREDENTIALS = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)


class CollectorSession(requests.Session):
    """Reads what is needed of an answer, and notes how many spans the collector has rejected.

    OpenTelemetry's exporter reads answers to their end, whatever their length; takes a redirect, which it does not
    follow, for a success; and does not look for rejected spans.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rejected = 0
        """Spans of the last batch that was taken."""
        self.why = ""
        """Why the last request failed; empty if it did not."""
        self.hooks["response"].append(self._read)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        try:
            return super().send(request, **options)
        except requests.RequestException as error:
            self.why = _reason(error)
            raise

    def _read(self, response: requests.Response, *_: Any, **options: Any) -> None:
        """Raises RequestException for a redirect."""
        content = _beginning(response, options.get("timeout") or 0.0)
        response.raw = io.BytesIO(content)
        if 300 <= response.status_code < 400:
            raise requests.RequestException(f"{response.status_code} {response.reason}, a redirect to another URL")
        self.why = "" if response.ok else f"{response.status_code} {response.reason}"
        self.rejected = _rejected(content) if response.ok else 0


def session() -> CollectorSession | None:
    """Return a session; None if OpenTelemetry's environment variables ask for one of their own."""
    return None if any(map(os.environ.get, _CREDENTIALS)) else CollectorSession()


def _beginning(response: requests.Response, seconds: float) -> bytes:
    """Return the content as it was sent, not decompressed; empty if it is too long, too slow or breaks off, which is no
    error: the status is known."""
    read, ends = bytearray(), time.monotonic() + seconds
    try:
        while len(read) < MOST_READ and time.monotonic() < ends:
            if not (more := response.raw.read1(MOST_READ, decode_content=False)):
                return bytes(read)
            read += more
    except (HTTPError, OSError):
        pass
    response.close()
    return b""


def _reason(error: BaseException) -> str:
    """Return the first cause of ``error``. The errors that wrap it name the URL, which may contain a secret."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError | HTTPError) else str(error)


def _rejected(content: bytes) -> int:
    try:
        return int(ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans)
    except Exception:  # protobuf's, which has no types: these bytes are no answer of OTLP
        return 0
