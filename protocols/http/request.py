"""The head of a request, and its body as it comes."""

import asyncio
import math
from typing import NamedTuple, Protocol

Headers = list[tuple[bytes, bytes]]

READ_AHEAD = 64 * 1024
"""Bytes of a body that are read before the application asks for them."""
_MOST_PIECES = 1000
"""Pieces of a body that are kept apart. A peer may send it in chunks of a byte or two."""


class Flow(Protocol):
    """The connection that a body comes over."""

    def hold_body(self) -> None:
        """Stop reading."""

    def let_body(self) -> None:
        """Read on."""


class MalformedBody(Exception):
    """The body breaks the rules of its framing, so its end cannot be found. The message does not quote it."""


class Request:
    """The head of a request, which has been checked."""

    __slots__ = (
        "body",
        "expects",
        "headers",
        "keeps",
        "length",
        "method",
        "needs_care",
        "takes_trailers",
        "target",
        "upgrades",
        "version",
    )

    def __init__(self, method: str, target: bytes, version: str, headers: Headers, keeps: bool) -> None:
        self.method = method
        self.target = target
        """``*``, or a path with its query."""
        self.version = version
        """``1.1`` or ``1.0``."""
        self.headers = headers
        """Names in lower case. Host is that of the target, if it was in the absolute form (RFC 9112, 3.2.2)."""
        self.keeps = keeps
        """Whether its peer wants to send another request on the connection."""
        self.body: Body | None = None
        """None if it has none."""
        self.length = 0
        """Bytes of the body, if it says so before it comes."""
        self.expects = False
        """Whether the peer waits for 100 Continue before it sends the body (RFC 9110, 10.1.1)."""
        self.needs_care = version == "1.0"
        """Whether the framing of its answer is not the usual one: HTTP/1.0, or a peer that waits for 100 Continue."""
        self.takes_trailers = False
        """Whether its peer reads trailers (RFC 9110, 6.5.1)."""
        self.upgrades = False
        """Whether it asks for a WebSocket (RFC 6455, 4.2.1)."""

    def header(self, name: bytes) -> bytes | None:
        """Return the value of ``name``; of several fields, the first one."""
        return next((value for key, value in self.headers if key == name), None)


class Refusal(NamedTuple):
    """What came in the place of a request, and is answered as a mistake of the peer."""

    status: int
    why: str
    """It does not quote the bytes."""
    is_head: bool = False
    """Whether it was a HEAD request, whose answer has no body."""


class Body:
    """The body of a request: pieces of bytes, which its peer sends and the application takes."""

    __slots__ = ("_buffered", "_error", "_flow", "_is_held", "_pieces", "_waiter", "complete", "size", "until")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._is_held = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: tuple[type[Exception], str] | None = None
        self.size = 0
        """Bytes that have come."""
        self.complete = False
        """Whether the last byte has come."""
        self.until = math.inf
        """When the last byte has to have come (the loop's clock)."""

    @property
    def is_taken(self) -> bool:
        """Whether all of it has come, and the application has it."""
        return self.complete and not self._pieces

    @property
    def has_come(self) -> bool:
        """Whether :meth:`wait` returns at once."""
        return bool(self._pieces) or self.complete or self._error is not None

    @property
    def broken(self) -> bool:
        """Whether it will never be complete."""
        return self._error is not None

    def feed(self, piece: bytes) -> None:
        size = len(piece)
        self.size += size
        if self._error is not None:
            return
        self._pieces.append(piece)
        if len(self._pieces) > _MOST_PIECES:  # each costs some fifty bytes beside its own
            self._pieces = [b"".join(self._pieces)]
        self._buffered += size
        waiter = self._waiter
        if self._buffered > READ_AHEAD and not self._is_held and (waiter is None or waiter.done()):
            self._is_held = True
            self._flow.hold_body()
        if waiter is not None:  # it takes the piece in this turn of the loop, so reading goes on
            self.wake()

    def finish(self) -> None:
        """Note that the last byte has come."""
        self.complete = True
        if self._waiter is not None:
            self.wake()

    def fail(self, error: type[Exception], why: str = "") -> None:
        """Let each :meth:`wait` raise ``error(why)``. Only the first call counts."""
        if self._error is None and not self.is_taken:
            self._error = error, why
            self._drop()
            self.wake()

    def wake(self) -> None:
        """Let the task in :meth:`wait` look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until there is something to take, or :meth:`wake` is called. Raises the error of :meth:`fail`."""
        if not self.has_come:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            error, why = self._error
            raise error(why)  # each time another one: its traceback holds what holds this body

    def take(self) -> bytes:
        """Return what has come, and not been taken yet."""
        taken = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._drop()
        return taken

    def _drop(self) -> None:
        self._pieces.clear()
        self._buffered = 0
        if self._is_held:
            self._is_held = False
            self._flow.let_body()
