"""Answers of the console, each with the header fields that keep a browser from misusing it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from gateway.logs.escaping import json_text
from protocols.asgi import Send

Header = tuple[bytes, bytes]

SAFE: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""Fields of every answer. A page has a Content-Security-Policy of its own."""


@dataclass(frozen=True)
class Exposition:
    """The answer to a scrape."""

    kind: str
    """Its Content-Type."""
    body: bytes
    is_zipped: bool
    """Whether ``body`` is compressed by gzip."""


async def send_json(send: Send, status: int, data: Mapping[str, Any], headers: Iterable[Header] = ()) -> None:
    body = json_text(data, ascii_only=True).encode() + b"\n"
    await send_body(send, status, "application/json", body, headers)


async def send_body(
    send: Send, status: int, kind: str, body: bytes, headers: Iterable[Header] = (), *, safe: Iterable[Header] = SAFE
) -> None:
    own = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *safe, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_metrics(send: Send, metrics: Exposition) -> None:
    zipped = [(b"content-encoding", b"gzip")] if metrics.is_zipped else []
    headers = [*zipped, (b"vary", b"accept, accept-encoding")]
    await send_body(send, 200, metrics.kind, metrics.body, headers)


async def send_unchanged(send: Send, headers: Iterable[Header]) -> None:
    """Say that the client has it already. The answer has no length: a cache would take that for the file's."""
    await send({"type": "http.response.start", "status": 304, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b""})


async def send_file(
    send: Send,
    kind: str,
    pieces: AsyncGenerator[bytes, None],
    headers: Iterable[Header],
    allowed: Callable[[], Awaitable[bool]],
) -> None:
    """Send a file piece by piece. ``allowed`` tells before each piece whether the visitor still has access. If not, or
    if a piece fails, the connection closes early, so that the client knows that the file is incomplete."""
    own = [(b"content-type", kind.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": [*own, *SAFE, *headers]})
    async with aclosing(pieces):
        async for piece in pieces:
            if not await allowed():
                raise PermissionError("the login has ended")
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
