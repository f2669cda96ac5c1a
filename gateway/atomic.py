"""The transaction in which a handler runs on a route with ``atomic: true``, for code anywhere below it."""

import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class TransactionRefused(RuntimeError):
    """The handler has tried to begin or to end the transaction, or to use it at the wrong time or in a wrong place."""


_WORDS = "BEGIN|START|COMMIT|END|ABORT|PREPARE|ROLLBACK"
_MAY_END = re.compile(rf"\b(?:{_WORDS})\b", re.IGNORECASE)
_NOT_WORDS = re.compile(
    r"""--[^\n]*|/\*(?:[^*]|\*(?!/))*\*/|\bE'(?:[^'\\]|\\.)*'|'[^']*'|"[^"]*"|\$(\w*)\$(?:[^$]|\$(?!\1\$))*\$\1\$|\ufeff""",
    re.IGNORECASE | re.DOTALL,
)
"""Comments, strings, quoted names, and a mark of the byte order."""
_ENDS = re.compile(r"\s*(BEGIN|START|COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK)\b", re.IGNORECASE)
_TO = re.compile(r"\bTO\b", re.IGNORECASE)
_DEFINES = re.compile(r"[\s;]*CREATE\b", re.IGNORECASE)
"""What a function or a trigger does is between BEGIN and END."""


def check_statement(sql: object) -> None:
    """Raises TransactionRefused if ``sql`` would begin or end a transaction. Savepoints may pass."""
    text = _text(sql)
    if _MAY_END.search(text) is None:
        return
    text = _NOT_WORDS.sub(" ", text)
    for statement in () if _DEFINES.match(text) else text.split(";"):
        if (found := _ENDS.match(statement)) is None:
            continue
        word = " ".join(found[1].upper().split())
        if word != "ROLLBACK" or _TO.search(statement) is None:
            raise TransactionRefused(
                f"{word} is refused, because the route has atomic: true: the gateway commits when the handler has "
                "returned, and rolls back when it raises; a savepoint may be rolled back"
            )


def _text(sql: object) -> str:
    """The text of a statement, which drivers also take as bytes, or composed of parts."""
    if isinstance(sql, bytes):
        return sql.decode("latin-1")
    as_string: Callable[[None], str] | None = getattr(sql, "as_string", None)
    return as_string(None) if as_string is not None else str(sql)


class Rows(list[Any]):
    """The rows that a statement returned, as the driver gives them."""

    def __init__(self, rows: Iterable[Any], rowcount: int) -> None:
        super().__init__(rows)
        self.rowcount = rowcount
        """How many rows the statement returned or changed."""


class CurrentTransaction(Protocol):
    """The transaction of a handler. It is over when the handler has returned."""

    @property
    def is_over(self) -> bool: ...

    @property
    def thread(self) -> int | None:
        """The number of the thread on which everything runs that belongs to it; None in tests, where all sync code
        shares another one."""

    @property
    def driver_connection(self) -> Any:
        """The driver's own connection."""

    @property
    def store(self) -> Any:
        """What the store can do in it, on that thread: a :class:`gateway.store.transaction.TransactionStore`."""

    async def on_thread(self, function: Callable[[], R]) -> R:
        """Call ``function`` on that thread."""

    def after_commit(self, call: Callable[[], Awaitable[None]]) -> None:
        """Await ``call`` after the commit. Do not await it if the transaction is rolled back."""


current_transaction: ContextVar[CurrentTransaction | None] = ContextVar("current_transaction", default=None)
"""Set while a handler runs on a route with ``atomic: true``."""


def running_transaction() -> CurrentTransaction:
    """Return the transaction of the handler that runs here. Raises LookupError if it has no transaction."""
    transaction = current_transaction.get()
    if transaction is None:
        raise LookupError(
            "there is no connection here: only a handler on a route with atomic: true has one, while it runs"
        )
    return transaction


async def once_committed(call: Callable[[], Awaitable[None]]) -> None:
    """Await ``call`` after the commit of the transaction that runs here; at once if no transaction runs here."""
    transaction = current_transaction.get()
    if transaction is None or transaction.is_over:
        await call()
    else:
        transaction.after_commit(call)


def in_transaction() -> bool:
    """Whether :func:`once_committed` would wait for a commit."""
    transaction = current_transaction.get()
    return transaction is not None and not transaction.is_over


_COMMITS = ("commit", "rollback", "close", "begin")


class _Calls:
    """Says what is there instead of the driver's own methods."""

    def __getattr__(self, name: str) -> Any:
        if name in _COMMITS:
            raise AttributeError(
                f"{name}() is refused, because the route has atomic: true: the gateway commits when the handler has "
                "returned, and rolls back when it raises"
            )
        raise AttributeError(
            f"there is no {name!r} here, only execute(), executemany() and call(): call(function) calls "
            "function(connection) with the driver's own connection, on its thread"
        )


class HandlerConnection(_Calls):
    """The transaction's connection for a sync handler. Parameters are written as the driver has them: ``?`` for SQLite,
    ``%s`` for PostgreSQL. Raises the driver's errors."""

    _elsewhere: ClassVar[str] = "the connection of a route with atomic: true belongs to its handler's thread"

    def __init__(self, transaction: CurrentTransaction) -> None:
        self._transaction = transaction

    def execute(self, sql: str, parameters: Any = ()) -> Rows:
        """Execute one statement; return its rows. Raises TransactionRefused for one that would end the transaction."""
        check_statement(sql)
        return self.call(_execute, sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> None:
        """Execute a statement once for each of ``parameters``."""
        check_statement(sql)
        self.call(_execute_many, sql, parameters)

    def call(self, function: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(connection, *args)``, where ``connection`` is the driver's own."""
        if self._transaction.thread not in (None, threading.get_ident()):
            raise TransactionRefused(f"{self._elsewhere}, and this is another thread")
        _check_runs(self._transaction)
        return function(self._transaction.driver_connection, *args, **kwargs)


class AsyncHandlerConnection(_Calls):
    """The same for an async handler: the calls are awaited, and run on the thread of the transaction."""

    def __init__(self, transaction: CurrentTransaction) -> None:
        self._transaction = transaction

    async def execute(self, sql: str, parameters: Any = ()) -> Rows:
        """Execute one statement; return its rows. Raises TransactionRefused for one that would end the transaction."""
        check_statement(sql)
        return await self.call(_execute, sql, parameters)

    async def executemany(self, sql: str, parameters: Sequence[Any]) -> None:
        """Execute a statement once for each of ``parameters``."""
        check_statement(sql)
        await self.call(_execute_many, sql, parameters)

    async def call(self, function: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(connection, *args)``, called on the thread of the transaction; ``connection`` is the
        driver's own."""

        def called() -> R:
            _check_runs(transaction)
            return function(transaction.driver_connection, *args, **kwargs)

        transaction = self._transaction
        return await transaction.on_thread(called)


def _check_runs(transaction: CurrentTransaction) -> None:
    if transaction.is_over:
        raise TransactionRefused("the transaction is over, because its handler has returned")


def _execute(connection: Any, sql: str, parameters: Any) -> Rows:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, parameters)
        return Rows(cursor.fetchall() if cursor.description is not None else (), cursor.rowcount)
    finally:
        cursor.close()


def _execute_many(connection: Any, sql: str, parameters: Iterable[Any]) -> None:
    cursor = connection.cursor()
    try:
        cursor.executemany(sql, parameters)
    finally:
        cursor.close()


class BatchTransaction(Protocol):
    """The transaction of a batch of messages."""

    def entered(self) -> AbstractAsyncContextManager[None]:
        """Let the handler run in it."""

    async def commit(self, done: Sequence[bool]) -> None:
        """Commit: the messages that are ``done`` are handled, and the others stay as they are. Raises RunAgain."""

    async def roll_back(self, error: BaseException | None) -> None:
        """Undo everything, because of ``error`` if there is one. Raises RunAgain if the handler may succeed when it
        runs again."""


class Part(Protocol):
    """A message's part in the transaction of a batch."""

    async def begin_with(self, others: Sequence[Any]) -> BatchTransaction:
        """Begin a transaction for this message and ``others``."""


current_part: ContextVar[Part | None] = ContextVar("current_part", default=None)
"""Set while a batch's handler is still to be called for a message on a route with ``atomic: true``."""


class RunAgain(Exception):
    """Another transaction was in the way. Everything is undone, and the handler may succeed if it runs again."""
