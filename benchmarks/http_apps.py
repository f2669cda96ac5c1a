"""The applications of the HTTP and WebSocket rows. ``python -m benchmarks.http_apps hello 8000 [http2]`` serves one."""

import asyncio
import itertools
import sys
from functools import cache
from typing import Any

import uvloop

from protocols.asgi import Receive, Send

BODY = b"Hello, world!"
TEN_KIB = b"x" * 10240
MIB = b"x" * 1048576
HUGE = 100_000_000
NUMBERS = itertools.count()
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
}


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await send(START)
    await send({"type": "http.response.body", "body": BODY})


async def post(scope: Any, receive: Receive, send: Send) -> None:
    """Read the body to its end, and count it."""
    size, more = 0, True
    while more:
        event: Any = await receive()
        size += len(event["body"])
        more = event["more_body"]
    assert size
    await send(START)
    await send({"type": "http.response.body", "body": BODY})


async def json(scope: Any, receive: Receive, send: Send) -> None:
    """10 KiB, and one header that is another one in each response."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"10240"),
        (b"x-request-id", b"%010d" % next(NUMBERS)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": TEN_KIB})


async def large(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1048576")]})
    await send({"type": "http.response.body", "body": MIB})


async def huge(scope: Any, receive: Receive, send: Send) -> None:
    """100 MB in one piece, which is the same for each."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % HUGE)]})
    await send({"type": "http.response.body", "body": bytes_of(HUGE)})


@cache
def bytes_of(size: int) -> bytes:
    return b"x" * size


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


APPS = {"hello": hello, "post": post, "json": json, "large": large, "huge": huge, "echo": echo}
APPS["compressed_echo"] = echo


async def serve(name: str, port: int, *files: str, http2: bool) -> None:
    from gateway.allocator import keep_freed
    from gateway.garbage_collection import settle
    from protocols.http.server import HTTPServer, HTTPSettings
    from protocols.net.tls import TLS

    keep_freed()  # as the daemon does
    settings = HTTPSettings(
        bind=f"127.0.0.1:{port}",
        tls=TLS(*files) if files else None,
        http2=http2,
        max_body=2 * HUGE,
        compression=name == "compressed_echo",
    )
    server = HTTPServer(APPS[name], settings, state={})
    await server.start()
    settle()  # as the daemon does
    await asyncio.Event().wait()


if __name__ == "__main__":
    name, port, *more = sys.argv[1:]
    files = [each for each in more if each.endswith(".pem")]
    uvloop.run(serve(name, int(port), *files, http2="http2" in more))
