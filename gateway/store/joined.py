"""Takes part in a transaction that other code has begun; see :class:`gateway.store.transaction.TransactionStore`."""

from collections.abc import Sequence
from typing import Any, Protocol

from gateway.store.calls import Finish, Put
from gateway.store.operations import Operations
from gateway.store.transaction import LeaseLost, Mark, TransactionLost
from gateway.store.values import Claim, ClaimState, Message, Outgoing


class Locks(Protocol):
    """A module of an engine: the functions that ``Joined`` needs beside the engine's operations."""

    def is_begun(self, db: Any, /) -> bool:
        """Whether a transaction is open."""

    def lock_message(self, db: Any, message: Message, owner: str, /) -> bool:
        """Lock the row of a message. Return whether it is running, in this attempt, and ``owner`` has it."""

    def lock_claim(self, db: Any, claim: Claim, owner: str, /) -> bool:
        """Lock the row of a claim. Return whether it is claimed, in this attempt, and ``owner`` has it."""

    def is_handled(self, db: Any, message: Message, /) -> bool:
        """Whether a message is handled."""

    def is_settled(self, db: Any, claim: Claim, /) -> bool:
        """Whether a claim has its result."""

    def mark(self, db: Any, /) -> str:
        """Mark the transaction, or return the mark that it has."""

    def is_same(self, db: Any, mark: str, /) -> bool:
        """Whether the transaction is the one with this mark."""

    def now(self, db: Any, /) -> float:
        """Unix time by the store's clock."""


class Joined:
    """For an open transaction of ``connection``. ``owner``: the id of the open store that has taken the messages."""

    def __init__(self, connection: Any, owner: str, operations: Operations, locks: Locks) -> None:
        self._db = connection
        self._owner = owner
        self._does = operations
        self._locks = locks

    def now(self) -> float:
        return self._locks.now(self._db)

    def put_all(self, messages: Sequence[Message]) -> None:
        self._does.put.put(self._db, [Put(messages)])

    def put_outgoing(self, items: Sequence[Outgoing]) -> None:
        self._does.outgoing.put_all(self._db, [items])

    def note(self, key: str, value: bytes, ttl: float) -> None:
        self._does.notes.put(self._db, [(key, value, self.now() + ttl)])

    def requeue(self, ids: Sequence[str]) -> int:
        return self._does.messages.requeue(self._db, [tuple(ids)])[0]

    def drop(self, ids: Sequence[str]) -> int:
        return self._does.messages.drop(self._db, [(tuple(ids), self.now())])[0]

    def requeue_outgoing(self, ids: Sequence[str]) -> int:
        return self._does.outgoing.requeue(self._db, [(tuple(ids), self.now())])[0]

    def drop_outgoing(self, ids: Sequence[str]) -> int:
        return self._does.outgoing.drop(self._db, [(tuple(ids), False)])[0]

    def begin(self, message: Message) -> Mark:
        self._check_begun()
        if not self._locks.lock_message(self._db, message, self._owner):
            raise _lost(message.id, is_done=self._locks.is_handled(self._db, message))
        return Mark(self._locks.mark(self._db), message.id)

    def begin_claim(self, claim: Claim) -> Mark:
        self._check_begun()
        if not self._locks.lock_claim(self._db, claim, self._owner):
            raise _lost(claim.id, is_done=self._locks.is_settled(self._db, claim))
        return Mark(self._locks.mark(self._db), claim.id, claim.key, claim.received)

    def finish(self, mark: Mark, outgoing: Sequence[Outgoing] = ()) -> None:
        self._check_same(mark)
        self._does.messages.finish(self._db, [Finish([mark.id], self._owner, self.now(), outgoing)])

    def settle(self, mark: Mark, *, result: bytes, outgoing: Sequence[Outgoing] = ()) -> None:
        self._check_same(mark)
        claim = Claim(mark.id, ClaimState.OURS, 0, mark.received, key=mark.key)
        self._does.claims.settle(self._db, [(claim, result, outgoing)])

    def _check_begun(self) -> None:
        if not self._locks.is_begun(self._db):
            raise TransactionLost("no transaction has been begun on this connection")

    def _check_same(self, mark: Mark) -> None:
        if not self._locks.is_same(self._db, mark.transaction):
            raise TransactionLost("the transaction was committed or rolled back before its end")


def _lost(id_: str, *, is_done: bool) -> LeaseLost:
    return LeaseLost(f"{id_} no longer belongs to this process", is_done=is_done)
