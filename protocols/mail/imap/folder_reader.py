"""Reads folders of one account over one connection, which it makes again and again: one folder with IDLE, or several
in turn."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from protocols.asgi import HostPort, Mailbox
from protocols.mail.imap.errors import IMAPRefused, LedgerUnavailable
from protocols.mail.imap.folder import Folder, HandlerRun
from protocols.mail.imap.grammar import MailboxMessage, NextUID
from protocols.mail.imap.login import Login
from protocols.mail.imap.session import FolderSession
from protocols.mail.imap.trouble import LONGEST_RECONNECT, Backoff, Trouble, reason_of
from protocols.mail.imap.waiting import Waiting, seconds_until
from protocols.server import ServerStatus

if TYPE_CHECKING:
    from protocols.mail.imap.connection import IMAPConnection

logger = logging.getLogger(__name__)

LEASE = 2.0
"""Seconds between two attempts to get a folder that another process reads: it is taken over so soon after that ends."""
TURN = 1000
"""Messages of one folder that are handled before the next folder of the same connection has its turn."""
LOOK = 1.0
"""Seconds between two looks whether a refused login may succeed now."""

Connect = Callable[[], Awaitable["IMAPConnection"]]
"""Connects."""
DeliverIn = Callable[[MailboxMessage, Mailbox, HostPort | None], HandlerRun | None]
"""Returns the application's run over a message; None if no route takes it."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long to wait, in seconds."""

    poll: float
    idle_check: float
    reconnect: float
    retry_refused: float


@dataclass(slots=True)
class Share:
    """The folders of one connection."""

    folders: list[Folder]
    patterns: Sequence[str] = ()
    """Further folders are those that match."""
    elsewhere: Collection[str] = ()
    """Folders that are not read though they match: other connections read them."""
    targets: Sequence[str] = ()
    """The folders that messages are moved to."""

    @property
    def alone(self) -> Folder | None:
        """The only folder."""
        return self.folders[0] if len(self.folders) == 1 and not self.patterns else None


class FolderReader:
    """Reads the folders of ``share`` until told to stop. ``make`` makes a folder that a pattern has found."""

    def __init__(
        self,
        share: Share,
        *,
        connect: Connect,
        login: Login,
        times: Times,
        deliver: DeliverIn,
        make: Callable[[str], Folder],
        trouble: Trouble,
        changed: Callable[[], None],
    ) -> None:
        self.folders = list(share.folders)
        """The folders that are read now."""
        self.status = ServerStatus("connecting")
        """The connection's, where it has no folders."""
        self.stopping = False
        self._share = share
        self._connect = connect
        self._login = login
        self._times = times
        self._deliver = deliver
        self._make = make
        self.trouble = trouble
        """That of the connection."""
        self._changed = changed

    @property
    def patterns(self) -> Sequence[str]:
        return self._share.patterns

    @property
    def working(self) -> bool:
        return any(folder.working for folder in self.folders)

    def stop(self) -> None:
        """Begin nothing new."""
        self.stopping = True
        for folder in self.folders:
            folder.stopping = True
            folder.ledger.close()

    # The connection, again and again.

    async def run(self) -> None:
        backoff = Backoff(self._times.reconnect)
        while not self.stopping:
            began, stamp = time.monotonic(), self._login.stamp()
            try:
                await self._read()
            except LedgerUnavailable as error:
                await self._pause(str(error), LEASE)
            except IMAPRefused as error:
                await self._pause(str(error), self._times.retry_refused, partial(self._can_log_in, stamp))
            except OSError as error:
                await self._pause(reason_of(error), backoff.next(lasted=time.monotonic() - began))
            except Exception as error:  # a bug of ours, which the reader must survive
                logger.exception("%s", self.trouble.where)
                await self._pause(type(error).__name__, LONGEST_RECONNECT)

    def _can_log_in(self, stamp: object) -> bool:
        """Return whether the login may succeed that was refused at ``stamp``."""
        return self._login.stamp() != stamp

    async def _pause(self, reason: str, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """Wait before the next attempt, at most until it is ``over``."""
        follows = f"next try in {seconds:.3g} s"
        self._say(ServerStatus("connecting", f"{reason}; {follows}"))
        self.trouble.tell(reason, follows)
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not over():  # noqa: ASYNC110 -- a file has no events
            await asyncio.sleep(min(left, LOOK))

    def _say(self, status: ServerStatus) -> None:
        self.status = status
        self._changed()
        for folder in self.folders:
            folder.say(status)

    async def _read(self) -> None:
        alone = self._share.alone
        if alone is not None:
            await alone.ledger.open()
        connection = await self._connect()
        try:
            await self._login.log_in(connection)
            await connection.learn_names()
            self._check_targets(connection)
            for target in self._share.targets:  # before any handler runs, not when its work is done
                await connection.ensure_folder(target)
            if alone is not None:
                await self._stay(connection, alone)
            else:
                await self._take_turns(connection)
        finally:
            await connection.close()

    def _check_targets(self, connection: "IMAPConnection") -> None:
        """Raise IMAPRefused if messages are to be moved to where they are read: they would be handled for ever. The
        file may name one folder in two ways."""
        targets = {connection.names.on_server(target): target for target in self._share.targets}
        for folder in self._share.folders:
            if (target := targets.get(connection.names.on_server(folder.name))) is not None:
                raise IMAPRefused(f"folder {folder.name} is read, and messages are moved to it, as {target}")

    async def _open(self, connection: "IMAPConnection", folder: Folder) -> FolderSession:
        """Open ``folder`` to read it."""
        selected = await connection.select(folder.name)
        if refusal := folder.open(selected):
            raise IMAPRefused(refusal)
        deliver = partial(self._handled, folder, selected.uidvalidity, connection.peer)
        return FolderSession(connection, folder, deliver, messages=selected.messages)

    def _handled(
        self, folder: Folder, uidvalidity: int, server: HostPort | None, message: MailboxMessage
    ) -> HandlerRun | None:
        mailbox: Mailbox = {
            "account": folder.account,
            "folder": folder.name,
            "uid": message.uid,
            "uidvalidity": uidvalidity,
        }
        return self._deliver(message, mailbox, server)

    # One folder.

    async def _stay(self, connection: "IMAPConnection", folder: Folder) -> None:
        folder.connected()
        session = await self._open(connection, folder)
        waiting = Waiting(connection, folder, self._times.poll, self._times.idle_check)
        self.trouble.over("connected again")
        folder.say(ServerStatus("ready", "IDLE" if waiting.idles else self._polled()))
        while not self.stopping:
            await session.drain()
            if not self.stopping:
                await waiting.wait()

    def _polled(self) -> str:
        return f"polled every {self._times.poll:g} s"

    # Several folders.

    async def _take_turns(self, connection: "IMAPConnection") -> None:
        for folder in self.folders:
            folder.connected()
        while not self.stopping:
            await self._look_for_folders(connection)
            turns = [await self._turn(connection, folder) for folder in self.folders]
            self.trouble.over("connected again")
            if not any(turns) and not self.stopping:
                await asyncio.sleep(min(map(self._seconds, self.folders), default=self._times.poll))
                await connection.noop()

    def _seconds(self, folder: Folder) -> float:
        """Return the seconds until ``folder`` is to be looked at again."""
        return seconds_until(folder, self._times.poll if folder.ledger.ours else min(LEASE, self._times.poll))

    async def _look_for_folders(self, connection: "IMAPConnection") -> None:
        """Take folders in that match a pattern by now, and leave out those that are gone."""
        if not self._share.patterns:
            return
        fixed = [*self._share.elsewhere, *self._share.targets, *(folder.name for folder in self._share.folders)]
        without = set(map(connection.names.on_server, fixed))
        found = [name for pattern in self._share.patterns for name in await connection.list_folders(pattern)]
        known = {folder.name: folder for folder in self.folders}
        matching = [name for name in dict.fromkeys(found) if name not in without]
        before = self.folders
        self.folders = [*self._share.folders, *(known.get(name) or self._make(name) for name in matching)]
        if not self.folders:
            self._say(ServerStatus("ready", "no such folder yet"))
        elif self.folders != before:
            self._changed()

    async def _turn(self, connection: "IMAPConnection", folder: Folder) -> bool:
        """Handle what is new in ``folder``, or due; return whether it has more."""
        if folder.stopping:
            return False
        try:
            await folder.ledger.open()
            now = await self._news(connection, folder)
            more = now is not None and await self._empty(connection, folder, now)
        except (IMAPRefused, LedgerUnavailable) as error:
            folder.trouble.tell(str(error), f"looked at again in {self._seconds(folder):.3g} s")
            folder.say(ServerStatus("connecting", str(error)))
            return False
        folder.trouble.over("read again")
        folder.say(ServerStatus("ready", self._polled()))
        return more

    async def _empty(self, connection: "IMAPConnection", folder: Folder, now: NextUID) -> bool:
        session = await self._open(connection, folder)
        more = await session.drain(TURN)
        folder.seen = None if more else now
        return more

    async def _news(self, connection: "IMAPConnection", folder: Folder) -> NextUID | None:
        """Return what STATUS says of ``folder`` if there is anything to do in it; else None."""
        if folder.name == connection.selected:  # for which STATUS may say old things
            return (0, 0)
        now = await connection.next_uid(folder.name)
        due = folder.pending.next_due()
        folder.checked = time.time()
        return None if now == folder.seen and (due is None or due > time.monotonic()) else now
