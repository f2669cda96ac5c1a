"""Sends the answers of an operation as server-sent events.

Each answer is one event. Its data is the answer, a JSON object; its name is the answer's first key, such as
``arrival``; its id is the answer's ``number``, if it has one: a browser that connects again sends the last one as
Last-Event-ID. While no answer comes, a comment keeps the connection alive.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

from gateway.console.http.answer import SAFE
from gateway.control.server import BadRequest
from gateway.logs.escaping import json_text
from protocols.asgi import Receive, Send
from protocols.checkpoint import checkpoint
from protocols.errors import describe_error

logger = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""Seconds between two comments while no answer comes."""
_HEADERS = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no"), *SAFE]

Answers = AsyncGenerator[Mapping[str, Any], None]


async def send_stream(
    answers: Answers, receive: Receive, send: Send, allowed: Callable[[], Awaitable[bool]], *, of_change: bool = False
) -> None:
    """Send ``answers`` until they end, the client leaves, or ``allowed`` says that it has lost its access.

    ``of_change``: the answers report what the client changes. One more is sent after it has lost its access, because it
    may have removed its own user. Raises BadRequest if there is no answer at all."""
    await while_there(_send_all(answers, send, allowed, of_change=of_change), receive)


async def while_there(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do ``work`` until it ends or the client leaves. Raises what it raises."""
    sending = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        failure, _ = await asyncio.gather(sending, leaving, return_exceptions=True)
    if isinstance(failure, Exception) and not isinstance(failure, OSError):
        raise failure


async def _send_all(answers: Answers, send: Send, allowed: Callable[[], Awaitable[bool]], *, of_change: bool) -> None:
    async with contextlib.aclosing(_beating(answers)) as events:
        first = await anext(events)  # what cannot be answered has another status
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await _write(send, first)
        try:
            async for event in events:
                stays = await allowed()
                if stays or of_change:
                    await _write(send, event)
                if not stays:
                    break
        except BadRequest as error:
            await _write(send, _event({"error": str(error)}))
        except OSError:
            raise
        except Exception as error:
            logger.exception("console: an event stream failed")
            await _write(send, _event({"error": describe_error(error)}))
    await send({"type": "http.response.body", "body": b""})


async def _write(send: Send, event: bytes) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": True})
    await checkpoint()  # many may be ready at once


async def _beating(answers: Answers) -> AsyncGenerator[bytes, None]:
    """Yield an event for each answer, and a comment whenever there was none for a while."""
    following = asyncio.ensure_future(anext(answers, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=HEARTBEAT)
            if not done:
                yield b":\n\n"
                continue
            if (answer := following.result()) is None:
                return
            yield _event(answer)
            following = asyncio.ensure_future(anext(answers, None))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await answers.aclose()


def _event(answer: Mapping[str, Any]) -> bytes:
    number = f"id: {answer['number']}\n" if "number" in answer else ""
    return f"{number}event: {next(iter(answer))}\ndata: {json_text(answer, ascii_only=True)}\n\n".encode()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
