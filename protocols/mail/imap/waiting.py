"""Waits until there may be something to do in the only folder of a connection."""

import asyncio
import time
from typing import TYPE_CHECKING

from protocols.errors import Disconnected
from protocols.mail.imap.errors import IMAPRefused
from protocols.mail.imap.folder import Folder
from protocols.mail.imap.pending import SHORTEST_WAIT

if TYPE_CHECKING:
    from protocols.mail.imap.connection import IMAPConnection

LONGEST_IDLE = 540.0
"""Seconds of one IDLE: servers and NATs cut silent connections from 10 minutes on (RFC 2177 says 29)."""


class Waiting:
    """Waits for news, a retry that is due, the time to poll or to renew IDLE. A server that hangs shows when it has to
    answer the end of an IDLE."""

    def __init__(self, mailbox: "IMAPConnection", folder: Folder, poll: float, idle_check: float) -> None:
        self._mailbox = mailbox
        self._folder = folder
        self._poll = poll
        self._idle_check = min(idle_check, LONGEST_IDLE)

    @property
    def idles(self) -> bool:
        return self._mailbox.can_idle and self._folder.idle.usable(time.monotonic())

    async def wait(self) -> None:
        if self.idles:
            await self._idle(seconds_until(self._folder, self._idle_check))
        else:
            await asyncio.sleep(seconds_until(self._folder, self._poll))
            await self._mailbox.noop()

    async def _idle(self, seconds: float) -> None:
        try:
            await self._mailbox.idle(seconds)
        except (Disconnected, IMAPRefused):
            self._folder.idle.failed(time.monotonic())
            raise
        self._folder.idle.worked()


def seconds_until(folder: Folder, at_most: float) -> float:
    """Return the seconds until something in ``folder`` is to be tried again."""
    due = folder.pending.next_due()
    return at_most if due is None else min(at_most, max(SHORTEST_WAIT, due - time.monotonic()))
