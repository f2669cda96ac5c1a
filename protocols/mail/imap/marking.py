"""Marks messages whose handlers have finished, each kind of mark in one command."""

import logging
import time
from typing import TYPE_CHECKING

from protocols.mail.imap.errors import IMAPRefused
from protocols.mail.imap.folder import Folder
from protocols.mail.imap.marks import Mark

if TYPE_CHECKING:
    from protocols.mail.imap.connection import IMAPConnection

logger = logging.getLogger(__name__)

_HOPELESS = 3
"""Refusals of single messages after which the others of the same mark are not tried."""
_DELETE = Mark("delete")


class Marking:
    """Makes the marks of one folder over one connection."""

    def __init__(self, mailbox: "IMAPConnection", folder: Folder) -> None:
        self._mailbox = mailbox
        self._folder = folder
        self._copied = False
        self.last = time.monotonic()
        """The time of the last :meth:`settle`."""

    async def settle(self) -> None:
        """Make the marks that are owed. What the server refuses is tried again later: the messages stay, and their
        handlers do not run again. Raises Disconnected."""
        await self._make_all()
        if self._copied:  # without MOVE, what was copied is to be deleted now
            self._copied = False
            await self._make_all()
        self.last = time.monotonic()

    async def _make_all(self) -> None:
        for mark, uids in self._folder.pending.owed(time.monotonic()).items():
            try:
                await self._mark_all(mark, uids)
            except IMAPRefused as error:
                self._refused(mark, error)
            else:
                self._taken(mark)

    async def _mark_all(self, mark: Mark, uids: list[int]) -> None:
        try:
            await self._mark(mark, uids)
        except IMAPRefused:
            await self._mark_those_there(mark, uids)

    async def _mark_those_there(self, mark: Mark, uids: list[int]) -> None:
        """Mark once more those messages that are still there: somebody may have deleted some of them, or the folder
        that they are to go to. Try again for as long as they become fewer meanwhile, as a second reader makes them."""
        if mark.verb == "move":
            await self._mailbox.ensure_folder(mark.target)
        there = await self._present(uids)
        while there:
            try:
                await self._mark(mark, there)
                return
            except IMAPRefused:
                before, there = there, await self._present(there)
                if len(there) == len(before):
                    await self._mark_each(mark, there)
                    return

    async def _present(self, uids: list[int]) -> list[int]:
        """Return those that are still there; the others need no mark."""
        there = await self._mailbox.present(uids)
        self._settled(set(uids).difference(there))
        return there

    async def _mark_each(self, mark: Mark, uids: list[int]) -> None:
        """Mark the messages one by one: the server may refuse one of them alone."""
        refusals: list[IMAPRefused] = []
        for uid in uids:
            try:
                await self._mark(mark, [uid])
            except IMAPRefused as error:
                refusals.append(error)
                if len(refusals) == _HOPELESS:
                    break
        if refusals:
            raise refusals[0]

    async def _mark(self, mark: Mark, uids: list[int]) -> None:
        match mark.verb:
            case "move" if self._mailbox.can_move:
                await self._mailbox.move(uids, mark.target)
            case "move":
                await self._copy(uids, mark.target)
                return
            case "keyword":
                await self._mailbox.flag(uids, mark.target)
            case "seen":
                await self._mailbox.flag(uids, "\\Seen")
            case "delete":
                await self._mailbox.delete(uids)
        self._settled(uids)

    async def _copy(self, uids: list[int], target: str) -> None:
        """Copy, and owe the rest: if that is refused, or the connection is lost, they are not copied again."""
        await self._mailbox.copy(uids, target)
        self._folder.ledger.remark(uids, _DELETE)
        for uid in uids:
            self._folder.pending.decide(uid, _DELETE)
        self._copied = True

    def _settled(self, uids: "list[int] | set[int]") -> None:
        self._folder.pending.marked(uids)
        self._folder.ledger.forget(uids)

    def _refused(self, mark: Mark, error: IMAPRefused) -> None:
        wait, before = self._folder.pending.refused(mark, time.monotonic())
        if not before:
            text = "%s: handled messages stay where they are: %s; %s is tried again in %g s, and their handlers are not"
            logger.error(text, self._folder.label, error, mark, wait)

    def _taken(self, mark: Mark) -> None:
        if self._folder.pending.taken(mark):
            logger.info("%s: the server takes %s again", self._folder.label, mark)
