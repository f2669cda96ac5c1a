"""Clients that claim to be others, with a real nginx, a real HAProxy, and both in a row in front of us."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import websockets
from contract import LIMIT
from http_peer import Recorder, serving
from servers.certificates import make
from servers.haproxy import configured
from servers.nginx import Nginx
from servers.ports import free_port
from twilio.request_validator import RequestValidator

from protocols.http.server import HTTPServer
from protocols.secret import Secret
from protocols.sms.providers.twilio import TwilioSettings
from protocols.sms.webhook import SMSWebhook

STRANGER = "127.0.0.2"
"""An address of this machine, which is no proxy."""
FIELDS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")
FORWARDED = ("forwarded",)

NGINX = """
location /shop/ {{
    proxy_pass http://{target}/;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Host inner;
    {fields}
}}
"""
UPGRADE = 'map $http_upgrade $connection_upgrade { default upgrade; "" ""; }'
NGINX_FIELDS = """
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto https;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Port 8443;
    proxy_set_header X-Forwarded-Prefix /shop;
"""
NGINX_FORWARDED = """
    proxy_set_header Forwarded '$http_forwarded, for="$remote_addr:$remote_port";proto=https;host="$host:8443"';
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  default_backend gateway
backend gateway
  http-request replace-path /shop(/.*) \\1
  {fields}
  server gateway {target}
"""
HAPROXY_FIELDS = """
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port 8443
  http-request set-header X-Forwarded-Prefix /shop
  http-request set-header Host inner
"""
HAPROXY_FORWARDED = """
  http-request add-header Forwarded for=\\"%[src]:%[src_port]\\";proto=https;host=\\"%[req.hdr(host),word(1,:)]:8443\\"
  http-request set-header Host inner
"""
BEHIND_ANOTHER = """
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
"""
BEHIND_ANOTHER_FORWARDED = """
    proxy_set_header Forwarded '$http_forwarded, for=$remote_addr';
"""

Target = tuple[str, str]
"""A server's address as nginx and as HAProxy write it."""
Front = Callable[[Target, Path, bool], contextlib.AbstractContextManager[int]]


@contextlib.contextmanager
def _nginx(target: Target, folder: Path, forwarded: bool, fields: str = "") -> Iterator[int]:
    fields = fields or (NGINX_FORWARDED if forwarded else NGINX_FIELDS)
    front = Nginx(folder / "nginx", 0, location=NGINX.format(target=target[0], fields=fields), more=UPGRADE)
    try:
        yield front.port
    finally:
        front.close()


@contextlib.contextmanager
def _haproxy(target: Target, folder: Path, forwarded: bool) -> Iterator[int]:
    port, fields = free_port(), HAPROXY_FORWARDED if forwarded else HAPROXY_FIELDS
    with configured(HAPROXY.format(port=port, target=target[1], fields=fields), port):
        yield port


@contextlib.contextmanager
def _haproxy_and_nginx(target: Target, folder: Path, forwarded: bool) -> Iterator[int]:
    """HAProxy knows the client; nginx, which is nearer to us, appends HAProxy.

    HAProxy replaces the client's Forwarded: of several such fields nginx passes on the first one only (before 1.23).
    """
    fields = BEHIND_ANOTHER_FORWARDED if forwarded else BEHIND_ANOTHER
    with _nginx(target, folder, forwarded, fields) as inner:
        text = HAPROXY.replace("replace-path /shop(/.*) \\1", "set-path %[path]")
        outer = free_port()
        hop = HAPROXY_FORWARDED if forwarded else HAPROXY_FIELDS
        hop = hop.replace("set-header Host inner", "set-header X-Y z").replace("add-header", "set-header")
        with configured(text.format(port=outer, target=f"127.0.0.1:{inner}", fields=hop), outer):
            yield outer


FRONTS: dict[str, Front] = {"nginx": _nginx, "haproxy": _haproxy, "haproxy and nginx": _haproxy_and_nginx}

LIES: list[list[tuple[str, str]]] = [
    [],
    [("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6;proto=http;host=evil.example")],
    [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "127.0.0.1")],
    [("X-Forwarded-For", "127.0.0.1, 127.0.0.1"), ("Forwarded", "for=127.0.0.1, for=127.0.0.1")],
    [("X-Forwarded-For", "unknown,\t,,_"), ("Forwarded", 'for=_x;by="')],
    [("Forwarded", 'for="6.6.6.6'), ("Forwarded", '";host=evil.example, for=127.0.0.1')],
    [("Forwarded", 'for="\\"'), ("X-Forwarded-For", '"')],
    [("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Port", "1")],
    [("X-Forwarded-Prefix", "/evil"), ("x_forwarded_host", "evil.example"), ("X-Forwarded-Host", "a,b")],
    [("Connection", "close, X-Forwarded-For, X-Forwarded-Host, Forwarded")],
]


@contextlib.asynccontextmanager
async def stranger() -> Any:
    transport = httpx.AsyncHTTPTransport(local_address=STRANGER)
    async with httpx.AsyncClient(transport=transport, timeout=LIMIT) as client:
        yield client


def _place(server: HTTPServer) -> Target:
    if server.address.startswith("unix:"):
        return f"{server.address}:", f"unix@{server.address.removeprefix('unix:')}"
    return server.address, server.address


@contextlib.asynccontextmanager
async def behind(app: Any, folder: Path, *, unix: bool, headers: tuple[str, ...], root_path: str = "") -> Any:
    bind = f"unix:{folder}/g" if unix else "127.0.0.1:0"
    trusted = ("127.0.0.1", "unix") if unix else ("127.0.0.1",)
    settings: dict[str, Any] = {"trusted_proxies": trusted, "trusted_headers": headers, "root_path": root_path}
    async with serving(app, bind=bind, **settings) as server:
        yield server


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("headers", [FIELDS, FORWARDED], ids=["fields", "forwarded"])
@pytest.mark.parametrize("front", FRONTS)
async def test_behind_a_proxy_no_client_can_say_who_it_is(
    front: str, headers: tuple[str, ...], unix: bool, tmp_path: Path
) -> None:
    app = Recorder()
    async with behind(app, tmp_path, unix=unix, headers=headers) as server:
        with FRONTS[front](_place(server), tmp_path, headers == FORWARDED) as port:
            async with stranger() as client:
                for lies in LIES:
                    said = [("Host", f"www.example.org:{port}"), *lies]
                    answer = await client.get(f"http://127.0.0.1:{port}/shop/page?a=1", headers=said)
                    assert answer.status_code == 200, lies
    prefix = "" if headers == FORWARDED else "/shop"
    assert len(app.scopes) == len(LIES)
    for lies, scope in zip(LIES, app.scopes, strict=True):
        assert scope["client"][0] == STRANGER, lies
        assert scope["scheme"] == "https", lies
        assert scope["server"] == ("www.example.org", 8443), lies
        assert (scope["root_path"], scope["path"]) == (prefix, f"{prefix}/page"), lies
        assert dict(scope["headers"])[b"host"] == b"www.example.org:8443", lies


@pytest.mark.parametrize("headers", [FIELDS, FORWARDED], ids=["fields", "forwarded"])
async def test_past_the_proxy_what_a_client_says_changes_nothing(headers: tuple[str, ...], tmp_path: Path) -> None:
    app = Recorder()
    async with behind(app, tmp_path, unix=False, headers=headers) as server, stranger() as client:
        for lies in LIES:
            await client.get(f"http://{server.address}/page", headers=[("Host", "a"), *lies])
        host, port = server.address.split(":")
    for lies, scope in zip(LIES, app.scopes, strict=True):
        assert scope["client"][0] == STRANGER, lies
        assert scope["client"][1] > 0, lies
        assert (scope["scheme"], scope["root_path"], scope["path"]) == ("http", "", "/page"), lies
        assert scope["server"] == (host, int(port)), lies
        assert dict(scope["headers"])[b"host"] == b"a", lies


@pytest.mark.parametrize("front", ["nginx", "haproxy"])
async def test_a_websocket_has_the_same_client_and_server(front: str, tmp_path: Path) -> None:
    scopes: asyncio.Queue[Any] = asyncio.Queue()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.put_nowait(scope)
        await send({"type": "websocket.accept"})
        await receive()
        await receive()

    async with behind(app, tmp_path, unix=True, headers=FIELDS) as server:
        with FRONTS[front](_place(server), tmp_path, False) as port:
            lies = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.example"}
            to = f"ws://127.0.0.1:{port}/shop/chat"
            async with websockets.connect(to, additional_headers=lies, local_addr=(STRANGER, 0)) as socket:
                await socket.send("hello")
                scope = await asyncio.wait_for(scopes.get(), LIMIT)
    assert scope["client"] == (STRANGER, 0)
    assert scope["scheme"] == "wss"
    assert scope["server"] == ("127.0.0.1", 8443)
    assert (scope["root_path"], scope["path"]) == ("/shop", "/shop/chat")


@pytest.mark.parametrize("secure", [False, True])
async def test_nginx_as_the_guide_has_it_tells_the_client_and_the_scheme(tmp_path: Path, secure: bool) -> None:
    app = Recorder()
    async with serving(app, trusted_proxies=("127.0.0.1",)) as server:
        port = int(server.address.rpartition(":")[2])
        nginx = Nginx(tmp_path / "nginx", port, make(tmp_path) if secure else None)
        lies = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "gopher"), ("X-Forwarded-Host", "evil.example")]
        transport = httpx.AsyncHTTPTransport(local_address=STRANGER, verify=False)
        try:
            async with httpx.AsyncClient(transport=transport, timeout=LIMIT) as client:
                scheme = "https" if secure else "http"
                await client.get(f"{scheme}://127.0.0.1:{nginx.port}/", headers=[("Host", "a.example"), *lies])
        finally:
            nginx.close()
    (scope,) = app.scopes
    assert (scope["client"], scope["scheme"]) == ((STRANGER, 0), scheme)
    assert scope["server"] == ("127.0.0.1", port)
    assert dict(scope["headers"])[b"host"] == b"a.example"


@pytest.mark.parametrize("headers", [FIELDS, FORWARDED], ids=["fields", "forwarded"])
@pytest.mark.parametrize("front", FRONTS)
async def test_a_text_is_signed_for_the_url_that_the_provider_called(
    front: str, headers: tuple[str, ...], tmp_path: Path
) -> None:
    """Twilio signs the public URL. The proxy changes its scheme, host, port and path, and says so; Forwarded has no
    word for the path, which is the server's root_path then."""
    texts = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "sms":
            raise NotImplementedError  # ASGI's way to say that an application does not take a scope
        texts.scopes.append(scope)
        await receive()

    form = {"From": "+447700900123", "To": "+15551230000", "Body": "hi", "MessageSid": "SM1"}
    public = "https://www.example.org:8443/shop/hooks/twilio?tenant=1"
    signature = RequestValidator("token").compute_signature(public, form)
    signed = {"Host": "www.example.org", "X-Twilio-Signature": signature}
    lies = {"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http"}
    lies["Forwarded"] = "for=6.6.6.6;proto=http;host=evil.example"
    type_ = {"Content-Type": "application/x-www-form-urlencoded"}
    hook = SMSWebhook(app, TwilioSettings(on="web", path="/", auth_token=Secret("token")))
    async with behind(hook, tmp_path, unix=True, headers=headers, root_path="/shop") as server:
        with FRONTS[front](_place(server), tmp_path, headers == FORWARDED) as port:
            async with stranger() as client:
                url = f"http://127.0.0.1:{port}/shop/hooks/twilio?tenant=1"
                taken = await client.post(url, content=urlencode(form), headers=signed | type_ | lies)
                other = {"Host": "other.example.org"}
                forged = await client.post(url, content=urlencode(form), headers=signed | type_ | other)
    assert (taken.status_code, forged.status_code) == (200, 403)
    assert [scope["client"][0] for scope in texts.scopes] == [STRANGER]
