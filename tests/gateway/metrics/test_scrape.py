"""Prometheus scrapes a console."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from servers.daemon import Daemon
from servers.ports import free_port
from servers.prometheus import lint, prometheus
from servers.site import until

FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:0"}}}}
routes: {{http: handlers.page}}
console: {{bind: "127.0.0.1:{console}"}}
"""
HANDLERS = """
async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one that runs."""
    folder: Path = tmp_path_factory.mktemp("site")
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(FILE.format(console=(port := free_port())))
    daemon = Daemon(folder)
    try:
        daemon.says("/metrics")
        yield f"127.0.0.1:{port}"
    finally:
        daemon.close()


def test_promtool_has_nothing_to_say(console: str) -> None:
    answer = httpx.get(f"http://{console}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'gateway_server_ready{protocol="http",server="web"} 1.0' in answer.text
    assert lint(answer.text) == ""


def test_prometheus_scrapes_it(console: str) -> None:
    with prometheus(console) as server:
        until(lambda: server.value("gateway_server_ready") == 1.0, lambda: str(server.target()))
        assert server.target()["lastError"] == ""
        [build] = server.query("gateway_build_info")
        assert build["metric"]["version"]


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1",
        'text/plain;q=0.1, Application/OpenMetrics-Text; version="x\\n"; escaping=evil',
    ],
)
def test_openmetrics_is_for_whom_accepts_it(console: str, accept: str) -> None:
    answer = httpx.get(f"http://{console}/metrics", headers={"accept": accept})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("# EOF\n")
    assert {family.name for family in parse_openmetrics(answer.text)} >= {"gateway_build", "gateway_server_ready"}


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain; version=nonsense", "text/plain; version=1.0.0; escaping=x"])
def test_everybody_else_gets_text(console: str, accept: str) -> None:
    answer = httpx.get(f"http://{console}/metrics", headers={"accept": accept})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_only_reading_is_allowed(console: str) -> None:
    assert httpx.head(f"http://{console}/metrics").status_code == 200
    assert httpx.post(f"http://{console}/metrics").status_code == 405
