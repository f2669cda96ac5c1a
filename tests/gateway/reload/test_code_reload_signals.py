"""Signals, reloads and the end of either process while `gateway reload --code` is under way."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from servers import command, hand_over_phases
from servers.ports import free_port
from servers.replaced import PAGE, Replaced, start_reload
from servers.site import ROOT, until
from servers.systemd import Systemd

FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
routes:
  http: signal_handlers.page
"""
IMPORTS_LONG = """
import os, time
from pathlib import Path
Path("number").write_text(str(os.getpid()))
os.rename("number", "waiting")
while not Path("go").exists():
    time.sleep(0.01)
"""
STARTS_LONG = """
import asyncio, os
from pathlib import Path

async def application(scope, receive, send):
    await receive()
    if scope["type"] != "lifespan":
        return await page(scope, receive, send)
    Path("number").write_text(str(os.getpid()))
    os.rename("number", "waiting")
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
"""
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests")])


class UnderWay:
    """A reload whose next process waits for the test."""

    def __init__(self, running: Replaced, phase: str) -> None:
        self.running = running
        self.old = psutil.Process(int(running.answer()))
        if phase == "imports":
            running.write("signal_handlers.py", PAGE + IMPORTS_LONG)
        else:
            servers = FILE.partition("routes:")[0]
            running.write("gateway.yaml", f"{servers}application: signal_handlers.application\n")
            running.write("signal_handlers.py", PAGE + STARTS_LONG)
        self._said: list[subprocess.CompletedProcess[str]] = []
        self._asking = threading.Thread(target=lambda: self._said.append(running.reload()))
        self._asking.start()
        until((running.folder / "waiting").exists, running.said)
        self.new = psutil.Process(int((running.folder / "waiting").read_text()))

    def go(self) -> None:
        (self.running.folder / "go").touch()

    def said(self) -> "subprocess.CompletedProcess[str]":
        self._asking.join(60)
        return self._said[0]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Replaced]:
    made = Replaced(tmp_path, {"gateway.yaml": FILE, "signal_handlers.py": PAGE})
    yield made
    made.close()


@pytest.fixture(params=["imports", "starts"])
def under_way(request: pytest.FixtureRequest, running: Replaced) -> UnderWay:
    return UnderWay(running, request.param)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_old_process_stops_and_ends_the_next_one(under_way: UnderWay, number: signal.Signals) -> None:
    under_way.old.send_signal(number)
    assert under_way.running.process.wait(20) == 0
    assert not psutil.wait_procs([under_way.new], 20)[1]
    said = under_way.said()
    assert (said.returncode, said.stderr) == (1, "the gateway was stopped before it answered\n")
    assert under_way.running.said().count("stopped: 0 lost") == 1


def test_a_killed_old_process_leaves_no_next_one(under_way: UnderWay) -> None:
    under_way.old.kill()
    under_way.running.process.wait(20)
    assert not psutil.wait_procs([under_way.new], 20)[1]
    assert under_way.said().returncode == 1
    assert "the process to be replaced has ended" in under_way.running.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_next_process_is_ended_and_the_old_one_serves(under_way: UnderWay, number: signal.Signals) -> None:
    under_way.new.send_signal(number)
    said = under_way.said()
    assert said.returncode == 1
    why, last = said.stderr.splitlines()
    assert why.startswith(("the next process was stopped by a signal", "the next process ended with code "))
    assert last == f"Process {under_way.old.pid} keeps running."
    assert under_way.running.answer() == str(under_way.old.pid)


def test_other_reloads_change_nothing_and_say_why(under_way: UnderWay) -> None:
    running = under_way.running
    under_way.old.send_signal(signal.SIGHUP)
    busy = "another process is taking over, which reads the file"
    running.says(f"SIGHUP: gateway.yaml was not reloaded: {busy}. Still running generation 1.")
    said = command.run(running.folder, "reload")
    assert (said.returncode, said.stderr) == (3, f"{busy}. Still running generation 1.\n")
    again = running.reload()
    assert (again.returncode, again.stderr) == (1, "another process is taking over already\n")
    under_way.new.send_signal(signal.SIGHUP)
    under_way.go()
    assert under_way.said().returncode == 0
    assert running.answer() == str(under_way.new.pid)
    after = command.run(running.folder, "reload", "--force")
    assert after.returncode == 0, after.stderr


def test_a_request_to_a_process_that_does_not_count_yet_is_refused(tmp_path: Path) -> None:
    """Both have a control socket for a moment. No process takes over from one that has not taken over."""
    files = {"gateway.yaml": FILE, "signal_handlers.py": PAGE + hand_over_phases.SOURCE}
    running = Replaced(tmp_path, files, PYTHONPATH=PATHS)
    try:
        old = running.answer()
        hand_over_phases.stop_at(running, "got ready")
        asking = threading.Thread(target=running.reload)
        asking.start()
        stopped = hand_over_phases.stopped(running, 60)
        assert stopped == int(old)
        hand_over_phases.stop_at(running, "never")
        [new] = [each for each in running.processes() if each.pid != stopped]
        control = next(tmp_path.glob(f"*.{new.pid}.sock"))
        aside = [path.rename(tmp_path / "aside") for path in tmp_path.glob(f"*.{old}.sock")]
        for options in (["--code"], ["--force"]):
            said = command.run(tmp_path, "reload", *options)
            assert said.returncode != 0
            assert "the gateway starts or stops; try again in a moment" in said.stderr
        assert (control.exists(), len(aside)) == (True, 1)
        os.kill(stopped, signal.SIGCONT)
        asking.join(60)
        assert running.answer() == str(new.pid)
    finally:
        running.close()


def test_systemctl_stop_ends_both(tmp_path: Path) -> None:
    """It signals every process of the unit. The daemon says that it stops, and names no other main process."""
    port = free_port()
    (tmp_path / "gateway.yaml").write_text(FILE.replace("PORT", str(port)))
    (tmp_path / "signal_handlers.py").write_text(PAGE)
    systemd = Systemd(tmp_path)
    try:
        systemd.start()
        (tmp_path / "signal_handlers.py").write_text(PAGE + IMPORTS_LONG)
        reloading = start_reload(tmp_path)
        until((tmp_path / "waiting").exists, systemd.said)
        new = psutil.Process(int((tmp_path / "waiting").read_text()))
        new.terminate()
        assert systemd.stop() == 0
        assert not psutil.wait_procs([new], 20)[1]
        assert reloading.wait(20) == 1
        assert systemd.states == ["READY=1", "STOPPING=1"]
    finally:
        systemd.close()


def test_systemd_hears_that_the_old_process_is_the_daemon_again(tmp_path: Path) -> None:
    """The next one is killed when it has been announced, before it serves. The sockets are kept again, too."""
    port = free_port()
    (tmp_path / "gateway.yaml").write_text(FILE.replace("PORT", str(port)))
    (tmp_path / "signal_handlers.py").write_text(PAGE + hand_over_phases.SOURCE)
    systemd = Systemd(tmp_path, PYTHONPATH=PATHS)
    try:
        systemd.start()
        old = httpx.get(f"http://127.0.0.1:{port}/").text
        hand_over_phases.stop_at(systemd, "sends serves")
        reloading = start_reload(tmp_path)
        new = hand_over_phases.stopped(systemd, 60)
        until(lambda: systemd.hears(f"MAINPID={new}") and not systemd.stored, systemd.said)
        os.kill(new, signal.SIGKILL)
        assert reloading.wait(20) == 1
        until(lambda: systemd.hears(f"MAINPID={old}") and systemd.stored, systemd.said)
        assert systemd.states == ["READY=1", f"MAINPID={new}", f"MAINPID={old}"]
        assert [each.getsockname()[1] for _, each in systemd.stored] == [port]
        assert httpx.get(f"http://127.0.0.1:{port}/").text == old
        assert systemd.stop() == 0
    finally:
        systemd.close()
