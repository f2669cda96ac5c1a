"""Takes the answer of an application: whole, to keep it, or piece by piece, once it is too long for that."""

import asyncio
import contextlib
from typing import Any, Protocol

from protocols.asgi import Send
from protocols.errors import LocalProtocolError
from protocols.events import Event, step
from protocols.http.events import CHECKS, HTTP
from protocols.http.head import encode

_DISCONNECT = {"type": "http.disconnect"}

Kept = list[Any]
"""The events of an answer."""


class Keeper(Protocol):
    """What becomes of an answer."""

    async def keep(self, recorder: "Recorder") -> None:
        """Keep the answer, which is complete and has not left as a whole."""

    def tell(self, answer: Kept) -> None:
        """Let it leave."""


class Recorder:
    """The ``receive`` and ``send`` of an application whose request has a key. Its client may leave meanwhile."""

    def __init__(self, body: bytes, longest: int, send: Send, keeper: Keeper) -> None:
        """``longest``: bytes of an answer that is kept. ``send`` reaches the client."""
        self._request: Event | None = {"type": "http.request", "body": body, "more_body": False}
        self._longest = longest
        self._send: Any = send
        self._keeper = keeper
        self._state = "waiting"
        self._start: Any = None
        self._body = bytearray()
        self.is_too_long = False
        """Whether it leaves as it comes."""
        self._complete = asyncio.Event()
        self.client_left = False

    @property
    def status(self) -> int:
        """That of the answer; 0 if there is none."""
        return int(self._start["status"]) if self._start is not None else 0

    @property
    def is_complete(self) -> bool:
        return self._complete.is_set()

    def answer(self) -> Kept:
        """Return the events of the answer; none if it was too long."""
        if self.is_too_long:
            return []
        return [self._start, {"type": "http.response.body", "body": bytes(self._body), "more_body": False}]

    async def receive(self) -> Any:
        """Return the request; after the answer, the disconnect."""
        request, self._request = self._request, None
        if request is not None:
            return request
        await self._complete.wait()
        return _DISCONNECT

    async def send(self, event: Event) -> None:
        """Raises LocalProtocolError as the server would."""
        self._state, checked = step(HTTP, CHECKS, self._state, event)
        match checked["type"]:
            case "http.response.start":
                encode(checked.get("headers") or ())  # finds the mistakes that the server would find
                headers = [(bytes(name), bytes(value)) for name, value in checked.get("headers") or ()]
                self._start = {"type": "http.response.start", "status": checked["status"], "headers": headers}
                if checked.get("trailers"):
                    raise LocalProtocolError("http.response.start: trailers cannot be kept for an Idempotency-Key")
            case "http.response.body":
                await self._take(checked.get("body", b""), more=checked.get("more_body", False))
            case "http.response.pathsend":
                raise LocalProtocolError("http.response.pathsend is not in this scope's extensions")

    async def _take(self, piece: bytes, *, more: bool) -> None:
        self._body += piece
        if not self.is_too_long and len(self._body) > self._longest:
            self.is_too_long = True
            await self._pass_on(self._start)
        if not more:
            self._state = "over"
            await self._keeper.keep(self)
        if self.is_too_long:
            passed, self._body = bytes(self._body), bytearray()
            await self._pass_on({"type": "http.response.body", "body": passed, "more_body": more})
        if not more:
            self._complete.set()
            self._keeper.tell(self.answer())

    async def _pass_on(self, event: Event) -> None:
        """Send to the client, if it is still there. The application goes on without it."""
        if not self.client_left:
            with contextlib.suppress(OSError, LocalProtocolError):
                await self._send(event)
