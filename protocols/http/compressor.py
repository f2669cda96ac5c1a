"""Sends compressed WebSocket messages in their order. A large one is compressed on a thread, so that no other
connection waits for it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from protocols.http.deflate import STEP, Deflater
from protocols.http.frames import COMPRESSED

Write = Callable[[int, bytes], Awaitable[None] | None]
"""Writes a frame, of its first byte and its payload. Returns an awaitable if the peer is slow; raises Disconnected."""


class Compressor:
    """What is between the messages of an application and its connection."""

    def __init__(self, deflater: Deflater, write: Write) -> None:
        self._deflater = deflater
        self._write = write
        self._waiting: deque[tuple[int, bytes, asyncio.Future[Awaitable[None] | None]]] = deque()
        """Messages that wait for the thread. The first one is on it."""

    def send(self, opcode: int, message: bytes) -> Awaitable[None] | None:
        """Compress and write ``message``. Raises Disconnected, also out of the awaitable."""
        if self._waiting or len(message) > STEP:
            return self._send_later(opcode, message)
        if not message:  # zlib makes nothing of it
            return self._write(opcode, message)
        return self._write(COMPRESSED | opcode, self._deflater.deflate(message))

    async def _send_later(self, opcode: int, message: bytes) -> None:
        """Send on a thread. The message is sent even if the task that waits here is cancelled: the compressor already
        counts on it."""
        sent: asyncio.Future[Awaitable[None] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((opcode, message, sent))
        if len(self._waiting) == 1:
            self._deflate_first()
        if (slow := await asyncio.shield(sent)) is not None:
            await slow

    def _deflate_first(self) -> None:
        deflating = asyncio.get_running_loop().run_in_executor(None, self._deflater.deflate, self._waiting[0][1])
        deflating.add_done_callback(self._deflated)

    def _deflated(self, deflating: "asyncio.Future[bytes]") -> None:
        opcode, _, sent = self._waiting.popleft()
        try:
            sent.set_result(self._write(COMPRESSED | opcode, deflating.result()))
        except Exception as error:  # the peer is gone, or there is no memory: then the window is lost, too
            self._fail(sent, error)
        if self._waiting:
            self._deflate_first()

    def _fail(self, sent: "asyncio.Future[Awaitable[None] | None]", error: Exception) -> None:
        """Raise ``error`` in each task that waits. One that was cancelled does not ask for it."""
        for each in (sent, *(waiting for _, _, waiting in self._waiting)):
            each.set_exception(error)
            each.exception()
        self._waiting.clear()
