"""Connections that the server has ended, until their peers have read why.

A socket that is closed with unread bytes in it resets the connection. A client that is still sending then fails to, and
may never read our last acknowledgements, and the reason code of our DISCONNECT. So the socket is closed for what we
send, and what still comes is dropped until the client closes its side, for a while.
"""

import asyncio
from collections.abc import Callable

LINGER = 2.0
"""Seconds for a client to read our last words, and to close."""
CLOSE_TIMEOUT = 5.0
"""Seconds for a peer to read what was written before its connection was closed."""
DROPPED = 16 * 1024 * 1024
"""Bytes that a client may send meanwhile: more than what the network and two kernels hold."""


class Endings:
    """The connections of one server that end."""

    def __init__(self) -> None:
        self._open: set[_Ending] = set()
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, transport: asyncio.Transport, *, told: bool) -> bool:
        """Let the client read what was written, and close then. Return whether this has been done: the transport has
        another protocol by now. If not, it is still to be closed.

        ``told``: what was written says that the client has to close the connection. Under TLS nothing else tells it,
        since a direction cannot be closed alone. The closing handshake of a WebSocket (RFC 6455, 7.1.1) does the same.
        """
        if transport.is_closing() or transport.get_extra_info("websocket"):
            return False
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the client has gone, and this is not known here yet
                return False
        elif not told:
            return False
        ending = _Ending(transport, self._ended)
        self._open.add(ending)
        transport.set_protocol(ending)
        transport.resume_reading()
        return True

    async def end(self, within: float) -> None:
        """Wait until they have ended, and end those that have not ``within`` so many seconds."""
        if self._open:
            self._empty.clear()
            timer = asyncio.get_running_loop().call_later(within, self._abort)
            await self._empty.wait()
            timer.cancel()

    def _abort(self) -> None:
        for ending in list(self._open):
            ending.abort()

    def _ended(self, ending: "_Ending") -> None:
        self._open.discard(ending)
        if not self._open:
            self._empty.set()


class _Ending(asyncio.Protocol):
    """Reads to the end, and drops it."""

    def __init__(self, transport: asyncio.Transport, ended: "Callable[[_Ending], None]") -> None:
        self._transport = transport
        self._ended = ended
        self._dropped = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LINGER, self._close)

    def data_received(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > DROPPED:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._ended(self)

    def abort(self) -> None:
        self._transport.abort()

    def _close(self) -> None:
        self._transport.close()
        self._timer = self._loop.call_later(CLOSE_TIMEOUT - LINGER, self.abort)
