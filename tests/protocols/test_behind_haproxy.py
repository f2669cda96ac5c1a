"""Our servers behind a real HAProxy that speaks the PROXY protocol: the client is the client, not the proxy."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from servers.certificates import make
from servers.haproxy import haproxy

from protocols import TLS, HTTPServer, HTTPSettings, MQTTServer, MQTTSettings, SMTPServer, SMTPSettings
from protocols.server import Server

LIMIT = 15.0
CONNECT = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02t1"
CONNACK = b"\x20\x02\x00\x00"
CLIENT = "127.0.0.77"
"""Where the client connects from, which no proxy of ours does."""


class Application:
    """Answers everything, and remembers the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        event = await receive()
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        while event["type"].startswith("mqtt.") and event["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            event = await receive()


@pytest.fixture
def tls(tmp_path: Path) -> TLS:
    return make(tmp_path)


@contextlib.asynccontextmanager
async def through(send: str, server: Server, tls: TLS | None = None) -> AsyncIterator[Any]:
    """A connection from CLIENT to ``server`` through the proxy."""
    async with asyncio.timeout(LIMIT), server:
        with haproxy(server.address, send) as port:
            options: dict[str, Any] = {"local_addr": (CLIENT, 0)}
            if tls:
                options |= {"ssl": ssl.create_default_context(cafile=tls.certificate), "server_hostname": "localhost"}
            reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
            try:
                yield reader, writer, (CLIENT, writer.get_extra_info("sockname")[1]), ("127.0.0.1", port)
            finally:
                writer.close()


SENDS = pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
SECURE = pytest.mark.parametrize("secure", [False, True])


@SENDS
@SECURE
async def test_http(send: str, tls: TLS, *, secure: bool) -> None:
    app, used = Application(), tls if secure else None
    settings = HTTPSettings(bind="127.0.0.1:0", proxy_protocol=("127.0.0.1",), tls=used)
    async with through(send, HTTPServer(app, settings, state={}), used) as (reader, writer, client, server):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    assert [(scope["client"], scope["server"]) for scope in app.scopes] == [(client, server)] * 2
    assert app.scopes[0]["scheme"] == ("https" if secure else "http")


@SENDS
@SECURE
async def test_mqtt(send: str, tls: TLS, *, secure: bool) -> None:
    app, used = Application(), tls if secure else None
    settings = MQTTSettings(bind="127.0.0.1:0", proxy_protocol=("127.0.0.1",), tls=used)
    async with through(send, MQTTServer(app, settings, state={}), used) as (reader, writer, client, server):
        writer.write(CONNECT)
        assert await reader.readexactly(4) == CONNACK
        writer.write(b"\xc0\x00")
        assert await reader.readexactly(2) == b"\xd0\x00"
    assert (app.scopes[0]["client"], app.scopes[0]["server"]) == (client, server)


@SENDS
@pytest.mark.parametrize("how", ["plain", "starttls", "implicit"])
async def test_smtp(send: str, how: str, tls: TLS) -> None:
    app = Application()
    settings = SMTPSettings(
        bind="127.0.0.1:0",
        proxy_protocol=("127.0.0.1",),
        tls=tls if how != "plain" else None,
        implicit_tls=how == "implicit",
    )
    server = SMTPServer(app, settings, state={})
    async with through(send, server, tls if how == "implicit" else None) as (reader, writer, client, own):
        assert (await reader.readline()).startswith(b"220 ")
        if how == "starttls":
            await said(reader, writer, b"EHLO a", b"250 ")
            await said(reader, writer, b"STARTTLS", b"220 ")
            await writer.start_tls(ssl.create_default_context(cafile=tls.certificate), server_hostname="localhost")
        await said(reader, writer, b"EHLO a", b"250 ")
        await said(reader, writer, b"MAIL FROM:<a@x.org>", b"250 ")
        await said(reader, writer, b"RCPT TO:<b@x.org>", b"250 ")
        await said(reader, writer, b"DATA", b"354 ")
        await said(reader, writer, b"Subject: hi\r\n\r\nhello\r\n.", b"250 ")
    [scope] = app.scopes
    assert (scope["client"], scope["server"]) == (client, own)
    assert f"([{CLIENT}])".encode() in dict(scope["headers"])[b"received"]


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes, answer: bytes) -> None:
    """Say ``command`` and read its reply to the last line, which begins with ``answer``."""
    writer.write(command + b"\r\n")
    while (line := await reader.readline())[3:4] == b"-":
        pass
    assert line.startswith(answer), line
