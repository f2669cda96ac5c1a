"""Litestar: validation, a dependency with a clean-up, streams, a background task, a file, an upload, a WebSocket."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import ETag
from litestar.di import Provide
from litestar.exceptions import WebSocketDisconnect
from litestar.response import File, Response, ServerSentEvent, Stream

from zoo.marks import mark
from zoo.starlettes import later, ticks


@dataclass
class Order:
    number: int


async def session() -> AsyncIterator[str]:
    try:
        yield "a session"
    finally:
        mark("litestar session closed")


@get("/hello/{name:str}")
async def hello(name: str) -> dict[str, str]:
    return {"hello": name}


@post("/order", dependencies={"held": Provide(session)})
async def order(data: Order, held: str) -> Order:
    return Order(data.number + 1)


@get("/stream")
async def stream() -> Stream:
    return Stream(ticks("litestar stream"))


@get("/events")
async def events() -> ServerSentEvent:
    return ServerSentEvent(ticks("litestar events"))


@get("/task")
async def task() -> Response[str]:
    return Response("done", background=BackgroundTask(later, "litestar task"))


@get("/slow")
async def slow() -> str:
    await asyncio.sleep(0.2)
    mark("litestar slow answered")
    return "slow"


@get("/file", sync_to_thread=False)
def download() -> File:
    path = os.path.join(os.environ["FILES"], "page.html")
    return File(path, filename="page.html", etag=ETag("page"))  # its own ETag would have the folder, too


@post("/upload")
async def upload(request: Request[Any, Any, Any]) -> str:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    mark(f"litestar upload of {size}")
    return str(size)


@websocket("/ws")
async def ws(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text("echo " + await socket.receive_text())
    except WebSocketDisconnect:
        mark("litestar echo left")


application = Litestar([hello, order, stream, events, task, slow, download, upload, ws])
