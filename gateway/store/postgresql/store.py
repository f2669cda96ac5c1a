"""A store in a PostgreSQL database."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

import psycopg
from psycopg.rows import tuple_row

from gateway.store.elapsed import elapsed
from gateway.store.joined import Joined, Locks
from gateway.store.operations import Operations
from gateway.store.parts.whole import WholeStore
from gateway.store.postgresql.connection import ANSWER, OPENING, HandlerSession, Plain, Session, connect, fault
from gateway.store.postgresql.listener import Listener
from gateway.store.postgresql.owner import Owner
from gateway.store.postgresql.pauses import Pauses
from gateway.store.postgresql.place import Place
from gateway.store.postgresql.refusals import passes
from gateway.store.postgresql.sql import (
    claims,
    history,
    key_value,
    locks,
    lookup,
    messages,
    notes,
    outgoing,
    owners,
    put,
    schema,
    spaces,
    upkeep,
    wake,
)
from gateway.store.transaction import TransactionStore
from gateway.store.values import StoreUnavailable
from gateway.store.writer import Fault

Opened = tuple[Session, Owner, str]

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 2.0
"""Seconds between two attempts to connect, at most."""
STARTING = 10.0
"""Seconds for which a server that cannot let one more in is tried again when a store is opened."""


class PostgreSQLStore(WholeStore):
    """A :class:`gateway.store.interfaces.Store` in the database at ``place``."""

    operations: ClassVar[Operations] = Operations(
        put, messages, claims, outgoing, key_value, spaces, notes, lookup, history, upkeep
    )

    locks: ClassVar[Locks] = locks

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._owned: Owner | None = None
        self._listener: Listener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakers: dict[str, Callable[[], None]] = {}
        self._pauses, self._connect_at, self._trouble = Pauses(LONGEST_PAUSE), 0.0, ""

    def __str__(self) -> str:
        return str(self._place)

    def now(self) -> float:
        """The database's clock at the last beat, plus the seconds since then."""
        return super().now() if self._owned is None else elapsed() + self._owned.ahead

    async def open(self) -> str:
        self._loop = asyncio.get_running_loop()
        began, pauses, is_told = time.monotonic(), Pauses(LONGEST_PAUSE), False
        while True:
            try:
                return await super().open()
            except StoreUnavailable as error:
                if not passes(str(error)) or time.monotonic() - began > STARTING:
                    raise
                if not is_told:
                    logger.warning("the store cannot be opened yet; trying again for %g s: %s", STARTING, error)
                is_told = True
            await asyncio.sleep(pauses.next())

    def listen(self, messages: Callable[[], None], outgoing: Callable[[], None]) -> None:
        self._wakers = {wake.MESSAGES: messages, wake.OUTGOING: outgoing}
        if self._listener is None and self._open is not None:
            self._listener = Listener(self._place, self._heard)

    async def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await asyncio.to_thread(listener.close)
        await super()._close()

    async def bury(self, owner: str) -> None:
        if self._owned is not None:
            await asyncio.to_thread(self._owned.bury, owner)

    def _note_loss(self) -> None:
        self._losses += 1
        self._lost.wake()

    # In other threads.

    def _opened(self) -> Opened:
        session = self._connected()
        with self._closing_on_error(session):
            session.limit = OPENING
            session.autocommit = True
            self._prepare(session)
            returned = owners.give_back_orphans(session)
            beats = connect(self._place, autocommit=True)
            with self._closing_on_error(beats):
                owner = Owner(self._place, beats, self._tell_of_loss)
            self._use(session, owner)
        found = f"{returned} that an earlier process had not finished are tried again" if returned else ""
        return session, owner, found

    def _prepare(self, session: Session) -> None:
        """Make the tables, or bring them to today's version. Raises Unsuitable or psycopg.Error."""
        schema.check_server(session)
        schema.migrate(session)

    def _connected_again(self, owner: Owner) -> Session:
        session = self._connected()
        with self._closing_on_error(session):
            schema.check_writable(session)
            session.rollback()
            self._use(session, owner)
        return session

    @contextlib.contextmanager
    def _closing_on_error(self, session: Session) -> Iterator[None]:
        """Close ``session`` after an error. Raises StoreUnavailable for an error of the database."""
        try:
            yield
        except BaseException as error:
            session.close()
            if isinstance(error, psycopg.Error | schema.Unsuitable):
                raise self._unavailable(error) from error
            raise

    def _connected(self) -> Session:
        """Return a session. Raises StoreUnavailable, at once if the last attempt failed a moment ago."""
        if time.monotonic() < self._connect_at:
            raise StoreUnavailable(self._trouble)
        try:
            session = connect(self._place)
        except psycopg.Error as error:
            self._connect_at = time.monotonic() + self._pauses.next()
            self._trouble = str(self._unavailable(error))
            raise self._unavailable(error) from error
        self._pauses.end()
        return session

    def _for_handlers(self) -> Session:
        session = connect(self._place, kind=HandlerSession)
        session.are_there_others = lambda: self._owned is None or not self._owned.is_alone
        return session

    def _joined(self, database: HandlerSession) -> TransactionStore:
        """Reset the factories for rows and cursors: an earlier handler may have set its own."""
        database.row_factory, database.cursor_factory = tuple_row, psycopg.Cursor
        return Joined(Plain(database), self.owner, self.operations, self.locks)

    def _use(self, session: Session, owner: Owner) -> None:
        session.autocommit = False
        session.limit = ANSWER
        session.are_there_others = lambda: not owner.is_alone
        session.refusal = lambda: owner.refusal
        session.owner_now = lambda: owner.id
        self._owned = owner

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"{self}: {' '.join(str(error).split())}")

    def _fault(self, error: Exception) -> Fault:
        return fault(error)

    def _is_alive(self, owner: str) -> bool:
        return True  # only the database knows, and the operations ask it

    def _tell_of_loss(self) -> None:
        self._call(self._note_loss)

    def _heard(self, what: str, who: str) -> None:
        if who == "" or who != self._owner:
            for waker in [self._wakers[what]] if what in self._wakers else self._wakers.values():
                self._call(waker)

    def _call(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(what)
