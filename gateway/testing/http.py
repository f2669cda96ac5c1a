"""Tests an application of the ``http`` scope: one request, and its response."""

import asyncio
import contextlib
import json as jsonlib
import sys
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from gateway.testing.communicator import TIMEOUT, ApplicationCommunicator
from gateway.testing.recorded import RecordedRun
from gateway.testing.request import Headers, as_json, pairs, request_scope
from gateway.testing.surroundings import Surroundings
from protocols.asgi import Application, HTTPScope, ReceiveEvent
from protocols.errors import LocalProtocolError
from protocols.events import Event
from protocols.http import events
from protocols.http.head import encode, trailers

_DISCONNECT: ReceiveEvent = {"type": "http.disconnect"}
AGAIN = 0.01
"""Seconds before an application that calls ``receive`` again gets another disconnect: it may ask for ever."""


AFTER_500 = 0.1
"""Seconds for an application to raise what it has answered with 500."""


class _Exchange(RecordedRun):
    sends: ClassVar = events.HTTP
    checks: ClassVar = events.CHECKS

    def __init__(self, app: Application, scope: HTTPScope, left: Callable[[Event], None]) -> None:
        super().__init__(app, scope, left)
        self.short: int | None = None
        """Bytes of the body that are still to come, if their number is known."""
        self._bodiless = scope["method"] == "HEAD"
        self._told = False
        self._has_trailers = False

    def http_response_start(self, event: Event) -> None:
        self._has_trailers = bool(event.get("trailers"))
        _, length, _, _ = encode(event.get("headers") or ())
        self.short = None if self._bodiless or event["status"] in (204, 304) else length
        self.record(event)

    def http_response_body(self, event: Event) -> None:
        if self.short is not None:
            self.short -= len(event.get("body", b""))
            if self.short < 0:
                raise LocalProtocolError(f"the body is {-self.short} bytes longer than its content-length")
        self.record(event)
        if not event.get("more_body", False) and not self._has_trailers:
            self.over(_DISCONNECT)

    def http_response_pathsend(self, event: Event) -> None:
        self.short = None
        self.record(event)
        if not self._has_trailers:
            self.over(_DISCONNECT)

    def http_response_trailers(self, event: Event) -> None:
        trailers(event["headers"])
        self.record(event)
        if not event.get("more_trailers", False):
            self.over(_DISCONNECT)

    http_response_early_hint = RecordedRun.record

    async def receive(self) -> Any:
        """Return the next event. After the disconnect that is the disconnect, each time, as ASGI has it."""
        if self._told and not self._queue:
            await asyncio.sleep(AGAIN)
            return _DISCONNECT
        event = await super().receive()
        self._told = self._told or event["type"] == "http.disconnect"
        return event

    def after_the_last(self) -> ReceiveEvent | None:
        return _DISCONNECT if self._told else None


class Response(dict[str, Any]):
    """``status``, ``headers`` (pairs of bytes) and ``body``, as keys and as attributes."""

    @property
    def status(self) -> int:
        status: int = self["status"]
        return status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return pairs(self["headers"])

    @property
    def body(self) -> bytes:
        body: bytes = self["body"]
        return body

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return jsonlib.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first header field of that name; None if there is none."""
        found = (value.decode("latin-1") for given, value in self.headers if given == name.lower().encode())
        return next(found, None)


class HttpCommunicator(ApplicationCommunicator):
    """One request. ``path`` may have a query; ``headers`` are pairs, or a dict.

    ``await communicator.get_response()`` returns the response."""

    run_class = _Exchange

    def __init__(
        self,
        application: Any,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Headers = None,
        *,
        json: Any = None,
        raise_request_exception: bool = True,
        root_path: str = "",
        surroundings: Surroundings | None = None,
    ) -> None:
        """``json`` is sent as the body. Unless ``raise_request_exception``, an exception that the application's
        framework has answered with 500 is that response. ``root_path`` is the setting of the server."""
        if json is not None and body:
            raise TypeError("HttpCommunicator takes body or json, one of them")
        self.body = as_json(json) if json is not None else body
        if not isinstance(self.body, bytes):
            raise TypeError(f"the body is {type(body).__name__}; write bytes, or json=")
        own = [("content-length", str(len(self.body)))] if self.body else []
        own += [("content-type", "application/json")] if json is not None else []
        super().__init__(
            application, {**request_scope(method, path, headers, own, root_path)}, surroundings=surroundings
        )
        self.sent_request = False
        self.raise_request_exception = raise_request_exception
        self._exceptions: list[BaseException] = []
        """What views of Django have raised."""

    async def get_response(self, timeout: float = TIMEOUT) -> Response:
        """Send the request, and return the response when it is complete. ``timeout`` is for each part of it.

        Raises what the application has raised, also where its framework has answered that with 500."""
        await self._send_request()
        start = await self._next("http.response.start", timeout=timeout)
        body = b"".join([piece async for piece in self._pieces(timeout)])
        if start["status"] >= 500 and self.raise_request_exception:
            await self._raise_answered()
        return Response(status=start["status"], headers=list(start.get("headers") or []), body=body)

    async def _raise_answered(self) -> None:
        """Raise what was answered with 500. Starlette raises it again, after its response."""
        if self._exceptions:
            raise self._exceptions[0]
        with contextlib.suppress(TimeoutError):
            await self._ended(AFTER_500)
        self._raise()

    def _prepare_context(self) -> None:
        super()._prepare_context()
        if "django.core.signals" in sys.modules:
            import_module("gateway.django.request_exceptions").note_into(self._exceptions)

    async def _pieces(self, timeout: float) -> AsyncIterator[bytes]:
        more = True
        while more:
            event = await self._next("http.response.body", "http.response.pathsend", timeout=timeout)
            more = event.get("more_body", False)
            path = event.get("path")
            yield event.get("body", b"") if path is None else await asyncio.to_thread(Path(path).read_bytes)
        run = self._begun()
        assert isinstance(run, _Exchange)
        if short := run.short:
            raise AssertionError(f"the response's body ended {short} bytes short of its content-length")

    async def _send_request(self) -> None:
        if not self.sent_request:
            self.sent_request = True
            await self.send_input({"type": "http.request", "body": self.body, "more_body": False})

    def _farewell(self) -> Event | None:
        return {"type": "http.disconnect"}
