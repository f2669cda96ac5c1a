"""The daemon while its PostgreSQL server crashes or hangs: every server refuses, a balancer is told, nothing
acknowledged is lost, and no log has the password."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.ports import free_port
from servers.postgresql import ESCAPED, PASSWORD, Database, PostgreSQL, database, postgresql
from servers.site import until
from test_full_disk import CONFIG, OnIt

pytestmark = pytest.mark.fault


class Stored(OnIt):
    """With its store at ``url``."""

    def __init__(self, folder: Path, url: str) -> None:
        self._url, self.console = url, free_port()
        super().__init__(folder)

    def example(self) -> str:
        super().example()
        text = CONFIG.replace("sqlite:disk/gateway.db", f'"{self._url}"')
        return self.at_its_addresses(f'{text}console: {{bind: "127.0.0.1:{self.console}"}}\n')

    def readiness(self) -> int:
        return httpx.get(f"http://127.0.0.1:{self.console}/readyz", timeout=20).status_code


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture
def place(server: PostgreSQL) -> Iterator[Database]:
    with database(server) as place:
        yield place


@pytest.fixture
def site(tmp_path: Path, place: Database) -> Iterator[Stored]:
    site = Stored(tmp_path, place.url)
    with site.running():
        yield site


def test_servers_refuse_while_it_is_down_and_go_on_by_themselves(site: Stored, server: PostgreSQL) -> None:
    assert site.taken("before") == {"mqtt": True, "mail": True, "text": True}
    assert site.readiness() == 200
    server.crash()
    assert site.taken("down") == {"mqtt": False, "mail": False, "text": False}
    until(lambda: site.readiness() == 503, "a balancer is told")
    server.start()
    until(lambda: all(site.taken("after").values()), "it takes messages again")
    until(lambda: site.readiness() == 200, "a balancer is told")
    handled = {f"{kind}-{when}" for kind in ("mqtt", "mail", "text") for when in ("before", "after")}
    until(lambda: handled <= set((site.folder / "book").read_text().split()), f"all are handled\n{site.output()}")
    _assert_quiet(site)


def test_it_waits_for_a_server_that_hangs_and_refuses_in_the_end(site: Stored, server: PostgreSQL) -> None:
    server.pause()
    try:
        until(lambda: site.readiness() == 503, "a balancer is told", 40)
    finally:
        server.resume()
    until(lambda: all(site.taken("after").values()), "it takes messages again")
    _assert_quiet(site)


def _assert_quiet(site: Stored) -> None:
    output = site.output()
    assert "Traceback" not in output
    assert PASSWORD not in output
    assert ESCAPED not in output
    assert len(output.splitlines()) < 60, output
