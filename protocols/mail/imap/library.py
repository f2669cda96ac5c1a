"""aioimaplib's protocol class, repaired.

aioimaplib is GPL-3.0-only and an optional extra: this module alone imports it, and is imported when an IMAP server
starts. The repairs, each for a fault that was seen to hang or crash a reader:

* a lost connection, a BYE, and silence all end the command that waits (the library would wait on);
* its parser recurses once a line: it is fed few lines at a time;
* its FETCH looks at all lines for each line: ours looks at the new ones, and reads a usual answer itself;
* a command that was cancelled or timed out leaves its connection unusable: that connection is aborted;
* EXISTS is noted whenever it comes, not only in IDLE;
* only the first "* " of a line is taken away, and not those in names of folders and flags;
* SASL goes by continuation: a password may have any characters, and the server's refusal of a token is answered.

A connection has one user, one command at a time.
"""

import asyncio
import base64
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aioimaplib
from aioimaplib.aioimaplib import Command, FetchCommand, IMAP4ClientProtocol

from protocols.errors import Disconnected
from protocols.mail.imap.grammar import uid_set, words

# Below WARNING the library logs what it receives and sends: mail and, where its scrubbing misses, credentials.
logging.getLogger("aioimaplib.aioimaplib").setLevel(logging.WARNING)

_LINES = 200
"""Lines that are given to the library's parser at a time: it uses a stack frame for each line."""
_ROOM = 16 * 1024 * 1024
"""Bytes that one answer may have besides message bodies: enough for a SEARCH over two million messages."""
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 120_000}
"""TCP keep-alive: a peer that has vanished is noticed within two minutes, also in IDLE."""


_MESSAGE = re.compile(rb"\* (\d{1,20} FETCH \([^\r\n{]*+\{(\d{1,10})\})\r\n")
_LONGEST_BEGUN = 4096
"""Octets of a line that has begun with which we look for a message. A longer one would be read anew at each piece."""


class _Fetch(FetchCommand):  # type: ignore[misc]  # the library has no types
    """FETCH that reads only new lines: the library's own reads the whole answer again at each line."""

    def __init__(self, tag: str, uids: Iterable[int], what: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(tag, uid_set(uids), what, prefix="UID", untagged_resp_name="FETCH", loop=loop)
        self._looked_at = 0
        self._open = 0

    def wait_data(self) -> bool:
        """Whether the last message's parentheses are still open."""
        for line in self._resp_lines[self._looked_at :]:
            if isinstance(line, bytes):  # a literal is a bytearray
                begins = self.FETCH_MESSAGE_DATA_RE.match(line) is not None
                self._open = line.count(b"(") - line.count(b")") + (0 if begins else self._open)
        self._looked_at = len(self._resp_lines)
        return self._open != 0

    @property
    def missing(self) -> int:
        """The bytes of the literal that has begun and that have not come yet."""
        return self._expected_size - len(self._resp_literal_data) if self._expected_size else 0

    def take(self, data: bytes) -> bytes:
        """Take the messages at the beginning of ``data`` that are there as a whole, each with one literal, its last
        item. Return what is behind them. The library would take three times as long."""
        place = 0
        while found := _MESSAGE.match(data, place):
            end = found.end() + int(found[2])
            if not data.startswith(b")\r\n", end):
                break
            self._resp_lines += [found[1], bytearray(data[found.end() : end]), b")"]
            place = end + 3
        self._looked_at = len(self._resp_lines)
        return data[place:]


class RepairedProtocol(IMAP4ClientProtocol):  # type: ignore[misc]  # the library has no types
    """The library's protocol class with repairs. ``silence`` is how many seconds a command may pass without a byte."""

    incomplete_line: bytes
    """The library's: the beginning of a line whose end has not come."""

    def __init__(self, silence: float) -> None:
        super().__init__(asyncio.get_running_loop())
        self.reason = ""
        """Why the connection is lost; empty while it is not."""
        self.changed = False
        """Whether the server has announced messages since this was last cleared."""
        self._silence = silence
        self._command: asyncio.Timeout | None = None
        self._room = _ROOM
        self._idling = False
        self._enough = False
        self._sasl: list[str] = []
        self.greeted = asyncio.Event()
        self.closed = asyncio.Event()

    # One command at a time.

    @contextlib.asynccontextmanager
    async def command(self, room: int = 0) -> AsyncIterator[None]:
        """End what is awaited inside when the connection ends, or after ``silence``. Raises Disconnected."""
        if self.reason:
            raise Disconnected(self.reason)
        self._room = _ROOM + room
        try:
            async with asyncio.timeout(self._silence) as self._command:
                try:
                    yield
                except asyncio.CancelledError:
                    if not self._command.expired():
                        self.leave()
                    raise
        except TimeoutError:
            self.give_up(f"no answer for {self._silence:g} s")
            raise Disconnected(self.reason) from None
        except Exception as error:
            # For an unexpected answer the library raises various exceptions (IndexError, UnicodeDecodeError).
            self.give_up(f"its answer was not understood ({type(error).__name__})")
            raise Disconnected(self.reason) from error
        finally:
            self._command = None

    def _expect(self, seconds: float | None) -> None:
        """Give the running command ``seconds`` from now; None means no limit."""
        if self._command is not None and not self._command.expired():
            self._command.reschedule(None if seconds is None else self.loop.time() + seconds)

    def give_up(self, reason: str) -> None:
        """Give the connection up. Only the first reason counts."""
        self.reason = self.reason or reason
        if self.transport is not None:
            self.transport.abort()

    def leave(self) -> None:
        """Send LOGOUT, unless a command other than IDLE is running."""
        if self.reason or self.transport is None:
            return
        if self._command is not None and not self._idling:
            self.give_up("given up in the middle of a command")
            return
        self.done()
        self.reason = "left"
        self.send(f"{self.new_tag()} LOGOUT")
        self.transport.close()

    # IDLE (RFC 2177): ends itself when there is news, or is ended by a timer.

    async def idle_until_news(self, seconds: float) -> Any:
        self._enough = self.changed
        timer = self.loop.call_later(seconds, self.done)
        try:
            response = await self.idle()
        finally:
            timer.cancel()
        self._idling = False
        return response

    def done(self) -> None:
        """End IDLE as soon as it has begun; its tagged answer is due at once."""
        self._enough = True
        if self._idling:
            self._idling = False
            self.idle_done()
            self._expect(self._silence)

    # SASL (RFC 3501, 6.2.2): what the server asks for comes one by one, at last an empty line.

    async def authenticate(self, mechanism: str, response: str) -> Any:
        self._sasl = [base64.b64encode(response.encode()).decode()]
        return await self.execute(Command("AUTHENTICATE", self.new_tag(), mechanism, loop=self.loop))

    async def fetch_uids(self, uids: Iterable[int], what: str) -> Any:
        return await self.execute(_Fetch(self.new_tag(), uids, what, self.loop))

    # What the transport and the library's parser call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _keep_alive(transport.get_extra_info("socket"))

    def connection_lost(self, error: Exception | None) -> None:
        self.reason = self.reason or f"connection lost: {error or 'the server closed it'}"
        self._expect(0)
        self.closed.set()
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            self.give_up("its answer has no end")
            return
        try:
            for piece in _pieces(self._messages_taken(data)):
                super().data_received(piece)
        except Exception as error:
            self.give_up(f"its answer was not understood ({type(error).__name__})")
        self._expect(None if self._idling else self._silence)

    def _messages_taken(self, data: bytes) -> bytes:
        """Let a FETCH take its messages, and return what the library is to parse."""
        fetch = self.pending_async_commands.get("FETCH")
        if not isinstance(fetch, _Fetch):
            return data
        if self.current_command is not None:  # the library is in the middle of a message
            end = data.find(b"\r\n", fetch.missing) + 2
            if end < 2:
                return data
            super().data_received(data[:end])
            data = data[end:]
            if self.current_command is not None:
                return data
        if len(self.incomplete_line) > _LONGEST_BEGUN:
            return data
        data, self.incomplete_line = self.incomplete_line + data, b""
        return fetch.take(data)

    async def welcome(self, command: bytes) -> None:
        try:
            await super().welcome(command)
        except (aioimaplib.AioImapException, LookupError, UnicodeDecodeError):
            self.give_up(f"it answered: {words(command)}")
        self.greeted.set()

    def _untagged_response(self, line: bytes) -> Any:
        command = super()._untagged_response(_Line(line))
        if line.startswith(b"* BYE"):
            self.give_up(f"the server said goodbye: {words(line[6:])}")
        elif line.endswith(b" EXISTS"):
            self.changed = True
            self.done()
        return command

    def _continuation(self, line: bytes) -> None:
        pending = self.pending_sync_command
        if pending is not None and pending.name == "AUTHENTICATE":
            # A second question is the server's account of what is wrong: RFC 7628 wants an empty answer to it.
            self.transport.write((self._sasl.pop() if self._sasl else "").encode() + b"\r\n")
            return
        super()._continuation(line)
        if pending is not None and pending.name == "IDLE":
            self._idling = True
            if self._enough:
                self.done()


class _Line(bytes):
    """A line of which the library takes the first ``* `` away, where it means to take all."""

    def replace(self, old: Any, new: Any, count: Any = 1, /) -> bytes:
        return bytes(self).replace(old, new, count)


def _pieces(data: bytes) -> Iterable[bytes]:
    if data.count(b"\n") <= _LINES:
        return [data]
    lines = data.splitlines(keepends=True)
    return (b"".join(lines[start : start + _LINES]) for start in range(0, len(lines), _LINES))


def _keep_alive(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
