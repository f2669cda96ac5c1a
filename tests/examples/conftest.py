"""The example site, running."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.site import Site, running


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with all tables and a superuser (ann, secret-ann), to be copied."""
    site = Site(tmp_path_factory.mktemp("tables"))
    site.manage("migrate", "--verbosity", "0")
    site.manage(
        "createsuperuser",
        "--noinput",
        "--username",
        "ann",
        "--email",
        "ann@example.org",
        DJANGO_SUPERUSER_PASSWORD="secret-ann",
    )
    with contextlib.closing(sqlite3.connect(site.database)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return site.database


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> Iterator[Site]:
    """One running site for the tests of a module; each uses senders and sensors of its own."""
    with running(tmp_path_factory.mktemp("site"), tables) as running_site:
        yield running_site


@pytest.fixture
def own_site(tmp_path: Path, tables: Path) -> Iterator[Site]:
    """A site that the test may kill."""
    with running(tmp_path, tables) as running_site:
        yield running_site
