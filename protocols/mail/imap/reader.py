"""Reads mailboxes: one reader empties folders of one or several IMAP accounts. Each message is an ``email`` scope.

:mod:`.connection` is a connection, over :mod:`.library`; :mod:`.folder_reader` makes connections and reads folders over
them, one or several in turn; :mod:`.session` empties a folder, :mod:`.marking` marks its messages. :mod:`.folder` is
what outlives a connection: :mod:`.pending`, what is still to be done, and :mod:`.ledger`, what is handled and not
marked yet. :mod:`.delivery` makes scopes, :mod:`~protocols.mail.recipients` finds the recipients.

Delivery is at least once: a message is marked only after its handler has finished. IMAP has no lock, and two readers of
one folder would both handle every message, so the ledger is a lease, too: one process has it.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

from protocols.asgi import Application
from protocols.errors import BindError
from protocols.mail.authentication.authenticator import Authenticator
from protocols.mail.imap.delivery import MailboxDelivery
from protocols.mail.imap.folder import Folder
from protocols.mail.imap.folder_reader import Connect, FolderReader, Share, Times
from protocols.mail.imap.ledger import Ledger, Persistence
from protocols.mail.imap.login import Login
from protocols.mail.imap.names import is_pattern
from protocols.mail.imap.settings import Account, IMAPSettings
from protocols.mail.imap.trouble import Trouble
from protocols.mail.submission import Submission
from protocols.resources import MailboxFacts
from protocols.server import Server, ServerStatus
from protocols.units import TCP

FEW = 3
"""Folders that are named of many in the same state."""


class IMAPReader(Server):
    """Reads folders for ever: connects, empties them, waits for news (by IDLE or polling), and connects again."""

    protocol = "imap"
    scope_types = ("email",)
    exclusive = True

    def __init__(
        self,
        app: Application,
        settings: IMAPSettings,
        *,
        name: str = "imap",
        state: dict[str, Any] | None = None,
        submission: Submission | None = None,
        ledgers: Callable[[str], Persistence] | None = None,
    ) -> None:
        """``ledgers`` gives the place where the ledger of a folder is kept, by the folder's full name."""
        super().__init__(app, name=name, state=state)
        self.settings = settings
        self.ledgers = ledgers
        self.submission = submission
        self._authenticator: Authenticator | None = None
        self._readers: list[FolderReader] = []
        self._deliveries: list[MailboxDelivery] = []
        self._running: list[asyncio.Task[None]] = []
        """A task for each of them."""
        self._changed = False
        """Whether the state of a folder has changed since it was shown."""

    @property
    def address(self) -> str:
        host, port = self.settings.address
        return host if self.settings.port is None else str(TCP(host, port))

    def active(self) -> dict[str, int]:
        working = sum(folder.working for folder in self._folders())
        return {"email": working} if working else {}

    def figures(self) -> dict[str, float]:
        folders = list(self._folders())
        return {
            "mailbox_folders": len(folders),
            "mailbox_folders_ready": sum(folder.status.state == "ready" for folder in folders),
            "mailbox_checked_timestamp_seconds": min((folder.checked for folder in folders), default=0.0),
            "mailbox_backlog_messages": sum(len(folder.waiting) for folder in folders),
            "mailbox_deferred_messages": sum(folder.pending.deferred for folder in folders),
        }

    def mailboxes(self) -> Sequence[MailboxFacts]:
        return [folder.facts(reader.trouble) for reader in self._readers for folder in reader.folders]

    def _folders(self) -> Iterator[Folder]:
        for reader in self._readers:
            yield from reader.folders

    async def start(self) -> None:
        """Begin to connect. Raises BindError if aioimaplib or a certificate is missing."""
        try:
            from protocols.mail.imap.connection import connect
        except ImportError as error:
            raise BindError("aioimaplib is not installed; pip install 'asgi-gateway[imap]'") from error
        host, port = self.settings.address
        connecting = partial(connect, host, port, tls=self.settings.context(), timeout=self.settings.timeout)
        if self.settings.authentication is not None:
            self._authenticator = Authenticator(self.settings.authentication)
        self.status = ServerStatus("connecting")
        self._readers = [reader for account in self.settings.each_account() for reader in self._of(account, connecting)]
        for reader in self._readers:
            names = [*reader.patterns, *(folder.name for folder in reader.folders)]
            self._running.append(self.tasks.spawn(reader.run(), name=f"reading {', '.join(names)}"))

    async def stop(self, grace: float) -> None:
        """Fetch no more, give running handlers ``grace`` seconds, mark their messages, and log out."""
        self.status = ServerStatus("draining")
        for reader, running in zip(self._readers, self._running, strict=True):
            reader.stop()
            if not reader.working:
                running.cancel()
        await self.tasks.drain(grace)
        await self.tasks.cancel()
        if self._authenticator is not None:
            self._authenticator.close()
        self.status = ServerStatus("stopped")

    def can_become(self, made: Server) -> bool:
        """With the same settings it keeps its connections."""
        if not isinstance(made, IMAPReader) or not self.is_where(made):
            return False
        return (self.settings, self.ledgers) == (made.settings, made.ledgers)

    async def become(self, made: "IMAPReader") -> None:
        await super().become(made)
        self.submission = made.submission
        for delivery in self._deliveries:
            delivery.become(self._delivery())

    def under_way(self) -> Collection["asyncio.Future[Any]"]:
        return self.tasks.running().difference(self._running)

    # What is read, and over which connections.

    def _of(self, account: Account, connect: Connect) -> Iterator[FolderReader]:
        """Yield the readers of one account: one for each of its first folders, the last one for all that is left."""
        settings = self.settings
        names = settings.folders_of(account)
        patterns = [name for name in names if is_pattern(name)]
        fixed = [name for name in names if not is_pattern(name)]
        alone = (
            settings.connections if len(fixed) <= settings.connections and not patterns else settings.connections - 1
        )
        login = Login(account.username, account.password, account.tokens())
        make = partial(self._folder, account)
        targets = settings.marks().folders()
        shares = [Share([make(name)], targets=targets) for name in fixed[:alone]]
        if patterns or fixed[alone:]:
            shares.append(Share([make(name) for name in fixed[alone:]], patterns, fixed[:alone], targets))
        for share in shares:
            yield self._reader(share, account, connect, login, make)

    def _reader(
        self, share: Share, account: Account, connect: Connect, login: Login, make: Callable[[str], Folder]
    ) -> FolderReader:
        settings = self.settings
        label = share.alone.label if share.alone else self._label(account)
        return FolderReader(
            share,
            connect=connect,
            login=login,
            times=Times(settings.poll, settings.idle_check, settings.reconnect, settings.retry_refused),
            deliver=self._kept_delivery(),
            make=make,
            trouble=Trouble(f"{label} at {self.address}"),
            changed=self._show,
        )

    def _kept_delivery(self) -> MailboxDelivery:
        self._deliveries.append(delivery := self._delivery())
        return delivery

    def _delivery(self) -> MailboxDelivery:
        settings = self.settings
        return MailboxDelivery(
            self.app,
            listener=self.name,
            state=self.state,
            timeout=settings.handler_timeout,
            recipient_header=settings.recipient_header,
            delimiters=settings.recipient_delimiter,
            submission=self.submission,
            authenticator=self._authenticator,
        )

    def _folder(self, account: Account, name: str) -> Folder:
        settings = self.settings
        label = f"{self._label(account)} {name}"
        ledger = Ledger(label, self.ledgers(self._full_name(account, name)) if self.ledgers else None, self.tasks)
        return Folder(
            account=account.username,
            name=name,
            label=label,
            marks=settings.marks(),
            max_message=settings.max_message,
            ledger=ledger,
            trouble=Trouble(label),
            spawn=lambda running, uid: self.tasks.spawn(running, name=f"message {uid}"),
            changed=self._show,
        )

    def _label(self, account: Account) -> str:
        return f"{self.name} {account.username}" if self.settings.accounts else self.name

    def _full_name(self, account: Account, name: str) -> str:
        """Return a name that the folder has in every file that names it."""
        host, port = self.settings.address
        return f"mailbox {host.lower()}:{port} {account.username} {name}"

    # What the operator sees.

    def _show(self) -> None:
        """Show each folder's state, in one line: once, where many change together."""
        if not self._changed:
            self._changed = True
            asyncio.get_running_loop().call_soon(self._show_now)

    def _show_now(self) -> None:
        self._changed = False
        if self.status.state in ("draining", "stopped"):
            return
        states = list(self._states())
        ready = all(status.state == "ready" for _, status in states)
        secure = "TLS; " if ready and self.settings.tls else ""
        self.status = ServerStatus("ready" if ready else "connecting", f"{secure}{_in_one_line(states)}")

    def _states(self) -> Iterator[tuple[str, ServerStatus]]:
        for reader in self._readers:
            for folder in reader.folders:
                whose = f"{folder.account} " if self.settings.accounts else ""
                yield f"{whose}{folder.name}", folder.status
            if not reader.folders:
                yield ", ".join(reader.patterns), reader.status


def _in_one_line(states: Sequence[tuple[str, ServerStatus]]) -> str:
    match states:
        case [(name, ServerStatus("ready", detail))]:
            return f"{name}, {detail}"
        case [(_, status)]:
            return status.detail
    alike: dict[str, list[str]] = {}
    for name, status in states:
        alike.setdefault(status.detail or status.state, []).append(name)
    return "; ".join(part for detail, names in alike.items() for part in _alike(detail, names))


def _alike(detail: str, names: list[str]) -> Iterator[str]:
    """Yield what is said of folders in the same state: of many, only the first are named."""
    if len(names) > FEW + 1:
        yield f"{', '.join(names[:FEW])} and {len(names) - FEW} more: {detail}"
    else:
        yield from (f"{name}: {detail}" for name in names)
