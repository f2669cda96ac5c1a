"""The ledger of a folder: the messages in it whose handler has finished, and that are not marked yet.

It is consulted before a message is handled. A message is recognized by its place (UIDVALIDITY and UID) *and* its
content. Neither is enough: a server may give every folder the same UIDVALIDITY, and two messages may be the same. If
the server has given its messages new places (RFC 3501, 2.3.1.1), the content alone decides, once for each entry.
"""

import asyncio
import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from protocols.mail.imap.errors import LedgerUnavailable
from protocols.mail.imap.marks import Mark, parse_mark
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

_LONG = 256 * 1024
"""Bytes of a message whose digest is made on a thread: more take longer than a millisecond."""
_AGAIN = 1.0
"""Seconds until changes that could not be kept are tried again."""


class Place(NamedTuple):
    """A message's name in its folder (RFC 3501, 2.3.1.1)."""

    uidvalidity: int
    uid: int


class Persistence(Protocol):
    """Where a ledger is kept. One process has it at a time, until it ends."""

    async def load(self) -> Mapping[str, bytes]:
        """Return everything that is kept. Raises OSError, also if another process that lives has it."""

    async def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Keep all of ``changes`` or none; None removes. Raises OSError."""


@dataclass(frozen=True, slots=True)
class _Handled:
    digest: str
    mark: Mark


async def digest_of(raw: bytes) -> str:
    """Return what identifies a message's content: every byte counts."""
    if len(raw) < _LONG:
        return hashlib.sha256(raw).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(raw).hexdigest())


class Ledger:
    """The ledger of one folder, and with ``persistence`` also the lease on it: who has its ledger reads the folder.

    The lease needs no clock and no renewal: it ends with the process that has it, however that ends.
    """

    def __init__(self, name: str, persistence: Persistence | None, tasks: Tasks) -> None:
        self._name = name
        self._persistence = persistence
        self._tasks = tasks
        self._uidvalidity = 0
        self._handled: dict[Place, _Handled] = {}
        self._former: dict[str, list[Place]] = {}
        """Places under another UIDVALIDITY, by the digest of the message that was there."""
        self._changes: dict[Place, bytes | None] = {}
        self._kept: set[Place] = set()
        self._writing: asyncio.Task[None] | None = None
        self._closed = False
        self.ours = persistence is None
        """Whether this process has the lease."""

    async def open(self) -> None:
        """Take the lease, and read what an earlier process has noted. Does nothing the second time. Raises
        LedgerUnavailable if another process reads the folder, or the store is away."""
        if self.ours or self._persistence is None:
            return
        try:
            found = await self._persistence.load()
        except OSError as error:
            raise LedgerUnavailable(str(error)) from error
        self._handled = {_place(key): _entry(value) for key, value in found.items()}
        self._kept = set(self._handled)
        self.ours = True

    def begin(self, uidvalidity: int) -> None:
        """Begin to read the folder, whose messages have places under ``uidvalidity`` now."""
        self._uidvalidity = uidvalidity
        self._former = {}
        for place, handled in self._handled.items():
            if place.uidvalidity != uidvalidity:
                self._former.setdefault(handled.digest, []).append(place)

    def recognize(self, uid: int, digest: str) -> Mark | None:
        """Return the mark that a message has earned already; None if it is to be handled."""
        if (known := self._handled.get(Place(self._uidvalidity, uid))) is not None:
            if known.digest == digest:
                return known.mark
            self.forget([uid])  # another message has its place now
        if not (places := self._former.get(digest)):
            return None
        mark = self._handled[places[0]].mark
        self._forget([places.pop(0)])
        self.note(uid, digest, mark)
        return mark

    def note(self, uid: int, digest: str, mark: Mark) -> None:
        """Note that the message is handled. It is durable within a few milliseconds, and nobody waits for that."""
        place = Place(self._uidvalidity, uid)
        self._handled[place] = _Handled(digest, mark)
        self._change(place, f"{digest} {mark}".encode())

    def remark(self, uids: Iterable[int], mark: Mark) -> None:
        """Note that messages, if they are noted, are to get ``mark`` now."""
        for uid in uids:
            if (known := self._handled.get(Place(self._uidvalidity, uid))) is not None:
                self.note(uid, known.digest, mark)

    def forget(self, uids: Iterable[int]) -> None:
        """Forget messages that are marked."""
        self._forget([Place(self._uidvalidity, uid) for uid in uids])

    def forget_vanished(self, there: Collection[int]) -> None:
        """Forget messages that are no longer in the folder, or are marked: all but ``there``."""
        now = self._uidvalidity
        self._forget([place for place in self._handled if place.uidvalidity == now and place.uid not in there])

    def forget_former(self) -> None:
        """Forget messages under another UIDVALIDITY: every message in the folder has been compared with them."""
        self._forget([place for places in self._former.values() for place in places])
        self._former = {}

    def _forget(self, places: Iterable[Place]) -> None:
        for place in places:
            if self._handled.pop(place, None) is not None:
                self._change(place, None)

    # Keeping it.

    def _change(self, place: Place, value: bytes | None) -> None:
        if self._persistence is None:
            return
        if value is None and place not in self._kept:
            self._changes.pop(place, None)  # it is marked before it was noted
            return
        self._changes[place] = value
        if self._writing is None:
            self._writing = self._tasks.spawn(self._write(self._persistence), name=f"ledger of {self._name}")

    async def _write(self, persistence: Persistence) -> None:
        """Keep changes until there are none; those that come meanwhile share the next commit."""
        told = False
        try:
            while self._changes:
                changes, self._changes = self._changes, {}
                self._kept.update(place for place, value in changes.items() if value is not None)
                try:
                    await persistence.commit({_key(place): value for place, value in changes.items()})
                except OSError as error:
                    self._changes = changes | self._changes
                    if self._closed:
                        return
                    if not told:
                        logger.error("%s: which messages are handled cannot be noted: %s", self._name, error)
                        told = True
                    await asyncio.sleep(_AGAIN)
                else:
                    self._kept.difference_update(place for place, value in changes.items() if value is None)
        finally:
            self._writing = None

    def close(self) -> None:
        """Give up what cannot be kept at once. The reader stops."""
        self._closed = True


def _key(place: Place) -> str:
    return f"{place.uidvalidity} {place.uid}"


def _place(key: str) -> Place:
    uidvalidity, _, uid = key.partition(" ")
    return Place(int(uidvalidity), int(uid))


def _entry(value: bytes) -> _Handled:
    digest, _, mark = value.decode().partition(" ")
    return _Handled(digest, parse_mark(mark))
