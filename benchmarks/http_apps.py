"""The applications of the HTTP and WebSocket rows; ours as a command: ``python -m benchmarks.http_apps hello 8000``."""

import asyncio
import sys
from typing import Any

import uvloop

from protocols.asgi import Receive, Send

BODY = b"Hello, world!"
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
}


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await send(START)
    await send({"type": "http.response.body", "body": BODY})


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket"
    while True:
        event = await receive()
        if event["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
        elif event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            return


async def serve(name: str, port: int) -> None:
    from protocols.http.server import HTTPServer, HTTPSettings

    server = HTTPServer({"hello": hello, "echo": echo}[name], HTTPSettings(bind=f"127.0.0.1:{port}"), state={})
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
