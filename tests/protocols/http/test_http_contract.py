"""The contract of every server, kept by HTTP and by WebSocket."""

import asyncio
import contextlib
from typing import Any

import websockets
from contract import LIMIT, Outcome, SessionContract, SessionDriver, connect

from protocols.asgi import HTTPScope, WebSocketScope
from protocols.http.server import HTTPServer, HTTPSettings

GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    b"\x00" * 5000,
)


class HTTPDriver(SessionDriver):
    scope_type = "http"
    scope = HTTPScope
    disconnect = "http.disconnect"
    garbage = GARBAGE

    def server(self, app: Any, bind: str = "127.0.0.1:0", state: dict[str, Any] | None = None) -> HTTPServer:
        return HTTPServer(app, HTTPSettings(bind=bind), state=state)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError  # ASGI's way to say that an application does not take a scope
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def exchange(self, address: str) -> Outcome:
        reader, writer = await connect(address)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(OSError):
            self.heard = await reader.read()
        writer.close()
        return "done" if self.heard.endswith(b"\r\n\r\ndone") else "failed"

    async def leave(self, address: str, running: asyncio.Event) -> None:
        _, writer = await connect(address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
        await running.wait()
        writer.close()


class WebSocketDriver(HTTPDriver):
    scope_type = "websocket"
    scope = WebSocketScope
    disconnect = "websocket.disconnect"
    garbage = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\xff\xff\xff",
    )

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError  # ASGI's way to say that an application does not take a scope
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "done"})
        await receive()

    async def exchange(self, address: str) -> Outcome:
        try:
            async with asyncio.timeout(LIMIT), websockets.connect(f"ws://{address}/") as socket:
                self.heard = str(await socket.recv()).encode()
                return "done"
        except websockets.ConnectionClosed as error:
            self.heard = str(error).encode()
            # Opened while the server drains: it is accepted, and at once told to go elsewhere.
            return "done" if error.rcvd is not None and error.rcvd.code == 1012 else "failed"
        except (OSError, websockets.WebSocketException) as error:
            self.heard = str(error).encode()
            return "failed"

    async def leave(self, address: str, running: asyncio.Event) -> None:
        _, writer = await connect(address)
        writer.write(self.garbage[2][:-3])
        await running.wait()
        writer.close()


class TestHTTPContract(SessionContract):
    driver_class = HTTPDriver


class TestWebSocketContract(SessionContract):
    driver_class = WebSocketDriver
