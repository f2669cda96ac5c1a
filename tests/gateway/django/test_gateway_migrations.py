"""The migrations of the app `gateway.django` make the tables that the store's engines use."""

import contextlib
import sqlite3
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from servers.postgresql import database
from servers.project_store import ProjectSite, postgresql, sqlite

from gateway.django import migrations
from gateway.django.tables import Tables
from gateway.exit_codes import CANNOT_START
from gateway.store import Outgoing, engine_of
from gateway.store.project import VENDORS, vendor

ROUTER = """
class Mails:
    def db_for_write(self, model, **hints):
        return "mails" if model._meta.app_label == "gateway" else None
"""


def operations() -> list[Tables]:
    """In the order in which they are applied."""
    names = sorted(module.name for module in iter_modules(migrations.__path__))
    made = [import_module(f"gateway.django.migrations.{name}").Migration for name in names]
    found = [operation for each in made for outer in each.operations for operation in outer.database_operations]
    return [operation for operation in found if isinstance(operation, Tables)]


def test_the_last_migration_makes_the_tables_that_this_release_uses() -> None:
    versions: dict[str, int] = {}
    for operation in operations():
        assert operation.have == versions, "each begins where the one before it ends"
        versions = operation.to
    assert versions == {name: vendor(name).NEWEST for name in VENDORS}


def test_the_models_are_those_of_the_migrations_and_the_way_back_leaves_nothing(tmp_path: Path) -> None:
    site = ProjectSite(tmp_path)
    assert "No changes detected" in site.manage("makemigrations", "gateway", "--check", "--dry-run")
    assert "CREATE TABLE gateway_messages" in site.manage("sqlmigrate", "gateway", "0001")
    site.migrate()
    assert "gateway_messages" in tables(site.file)
    site.python("from gateway import send_mail; send_mail('ann@example.net', subject='x', text='x')")
    assert "1 outgoing item" in site.gateway("outgoing", "list")
    site.manage("migrate", "gateway", "zero")
    assert not [name for name in tables(site.file) if name.startswith("gateway_")]
    assert "run: manage.py migrate gateway" in site.gateway("run", code=CANNOT_START)
    site.manage("migrate", "gateway")
    assert "gateway_messages" in tables(site.file)
    assert "1 outgoing item" not in site.gateway("outgoing", "list")


def test_a_router_that_parts_the_gateway_s_tables_from_the_project_s_is_a_warning(tmp_path: Path) -> None:
    databases = sqlite(tmp_path / "db.sqlite3") | {"mails": sqlite(tmp_path / "mails.sqlite3")["default"]}
    site = ProjectSite(tmp_path, databases)
    assert "no issues" in site.manage("check")
    (tmp_path / "keeping" / "routers.py").write_text(ROUTER)
    with (tmp_path / "keeping_settings.py").open("a") as settings:
        settings.write('DATABASE_ROUTERS = ["keeping.routers.Mails"]\n')
    assert "(gateway.W001) A router puts the gateway's tables into the database 'mails'" in site.manage("check")


def test_the_models_are_the_columns_of_the_tables(tmp_path: Path) -> None:
    site = ProjectSite(tmp_path)
    site.migrate()
    read = "from gateway.django import models\n"
    read += "for model in (models.Message, models.Outgoing): assert list(model.objects.all()) == []\n"
    assert site.python(read) == ""


async def test_tables_that_a_gateway_has_made_are_taken_over(tmp_path: Path) -> None:
    with database() as place:
        store = engine_of(place.url).store()
        await store.open()
        await store.put_outgoing([Outgoing("o1", "m1", "email", b"kept")])
        await store.close()
        site = ProjectSite(tmp_path, postgresql(place))
        site.migrate()
        assert "1 outgoing item" in site.gateway("outgoing", "list")


async def test_a_store_is_copied_into_the_tables_of_a_project(tmp_path: Path) -> None:
    store = engine_of("sqlite:var/gateway.db", tmp_path).store()
    await store.open()
    await store.put_outgoing([Outgoing("o1", "m1", "email", b"kept")])
    await store.close()
    with database() as place:
        site = ProjectSite(tmp_path, postgresql(place))
        site.migrate()
        assert "name the project's database by its URL" in site.gateway("store", "copy", "sqlite:x", "django", code=2)
        assert "copied 1 outgoing item" in site.gateway("store", "copy", "sqlite:var/gateway.db", place.url)
        assert "1 outgoing item" in site.gateway("outgoing", "list")


def tables(file: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
