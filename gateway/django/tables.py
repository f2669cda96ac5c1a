"""The operation of the migrations: the store's own statements, for the database that is migrated."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from gateway.store.project import VERSIONS, Vendor, vendor


class Tables(Operation):
    """Brings the tables from versions ``have`` to versions ``to``; each is given for every vendor that the store knows.

    A database of another vendor gets no tables: its project may use this app for something else. From version 0, the
    way back drops the tables and what is in them; from others, there is none.
    """

    def __init__(self, have: Mapping[str, int], to: Mapping[str, int]) -> None:
        self.have = dict(have)
        self.to = dict(to)

    @property
    def reversible(self) -> bool:  # type: ignore[override]  # Django reads it, and has it as an attribute of the class
        return not self.have

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models are in operations of their own."""

    def database_forwards(
        self, app_label: str, editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        if (engine := self._vendor(app_label, editor)) is not None:
            name = editor.connection.vendor
            have = max(self.have.get(name, 0), 0 if editor.collect_sql else _version(editor.connection))
            engine.migrate(partial(editor.execute, params=None), have=have, to=self.to[name])

    def database_backwards(
        self, app_label: str, editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        if (engine := self._vendor(app_label, editor)) is not None:
            engine.remove(partial(editor.execute, params=None))

    def describe(self) -> str:
        return "Make the gateway's tables" if not self.have else "Change the gateway's tables"

    def _vendor(self, app_label: str, editor: BaseDatabaseSchemaEditor) -> Vendor | None:
        connection = editor.connection
        wanted = connection.vendor in self.to and router.allow_migrate(connection.alias, app_label)
        return vendor(connection.vendor) if wanted else None


def _version(connection: BaseDatabaseWrapper) -> int:
    """The version of the tables that are there: a gateway whose file named the database by its URL has made them."""
    with connection.cursor() as cursor:
        if VERSIONS not in connection.introspection.table_names(cursor):
            return 0
        cursor.execute(f"SELECT max(version) FROM {VERSIONS}")  # noqa: S608 -- a name of ours
        return int(cursor.fetchone()[0])
