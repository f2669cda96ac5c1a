"""Reads one folder over one connection: find, fetch, deliver, mark, wait for news, and again."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protocols.errors import Disconnected
from protocols.mail.imap.errors import IMAPRefused
from protocols.mail.imap.grammar import MailboxMessage
from protocols.mail.imap.marks import Mark
from protocols.mail.imap.pending import SHORTEST_WAIT, PendingMessages
from protocols.mail.verdict import Accept, Defer, Reject, Verdict

if TYPE_CHECKING:
    from protocols.mail.imap.client import IMAPConnection

logger = logging.getLogger(__name__)

BATCH = 100
"""Messages in one command; larger batches are hardly faster."""
SOON = 0.1
"""Seconds that a finished message waits for others, so that one MOVE takes them all."""
PROGRESS = 10.0
"""Seconds between two lines about a folder that takes long."""
IDLE_RENEWAL = 540.0
"""Seconds of one IDLE: servers and NATs cut silent connections from 10 minutes on (RFC 2177 says 29)."""
IDLE_FAILURES = 3
"""Failed IDLEs in a row after which the folder is polled."""
IDLE_AGAIN = 3600.0
"""Seconds of polling before IDLE is tried again."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The mark that follows each verdict."""

    accept: Mark
    reject: Mark
    unrouted: Mark

    def folders(self) -> list[str]:
        marks = (self.accept, self.reject, self.unrouted)
        return sorted({mark.target for mark in marks if mark.verb == "move"})

    def criteria(self) -> str:
        """Return the SEARCH criteria of messages without a mark. A mail program, or our own COPY, sets \\Deleted on
        those that it is done with."""
        marks = (self.accept, self.reject, self.unrouted)
        return " ".join(["UNDELETED", *sorted({mark.criterion for mark in marks} - {""})])


class IdleHealth:
    """Whether IDLE is worth trying, across connections."""

    def __init__(self) -> None:
        self._failures = 0
        self._again = 0.0

    def usable(self, now: float) -> bool:
        return self._failures < IDLE_FAILURES or now >= self._again

    def worked(self) -> None:
        self._failures = 0

    def failed(self, now: float) -> None:
        self._failures += 1
        self._again = now + IDLE_AGAIN


HandlerRun = Coroutine[Any, Any, Verdict]
Deliver = Callable[[MailboxMessage], HandlerRun | None]
"""Returns the application's run over a message; None if no route takes it."""


@dataclass(slots=True)
class FolderState:
    """The state of reading a folder, which outlives a connection."""

    name: str
    """The server's and the folder's, as log lines have it."""
    marks: Marks
    pending: PendingMessages
    max_message: int
    poll: float
    spawn: Callable[[HandlerRun, int], "asyncio.Task[Verdict]"]
    """Starts a task for a handler's run over the message with this UID."""
    idle: IdleHealth = field(default_factory=IdleHealth)
    stopping: bool = False
    working: bool = False
    """Whether messages are being worked on: fetched, handled, or not marked yet."""


class FolderSession:
    """One connection's reading of one folder."""

    def __init__(self, mailbox: "IMAPConnection", state: FolderState, deliver: Deliver) -> None:
        self._mailbox = mailbox
        self._state = state
        self._deliver = deliver
        self._name = state.name
        self._pending = state.pending
        self._told = self._settled = time.monotonic()

    @property
    def idles(self) -> bool:
        return self._mailbox.can_idle and self._state.idle.usable(time.monotonic())

    async def run(self) -> None:
        """Read until told to stop. Raises Disconnected and IMAPRefused."""
        for folder in self._state.marks.folders():
            await self._mailbox.ensure_folder(folder)  # before any handler runs, not when its work is done
        while not self._state.stopping:
            self._state.working = True
            try:
                await self._drain()
            finally:
                self._state.working = False
            if not self._state.stopping:
                await self._wait()

    # Find and fetch.

    async def _drain(self) -> None:
        uids = self._pending.due(await self._mailbox.search(self._state.marks.criteria()), time.monotonic())
        await self._settle()  # what an earlier connection could not mark
        done = 0
        for batch in self._pending.batches(uids, BATCH):
            await self._handle_batch(batch)
            await self._settle()
            if self._state.stopping:
                return
            done += len(batch)
            self._tell(done, len(uids))

    async def _handle_batch(self, uids: list[int]) -> None:
        with self._fetching(uids):
            sizes = await self._mailbox.sizes(uids)
        for group in self._groups(sizes):
            await self._handle_group(group)

    def _groups(self, sizes: dict[int, int]) -> Iterator[dict[int, int]]:
        """Yield groups to fetch together, of no more octets than one message may have. Too large ones are rejected."""
        group: dict[int, int] = {}
        for uid, size in sorted(sizes.items()):
            if size > self._state.max_message:
                self._too_large(uid, size)
                continue
            if sum(group.values()) + size > self._state.max_message:
                yield group
                group = {}
            group[uid] = size
        if group:
            yield group

    def _too_large(self, uid: int, size: int) -> None:
        mark = self._state.marks.reject
        self._pending.decide(uid, mark)
        limit = self._state.max_message
        logger.error("%s: message %d has %d bytes, the limit is %d; %s", self._name, uid, size, limit, mark)

    async def _handle_group(self, group: dict[int, int]) -> None:
        with self._fetching(group):
            messages = await self._mailbox.fetch(group, sum(group.values()))
        self._pending.fetched(group)
        for uid in group.keys() - {message.uid for message in messages}:
            self._deferred(uid, None, "it has vanished, or the server gives no content")
        for message in messages:
            if self._state.stopping:
                return
            await self._handle(message)
            if time.monotonic() - self._settled > SOON:
                await self._settle()

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
        try:
            running = self._deliver(message)
            if running is None:
                self._unrouted(message.uid)
                return
            began = time.monotonic()
            verdict = await self._delivered(running, message.uid)
            self._decide(message.uid, verdict, (time.monotonic() - began) * 1000)
        except Exception:  # a message that makes us fail must not keep us from the next
            logger.exception("%s: message %d", self._name, message.uid)
            self._deferred(message.uid, None)

    async def _delivered(self, running: HandlerRun, uid: int) -> Verdict:
        """Return the verdict. While a handler takes long, the messages before it are marked."""
        task = self._state.spawn(running, uid)
        try:
            if not (await asyncio.wait({task}, timeout=SOON))[0]:
                with contextlib.suppress(Disconnected, IMAPRefused):  # the next command says so again
                    await self._settle()
            return await task
        finally:
            task.cancel()

    def _decide(self, uid: int, verdict: Verdict, took: float) -> None:
        """``took``: milliseconds."""
        marks = self._state.marks
        match verdict:
            case Accept():
                logger.info("%s: message %d accepted, %.0f ms; %s", self._name, uid, took, marks.accept)
                self._pending.decide(uid, marks.accept)
            case Reject():
                logger.info("%s: message %d %s, %.0f ms; %s", self._name, uid, verdict, took, marks.reject)
                self._pending.decide(uid, marks.reject)
            case Defer(retry_after=asked):
                self._deferred(uid, asked)

    def _deferred(self, uid: int, asked: float | None, why: str = "") -> None:
        wait = self._pending.defer(uid, time.monotonic(), asked)
        reason = f" ({why})" if why else ""
        logger.warning("%s: message %d deferred%s, next in %g s", self._name, uid, reason, wait)

    def _unrouted(self, uid: int) -> None:
        logger.info("%s: no route for message %d; %s", self._name, uid, self._state.marks.unrouted)
        self._pending.decide(uid, self._state.marks.unrouted)

    # Mark.

    async def _settle(self) -> None:
        """Make the marks that are owed, each kind in one command."""
        for mark, uids in self._pending.owed().items():
            try:
                await self._mark(mark, uids)
            except IMAPRefused:
                await self._mark_those_there(mark, uids)
            self._pending.marked(uids)
        self._settled = time.monotonic()

    async def _mark_those_there(self, mark: Mark, uids: list[int]) -> None:
        """Mark once more those messages that are still there: somebody may have deleted some of them, or the folder
        that they are to go to. Try again for as long as they become fewer meanwhile, as a second reader makes them."""
        if mark.verb == "move":
            await self._mailbox.ensure_folder(mark.target)
        there = await self._mailbox.present(uids)
        while there:
            try:
                await self._mark(mark, there)
                return
            except IMAPRefused:
                before, there = there, await self._mailbox.present(there)
                if len(there) == len(before):
                    raise

    async def _mark(self, mark: Mark, uids: list[int]) -> None:
        match mark.verb:
            case "move":
                await self._mailbox.move(uids, mark.target)
            case "keyword":
                await self._mailbox.flag(uids, mark.target)
            case "seen":
                await self._mailbox.flag(uids, "\\Seen")
            case "delete":
                await self._mailbox.delete(uids)

    # Wait.

    async def _wait(self) -> None:
        """Wait until there may be something to do: news, a retry that is due, the time to poll or to renew IDLE."""
        due = self._pending.next_due()
        seconds = IDLE_RENEWAL if self.idles else self._state.poll
        if due is not None:
            seconds = min(seconds, max(SHORTEST_WAIT, due - time.monotonic()))
        if self.idles:
            await self._idle(seconds)
        else:
            await asyncio.sleep(seconds)
            await self._mailbox.noop()

    async def _idle(self, seconds: float) -> None:
        try:
            await self._mailbox.idle(seconds)
        except (Disconnected, IMAPRefused):
            self._state.idle.failed(time.monotonic())
            raise
        self._state.idle.worked()
