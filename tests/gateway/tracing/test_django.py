"""Django's views find our span as the current one, as its instrumentation and users' own spans need it; and a project
may set up OpenTelemetry by itself."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.collector import Collector, collecting
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import Site, until

SETTINGS = """
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "traced_urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
"""
URLS = """
from django.contrib.auth.models import Permission
from django.db import connection
from django.http import HttpResponse
from django.urls import path
from opentelemetry import trace

tracer = trace.get_tracer("the project")


def as_instrumented(execute, sql, *rest):
    with tracer.start_as_current_span("SELECT"):
        return execute(sql, *rest)


def plain(request):
    with connection.execute_wrapper(as_instrumented):
        connection.cursor().execute("SELECT 1")
    return HttpResponse(f"{trace.get_current_span().get_span_context().span_id:016x}")


async def on_the_loop(request):
    with tracer.start_as_current_span("SELECT"):
        return HttpResponse(f"{trace.get_current_span().parent.span_id:016x}")


urlpatterns = [path("plain/", plain), path("loop/", on_the_loop)]
"""
OWN = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider(resource=Resource.create({"service.name": "the project's own"}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter("COLLECTOR")))
trace.set_tracer_provider(provider)
"""
FILE = """
django: {settings: traced_settings}
servers: {web: {protocol: http, bind: "127.0.0.1:PORT"}}
routes: {http: django}
tracing: {endpoint: "ENDPOINT", sample: 100%}
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def started(folder: Path, settings: str, endpoint: str) -> tuple[Daemon, int]:
    (folder / "traced_settings.py").write_text(settings)
    (folder / "traced_urls.py").write_text(URLS)
    port = free_port()
    (folder / "gateway.yaml").write_text(FILE.replace("PORT", str(port)).replace("ENDPOINT", endpoint))
    daemon = Daemon(folder, OTEL_BSP_SCHEDULE_DELAY="20")
    until(lambda: Site.accepts(port), lambda: daemon.text)
    return daemon, port


def test_a_view_finds_the_span(tmp_path: Path, collector: Collector) -> None:
    daemon, port = started(tmp_path, SETTINGS, collector.url)
    try:
        for view in ("plain", "loop"):
            current = httpx.get(f"http://127.0.0.1:{port}/{view}/").text
            until(lambda current=current: any(span.id == current for span in collector.spans), lambda: daemon.text)
            [request] = [span for span in collector.spans if span.id == current]
            assert request.name == "GET http"
            assert [span.name for span in collector.below(request)] == ["SELECT"]
    finally:
        daemon.close()


def test_a_project_that_has_set_up_opentelemetry_keeps_it(tmp_path: Path, collector: Collector) -> None:
    own = SETTINGS + OWN.replace("COLLECTOR", collector.url)
    daemon, port = started(tmp_path, own, "http://127.0.0.1:9/v1/traces")
    try:
        httpx.get(f"http://127.0.0.1:{port}/plain/")
        until(lambda: len(collector.spans) == 2, lambda: daemon.text)
        assert {span.service for span in collector.spans} == {"the project's own"}
        daemon.says("a tracer provider of its own")
    finally:
        daemon.close()


def test_the_page_s_snippet_runs(tmp_path: Path, collector: Collector) -> None:
    """The handler of docs/tracing.md, over a message that a real client publishes."""
    page = (Path(__file__).parents[3] / "docs" / "tracing.md").read_text()
    source = page.partition("```python\n# readings.py\n")[2].partition("```")[0]
    (tmp_path / "readings.py").write_text(source)
    port = free_port()
    (tmp_path / "gateway.yaml").write_text(
        f'servers: {{devices: {{protocol: mqtt, bind: "127.0.0.1:{port}"}}}}\nroutes: {{mqtt: readings.Readings}}\n'
        f'tracing: {{endpoint: "{collector.url}", sample: 100%}}\n'
    )
    daemon = Daemon(tmp_path, OTEL_BSP_SCHEDULE_DELAY="20")
    try:
        until(lambda: Site.accepts(port), lambda: daemon.text)
        command = [sys.executable, "-m", "gateway", "send", "mqtt", "sensors/1", "21.5", "--qos", "1"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=40, capture_output=True)
        until(lambda: collector.first("create mqtt") is not None, lambda: daemon.text)
        own, handler = collector.named("look up the sensor")[0], collector.named("Readings.receive")[0]
        assert own.parent == handler.id
        assert own.attributes == {"celsius": 21.5}
        assert collector.named("create mqtt")[0].parent == handler.id
    finally:
        daemon.close()
