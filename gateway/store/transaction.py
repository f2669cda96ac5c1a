"""A store's part in a transaction that other code has begun.

A handler's rows, the "done" of its message and what it sends are then committed together, or not at all. ``begin`` is
the first statement of such a transaction and ``finish`` the last; ``tests/transaction_contract.py`` holds every engine
to this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.store.values import Claim, Message, Outgoing


class LeaseLost(Exception):
    """The message is no longer ours: another process has it, or has handled it. Its handler must not run here."""

    def __init__(self, said: str, *, is_done: bool = False) -> None:
        super().__init__(said)
        self.is_done = is_done
        """Whether the message is handled."""


class TransactionLost(Exception):
    """The transaction is not the one that ``begin`` was called in: it was committed or rolled back meanwhile."""


class OutcomeUnknown(Exception):
    """The connection was lost during the commit. Only the store can tell whether the transaction was committed."""


class NotCommitted(Exception):
    """The database could not commit now, and the handler did not cause it: a full disk, a file that others read."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Returned by ``begin``. ``finish`` and ``settle`` recognize their transaction by it."""

    transaction: str
    """The engine's own name of the transaction."""
    id: str
    """The message's."""
    key: str = ""
    """The claim's; empty for a message of the inbox."""
    received: float = 0.0
    """The claim's."""


class TransactionStore(Protocol):
    """Calls that take part in the transaction of one DB-API connection. They run on the caller's thread, and commit
    nothing. They raise the errors of that connection."""

    def now(self) -> float:
        """Unix time by the store's own clock, to which ``due`` of a message refers."""

    def put_all(self, messages: Sequence[Message]) -> None:
        """Keep ``messages``, in this order; they wait. Raises ValueError if a message with such an id is already
        kept. The caller tells the gateway after the commit."""

    def put_outgoing(self, items: Sequence[Outgoing]) -> None:
        """Keep ``items``. An item with a known id is the same item, and is kept once."""

    def note(self, key: str, value: bytes, ttl: float) -> None:
        """Keep ``value`` under ``key`` for ``ttl`` seconds, in the place of what was there."""

    def requeue(self, ids: Sequence[str]) -> int:
        """As for :class:`gateway.store.interfaces.OperatorStore`, and so the next three."""

    def drop(self, ids: Sequence[str]) -> int: ...

    def requeue_outgoing(self, ids: Sequence[str]) -> int: ...

    def drop_outgoing(self, ids: Sequence[str]) -> int: ...

    def begin(self, message: Message) -> Mark:
        """Lock a running message of ours. Raises LeaseLost, and TransactionLost if there is no transaction."""

    def finish(self, mark: Mark, outgoing: Sequence[Outgoing] = ()) -> None:
        """The message is handled: forget it, and keep what its handler sends. Raises TransactionLost."""

    def begin_claim(self, claim: Claim) -> Mark:
        """Lock a claim of ours. Raises LeaseLost, and TransactionLost if there is no transaction."""

    def settle(self, mark: Mark, *, result: bytes, outgoing: Sequence[Outgoing] = ()) -> None:
        """The claimed message is handled: keep ``result`` for repetitions, and what its handler sends. Raises
        TransactionLost."""


class Transaction(Protocol):
    """A connection to the store's database for transactions of handlers, one at a time. All calls are on one thread,
    and raise the driver's errors."""

    @property
    def at_once(self) -> int | None:
        """How many connections of a process can have a transaction at once; None: as many as there are threads."""

    @property
    def connection(self) -> Any:
        """The driver's own connection, while there is a transaction."""

    def begin(self) -> TransactionStore:
        """Begin a transaction; return what the store can do in it."""

    def check(self) -> None:
        """Raises TransactionLost, with a sentence for people, if the handler has left the transaction in a state in
        which it cannot be committed."""

    def commit(self) -> None:
        """Commit: on disk when this returns. Raises OutcomeUnknown if the connection was lost meanwhile, and
        NotCommitted."""

    def roll_back(self) -> None:
        """End the transaction, if one is open, and close the connection if it is broken. Raises nothing."""

    def close(self) -> None:
        """Close the connection."""

    @property
    def is_broken(self) -> bool:
        """Whether the connection was lost, and not closed by the handler."""

    def is_conflict(self, error: BaseException) -> bool:
        """Whether ``error`` says that another transaction was in the way, so that the handler may succeed if it runs
        again: a serialization failure, or a deadlock."""


class OpenTransaction(Protocol):
    """A transaction that the calling thread has open on a connection of its own to the store's database."""

    def run(self, work: Callable[[TransactionStore], object], then: Callable[[], object]) -> None:
        """Do ``work`` within the transaction, and call ``then`` after its commit. If this raises an error of the
        connection, the transaction is as it was before."""
