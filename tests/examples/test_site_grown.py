"""The example's file outgrows one process by three changed lines: PostgreSQL, workers, Redis. What it had kept in its
file comes along."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path

import pytest
from servers.postgresql import PASSWORD, Database, database
from servers.redis import RedisServer, redis_process
from servers.site import Site, until
from servers.site_visitor import event, letter, write

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def place() -> Iterator[Database]:
    with database() as place:
        yield place


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_process() as server:
        yield server


def grow(site: Site, store: str, layer: str) -> None:
    """Change the lines of docs/scaling.md."""
    text = site.config.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("layer:", "store:"))]
    site.config.write_text("\n".join([f"store: {store}", "workers: 2", f"layer: {layer}", *lines, ""]))


def test_three_lines_bring_all_cores_a_database_and_a_layer(
    tmp_path: Path, tables: Path, place: Database, redis: RedisServer
) -> None:
    with ExitStack() as stack:
        site = Site(tmp_path)
        stack.callback(site.close)
        site.database.parent.mkdir()
        shutil.copy(tables, site.database)
        site.start()
        mail = letter("ann@grown.example", "Before", Message_ID="<before@grown.example>", Date=formatdate())
        write(site, mail)
        assert site.signal(signal.SIGTERM) == 0
        copied = site.python("-m", "gateway", "store", "copy", "sqlite:var/gateway.db", place.url)
        assert copied.returncode == 0, copied.stderr
        grow(site, place.url, redis.layer)
        site.start()
        until(lambda: "2 workers serve" in site.output(), site.output, 60)
        pages = [stack.enter_context(site.websocket("/live/")) for _ in range(4)]  # the system chooses the worker
        site.publish("sensors/grown/temperature", "21.5")
        for page in pages:
            assert event(page, "reading", sensor="grown")["celsius"] == 21.5
        write(site, letter("bob@grown.example", "After"))
        until(lambda: site.answers("bob@grown.example"), site.output)
        write(site, mail)  # its repetition is known: the claim was copied
        assert site.rows("SELECT count(*) FROM helpdesk_ticket WHERE subject = 'Before'") == [(1,)]
        with place.connect() as session:
            assert session.execute("SELECT count(*) FROM gateway_owners").fetchall() == [(2,)]
        assert "Traceback" not in site.output()
        assert PASSWORD not in site.output()
        assert site.signal(signal.SIGTERM) == 0
