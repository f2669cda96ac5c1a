"""Quart: JSON, a stream, an upload, a file, a background task, a WebSocket."""

import asyncio
import os
from typing import Any

from quart import Quart, Response, request, send_file, websocket

from zoo.marks import mark
from zoo.starlettes import later, ticks

application = Quart(__name__)


@application.get("/hello/<name>")
async def hello(name: str) -> dict[str, str]:
    return {"hello": name}


@application.post("/order")
async def order() -> dict[str, int]:
    asked = await request.get_json()
    return {"number": asked["number"] + 1}


@application.get("/stream")
async def stream() -> Any:
    return ticks("quart stream"), {"content-type": "text/plain"}


@application.get("/task")
async def task() -> str:
    application.add_background_task(later, "quart task")
    return "done"


@application.get("/slow")
async def slow() -> str:
    """Quart cancels it when the client leaves."""
    try:
        await asyncio.sleep(0.2)
        mark("quart slow answered")
    finally:
        mark("quart slow finally")
    return "slow"


@application.get("/file")
async def download() -> Response:
    path = os.path.join(os.environ["FILES"], "page.html")
    response = await send_file(path, conditional=True, add_etags=False)  # an ETag would have its folder, too
    del response.headers["expires"]
    return response


@application.post("/upload")
async def upload() -> str:
    size = 0
    async for chunk in request.body:
        size += len(chunk)
    mark(f"quart upload of {size}")
    return str(size)


@application.websocket("/ws")
async def ws() -> None:
    """Quart cancels it when the client leaves."""
    try:
        while True:
            await websocket.send("echo " + await websocket.receive())
    finally:
        mark("quart echo finally")
