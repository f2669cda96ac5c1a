"""What happens while workers are being replaced: other reloads, a wrong file, questions, the death of the parent."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.replaced import start_reload
from servers.site import until
from servers.workers import HANDLERS, Workers, gone

pytestmark = pytest.mark.timeout(120)

SLOW = """
import os
import time

while os.path.exists("wait"):
    time.sleep(0.05)
"""
"""A worker that comes to serve once the test lets it."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Workers]:
    running = Workers(tmp_path, handlers=SLOW + HANDLERS)
    running.all_serve()
    yield running
    running.close()


def begin(site: Workers) -> "subprocess.Popen[bytes]":
    """Begin a roll, whose first worker waits."""
    (site.folder / "wait").touch()
    reload = start_reload(site.folder)
    until(lambda: len(site.pids()) == 3, site.said)
    return reload


def test_a_roll_is_not_disturbed_by_another_one_or_by_a_wrong_file(site: Workers) -> None:
    before = set(site.pids())
    reload = begin(site)
    assert "the workers are being replaced already; try again in a moment" in site.command("reload", "--code")
    site.write("gateway.yaml", site.text + "thread: 7\n")
    site.process.send_signal(signal.SIGHUP)
    site.says("SIGHUP: gateway.yaml was not reloaded: 1 error. Still running generation 1.")
    assert site.command("status").count("ready, for") == 2, "it tells of the workers that serve"
    until(lambda: site.answering() == set(map(str, before)), site.said)
    (site.folder / "wait").unlink()
    assert reload.wait(60) == 0
    until(lambda: len(site.pids()) == 2 and not before & set(site.pids()), site.said)
    assert site.command("status").count("generation 2") == 2, "both have the file as it was when the roll began"


def test_a_tail_and_a_list_of_clients_go_on_while_a_worker_is_replaced(site: Workers) -> None:
    words = [sys.executable, "-m", "gateway", "tail", "--follow", "--json"]
    with (site.folder / "tail").open("w") as told:
        tail = subprocess.Popen(words, cwd=site.folder, stdout=told, stderr=told)
    try:
        until(lambda: site.answer("before") and "/before" in (site.folder / "tail").read_text(), "it follows")
        before = set(site.pids())
        reload = begin(site)
        with httpx.Client() as client:
            client.get(site.url)
            assert "1 in total" in site.command("clients", "list")
        (site.folder / "wait").unlink()
        assert reload.wait(60) == 0
        until(lambda: len(site.pids()) == 2 and not before & set(site.pids()), site.said)
        until(lambda: site.answer("after") and "/after" in (site.folder / "tail").read_text(), "it follows those, too")
    finally:
        tail.terminate()
        tail.wait()


def test_a_parent_that_is_killed_during_a_roll_leaves_nothing(site: Workers) -> None:
    reload = begin(site)
    pids = site.pids()
    site.process.kill()
    site.process.wait()
    (site.folder / "wait").unlink()
    assert reload.wait(60) != 0
    site.start()
    gone(pids)
    until(lambda: len(site.answering()) == 2, site.said)
    sockets = [each.name for each in site.folder.glob("*.sock")]
    assert len(sockets) == 2, "those of the workers before are gone"
