"""``store: django``: the gateway's store in the database of the project, where its migrations have made the tables."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway.store.interfaces import Engine, Store
from gateway.store.project import vendor
from gateway.store.transaction import OpenTransaction, TransactionStore

LABEL = "gateway"


def parse(url: str, folder: Path) -> Engine:
    """The store of ``url``, which is ``django``. Django may be set up later."""
    if url != "django":
        raise ValueError("it has no options: the project's settings have the database")
    return ProjectDatabase()


class ProjectDatabase:
    """An :class:`gateway.store.interfaces.Engine`: the one for the project's database, as soon as that is known."""

    path = None

    def __str__(self) -> str:
        try:
            return str(engine())
        except ValueError:
            return "django"

    def store(self) -> Store:
        return engine().store()

    def joined(self, connection: Any, owner: str = "") -> TransactionStore:
        return vendor(connections[database()].vendor).joined(connection, owner)

    def open_transaction(self) -> OpenTransaction | None:
        connection = connections[database()]
        if not (connection.in_atomic_block or _is_manual(connection)):
            return None
        return ProjectTransaction(connection)

    def exists(self) -> bool:
        return engine().exists()

    def faults(self) -> Sequence[str]:
        return engine().faults()

    def check_shared(self) -> None:
        engine().check_shared()


class ProjectTransaction:
    """A :class:`gateway.store.transaction.OpenTransaction` of Django's connection of this thread."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    def run(self, work: Callable[[TransactionStore], object], then: Callable[[], object]) -> None:
        """In a savepoint: after an error of the database, nothing more would be possible in the transaction."""
        connection = self._connection
        joined = vendor(connection.vendor).joined(connection.connection)
        connection.validate_no_broken_transaction()
        with _savepoint(connection), connection.wrap_database_errors:
            work(joined)
        if connection.in_atomic_block:
            transaction.on_commit(then, using=connection.alias, robust=True)


def _savepoint(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    return transaction.atomic(using=connection.alias) if connection.in_atomic_block else nullcontext()


def _is_manual(connection: BaseDatabaseWrapper) -> bool:
    """Whether the project commits by itself, and cannot tell us when: the gateway then finds it within a second."""
    return connection.connection is not None and not connection.get_autocommit()


def fault() -> str:
    """Why the project's database cannot be the store; empty if it can, and while Django is not set up."""
    try:
        if apps.ready:
            engine()
    except ValueError as error:
        return str(error)
    return ""


def engine() -> Engine:
    """The engine of the project's database. Raises ValueError, with a sentence for people."""
    alias = database()
    try:
        return _engine(alias)
    except (ValueError, ImproperlyConfigured) as error:
        raise ValueError(f"DATABASES[{alias!r}]: {error}") from error


def database() -> str:
    """The alias of the database that has the gateway's tables: the default one, if no router says another. Raises
    ValueError, with a sentence for people."""
    if not apps.ready:
        raise ValueError("Django is not set up; write django: {settings: ...}, too")
    if not apps.is_installed("gateway.django"):
        raise ValueError("INSTALLED_APPS needs 'gateway.django', whose migrations make the tables")
    return str(router.db_for_write(apps.get_model(LABEL, "Message")))


def _engine(alias: str) -> Engine:
    if connections.settings[alias]["ENGINE"] == _NONE:
        raise ValueError("it names no database")
    connection = connections[alias]
    return vendor(connection.vendor).engine(_parameters(connection), "" if alias == DEFAULT_DB_ALIAS else alias)


_NONE = "django.db.backends.dummy"


def _parameters(connection: BaseDatabaseWrapper) -> dict[str, object]:
    """Return the parameters that Django connects with."""
    options = connection.settings_dict["OPTIONS"]
    return {**options, **connection.get_connection_params()}
