"""An application and a scripted peer, in memory: events in, events out."""

import asyncio
import inspect
from functools import wraps
from typing import Any

from gateway.consumers.forms import AsyncForm

LIMIT = 5.0
_MAIL = {"transport": "smtp", "headers": [], "listener": "mail", "mailbox": None, "received_at": 0.0}


def scope(kind: str, **keys: Any) -> dict[str, Any]:
    """A scope with the keys that routers and consumers look at."""
    common: dict[str, Any] = {"type": kind, "asgi": {"version": "3.0"}, "extensions": {}, "state": {}, "client": None}
    own: dict[str, dict[str, Any]] = {
        "http": {"path": "/", "method": "GET", "headers": []},
        "websocket": {"path": "/", "headers": [], "subprotocols": []},
        "mqtt": {"client_id": "t1", "role": "server", "properties": {}},
        "email": {"mail_from": "ann@example.com", "rcpt_to": ["help@example.org"]} | _MAIL,
        "sms": {"sender": "+447700900123", "recipient": "+447700900999", "country": "GB"},
    }
    return common | own[kind] | keys


def in_form_of(base: Any) -> Any:
    """Return a decorator for a method of a class of either form: it is async where ``base`` is."""

    def made(method: Any) -> Any:
        @wraps(method)
        async def awaited(*args: Any, **keys: Any) -> Any:
            return method(*args, **keys)

        awaited.__dict__["__signature__"] = inspect.signature(method)
        return awaited if issubclass(base, AsyncForm) else method

    return made


class Conversation:
    """One run of ``app``. Leaving the block cancels what still runs, and raises what it crashed with."""

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:
        self.app = app
        self.scope = scope
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._waits = False

    async def __aenter__(self) -> "Conversation":
        self.task = asyncio.ensure_future(self.app(self.scope, self._receive, self.outbox.put))
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if not self.task.done():
            self.task.cancel()
        outcome = (await asyncio.gather(self.task, return_exceptions=True))[0]
        if error is None and isinstance(outcome, Exception):
            raise outcome

    async def _receive(self) -> dict[str, Any]:
        self._waits = True
        try:
            return await self.inbox.get()
        finally:
            self._waits = False

    def is_idle(self) -> bool:
        """Whether the application has handled everything that was said, and waits for more, or has returned."""
        return (self._waits and self.inbox.empty()) or self.task.done()

    def say(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.inbox.put_nowait(event)

    async def hear(self) -> dict[str, Any]:
        """The next event from the application; what it crashed with instead, where it did."""
        read = asyncio.ensure_future(self.outbox.get())
        await asyncio.wait({read, self.task}, timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
        if not read.done() and self.task.done():
            read.cancel()
            self.task.result()
            raise AssertionError("the application ended without another word")
        async with asyncio.timeout(LIMIT):
            return await read

    async def end(self) -> None:
        """Wait until the application has returned, or raise what it crashed with."""
        async with asyncio.timeout(LIMIT):
            await self.task

    def heard(self) -> list[dict[str, Any]]:
        """Everything that was sent and not yet looked at."""
        return [self.outbox.get_nowait() for _ in range(self.outbox.qsize())]
