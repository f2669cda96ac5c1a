"""Which pages may open a WebSocket: the rule, and servers whose routes have it."""

import contextlib
import logging
import signal
from pathlib import Path
from typing import Any

import pytest
import websockets
from contract import LIMIT
from hypothesis import given
from hypothesis import strategies as st
from servers.daemon import Daemon
from servers.ports import free_port
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from gateway import ProtocolTypeRouter, URLRouter, url
from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.scopes.http.checked_route import checked
from gateway.scopes.http.origins import Origins, parse_origin, parse_origins
from protocols import HTTPServer, HTTPSettings

OWN = "https://shop.example.org"
OTHER = "https://evil.example"


def scope(
    *origin: str, host: str = "shop.example.org", scheme: str = "wss", cookie: bool = True, more: Any = ()
) -> dict[str, Any]:
    headers = [(b"host", host.encode()), *((b"origin", each.encode()) for each in origin), *more]
    return {"type": "websocket", "scheme": scheme, "headers": headers + [(b"cookie", b"session=1")] * cookie}


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (OWN, "shop.example.org", "wss"),
        ("https://SHOP.example.org", "Shop.Example.ORG", "wss"),
        (OWN, "shop.example.org:443", "wss"),
        ("https://shop.example.org:443", "shop.example.org", "wss"),
        ("https://shop.example.org:8443", "shop.example.org:8443", "wss"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "ws"),
        ("http://localhost", "localhost:80", "ws"),
        ("http://[2001:db8::1]:8000", "[2001:DB8::1]:8000", "ws"),
        (OWN, "shop.example.org", "ws"),  # behind a proxy that ends TLS, and is not trusted
        ("https://xn--mller-kva.example", "xn--mller-kva.example", "wss"),
    ],
)
def test_a_page_of_this_server_may_connect(origin: str, host: str, scheme: str) -> None:
    assert Origins().refuses(scope(origin, host=host, scheme=scheme)) == ""
    assert Origins(["https://app.example.org"]).refuses(scope(origin, host=host, scheme=scheme)) == ""


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (OTHER, "shop.example.org", "wss"),
        ("http://shop.example.org", "shop.example.org", "wss"),
        ("https://shop.example.org:8443", "shop.example.org", "wss"),
        (OWN, "shop.example.org:8443", "wss"),
        ("http://127.0.0.1:8001", "127.0.0.1:8000", "ws"),
        ("https://shop.example.org.evil.example", "shop.example.org", "wss"),
        ("https://evil.example/shop.example.org", "shop.example.org", "wss"),
        ("https://shop.example.org@evil.example", "shop.example.org", "wss"),
        ("https://evil.example#shop.example.org", "shop.example.org", "wss"),
        ("https://sub.shop.example.org", "shop.example.org", "wss"),
        ("null", "shop.example.org", "wss"),
        ("null", "null", "wss"),
        ("", "shop.example.org", "wss"),
        ("", "", "wss"),
        ("shop.example.org", "shop.example.org", "wss"),
        ("https://shop.example.org/", "shop.example.org", "wss"),
        ("file://", "shop.example.org", "ws"),
        ("chrome-extension://shop.example.org", "shop.example.org", "wss"),
        ("https://shop.example.org:99999", "shop.example.org", "wss"),
        ("https://shop.example.org https://evil.example", "shop.example.org", "wss"),
    ],
)
def test_a_page_of_another_origin_may_not_if_cookies_are_sent(origin: str, host: str, scheme: str) -> None:
    refused = scope(origin, host=host, scheme=scheme)
    assert Origins().refuses(refused) == origin or origin == ""
    assert origin == "" or Origins(["https://app.example.org"]).refuses(refused) == origin
    assert Origins(["*"]).refuses(refused) == ""
    assert Origins().refuses(scope(origin, host=host, scheme=scheme, cookie=False)) == ""


def test_whoever_is_no_page_may_connect() -> None:
    for origins in (Origins(), Origins(["https://app.example.org"])):
        assert origins.refuses(scope()) == ""


def test_a_list_counts_without_cookies_too() -> None:
    origins = Origins(parse_origins(["https://App.example.org:443", "null", "chrome-extension://abc"]))
    for allowed in ("https://app.example.org", "null", "chrome-extension://abc", OWN):
        assert origins.refuses(scope(allowed, cookie=False)) == ""
    for refused in (OTHER, "http://app.example.org", "chrome-extension://abd"):
        assert origins.refuses(scope(refused, cookie=False)) == refused


def test_passwords_and_certificates_identify_a_browser_as_cookies_do() -> None:
    basic = scope(OTHER, cookie=False, more=[(b"authorization", b"Basic YTpi")])
    assert Origins().refuses(basic) == OTHER
    certificate = {**scope(OTHER, cookie=False), "extensions": {"tls": {"client_cert_chain": ["PEM"]}}}
    assert Origins().refuses(certificate) == OTHER
    plain_tls = {**scope(OTHER, cookie=False), "extensions": {"tls": {"client_cert_chain": []}}}
    assert Origins().refuses(plain_tls) == ""


def test_several_fields_are_no_origin() -> None:
    assert Origins().refuses(scope(OWN, OTHER)) == f"{OWN}, {OTHER}"
    assert Origins().refuses(scope(OWN, more=[(b"host", b"evil.example")])) == OWN


@given(st.one_of(st.text(max_size=40), st.text("htps:/.[]@#?*09az", max_size=30)))
def test_any_text_is_an_origin_or_none(text: str) -> None:
    origin = parse_origin(text)
    assert origin is None or (origin.scheme and origin.host and not set("/?#@ *") & set(origin.host))


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": scope["path"]})


ROUTER = URLRouter(
    [
        checked(url("^default/", app)),
        url("^list/", app, origins=["https://app.example.org"]),
        url("^all/", app, origins="*"),
        url("^python/", app),
    ]
)


async def tried(server: HTTPServer, path: str, origin: str | None, **headers: str) -> int:
    """The status of a handshake."""
    options: Any = {"additional_headers": {"Cookie": "session=1", **headers}, "open_timeout": LIMIT}
    try:
        async with websockets.connect(f"ws://{server.address}{path}", origin=origin, **options) as socket:
            assert await socket.recv() == path
            return 101
    except websockets.InvalidStatus as error:
        return error.response.status_code if b"may not connect" in error.response.body else 0


async def test_a_server_refuses_pages_of_others_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with HTTPServer(ROUTER, HTTPSettings(bind="127.0.0.1:0"), state={}) as server:
        own = f"http://{server.address}"
        assert [await tried(server, "/default/", each) for each in (own, None, OTHER)] == [101, 101, 403]
        assert [await tried(server, "/list/", each) for each in (own, "https://app.example.org", OTHER)] == [
            101,
            101,
            403,
        ]
        assert [await tried(server, "/all/", each) for each in (own, "null", OTHER)] == [101, 101, 101]
        assert await tried(server, "/python/", OTHER) == 101
    lines = [record.getMessage() for record in caplog.records if "403" in record.getMessage()]
    assert lines == [
        f"websocket {path}: refused with 403, a page of {OTHER!r} is neither of this server (its Host) nor in origins"
        for path in ("/default/", "/list/")
    ]


async def test_behind_a_proxy_the_origin_is_that_of_the_client(caplog: pytest.LogCaptureFixture) -> None:
    headers = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
    settings = HTTPSettings(bind="127.0.0.1:0", trusted_proxies=("127.0.0.1",), trusted_headers=headers)
    told = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example.org"}
    async with HTTPServer(ROUTER, settings, state={}) as server:
        assert await tried(server, "/default/", OWN, **told) == 101
        assert await tried(server, "/default/", "http://shop.example.org", **told) == 403
        assert await tried(server, "/default/", f"http://{server.address}", **told) == 403
    async with HTTPServer(ROUTER, HTTPSettings(bind="127.0.0.1:0"), state={}) as server:
        assert await tried(server, "/default/", OWN, **told) == 403  # anybody can say so


FILE = """
servers: {web: {protocol: http, bind: "127.0.0.1:0"}}
routes: {websocket: %s}
"""


@pytest.mark.parametrize(
    ("written", "statuses"),
    [
        ("test_origins.app", [101, 403]),
        ("{app: test_origins.app}", [101, 403]),
        ('{app: test_origins.app, origins: "*"}', [101, 101]),
        ('[{path: "^", app: test_origins.app}]', [101, 403]),
        ('[{path: "^", app: test_origins.app, origins: "https://evil.example"}]', [101, 101]),
    ],
)
async def test_routes_of_the_file_are_checked(written: str, statuses: list[int]) -> None:
    application = build(parse(FILE % written, name="gateway.yaml", folder=Path(__file__).parent)).app
    assert isinstance(application, ProtocolTypeRouter)
    async with HTTPServer(application, HTTPSettings(bind="127.0.0.1:0"), state={}) as server:
        assert [await tried(server, "/", each) for each in (f"http://{server.address}", OTHER)] == statuses


def test_a_wrong_origin_in_python_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"write https://app\.example\.org"):
        url("^a/", app, origins=["https://app.example.org/chat"])


def test_a_route_by_path_is_no_branch() -> None:
    with pytest.raises(ValueError, match="not an ASGI application"):
        ProtocolTypeRouter({"websocket": url("^a/", app)})


RELOADED = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}
routes:
  websocket: [{{path: "^chat/", app: pages.app{origins}}}]
"""
PAGES = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})
"""


@pytest.mark.parametrize(
    ("origins", "cookie", "welcome"),
    [
        (f", origins: [{OTHER}]", True, True),
        (", origins: '*'", True, True),
        ("", True, False),
        ("", False, True),
        (", origins: [https://third.example]", False, False),
    ],
)
def test_a_reload_changes_the_pages_that_may_connect_and_leaves_who_is_connected(
    tmp_path: Path, origins: str, cookie: bool, welcome: bool
) -> None:
    port = free_port()
    (tmp_path / "pages.py").write_text(PAGES)
    file = tmp_path / "gateway.yaml"
    file.write_text(RELOADED.format(port=port, origins=", origins: [https://first.example]"))
    daemon = Daemon(tmp_path)
    headers = {"Cookie": "session=1"} if cookie else {}

    def connected(origin: str) -> contextlib.AbstractContextManager[ClientConnection]:
        return connect(f"ws://127.0.0.1:{port}/chat/", origin=Origin(origin), additional_headers=headers)

    try:
        daemon.says("try:")
        with connected("https://first.example") as first:
            with pytest.raises(websockets.InvalidStatus), connected(OTHER):
                pass
            file.write_text(RELOADED.format(port=port, origins=origins))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.says("was reloaded")
            with pytest.raises(websockets.InvalidStatus) if not welcome else contextlib.nullcontext(), connected(OTHER):
                pass
            first.send("still here")
            assert first.recv(LIMIT) == "still here"
    finally:
        daemon.close()
