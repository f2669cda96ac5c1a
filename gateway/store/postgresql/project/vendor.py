"""Implements :class:`gateway.store.project.Vendor` for PostgreSQL."""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from gateway.store.interfaces import Engine
from gateway.store.joined import Joined
from gateway.store.postgresql.connection import Plain
from gateway.store.postgresql.place import Place
from gateway.store.postgresql.project.engine import ProjectEngine
from gateway.store.postgresql.project.tables import NEWEST, migrate, remove
from gateway.store.postgresql.store import PostgreSQLStore
from gateway.store.transaction import TransactionStore

__all__ = ["NEWEST", "engine", "joined", "migrate", "remove"]


def joined(connection: Any, owner: str = "") -> TransactionStore:
    """See :meth:`gateway.store.interfaces.Engine.joined`. Raises RuntimeError for a connection of psycopg2."""
    if not isinstance(connection, psycopg.Connection):
        driver = type(connection).__module__.partition(".")[0]
        raise RuntimeError(f"store: django needs psycopg 3, and this project connects with {driver}; uninstall that")
    return Joined(Plain(connection), owner, PostgreSQLStore.operations, PostgreSQLStore.locks)


def engine(parameters: Mapping[str, Any], alias: str = "") -> Engine:
    """``parameters``: those of libpq, among others that say how Django uses its connections. ``assume_role`` is
    Django's: the role that a session takes on."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    given = {name: value for name, value in parameters.items() if name in known}
    if role := parameters.get("assume_role"):
        given["options"] = f"{given.get('options') or ''} -c role={_escaped(str(role))}".strip()
    return ProjectEngine(Place(make_conninfo(**given)), alias)


def _escaped(value: str) -> str:
    """Escape a value within ``options``, where a space ends a value."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
