"""One connection to an IMAP server: aioimaplib's protocol class, repaired, under the few verbs that reading needs.

aioimaplib is GPL-3.0-only and an optional extra: this module alone imports it, and is imported when an IMAP server
starts. The repairs, each for a fault that was seen to hang or crash a reader:

* a lost connection, a BYE, and silence all end the command that waits (the library would wait on);
* its parser recurses once a line: it is fed few lines at a time;
* its FETCH looks at all lines for each line: ours looks at the new ones;
* a command that was cancelled or timed out leaves its connection unusable: that connection is aborted;
* EXISTS is noted whenever it comes, not only in IDLE;
* SASL goes by continuation: a password may have any characters, and the server's refusal of a token is answered.

A connection has one user, one command at a time.
"""

import asyncio
import base64
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

import aioimaplib
from aioimaplib.aioimaplib import Command, FetchCommand, IMAP4ClientProtocol

from protocols.errors import Disconnected
from protocols.mail.imap.errors import IMAPRefused
from protocols.mail.imap.grammar import (
    Lines,
    MailboxMessage,
    Selected,
    quote,
    quote_folder,
    read_messages,
    read_search,
    read_selected,
    read_sizes,
    uid_set,
    words,
)

# Below WARNING the library logs what it receives and sends: mail and, where its scrubbing misses, credentials.
logging.getLogger("aioimaplib.aioimaplib").setLevel(logging.WARNING)

_LINES = 200
"""Lines that are given to the library's parser at a time: it uses a stack frame for each line."""
_ROOM = 16 * 1024 * 1024
"""Bytes that one answer may have besides message bodies: enough for a SEARCH over two million messages."""
_MANY = 64 * 1024
"""Bytes of a SEARCH's answer that are parsed without a thread: a few thousand messages, in a millisecond or two."""
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 120_000}
"""TCP keep-alive: a peer that has vanished is noticed within two minutes, also in IDLE."""


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


class _Protocol(IMAP4ClientProtocol):  # type: ignore[misc]  # the library has no types
    """The library's protocol class with repairs. ``silence`` is how many seconds a command may pass without a byte."""

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
            for piece in _pieces(data):
                super().data_received(piece)
        except Exception as error:
            self.give_up(f"its answer was not understood ({type(error).__name__})")
        self._expect(None if self._idling else self._silence)

    async def welcome(self, command: bytes) -> None:
        try:
            await super().welcome(command)
        except (aioimaplib.AioImapException, LookupError, UnicodeDecodeError):
            self.give_up(f"it answered: {words(command)}")
        self.greeted.set()

    def _untagged_response(self, line: bytes) -> Any:
        command = super()._untagged_response(line)
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


class IMAPConnection:
    """A connection to a mailbox. Methods raise Disconnected if the connection is lost, IMAPRefused if the server
    refuses."""

    def __init__(self, protocol: _Protocol) -> None:
        self._protocol = protocol

    @property
    def can_idle(self) -> bool:
        return "IDLE" in self._protocol.capabilities

    @property
    def peer(self) -> tuple[str, int] | None:
        """The server's address and port."""
        name = self._protocol.transport.get_extra_info("peername")
        return (str(name[0]), int(name[1])) if name else None

    async def _run(self, what: str, call: Coroutine[Any, Any, Any], *, room: int = 0) -> Lines:
        try:
            async with self._protocol.command(room):
                result, lines = await call
        finally:
            call.close()  # it never began where the connection was lost before
        if result != "OK":
            raise IMAPRefused(f"{what}: {words(lines[-1]) if lines else result}")
        return list(lines)

    async def login(self, username: str, password: str) -> None:
        protocol = self._protocol
        if protocol.state == aioimaplib.AUTH:  # PREAUTH: the server knows us by our address or certificate
            return
        if "LOGINDISABLED" in protocol.capabilities:
            raise IMAPRefused("the server takes no password on a connection without TLS; set tls: true")
        plain = username + password
        if plain.isascii() and plain.isprintable():
            call = protocol.login(quote(username), password)
        else:
            call = protocol.authenticate("PLAIN", f"\0{username}\0{password}")
        await self._authenticated(call)

    async def login_with_token(self, username: str, token: str) -> None:
        """Log in with XOAUTH2, as Google and Microsoft define it."""
        if self._protocol.state != aioimaplib.AUTH:
            response = f"user={username}\1auth=Bearer {token}\1\1"
            await self._authenticated(self._protocol.authenticate("XOAUTH2", response))

    async def _authenticated(self, call: Coroutine[Any, Any, Any]) -> None:
        await self._run("login refused", call)
        self._protocol.state = aioimaplib.AUTH
        async with self._protocol.command():
            await self._protocol.capability()

    async def select(self, folder: str) -> Selected:
        lines = await self._run(f"folder {folder}", self._protocol.select(quote_folder(folder)))
        try:
            return read_selected(lines)
        except ValueError as error:
            raise IMAPRefused(f"folder {folder}: {error}") from error

    async def ensure_folder(self, name: str) -> None:
        """Create the folder unless it exists."""
        folder = quote_folder(name)
        if await self._exists(folder):
            return
        try:
            await self._run(f"cannot make folder {name}", self._protocol.simple_command("CREATE", folder))
        except IMAPRefused:
            if not await self._exists(folder):  # another reader may have been quicker
                raise
        with contextlib.suppress(IMAPRefused):  # so that mail programs show it; some servers have no subscriptions
            await self._run(name, self._protocol.simple_command("SUBSCRIBE", folder))

    async def _exists(self, folder: str) -> bool:
        try:
            await self._run(folder, self._protocol.simple_command("STATUS", folder, "(UIDVALIDITY)"))
        except IMAPRefused:
            return False
        return True

    async def search(self, criteria: str) -> list[int]:
        """Return the UIDs of matching messages, ascending. After this, :meth:`idle` waits for later ones."""
        self._protocol.changed = False
        return await self._search(criteria)

    async def present(self, uids: Iterable[int]) -> list[int]:
        """Return those of ``uids`` that are still in the folder."""
        return await self._search(f"UID {uid_set(uids)}")

    async def _search(self, criteria: str) -> list[int]:
        # No charset: Exchange and Yahoo refuse one.
        lines = await self._run("search", self._protocol.search(criteria, charset=None, by_uid=True))
        many = sum(map(len, lines)) > _MANY
        return await asyncio.to_thread(read_search, lines) if many else read_search(lines)

    async def sizes(self, uids: Iterable[int]) -> dict[int, int]:
        """Return the size in octets of each message that is still there, by UID."""
        return read_sizes(await self._run("fetch", self._protocol.fetch_uids(uids, "(UID RFC822.SIZE)")))

    async def fetch(self, uids: Iterable[int], octets: int) -> list[MailboxMessage]:
        """Return the messages that are still there, ``octets`` together. They stay unchanged: PEEK does not even set
        \\Seen."""
        call = self._protocol.fetch_uids(uids, "(UID INTERNALDATE BODY.PEEK[])")
        return read_messages(await self._run("fetch", call, room=octets))

    async def flag(self, uids: Iterable[int], flag: str) -> None:
        call = self._protocol.store(uid_set(uids), "+FLAGS.SILENT", f"({flag})", by_uid=True)
        await self._run(f"set {flag}", call)

    async def delete(self, uids: Iterable[int]) -> None:
        """Flag and expunge only these. Without UIDPLUS they stay flagged: a plain EXPUNGE would expunge others' as
        well."""
        uids = list(uids)
        await self.flag(uids, "\\Deleted")
        if "UIDPLUS" in self._protocol.capabilities:
            await self._run("expunge", self._protocol.expunge(uid_set(uids), by_uid=True))

    async def move(self, uids: Iterable[int], folder: str) -> None:
        """Move messages, with MOVE (RFC 6851) or with COPY and :meth:`delete`."""
        uids, target = list(uids), quote_folder(folder)
        if "MOVE" in self._protocol.capabilities:
            await self._run(f"move to {folder}", self._protocol.move(uid_set(uids), target, by_uid=True))
            return
        await self._run(f"copy to {folder}", self._protocol.copy(uid_set(uids), target, by_uid=True))
        await self.delete(uids)

    async def idle(self, seconds: float) -> bool:
        """Wait for new messages, at most ``seconds``; return whether there are any."""
        if not self._protocol.changed:
            await self._run("IDLE", self._protocol.idle_until_news(seconds))
            while not self._protocol.idle_queue.empty():
                self._protocol.idle_queue.get_nowait()
        return self._protocol.changed

    async def noop(self) -> None:
        await self._run("NOOP", self._protocol.simple_command("NOOP"))

    async def close(self) -> None:
        """Log out, without waiting for the answer. Idempotent."""
        self._protocol.leave()
        try:
            async with asyncio.timeout(1.0):
                await self._protocol.closed.wait()
        except TimeoutError:
            self._protocol.give_up("it does not hang up")


async def connect(host: str, port: int, *, tls: ssl.SSLContext | None, timeout: float) -> IMAPConnection:
    """Connect and read the greeting. Raises OSError, of which Disconnected is a subclass."""
    protocol = _Protocol(timeout)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().create_connection(lambda: protocol, host, port, ssl=tls)
    except TimeoutError:
        raise Disconnected(f"no connection within {timeout:g} s") from None
    async with protocol.command():
        await protocol.greeted.wait()
    return IMAPConnection(protocol)
