"""The ASGI application that gives responses an ETag, and answers 304 to who has them already."""

import asyncio
import hashlib
from typing import Any

from gateway.scopes.http.static_files.conditions import names_tag
from protocols.asgi import Application, HTTPScope, Receive, Scope, Send

LONGEST = 8 * 1024 * 1024
"""Bytes of a body that gets an ETag."""
_QUICK = 64 * 1024
"""Bytes that are hashed on the event loop."""
_METHODS = ("GET", "HEAD")
_OF_BODY = frozenset({b"content-length", b"content-type", b"content-encoding", b"content-language", b"content-range"})
"""Fields that a 304 does not have (RFC 9110, 15.4.5)."""

Event = Any


class Tagged:
    """An application whose responses have an ETag of their content, where they come in one piece and have none."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.wrapped_app: Application = getattr(app, "wrapped_app", app)
        """The route's own application, below everything that its settings put around it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)  # routers and the commands look for names on an application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _METHODS:
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Answer(scope, send).send)


class _Answer:
    """One response on its way to the client."""

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self._scope = scope
        self._send: Any = send
        self._start: Event = None
        """The start, which waits for the body. The server would send it in the same turn of the loop."""
        self._is_unchanged = False
        """Whether the client has the body already."""

    async def send(self, event: Event) -> None:
        kind = event["type"]
        if self._is_unchanged and kind != "http.response.start":
            return
        if kind == "http.response.start" and _can_have_tag(event):
            self._start = event
        elif kind == "http.response.body" and self._start is not None and _is_whole(event):
            await self._tag(event)
        else:
            await self._release()
            await self._send(event)

    async def _release(self) -> None:
        if (start := self._start) is not None:
            self._start = None
            await self._send(start)

    async def _tag(self, event: Event) -> None:
        start, self._start = self._start, None
        tag = await _tag_of(bytes(event["body"]))
        headers = [*start["headers"], (b"etag", tag.encode())]
        asked = [value for name, value in self._scope["headers"] if name == b"if-none-match"]
        if asked and names_tag(b", ".join(asked).decode("latin-1"), tag.removeprefix("W/")):
            self._is_unchanged = True
            kept = [(name, value) for name, value in headers if name.lower() not in _OF_BODY]
            await self._send({"type": "http.response.start", "status": 304, "headers": kept})
            await self._send({"type": "http.response.body"})
            return
        await self._send({**start, "headers": headers})
        await self._send(event)


def _can_have_tag(start: Event) -> bool:
    """Whether it is a whole response without an ETag, which may be kept. What has trailers has a reason for them."""
    headers = start.get("headers")
    if start.get("status") != 200 or start.get("trailers") or not isinstance(headers, list | tuple):
        return False
    try:
        fields = {name.lower(): value.lower() for name, value in headers}
        return b"etag" not in fields and b"no-store" not in fields.get(b"cache-control", b"")
    except (TypeError, ValueError, AttributeError):  # the server says what is wrong with it
        return False


def _is_whole(event: Event) -> bool:
    return not event.get("more_body") and 0 < len(event.get("body", b"")) <= LONGEST


async def _tag_of(body: bytes) -> str:
    """Return a weak tag: a proxy, or the gateway, may still compress the body."""
    digest = _digest(body) if len(body) <= _QUICK else await asyncio.to_thread(_digest, body)
    return f'W/"{digest}"'


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()
