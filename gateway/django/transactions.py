"""Transactions of handlers on the project's own connections, which the ORM uses; each thread has its own."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections, connections, transaction

from gateway.atomic import check_statement
from gateway.django.database import database
from gateway.store.parts.transactions import causes, check_commit
from gateway.store.transaction import TransactionLost, TransactionStore
from gateway.store.writer import Fault

_SETTINGS = b"""SELECT set_config('tcp_keepalives_idle', '5', true), set_config('tcp_keepalives_interval', '2', true),
    set_config('tcp_keepalives_count', '3', true),
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END"""
"""A host that vanishes in the middle of a transaction would keep its locks for two hours. And what is acknowledged is
on disk, whatever the project's setting is."""
logger = logging.getLogger(__name__)


class DjangoTransaction:
    """A :class:`gateway.store.transaction.Transaction`: an outermost ``atomic()``. ``join``: what the store can do on
    the driver's connection; ``fault``: what an error of the driver means."""

    def __init__(
        self, join: Callable[[Any], TransactionStore], fault: Callable[[Exception], Fault], at_once: int | None
    ) -> None:
        self.at_once = at_once
        self._alias = database()
        self._join = join
        self._fault = fault
        self._stack = contextlib.ExitStack()
        self._atomic: Any = None
        self._raw: Any = None
        self._is_committed = False

    @property
    def connection(self) -> Any:
        return self._raw

    def begin(self) -> TransactionStore:
        close_old_connections()
        connection = connections[self._alias]
        connection.ensure_connection()
        if connection.vendor == "sqlite":  # a commit is on disk when it returns, whatever the project's setting is
            connection.connection.execute("PRAGMA synchronous = EXTRA")
        self._is_committed, self._atomic = False, transaction.atomic(self._alias)
        self._atomic.__enter__()
        self._raw = connection.connection
        if connection.vendor == "postgresql":
            connection.connection.execute(_SETTINGS)
        transaction.on_commit(self._note_commit, self._alias)  # the first hook: a later one may raise
        self._stack.enter_context(connection.execute_wrapper(_checked))
        return self._join(self._raw)

    def check(self) -> None:
        connection = connections[self._alias]
        if connection.connection is not self._raw or connection.closed_in_transaction:
            raise TransactionLost("the handler has closed the database connection of its transaction")
        if not connection.in_atomic_block or connection.savepoint_ids:
            raise TransactionLost("the handler has left an atomic block open, or ended one that is not its own")
        if connection.needs_rollback:
            raise TransactionLost(
                "the transaction can only be rolled back: the handler has gone on after an error of the database; "
                "put what may fail into a block of its own: with transaction.atomic()"
            )

    def commit(self) -> None:
        self._stack.close()
        atomic, self._atomic = self._atomic, None
        try:
            atomic.__exit__(None, None, None)
        except Exception as error:
            if self._is_committed:
                logger.error("a hook of on_commit has failed, after the commit", exc_info=error)
            else:
                for each in causes(error):
                    check_commit(each, self._fault(each))
                raise
        if not self._is_committed:
            raise TransactionLost("Django has rolled the transaction back")
        close_old_connections()

    def roll_back(self) -> None:
        self._stack.close()
        atomic, self._atomic = self._atomic, None
        error = TransactionLost("rolled back")
        with contextlib.suppress(Exception):  # of the driver: then the connection is given up
            if atomic is not None:
                atomic.__exit__(TransactionLost, error, None)
        connection = connections[self._alias]
        if connection.in_atomic_block or connection.closed_in_transaction:
            self._forget()
        close_old_connections()

    def _forget(self) -> None:
        """Let the thread begin with a new connection, because the handler has left this one in the middle."""
        connections[self._alias].connection = None
        del connections[self._alias]
        with contextlib.suppress(Exception):
            self._raw.close()

    def close(self) -> None:
        connections[self._alias].close()

    @property
    def is_broken(self) -> bool:
        return bool(getattr(self._raw, "broken", False))

    def is_conflict(self, error: BaseException) -> bool:
        return any(self._fault(each) is Fault.CONFLICT for each in causes(error))

    def _note_commit(self) -> None:
        self._is_committed = True


def _checked(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """Check each statement of the handler, as a wrapper of Django. Those of ``atomic()`` itself are savepoints."""
    check_statement(sql)
    return execute(sql, params, many, context)
