"""A page of another site in a real Chromium: whatever it has the browser send, nothing changes and nothing is read."""

import http.server
import json
import signal
import threading
from collections.abc import Iterator

import httpx
import pytest
from servers.browser import Browser, browser
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.site import until

HANDLERS = """
from gateway import AsyncHttpConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"ok")
"""
FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:0"}}}}
routes: {{http: {{app: visited_handlers.Web}}}}
store: sqlite:gateway.db
console: {{bind: "127.0.0.1:{port}"}}
"""
PAGE = "<!doctype html><title>evil</title><body><iframe name=hidden></iframe></body>"
FORM = """
const form = document.createElement('form');
form.action = arguments[0]; form.method = 'post'; form.enctype = arguments[1]; form.target = 'hidden';
const field = document.createElement('input');
field.name = '{"text": "'; field.value = '"}';
form.append(field); document.body.append(form); form.submit();
"""
FETCH = """
window.came = '';
fetch(arguments[0], {method: arguments[1], mode: arguments[2], headers: arguments[3], body: arguments[4]})
    .then(async (answer) => { window.came = 'answer: ' + answer.type + ' ' + await answer.text(); })
    .catch((error) => { window.came = 'error: ' + error.name; });
"""
EVENT = """
window.came = '';
const element = arguments[1] === 'EventSource' ? new EventSource(arguments[0]) : document.createElement(arguments[1]);
element.onload = element.onmessage = element.onopen = () => { window.came = 'came'; };
element.onerror = () => { window.came = 'error'; };
if (arguments[1] !== 'EventSource') { element.src = arguments[0]; document.body.append(element); }
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *arguments: object) -> None:
        pass


class Site:
    """The console, and the browser with a page of another site on the same machine."""

    def __init__(self, port: int, process: GatewayProcess, visitor: Browser) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.process = process
        self.browser = visitor

    def came(self) -> str:
        until(lambda: bool(self.browser.run("return window.came")), "an answer, or none")
        return str(self.browser.run("return window.came"))

    def changes(self) -> list[str]:
        """The lines of the log that tell of a change."""
        return [line for line in self.process.output().splitlines() if "somebody from" in line]


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    """The address of another site."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("console")
    port = free_port()
    process = GatewayProcess(folder, "visited_handlers", HANDLERS, FILE.format(port=port))
    process.start()
    try:
        until(lambda: "ready" in process.output(), process.output)
        rebinding = ["--host-resolver-rules=MAP evil.example 127.0.0.1"]
        with browser(tmp_path_factory.mktemp("browser"), flags=rebinding) as visitor:
            yield Site(port, process, visitor)
    finally:
        assert process.stop(signal.SIGTERM) == 0


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_changes_nothing(site: Site, other: str, kind: str) -> None:
    site.browser.open(other)
    site.browser.run(FORM, f"{site.url}/api/dead/drop", kind)
    site.browser.run(FETCH, f"{site.url}/healthz", "GET", "no-cors", {}, None)
    site.came()
    assert site.changes() == []


@pytest.mark.browser
@pytest.mark.parametrize(
    ("method", "mode", "kind"),
    [
        ("GET", "no-cors", ""),
        ("POST", "no-cors", "text/plain"),
        ("GET", "cors", ""),
        ("POST", "cors", "text/plain"),
        ("POST", "cors", "application/json"),
        ("DELETE", "cors", ""),
    ],
)
def test_a_script_changes_nothing_and_reads_nothing(site: Site, other: str, method: str, mode: str, kind: str) -> None:
    site.browser.open(other)
    path = "/api/dead/drop" if method == "POST" else "/api/status"
    body = json.dumps({"text": ""}) if method == "POST" else None
    site.browser.run(FETCH, f"{site.url}{path}", method, mode, {"content-type": kind} if kind else {}, body)
    assert site.came() == "error: TypeError", "Cross-Origin-Resource-Policy hides even an opaque answer"
    assert site.changes() == []


@pytest.mark.browser
@pytest.mark.parametrize(
    ("element", "path"),
    [("img", "/api/status"), ("script", "/api/status"), ("EventSource", "/api/arrivals?follow=true")],
)
def test_no_element_loads_anything(site: Site, other: str, element: str, path: str) -> None:
    site.browser.open(other)
    site.browser.run(EVENT, f"{site.url}{path}", element)
    assert site.came() == "error"


@pytest.mark.browser
def test_no_frame_shows_anything(site: Site, other: str) -> None:
    site.browser.open(other)
    frame = (
        "const f = document.querySelector('iframe'); f.onload = () => { window.came = 'loaded'; }; f.src = arguments[0]"
    )
    site.browser.run(f"window.came = ''; {frame}", f"{site.url}/api/status")
    site.came()
    text = (
        "try { return document.querySelector('iframe').contentDocument.body.innerText } catch (e) { return 'hidden' }"
    )
    assert site.browser.run(text) in ("hidden", None)


@pytest.mark.browser
def test_a_name_that_is_bound_to_this_machine_is_refused(site: Site) -> None:
    """DNS rebinding: to the browser the console is of the same origin as the page, which has no policy of ours."""
    site.browser.tools("Page.enable")
    site.browser.tools("Page.setBypassCSP", enabled=True)
    foreign = f"http://evil.example:{site.port}"
    site.browser.open(f"{foreign}/healthz")
    for method, path in (("GET", "/api/status"), ("POST", "/api/dead/drop")):
        body = "{}" if method == "POST" else None
        kind = {"content-type": "application/json"}
        site.browser.run(FETCH, f"{foreign}{path}", method, "same-origin", kind, body)
        assert "this console is not called" in site.came()
    assert site.changes() == []


def test_the_same_requests_by_somebody_who_may_do_work(site: Site) -> None:
    assert httpx.post(f"{site.url}/api/dead/drop", json={"text": "x"}, timeout=20).status_code == 200
    until(lambda: len(site.changes()) == 1, "a line in the log")
