"""Shows other processes that this one is alive, and watches them, in a thread and a session of its own.

An owner's row has a counter that goes up twice a second. Another process that has seen it unchanged for ``SILENT``
seconds, by a monotonic clock, gives back what the owner had, and removes the row. So no wall clock decides. An owner
that wakes up after that (it was stopped, or cut off) finds that its row is gone. It has lost all that it had, and
registers under a new id.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from gateway.store.elapsed import elapsed
from gateway.store.postgresql.connection import Session, connect
from gateway.store.postgresql.notifications import Notifications
from gateway.store.postgresql.pauses import Pauses
from gateway.store.postgresql.place import Place
from gateway.store.postgresql.snapshots import Snapshots
from gateway.store.postgresql.sql import keys, owners, schema

logger = logging.getLogger(__name__)

BEAT = 0.5
"""Seconds between two beats."""
SILENT = 2.0
"""Seconds after which an owner that does not beat is dead."""
ANSWER = 2.0
"""Seconds to wait for an answer: a session that hangs is usually replaced before its owner is declared dead."""
LONGEST_PAUSE = 1.0
"""Seconds between two attempts to connect, at most. An owner that connects ``SILENT`` later than others is dead."""
TIDY = 1.0
"""The least time in seconds between two searches for keys without a message in front."""
_TIDYING = 0.02
"""The part of its time that a process spends on these searches."""


@dataclass(slots=True)
class _Seen:
    """What was seen of another owner."""

    beats: int
    silent: float = 0.0
    """Seconds of watching since the last beat."""


class Owner:
    """Beats from now on, until :meth:`release`."""

    def __init__(self, place: Place, session: Session, given_up: Callable[[], None]) -> None:
        """Register by ``session``, which is the owner's from then on. ``given_up`` is called, in the owner's thread,
        when others have given it up. Raises psycopg.Error."""
        self._place = place
        self._number = owners.register(session, socket.gethostname(), os.getpid())
        self.ahead = owners.now(session) - elapsed()
        """The database's clock minus :func:`elapsed`."""
        session.limit = ANSWER
        self._given_up = given_up
        self.is_alone = False
        """Whether there was no other owner at the last look."""
        self._seen = {owner: _Seen(beats) for owner, beats in owners.beats(session).items()}
        self._looked = time.monotonic()
        self.refusal = ""
        """Why this release may write no more; empty while it may."""
        self._tidy_at, self._tidied_to = 0.0, ""
        self._snapshots = Snapshots()
        self._notifications = Notifications()
        self._dead: set[int] = set()
        """Owners that have died according to their parent."""
        self._untried: set[int] = set()
        """Dead owners from which it has not tried to take over."""
        self._changes = threading.Condition()
        """Guards these two sets and ``_is_over``."""
        self._is_over = False
        self._thread = threading.Thread(target=self._run, args=[session], name="store-owner", daemon=True)
        self._thread.start()

    @property
    def id(self) -> str:
        return str(self._number)

    def bury(self, owner: str) -> None:
        """Take over from an owner that has died, as the caller knows. Return after the first attempt; each beat tries
        again."""
        number = int(owner or 0)
        with self._changes:
            self._dead.add(number)
            self._untried.add(number)
            self._changes.notify_all()
            self._changes.wait_for(lambda: self._is_over or number not in self._untried, ANSWER)

    def release(self) -> None:
        """End, and say so. Another process gets at once what is still ours; if there is none, the next one gets it."""
        with self._changes:
            self._is_over = True
            self._changes.notify_all()
        self._thread.join()

    # In the owner's thread.

    def _run(self, session: Session | None) -> None:
        pause, pauses = BEAT, Pauses(LONGEST_PAUSE)
        while not self._rests(pause):
            pause = BEAT
            try:
                if session is None:
                    session = self._connected()
                self._beat(session)
                pauses.end()
            except psycopg.Error as error:
                logger.debug("the store's owner %s cannot beat: %s", self.id, error)
                if session is not None:
                    session.close()
                session = None
                pause = pauses.next()
                self._tried(self._untried)
        self._leave(session)

    def _rests(self, pause: float) -> bool:
        """Wait until the next beat is due, or an owner has died. Return whether to end."""
        with self._changes:
            self._changes.wait_for(lambda: self._is_over or self._untried, pause)
            return self._is_over

    def _connected(self) -> Session:
        """Connect, and watch anew: the others may have been cut off, too."""
        self._seen = {}
        session = connect(self._place, autocommit=True)
        session.limit = ANSWER
        return session

    def _beat(self, session: Session) -> None:
        if not owners.beat(session, self._number):
            self._begin_anew(session)
        self.ahead = owners.now(session) - elapsed()
        self._watch(session, owners.beats(session))
        if (began := time.monotonic()) >= self._tidy_at:
            self.refusal = _refusal(session)
            self._notifications.look(session)
            self._tidied_to = keys.set_heads(session, self._tidied_to)
            took = time.monotonic() - began
            self._tidy_at = began + max(TIDY, took / _TIDYING)
        self._snapshots.look(session)

    def _begin_anew(self, session: Session) -> None:
        before, self._number = self._number, owners.register(session, socket.gethostname(), os.getpid())
        logger.error(
            "other processes have declared this one dead and taken over its messages: "
            "it was stopped, or cut off from the database (owner %s, now %s)", before, self._number,
        )  # fmt: skip
        self._given_up()

    def _watch(self, session: Session, beats: owners.Beats) -> None:
        """Take over from those that are silent. Time in which this thread itself slept does not count."""
        now = time.monotonic()
        watched, self._looked = min(now - self._looked, 2 * BEAT), now
        before, seen = self._seen, dict[int, _Seen]()
        for owner, number in beats.items():
            known = before.get(owner)
            seen[owner] = _Seen(number, known.silent + watched if known and known.beats == number else 0.0)
        self._seen, self.is_alone = seen, len(beats) <= 1
        with self._changes:
            dead, untried = self._dead & seen.keys(), set(self._untried)
            self._dead &= dead | untried
        for owner, each in seen.items():
            if owner != self._number and (each.silent >= SILENT or owner in dead):
                returned = owners.take_over(session, owner, each.beats)
                if returned is not None:
                    logger.warning("taken over from a process that died: %d (owner %s)", returned, owner)
        self._tried(untried)

    def _tried(self, dead: set[int]) -> None:
        """Wake the callers of :meth:`bury`."""
        with self._changes:
            self._untried -= set(dead)
            self._changes.notify_all()

    def _leave(self, session: Session | None) -> None:
        try:
            session = session or self._connected()
            owners.leave(session, self._number, is_alone=len(owners.beats(session)) <= 1)
        except psycopg.Error as error:
            logger.debug("the store's owner %s cannot say that it ends: %s", self.id, error)
        if session is not None:
            session.close()


def _refusal(session: Session) -> str:
    try:
        schema.check_writable(session)
    except schema.Unsuitable as error:
        return str(error)
    return ""
