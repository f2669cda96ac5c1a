"""Transactions of handlers; see :class:`gateway.store.transaction.Transaction`."""

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.store.joined import Joined, Locks
from gateway.store.parts.session import StoreSession
from gateway.store.transaction import NotCommitted, OutcomeUnknown, Transaction, TransactionStore
from gateway.store.writer import Connection, Fault

_LOST = (Fault.LOST, Fault.CUT, Fault.UNKNOWN)


class Transactions(StoreSession):
    locks: ClassVar[Locks]
    """The engine's locks."""
    handlers_at_once: ClassVar[int | None] = None
    """How many handlers of a process can have a transaction at once; None: any number."""

    @abstractmethod
    def _for_handlers(self) -> Connection:
        """Return a new connection for a handler; called in the handler's thread. Raises the driver's errors."""

    def _driver_connection(self, database: Any) -> Any:
        """The driver's own connection behind ``database``."""
        return database

    def transaction(self) -> Transaction:
        return StoreTransaction(
            self._for_handlers, self._joined, self._driver_connection, self._fault, self.handlers_at_once
        )

    def _joined(self, database: Any) -> TransactionStore:
        return Joined(database, self.owner, self.operations, self.locks)


@dataclass(eq=False)
class StoreTransaction:
    """A connection of the engine beside the one of the store's own thread."""

    connect: Callable[[], Connection]
    join: Callable[[Connection], TransactionStore]
    driver_connection: Callable[[Connection | None], Any]
    fault: Callable[[Exception], Fault]
    at_once: int | None
    database: Connection | None = None

    @property
    def connection(self) -> Any:
        return self.driver_connection(self.database)

    def begin(self) -> TransactionStore:
        self.database = self._begun()
        return self.join(self.database)

    def _begun(self) -> Connection:
        """The connection, with a transaction. One that was lost while it was idle is replaced."""
        if self.database is not None:
            try:
                self.database.begin()
            except Exception as error:
                if self.fault(error) not in _LOST:
                    raise
                self.close()
            else:
                return self.database
        database = self.connect()
        try:
            database.begin()
        except BaseException:
            database.close()
            raise
        return database

    def check(self) -> None:
        """Do nothing: the store's own statements fail if the transaction is not the same."""

    def commit(self) -> None:
        assert self.database is not None
        try:
            self.database.commit()
        except Exception as error:
            check_commit(error, self.fault(error))
            raise
        try:
            self.database.sync()
        except Exception as error:
            raise OutcomeUnknown(str(error)) from error

    def roll_back(self) -> None:
        if self.database is None:
            return
        try:
            self.database.rollback()
        except Exception:  # whatever a driver raises: the next transaction begins on a new connection
            self.close()

    def close(self) -> None:
        if self.database is not None:
            database, self.database = self.database, None
            with contextlib.suppress(Exception):
                database.close()

    @property
    def is_broken(self) -> bool:
        return bool(getattr(self.connection, "broken", False))

    def is_conflict(self, error: BaseException) -> bool:
        return any(self.fault(each) is Fault.CONFLICT for each in causes(error))


def check_commit(error: Exception, fault: Fault) -> None:
    """Raises OutcomeUnknown or NotCommitted if ``error``, raised by a commit, means that. Otherwise the handler caused
    it."""
    if fault in _LOST:
        raise OutcomeUnknown(str(error)) from error
    if fault is Fault.PASSING:
        raise NotCommitted(str(error)) from error


def causes(error: BaseException) -> Iterator[Exception]:
    """Yield ``error`` and the exceptions that caused it: Django raises its own from those of the driver."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        if isinstance(following, Exception):
            yield following
        following = following.__cause__ or following.__context__
