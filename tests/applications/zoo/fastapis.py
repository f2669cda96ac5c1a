"""FastAPI: dependencies with a clean-up, background tasks, a WebSocket, validation."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from zoo.marks import mark
from zoo.starlettes import later, ticks

application = FastAPI()


async def session() -> AsyncIterator[str]:
    try:
        yield "a session"
    finally:
        mark("session closed")


Session = Annotated[str, Depends(session)]


class Order(BaseModel):
    number: int


@application.get("/stream")
async def stream(held: Session) -> StreamingResponse:
    return StreamingResponse(ticks("fastapi stream"))


@application.get("/task")
async def task(held: Session, tasks: BackgroundTasks) -> dict[str, str]:
    tasks.add_task(later, "fastapi task")
    return {"said": "done"}


@application.post("/order")
def order(order: Order, held: Session) -> Order:
    return order


@application.get("/slow")
async def slow(held: Session) -> dict[str, str]:
    await asyncio.sleep(0.2)
    mark("fastapi slow answered")
    return {"said": "slow"}


@application.websocket("/ws")
async def ws(websocket: WebSocket, held: Session) -> None:
    """As most people write it: the WebSocketDisconnect comes out."""
    await websocket.accept()
    while True:
        await websocket.send_text("echo " + await websocket.receive_text())
