"""A folder that is read: its settings, and what outlives the connections over which it is read."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from protocols.mail.imap.grammar import NextUID, Selected
from protocols.mail.imap.idle_health import IdleHealth
from protocols.mail.imap.ledger import Ledger
from protocols.mail.imap.marks import Marks
from protocols.mail.imap.pending import PendingMessages
from protocols.mail.imap.trouble import Trouble
from protocols.mail.verdict import Verdict
from protocols.resources import MailboxFacts
from protocols.server import ServerStatus

HandlerRun = Coroutine[Any, Any, Verdict]


@dataclass(slots=True, eq=False)
class Folder:
    """One folder of one account."""

    account: str
    """The login name."""
    name: str
    """As the file has it."""
    label: str
    """The server's and the folder's name, as log lines have them."""
    marks: Marks
    max_message: int
    ledger: Ledger
    trouble: Trouble
    spawn: Callable[[HandlerRun, int], "asyncio.Task[Verdict]"]
    """Starts a task for a handler's run over the message with this UID."""
    changed: Callable[[], None]
    """Is called when ``status`` has changed."""
    status: ServerStatus = field(default_factory=lambda: ServerStatus("connecting"))
    pending: PendingMessages = field(default_factory=PendingMessages)
    idle: IdleHealth = field(default_factory=IdleHealth)
    stopping: bool = False
    working: bool = False
    """Whether messages are being worked on: fetched, handled, or not marked yet."""
    checked: float = field(default_factory=time.time)
    """The Unix time at which the server last answered what is in the folder; until then, that of the start."""
    waiting: set[int] = field(default_factory=set)
    """The UIDs of messages that were found and have not come to their turn yet."""
    seen: NextUID | None = None
    """What STATUS said before the folder was last emptied."""

    def say(self, status: ServerStatus) -> None:
        if status != self.status:
            self.status = status
            self.changed()

    def facts(self, connection: Trouble) -> MailboxFacts:
        """Return what an operator sees of it. ``connection``: the trouble of the connection over which it is read."""
        last = max(self.trouble, connection, key=lambda each: each.at or 0.0)
        return {
            "account": self.account,
            "folder": self.name,
            "state": self.status.state,
            "detail": self.status.detail,
            "checked": self.checked,
            "lag": max(0.0, time.time() - self.checked),
            "backlog": len(self.waiting),
            "deferred": self.pending.deferred,
            "last_trouble": last.last,
            "last_trouble_at": last.at,
        }

    def connected(self) -> None:
        """Begin a new connection: all that is in the folder is looked at again."""
        self.seen = None
        self.pending.connected()

    def open(self, selected: Selected) -> str:
        """Begin to read, as the folder is open now. Return why that cannot be; empty if it can."""
        if not selected.writable:
            return f"folder {self.name} is read-only: no message could be marked"
        if self.marks.keywords() and not selected.keywords:
            return f"folder {self.name} keeps no keywords; use move or seen"
        self.pending.open(selected.uidvalidity)
        self.ledger.begin(selected.uidvalidity)
        return ""
