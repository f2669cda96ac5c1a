"""python-socketio."""

from typing import Any

import socketio

from zoo.marks import mark

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
application = socketio.ASGIApp(server, socketio_path="/socketio")


@server.event
async def connect(sid: str, environ: Any, auth: Any) -> None:
    mark("socketio connect")


@server.event
async def say(sid: str, data: str) -> str:
    await server.emit("said", data, to=sid)
    return "ok"


@server.event
async def disconnect(sid: str, reason: str) -> None:
    mark("socketio disconnect")
