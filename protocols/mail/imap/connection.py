"""One connection to an IMAP server, as the few verbs that reading mailboxes needs. It has one user, one command at a
time."""

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine, Iterable
from typing import Any

import aioimaplib

from protocols.errors import Disconnected
from protocols.mail.imap.errors import IMAPRefused
from protocols.mail.imap.grammar import (
    Lines,
    MailboxMessage,
    NextUID,
    Selected,
    quote,
    quote_folder,
    read_list,
    read_messages,
    read_namespaces,
    read_next_uid,
    read_search,
    read_selected,
    read_sizes,
    uid_set,
    words,
)
from protocols.mail.imap.library import RepairedProtocol
from protocols.mail.imap.names import FolderNames

_MANY = 64 * 1024
"""Bytes of a SEARCH's answer that are parsed without a thread: a few thousand messages, in a millisecond or two."""


class IMAPConnection:
    """A connection to an account. Methods raise Disconnected if the connection is lost, IMAPRefused if the server
    refuses. Folders may have the names that people write."""

    def __init__(self, protocol: RepairedProtocol) -> None:
        self._protocol = protocol
        self.names = FolderNames()
        """How the server writes names."""
        self.selected = ""
        """The folder that is open."""

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

    # The account.

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

    async def learn_names(self) -> None:
        """Ask how the server writes names: its delimiter, and what it puts before the names of folders."""
        with contextlib.suppress(IMAPRefused):  # then names are taken as they are written
            await self._learn_names()

    async def _learn_names(self) -> None:
        if "NAMESPACE" in self._protocol.capabilities:
            self.names = read_namespaces(await self._run("NAMESPACE", self._protocol.namespace()))
            return
        roots = read_list(await self._run("LIST", self._command("LIST", '""', '""')))
        self.names = FolderNames(roots[0].delimiter) if roots else FolderNames()

    def _command(self, name: str, *arguments: str) -> Coroutine[Any, Any, Any]:
        call: Coroutine[Any, Any, Any] = self._protocol.simple_command(name, *arguments)
        return call

    # Its folders.

    def _quoted(self, folder: str) -> str:
        return quote_folder(self.names.on_server(folder))

    async def list_folders(self, pattern: str) -> list[str]:
        """Return the server's names of folders that match ``pattern``, in which ``*`` stands for anything and ``%`` for
        one level, and that may be read. Names that cannot be written in a file are left out."""
        found = await self._run(f"folders {pattern}", self._command("LIST", '""', self._quoted(pattern), *self._uses()))
        names = [folder.name for folder in read_list(found) if folder.can_be_read]
        return [name for name in names if name.isprintable() and self.names.on_server(name) == name]

    def _uses(self) -> tuple[str, ...]:
        """Let LIST say which folders hold sent mail, drafts and the like (RFC 6154)."""
        capabilities = self._protocol.capabilities
        return ("RETURN", "(SPECIAL-USE)") if {"SPECIAL-USE", "LIST-EXTENDED"} <= capabilities else ()

    async def next_uid(self, folder: str) -> NextUID:
        """Return what changes when a message comes into ``folder``, which is not the open one."""
        items = "(UIDNEXT UIDVALIDITY)"
        return read_next_uid(await self._run(f"folder {folder}", self._command("STATUS", self._quoted(folder), items)))

    async def select(self, folder: str) -> Selected:
        self.selected = ""
        lines = await self._run(f"folder {folder}", self._protocol.select(self._quoted(folder)))
        self.selected = folder
        try:
            return read_selected(lines)
        except ValueError as error:
            raise IMAPRefused(f"folder {folder}: {error}") from error

    async def ensure_folder(self, name: str) -> None:
        """Create the folder unless it exists."""
        folder = self._quoted(name)
        if await self._exists(folder):
            return
        try:
            await self._run(f"cannot make folder {name}", self._command("CREATE", folder))
        except IMAPRefused:
            if not await self._exists(folder):  # another reader may have been quicker
                raise
        with contextlib.suppress(IMAPRefused):  # so that mail programs show it; some servers have no subscriptions
            await self._run(name, self._command("SUBSCRIBE", folder))

    async def _exists(self, folder: str) -> bool:
        try:
            await self._run(folder, self._command("STATUS", folder, "(UIDVALIDITY)"))
        except IMAPRefused:
            return False
        return True

    # The messages of the open folder.

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

    async def larger(self, uids: Iterable[int], octets: int) -> list[int]:
        """Return those of ``uids`` that have more than so many octets."""
        return await self._search(f"UID {uid_set(uids)} LARGER {octets}")

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

    @property
    def can_move(self) -> bool:
        """Whether the server has MOVE (RFC 6851)."""
        return "MOVE" in self._protocol.capabilities

    async def move(self, uids: Iterable[int], folder: str) -> None:
        call = self._protocol.move(uid_set(uids), self._quoted(folder), by_uid=True)
        await self._run(f"move to {folder}", call)

    async def copy(self, uids: Iterable[int], folder: str) -> None:
        call = self._protocol.copy(uid_set(uids), self._quoted(folder), by_uid=True)
        await self._run(f"copy to {folder}", call)

    # Waiting, and the end.

    async def idle(self, seconds: float) -> bool:
        """Wait for new messages, at most ``seconds``; return whether there are any."""
        if not self._protocol.changed:
            await self._run("IDLE", self._protocol.idle_until_news(seconds))
            while not self._protocol.idle_queue.empty():
                self._protocol.idle_queue.get_nowait()
        return self._protocol.changed

    async def noop(self) -> None:
        await self._run("NOOP", self._command("NOOP"))

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
    protocol = RepairedProtocol(timeout)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().create_connection(lambda: protocol, host, port, ssl=tls)
    except TimeoutError:
        raise Disconnected(f"no connection within {timeout:g} s") from None
    async with protocol.command():
        await protocol.greeted.wait()
    return IMAPConnection(protocol)
