"""Starlette: streams, background tasks, compression, files, middleware, an event stream, a WebSocket."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from brotli_asgi import BrotliMiddleware
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from zoo.marks import mark


async def ticks(name: str) -> AsyncIterator[bytes]:
    try:
        number = 0
        while True:
            yield b"tick %d\n" % number
            number += 1
            await asyncio.sleep(0.01)
    finally:
        mark(f"{name} finally")


def sync_ticks(name: str) -> Iterator[bytes]:
    for number in range(200):  # a thread has to end by itself
        yield b"tick %d\n" % number
        time.sleep(0.01)
    mark(f"{name} whole")


async def few(name: str) -> AsyncIterator[bytes]:
    try:
        for number in range(3):
            yield b"part %d\n" % number
            await asyncio.sleep(0)
    finally:
        mark(f"{name} finally")


async def later(name: str) -> None:
    mark(f"{name} began")
    await asyncio.sleep(0.2)
    mark(f"{name} ended")


async def stream(request: Request) -> Response:
    return StreamingResponse(ticks("stream"), background=BackgroundTask(later, "stream task"))


async def stream_sync(request: Request) -> Response:
    return StreamingResponse(sync_ticks("sync stream"))


async def stream_few(request: Request) -> Response:
    return StreamingResponse(few("few"), background=BackgroundTask(later, "few task"))


async def fast(request: Request) -> Response:
    """As fast as the client reads. Without the sleep uvicorn would hang for ever, once the client has left."""

    async def flood() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            mark("flood finally")

    return StreamingResponse(flood())


async def silent(request: Request) -> Response:
    async def one() -> AsyncIterator[bytes]:
        try:
            yield b"only\n"
            await asyncio.Event().wait()
        finally:
            mark("silent finally")

    return StreamingResponse(one())


async def events(request: Request) -> Response:
    async def each() -> AsyncIterator[dict[str, Any]]:
        try:
            number = 0
            while True:
                yield {"event": "tick", "data": str(number)}
                number += 1
                await asyncio.sleep(0.01)
        finally:
            mark("events finally")

    return EventSourceResponse(each(), ping=15)


async def quiet_events(request: Request) -> Response:
    """Its head is all that it says."""

    async def none() -> AsyncIterator[dict[str, Any]]:
        try:
            await asyncio.Event().wait()
            yield {"data": "never"}
        finally:
            mark("quiet finally")

    return EventSourceResponse(none(), ping=15)


async def task(request: Request) -> Response:
    return PlainTextResponse("done", background=BackgroundTask(later, "task"))


async def slow(request: Request) -> Response:
    await asyncio.sleep(0.2)
    mark("slow answered")
    return PlainTextResponse("slow")


async def waits(request: Request) -> Response:
    """A long poll."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    mark("poll over")
    return PlainTextResponse("nobody hears this")


async def upload(request: Request) -> Response:
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
    except ClientDisconnect:
        mark(f"upload broken off after {size}")
        return Response(status_code=204)
    mark(f"upload of {size}")
    return PlainTextResponse(str(size))


async def upload_lax(request: Request) -> Response:
    """As most people write it: the ClientDisconnect comes out."""
    mark("upload begun")
    body = await request.body()
    return PlainTextResponse(str(len(body)))


async def crash(request: Request) -> Response:
    raise ValueError("a mistake of the application")


async def crash_late(request: Request) -> Response:
    async def two() -> AsyncIterator[bytes]:
        yield b"good\n"
        raise ValueError("a mistake in the middle")

    return StreamingResponse(two())


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("echo " + await websocket.receive_text())
    except WebSocketDisconnect as error:  # without a close frame uvicorn says 1005, RFC 6455 1006
        mark(f"echo left with {error.code if error.code > 3000 else 'nothing'}")


async def talk(websocket: WebSocket) -> None:
    """Says something all the time, and never listens."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("x" * 100)
            await asyncio.sleep(0.01)
    except WebSocketDisconnect:
        mark("talk heard of it")
    finally:
        mark("talk finally")


async def refuse(websocket: WebSocket) -> None:
    await websocket.close()
    mark("refused")


class Outer(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-outer"] = "yes"
        return response


async def download(request: Request) -> Response:
    return FileResponse(os.path.join(os.environ["FILES"], "page.html"), background=BackgroundTask(later, "file task"))


routes = [
    Route("/stream", stream),
    Route("/stream-sync", stream_sync),
    Route("/few", stream_few, methods=["GET", "POST"]),
    Route("/flood", fast),
    Route("/silent", silent),
    Route("/events", events),
    Route("/quiet", quiet_events),
    Route("/task", task),
    Route("/slow", slow),
    Route("/poll", waits),
    Route("/upload", upload, methods=["POST"]),
    Route("/upload-lax", upload_lax, methods=["POST"]),
    Route("/crash", crash),
    Route("/crash-late", crash_late),
    Route("/file", download),
    WebSocketRoute("/echo", echo),
    WebSocketRoute("/talk", talk),
    WebSocketRoute("/refuse", refuse),
    Mount("/static", StaticFiles(directory=os.environ["FILES"])),
]
plain = Starlette(routes=routes)
wrapped = Starlette(routes=routes, middleware=[Middleware(Outer)])
gzipped = Starlette(routes=routes, middleware=[Middleware(GZipMiddleware)])
brotli = Starlette(routes=routes, middleware=[Middleware(BrotliMiddleware)])
