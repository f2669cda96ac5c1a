"""A parent that is stopped: its workers serve, and it judges nothing wrongly when it goes on."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from servers.site import until
from servers.workers import Workers

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Workers]:
    with closing(Workers(tmp_path)) as site:
        site.all_serve()
        yield site


def test_workers_serve_without_it_and_it_replaces_only_what_has_died(site: Workers) -> None:
    before = site.pids()
    os.kill(site.process.pid, signal.SIGSTOP)
    until(lambda: site.answering() == set(map(str, before)), site.said)
    assert "ready" in site.command("status")
    answer = httpx.get(f"http://127.0.0.1:{site.console}/metrics", timeout=60)
    assert (answer.status_code, answer.json()) == (503, {"error": "the parent process does not answer"})
    os.kill(before[0], signal.SIGKILL)
    os.kill(site.process.pid, signal.SIGCONT)
    site.says("was killed by SIGKILL; another one takes its place")
    until(lambda: len(site.pids()) == 2 and len(site.answering()) == 2, site.said)
    assert before[1] in site.pids()
    assert site.said().count("another one takes its place") == 1
    until(lambda: site.metric("gateway_workers") == 2, site.said)
