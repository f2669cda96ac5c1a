"""The store in the database of a Django project: which kinds of database can hold it."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from gateway.store.interfaces import Engine
from gateway.store.transaction import TransactionStore

VENDORS = {
    "sqlite": "gateway.store.sqlite.project.vendor",
    "postgresql": "gateway.store.postgresql.project.vendor",
}
"""The modules that are each a :class:`Vendor`, by Django's name of the vendor. They are imported on demand."""

VERSIONS = "gateway_version"
"""The table with the version of the others, in the column ``version``."""


class Vendor(Protocol):
    """The functions of an engine for the database of a project."""

    NEWEST: int
    """The version of the tables that this release uses."""

    def migrate(self, execute: Callable[[str], object], *, have: int, to: int) -> None:
        """Bring the tables from version ``have`` to version ``to`` by statements for ``execute``, all in one
        transaction of its caller. Version 0 has no tables."""

    def remove(self, execute: Callable[[str], object]) -> None:
        """Drop the tables, and what is in them."""

    def joined(self, connection: Any, owner: str = "") -> TransactionStore:
        """See :meth:`gateway.store.interfaces.Engine.joined`."""

    def engine(self, parameters: Mapping[str, Any], alias: str = "") -> Engine:
        """Return the store in the database that Django connects to with ``parameters``; ``alias``: its name, if it is
        not the default one."""


def vendor(name: str) -> Vendor:
    """Return the functions for databases of the vendor ``name``. Raises ValueError with a sentence for people."""
    if name not in VENDORS:
        known = " or ".join(_TITLES[each] for each in VENDORS)
        raise ValueError(f"it is on {_TITLES.get(name, name)}, and the gateway's store needs {known}")
    try:
        return cast("Vendor", import_module(VENDORS[name]))
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise ValueError(
            "it is on PostgreSQL, and psycopg is not installed; pip install 'asgi-gateway[postgres]'"
        ) from error


_TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL or MariaDB", "oracle": "Oracle"}


def command(alias: str = "") -> str:
    """The command that makes the tables, or migrates them."""
    return "run: manage.py migrate gateway" + (f" --database {alias}" if alias else "")
