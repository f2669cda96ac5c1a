"""Empties one folder over one connection: find, fetch, deliver, mark."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from protocols.errors import Disconnected
from protocols.mail.imap.errors import IMAPRefused
from protocols.mail.imap.folder import Folder, HandlerRun
from protocols.mail.imap.grammar import MailboxMessage
from protocols.mail.imap.ledger import digest_of
from protocols.mail.imap.marking import Marking
from protocols.mail.imap.marks import Mark
from protocols.mail.verdict import Accept, Defer, Reject, Verdict

if TYPE_CHECKING:
    from protocols.mail.imap.connection import IMAPConnection

logger = logging.getLogger(__name__)

BATCH = 100
"""Messages in one command; larger batches are hardly faster."""
MANY, FIRST = 5000, 1000
"""If a folder has more messages, the first ones are handled before all are listed."""
SOON = 0.1
"""Seconds that a finished message waits for others, so that one MOVE takes them all."""
PROGRESS = 10.0
"""Seconds between two lines about a folder that takes long."""

Deliver = Callable[[MailboxMessage], HandlerRun | None]
"""Returns the application's run over a message; None if no route takes it."""


class FolderSession:
    """One connection's reading of one folder, which is open."""

    def __init__(self, mailbox: "IMAPConnection", folder: Folder, deliver: Deliver, *, messages: int = 0) -> None:
        """``messages``: how many are in the folder."""
        self._mailbox = mailbox
        self._folder = folder
        self._deliver = deliver
        self._name = folder.label
        self._pending = folder.pending
        self._marking = Marking(mailbox, folder)
        self._told = time.monotonic()
        self._long = messages > MANY

    async def drain(self, most: int | None = None) -> bool:
        """Handle what is due, at most so many messages; return whether more is due. Raises Disconnected."""
        self._folder.working = True
        try:
            return await self._drain(most)
        finally:
            self._folder.working = False

    # Find and fetch.

    async def _drain(self, most: int | None) -> bool:
        if self._long:  # the list of all messages takes the server seconds
            self._long = False
            await self._handle_all(await self._first())
        fresh = await self._fresh()
        self._folder.waiting = set(fresh)
        await self._marking.settle()  # what the server has refused before
        if not await self._handle_all(fresh[:most]):
            return False
        if most is None or len(fresh) <= most:
            self._folder.ledger.forget_former()
            return False
        return True

    async def _first(self) -> list[int]:
        """Return what is new of the oldest messages in the folder."""
        criteria = self._folder.marks.criteria()
        first = self._pending.unknown(await self._mailbox.search(f"1:{FIRST} {criteria}"))
        self._folder.waiting = set(first)
        return first

    async def _fresh(self) -> list[int]:
        """Return what is new in the folder, and forget what is gone."""
        found = set(await self._mailbox.search(self._folder.marks.criteria()))
        self._folder.ledger.forget_vanished(found)
        self._folder.checked = time.time()
        return self._pending.fresh(found)

    async def _handle_all(self, uids: list[int]) -> bool:
        """Handle these messages; return whether all of them came to their turn."""
        done = 0
        for batch in self._batches(uids):
            await self._handle_batch(batch)
            await self._marking.settle()
            self._folder.checked = time.time()
            self._folder.waiting.difference_update(batch)  # also those that are too large, or gone
            if self._folder.stopping:
                return False
            done += len(batch)
            self._tell(done, len(uids))
        return True

    def _batches(self, fresh: list[int]) -> Iterator[list[int]]:
        """Yield batches of ``fresh``, and before each the deferred messages that are due by then: a folder may take
        hours."""
        yield from self._pending.batches(self._pending.due_again(time.monotonic()), BATCH)
        for batch in self._pending.batches(fresh, BATCH):
            yield batch
            yield from self._pending.batches(self._pending.due_again(time.monotonic()), BATCH)

    async def _handle_batch(self, uids: list[int]) -> None:
        with self._fetching(uids):
            sizes = await self._sizes(uids)
            await self._not_given(set(uids) - sizes.keys(), "size")
        for group in self._groups(sizes):
            await self._handle_group(group)

    async def _sizes(self, uids: list[int]) -> dict[int, int]:
        """Return the size of each message that is there, or what it has at most if a batch of such is no matter: most
        messages are small, and each answer to FETCH costs as much as its message does."""
        small = self._folder.max_message // BATCH
        large = set(await self._mailbox.larger(uids, small)).intersection(uids)
        sizes = await self._mailbox.sizes(large) if large else {}
        return {uid: sizes.get(uid, small) for uid in uids if uid in sizes or uid not in large}

    def _groups(self, sizes: dict[int, int]) -> Iterator[dict[int, int]]:
        """Yield groups to fetch together, of no more octets than one message may have. Too large ones are rejected."""
        group: dict[int, int] = {}
        for uid, size in sorted(sizes.items()):
            if size > self._folder.max_message:
                self._too_large(uid, size)
                continue
            if sum(group.values()) + size > self._folder.max_message:
                yield group
                group = {}
            group[uid] = size
        if group:
            yield group

    def _too_large(self, uid: int, size: int) -> None:
        mark = self._folder.marks.reject
        self._pending.decide(uid, mark)
        limit = self._folder.max_message
        logger.error("%s: message %d has %d bytes, the limit is %d; %s", self._name, uid, size, limit, mark)

    async def _handle_group(self, group: dict[int, int]) -> None:
        with self._fetching(group):
            given = await self._mailbox.fetch(group, sum(group.values()))
        messages = [message for message in given if message.uid in group]  # a server may send others, too
        self._pending.fetched(group)
        await self._not_given(group.keys() - {message.uid for message in messages}, "content")
        for message in messages:
            if self._folder.stopping:
                return
            await self._handle(message)
            if time.monotonic() - self._marking.last > SOON:
                await self._marking.settle()

    async def _not_given(self, uids: Collection[int], what: str) -> None:
        """Defer those that are there all the same."""
        for uid in await self._mailbox.present(uids) if uids else ():
            self._deferred(uid, None, f"the server gives no {what}")

    @contextlib.contextmanager
    def _fetching(self, uids: Collection[int]) -> Iterator[None]:
        """Find the message that a server cannot give. For a damaged message some servers say no and others hang up, so
        its neighbours would never come through: messages that fail together are fetched alone by the next connection,
        and one that fails alone has to wait."""
        try:
            yield
        except (Disconnected, IMAPRefused) as error:
            if self._pending.suspected(uids):  # there is one, then
                for uid in uids:
                    self._deferred(uid, None, f"the server did not give it: {error}")
            self._pending.suspect(uids)
            raise Disconnected(str(error)) from error

    def _tell(self, done: int, total: int) -> None:
        if done < total and time.monotonic() - self._told > PROGRESS:
            self._told = time.monotonic()
            logger.info("%s: %d of %d messages done", self._name, done, total)

    # Deliver.

    async def _handle(self, message: MailboxMessage) -> None:
        self._folder.waiting.discard(message.uid)
        try:
            digest = await digest_of(message.raw)
            if (mark := self._folder.ledger.recognize(message.uid, digest)) is not None:
                logger.info("%s: message %d has been handled before; %s", self._name, message.uid, mark)
                self._pending.decide(message.uid, mark)
                return
            running = self._deliver(message)
            if running is None:
                self._unrouted(message.uid)
                return
            began = time.monotonic()
            verdict = await self._delivered(running, message.uid)
            self._decide(message.uid, digest, verdict, (time.monotonic() - began) * 1000)
        except Exception:  # a message that makes us fail must not keep us from the next
            logger.exception("%s: message %d", self._name, message.uid)
            self._deferred(message.uid, None)

    async def _delivered(self, running: HandlerRun, uid: int) -> Verdict:
        """Return the verdict. While a handler takes long, the messages before it are marked."""
        task = self._folder.spawn(running, uid)
        try:
            await asyncio.sleep(0)  # most handlers have nothing to wait for, and a timer costs as much as they do
            if not task.done() and not (await asyncio.wait({task}, timeout=SOON))[0]:
                with contextlib.suppress(Disconnected):  # the next command says so again
                    await self._marking.settle()
            return await task
        finally:
            task.cancel()

    def _decide(self, uid: int, digest: str, verdict: Verdict, took: float) -> None:
        """``took``: milliseconds."""
        if isinstance(verdict, Defer):
            self._deferred(uid, verdict.retry_after)
            return
        mark = self._mark_of(verdict)
        self._folder.ledger.note(uid, digest, mark)
        self._pending.decide(uid, mark)
        logger.info("%s: message %d %s, %.0f ms; %s", self._name, uid, verdict, took, mark)

    def _mark_of(self, verdict: Accept | Reject) -> Mark:
        marks = self._folder.marks
        match verdict:
            case Accept(failed=True):
                return marks.failed
            case Accept():
                return marks.accept
            case Reject():
                return marks.reject

    def _deferred(self, uid: int, asked: float | None, why: str = "") -> None:
        wait = self._pending.defer(uid, time.monotonic(), asked)
        reason = f" ({why})" if why else ""
        logger.warning("%s: message %d deferred%s, next in %g s", self._name, uid, reason, wait)

    def _unrouted(self, uid: int) -> None:
        logger.info("%s: no route for message %d; %s", self._name, uid, self._folder.marks.unrouted)
        self._pending.decide(uid, self._folder.marks.unrouted)
