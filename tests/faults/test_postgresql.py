"""PostgreSQL restarts, crashes, hangs, has a full disk, or a standby takes over, while two processes are busy with it:
what was acknowledged is handled, and people are told in words what is wrong."""

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import SEEDS
from postgresql_load import FAULTS, loaded
from servers.postgresql import QUICK, PostgreSQL, database, postgresql
from servers.small_disk import SmallDisk, mount, unmounted
from waiting import until

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_server_that_fails_in_any_way_loses_nothing(server: PostgreSQL, seed: int) -> None:
    chosen = random.Random(seed)
    faults = chosen.sample(FAULTS, len(FAULTS))
    with database(server) as place:
        async with loaded(place.url) as load:
            for fault in faults:
                await fault(server, place.name, chosen.uniform(0.0, 1.0))
                await load.until_there_are(100)
        assert load.repeated <= len(load.handled) / 5, "most are handled once"
        assert not [said for said in load.refused if "s3cret" in said]


@pytest.fixture(params=["data", "log"])
def small(request: pytest.FixtureRequest) -> Iterator[tuple[PostgreSQL, SmallDisk]]:
    """A server of which the tables, or these and the write-ahead log, are on a disk that can be filled."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    disk = folder / "disk"
    disk.mkdir()
    mount(disk, "-o", "size=160m")
    elsewhere = folder / "wal" if request.param == "data" else None
    server = PostgreSQL(folder, {**QUICK, "max_wal_size": "64MB"}, disk / "data", log_at=elsewhere)
    try:
        server.make()
        yield server, SmallDisk(disk)
    finally:
        server.crash()
        unmounted(disk)
        shutil.rmtree(folder, ignore_errors=True)


async def test_a_full_disk_at_the_database(small: tuple[PostgreSQL, SmallDisk]) -> None:
    server, disk = small
    with database(server) as place:
        async with loaded(place.url) as load:
            before = load.refused.total()
            disk.fill()
            await until(lambda: load.refused.total() > before + 50, 60)
            disk.empty()
            if not server.is_up():  # it stops where it cannot write its log
                server.crash()
                server.start()
            await load.until_there_are(200)
    assert load.refused


async def test_a_standby_takes_over() -> None:
    """By a URL with both hosts; what was acknowledged is on the standby, which the primary waits for."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(postgresql())
        folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        standby = PostgreSQL(folder, {})
        standby.copy_of(primary)
        standby.start()
        stack.callback(standby.crash)
        with primary.admin() as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            admin.execute("SELECT pg_reload_conf()")
        with database(primary) as place:
            await until(lambda: standby.knows(place.name))
            url = place.url.replace(f":{primary.port}", f":{primary.port},127.0.0.1:{standby.port}")
            async with loaded(url) as load:
                primary.crash()
                standby.promote()
                await load.until_there_are(200)


async def test_a_database_that_may_only_be_read(server: PostgreSQL) -> None:
    """As a primary that is being replaced: sessions stay, and answer, and store nothing."""
    with database(server) as place:
        async with loaded(place.url) as load:
            with server.admin() as admin:
                for readonly in ("on", "off"):
                    admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {readonly}")
                    admin.execute("SELECT pg_reload_conf()")
                    if readonly == "on":
                        await until(lambda: any("read-only" in said for said in load.refused))
            await load.until_there_are(100)
