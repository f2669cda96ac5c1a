"""Sends compressed WebSocket messages in their order. A large one is compressed on a thread, so that no other
connection waits for it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from protocols.http.channel import Channel
from protocols.http.deflate import STEP, Deflater
from protocols.http.frames import COMPRESSED

Write = Callable[[int, bytes], None]
"""Writes a frame, of its first byte and its payload. Raises Disconnected."""


class Compressor:
    """What is between the messages of an application and its connection."""

    def __init__(self, deflater: Deflater, write: Write, connection: Channel) -> None:
        self._deflater = deflater
        self._write = write
        self._connection = connection
        self._waiting: deque[tuple[int, bytes, asyncio.Future[None]]] = deque()
        """Messages that wait for the thread. The first one is on it."""

    def send(self, opcode: int, message: bytes) -> Awaitable[None] | None:
        """Compress and write ``message``. Return an awaitable if that takes time; raise Disconnected, also from it."""
        if self._waiting or len(message) > STEP:
            return self._send_later(opcode, message)
        if message:
            self._write(COMPRESSED | opcode, self._deflater.deflate(message))
        else:  # zlib makes nothing of it
            self._write(opcode, message)
        return self._connection.drain() if self._connection.is_full else None

    async def _send_later(self, opcode: int, message: bytes) -> None:
        """Send on a thread. The message is sent even if the task that waits here is cancelled: the compressor already
        counts on it."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((opcode, message, sent))
        if len(self._waiting) == 1:
            self._deflate_first()
        await asyncio.shield(sent)
        if self._connection.is_full:
            await self._connection.drain()

    def _deflate_first(self) -> None:
        deflating = asyncio.get_running_loop().run_in_executor(None, self._deflater.deflate, self._waiting[0][1])
        deflating.add_done_callback(self._deflated)

    def _deflated(self, deflating: "asyncio.Future[bytes]") -> None:
        opcode, _, sent = self._waiting.popleft()
        try:
            self._write(COMPRESSED | opcode, deflating.result())
        except Exception as error:  # the peer is gone, or there is no memory: then the window is lost, too
            self._fail(sent, error)
        else:
            sent.set_result(None)
        if self._waiting:
            self._deflate_first()

    def _fail(self, sent: "asyncio.Future[None]", error: Exception) -> None:
        """Raise ``error`` in each task that waits. One that was cancelled does not ask for it."""
        for each in (sent, *(waiting for _, _, waiting in self._waiting)):
            each.set_exception(error)
            each.exception()
        self._waiting.clear()
