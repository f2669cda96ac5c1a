"""The tables in a project's database. Django's migrations make them; a gateway only checks their version."""

from collections.abc import Callable

from gateway.store.postgresql.sql import schema
from gateway.store.project import command

NEWEST = schema.VERSION


def migrate(execute: Callable[[str], object], *, have: int, to: int) -> None:
    """Bring the tables from version ``have`` to version ``to``, within its caller's transaction."""
    execute(f"SELECT pg_advisory_xact_lock({schema.LOCK})")
    for number, migration in enumerate(schema.MIGRATIONS[have:to], have + 1):
        execute(migration.script)
        execute(f"UPDATE gateway_version SET version = {number}, oldest = {migration.oldest}")


def remove(execute: Callable[[str], object]) -> None:
    """Drop all tables of the gateway, and what is in them."""
    execute(f"DROP TABLE {', '.join(schema.TABLES)}")


def check(database: schema.Database, alias: str) -> None:
    """Raises Unsuitable if this release cannot use the tables as they are."""
    schema.check_server(database)
    if not schema.exists(database):
        raise schema.Unsuitable(f"it has no tables for the gateway; {command(alias)}")
    schema.check_writable(database)
    if schema.version(database) < NEWEST:
        raise schema.Unsuitable(f"its tables for the gateway are those of an older release; {command(alias)}")
