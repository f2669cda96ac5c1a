"""`store: django`: what `gateway check` says of the project's database, and a gateway that keeps its messages there."""

import contextlib
import json
import smtplib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.daemon import Daemon
from servers.project_store import ProjectSite, sqlite
from servers.site import until

NEEDED = "and the gateway's store needs SQLite or PostgreSQL"
BACKEND = """
from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    vendor = "{name}"
"""


@pytest.fixture
def site(tmp_path: Path) -> ProjectSite:
    return ProjectSite(tmp_path)


@contextlib.contextmanager
def running(site: ProjectSite) -> Iterator[Daemon]:
    daemon = site.daemon()
    try:
        yield daemon
    finally:
        daemon.close()


def mail(site: ProjectSite, subject: str) -> None:
    with smtplib.SMTP("127.0.0.1", site.mail, timeout=20) as client:
        client.sendmail("ann@example.net", ["desk@example.org"], f"Subject: {subject}\r\n\r\nhello".encode())


def rows(site: ProjectSite, sql: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(site.file)) as database:
        return database.execute(sql).fetchall()


# What is said before anything starts.


def test_what_lacks_is_said_in_one_sentence_with_the_command(site: ProjectSite) -> None:
    assert f"gateway.yaml:3:8: error: store: {site.file}: there is no such file; run: manage.py migrate gateway" in (
        site.gateway("check", code=3)
    )
    assert not list(site.folder.glob("db*")), "nothing was made"
    site.manage("migrate", "auth", "--verbosity", "0")
    said = f"{site.file}: it has no tables for the gateway; run: manage.py migrate gateway"
    assert said in site.gateway("check", code=3)
    assert said in site.gateway("run", code=3)
    assert f"there is no store yet at {site.file}" in site.gateway("dead", "list", code=1)
    site.migrate()
    assert "valid" in site.gateway("check")


@pytest.mark.parametrize(
    ("change", "said"),
    [(-1, "are those of an older release; run: manage.py migrate gateway"), (1, "run the newer release again")],
)
def test_tables_of_another_release_are_named(site: ProjectSite, change: int, said: str) -> None:
    site.migrate()
    with contextlib.closing(sqlite3.connect(site.file, isolation_level=None)) as database:
        database.execute("UPDATE gateway_version SET version = version + ?", [change])
    assert said in site.gateway("check", code=3)
    assert said in site.gateway("dead", "list", code=1)


CRASHING = """
import os, sqlite3

database = sqlite3.connect("db.sqlite3", isolation_level=None)
database.execute("PRAGMA journal_mode = DELETE")
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN")
for _ in range(50):
    database.execute("INSERT INTO keeping_order (what) VALUES (hex(randomblob(5000)))")
os._exit(0)
"""


def test_a_file_in_which_a_process_was_killed_is_well(site: ProjectSite) -> None:
    """SQLite undoes what it had begun, as soon as somebody reads the file and may write it."""
    site.migrate()
    site.python(CRASHING)
    assert (site.folder / "db.sqlite3-journal").stat().st_size > 0
    assert "valid" in site.gateway("check")
    assert rows(site, "SELECT count(*) FROM keeping_order") == [(0,)]


@pytest.mark.parametrize(
    ("databases", "said"),
    [
        (
            {"default": {"ENGINE": "mysql_backend", "NAME": "shop", "PASSWORD": "s3cret"}},
            f"it is on MySQL or MariaDB, {NEEDED}",
        ),
        (
            {"default": {"ENGINE": "oracle_backend", "NAME": "shop"}},
            f"it is on Oracle, {NEEDED}",
        ),
        ({}, "it names no database"),
    ],
)
def test_a_database_that_cannot_be_the_store_is_refused(
    site: ProjectSite, databases: dict[str, dict[str, object]], said: str
) -> None:
    site.write_databases(databases)
    for name in ("mysql", "oracle"):  # Django's own are not imported without their drivers
        (site.folder / f"{name}_backend").mkdir()
        (site.folder / f"{name}_backend" / "base.py").write_text(BACKEND.format(name=name))
    printed = site.gateway("check", code=2)
    assert f"gateway.yaml:3:8: error: store: DATABASES['default']: {said}" in printed
    assert "s3cret" not in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("name", [":memory:", "file:shop?mode=memory&cache=shared"])
def test_a_database_in_memory_cannot_be_the_store(site: ProjectSite, name: str) -> None:
    site.write_databases(sqlite(Path(name)))
    assert "it is in memory, and the gateway's store needs a file" in site.gateway("check", code=3)


def test_the_app_and_the_project_have_to_be_named(site: ProjectSite) -> None:
    settings = site.folder / "keeping_settings.py"
    settings.write_text(settings.read_text().replace('"gateway.django", ', ""))
    assert "INSTALLED_APPS needs 'gateway.django', whose migrations make the tables" in site.gateway("check", code=2)
    config = site.folder / "gateway.yaml"
    lines = (
        config.read_text().replace("django: {settings: keeping_settings}\n", "").replace("http: django", "http: a.b")
    )
    config.write_text(lines)
    said = "store: django is the database of a project; write django: {settings: ...}, too"
    assert site.gateway("check", code=2).count(said) == 1
    assert said in site.gateway("dead", "list", code=2)


def test_a_store_has_no_path_after_django(site: ProjectSite) -> None:
    config = site.folder / "gateway.yaml"
    config.write_text(config.read_text().replace("store: django", "store: django:default"))
    assert "it has no options: the project's settings have the database" in site.gateway("check", code=2)


def test_a_router_may_put_the_tables_into_another_database(tmp_path: Path) -> None:
    router = """
class Router:
    def db_for_read(self, model, **hints):
        return "queue" if model._meta.app_label == "gateway" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "queue") == (app_label == "gateway")


DATABASE_ROUTERS = [Router()]
"""
    other = tmp_path / "queue.sqlite3"
    databases = sqlite(tmp_path / "db.sqlite3") | {"queue": sqlite(other)["default"]}
    site = ProjectSite(tmp_path, databases, settings=router)
    site.migrate()
    command = "run: manage.py migrate gateway --database queue"
    assert f"{other}: there is no such file; {command}" in site.gateway("check", code=3)
    site.manage("migrate", "--database", "queue", "--verbosity", "0")
    assert rows(site, "SELECT name FROM sqlite_master WHERE name LIKE 'gateway%'") == []
    with running(site) as daemon:
        mail(site, "broken")
        until(lambda: "1 dead letter" in site.gateway("dead", "list"), lambda: daemon.text)
    with contextlib.closing(sqlite3.connect(other)) as database:
        assert database.execute("SELECT count(*) FROM gateway_messages").fetchone() == (1,)


# A gateway.


def test_messages_are_kept_in_the_project_s_file_and_the_file_stays_as_it_is(site: ProjectSite) -> None:
    site.migrate()
    site.file.chmod(0o644)
    before = rows(site, "PRAGMA user_version") + rows(site, "PRAGMA journal_mode")
    with running(site) as daemon:
        mail(site, "one order")
        mail(site, "broken")
        until(lambda: "1 dead letter" in site.gateway("dead", "list"), lambda: daemon.text)
        listed = json.loads(site.gateway("dead", "list", "--json"))
        assert [each["subject"] for each in listed] == ["email ann@example.net -> desk@example.org"]
        assert f"store {site.file}: 0 waiting, 0 running, 1 dead" in site.gateway("status")
    assert rows(site, "SELECT what FROM keeping_order") == [("one order",)]
    assert rows(site, "PRAGMA user_version") + rows(site, "PRAGMA journal_mode") == before == [(0,), ("delete",)]
    assert site.file.stat().st_mode & 0o777 == 0o644
