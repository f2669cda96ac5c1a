"""Workers under systemd: the parent is the service's main process, and systemd keeps the sockets of all."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from servers.ports import free_port
from servers.site import PATIENCE, until
from servers.systemd import Systemd

pytestmark = pytest.mark.timeout(120)

FILE = """
workers: {workers}
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}
routes: {{http: handlers.page}}
shutdown_timeout: 3s
"""
HANDLERS = """
import os
import time

async def page(scope, receive, send):
    if scope["path"] == "/block":
        time.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


@contextmanager
def service(folder: Path, port: int, workers: int = 2, **environment: str) -> Iterator[Systemd]:
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(FILE.format(port=port, workers=workers))
    running = Systemd(folder, **environment)
    try:
        yield running
    finally:
        workers_left = pids(running) if running.process is not None else []
        running.close()
        until(lambda: not any(map(psutil.pid_exists, workers_left)), "the workers have ended")


def pids(running: Systemd) -> list[int]:
    assert running.process is not None
    try:
        return [each.pid for each in psutil.Process(running.process.pid).children()]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def visitor(port: int) -> Iterator[list[str]]:
    """A client that connects again and again. Yields what has gone wrong."""
    done, wrong = threading.Event(), list[str]()

    def visit() -> None:
        while not done.is_set():
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).raise_for_status()
            except httpx.HTTPError as error:
                wrong.append(repr(error))

    thread = threading.Thread(target=visit)
    thread.start()
    yield wrong
    done.set()
    thread.join()


def test_a_restart_refuses_no_connection(tmp_path: Path) -> None:
    with service(tmp_path, port := free_port()) as running:
        running.start()
        until(lambda: running.hears("") or len(running.stored) == 2, "both sockets are stored")
        with visitor(port) as wrong:
            for _ in range(2):
                assert running.stop() == 0
                assert running.states.count("STOPPING=1") == 1
                running.start()
                assert running.states.count("READY=1") == 1, "the workers say nothing to systemd"
        assert wrong == []
        assert len(running.stored) == 2


def test_another_number_of_workers_has_other_sockets(tmp_path: Path) -> None:
    with service(tmp_path, port := free_port()) as running:
        running.start()
        until(lambda: running.hears("") or len(running.stored) == 2, "both sockets are stored")
        running.stop()
        (tmp_path / "gateway.yaml").write_text(FILE.format(port=port, workers=3))
        running.start()
        until(lambda: running.hears("") or len(running.stored) == 3, "all sockets are stored")
        until(
            lambda: len({httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).text for _ in range(9)}) == 3,
            "all answer",
        )


def test_a_worker_whose_loop_is_blocked_is_replaced_alone(tmp_path: Path) -> None:
    """A parent that has slept itself does not take its workers for blocked."""
    with service(tmp_path, port := free_port(), WATCHDOG_USEC="2500000") as running:
        running.start()
        before = pids(running)
        assert running.process is not None
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)  # the pause is the subject
        running.process.send_signal(signal.SIGCONT)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/block", timeout=PATIENCE)
        until(lambda: len(set(pids(running)) - set(before)) == 1, running.said)
        assert running.said().count("has said nothing for 2.5 s, and is killed") == 1
        assert "was killed by SIGKILL; another one takes its place" in running.said()
        os.kill(pids(running)[0], signal.SIGKILL)
        until(
            lambda: len({httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).text for _ in range(9)}) == 2,
            "both answer",
        )
