"""A restart by systemd refuses no connection: it opened the sockets itself, or keeps those of the daemon."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import waiting
from servers.ports import free_port
from servers.programs import program
from servers.site import PATIENCE, ROOT, until
from servers.systemd import RUN, Systemd

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.running import RunningGateway

FILE = """
servers:
  web: {protocol: http, bind: WEB}
  mail: {protocol: smtp, bind: MAIL}
routes:
  http: restarted_handlers.page
  email: {app: restarted_handlers.Mail, default: true}
"""
HANDLERS = """
import os
from gateway import AsyncEmailConsumer

async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

class Mail(AsyncEmailConsumer):
    async def receive(self, message):
        pass
"""


def written(folder: Path, web: str, mail: str) -> None:
    (folder / "gateway.yaml").write_text(FILE.replace("WEB", web).replace("MAIL", mail))
    (folder / "restarted_handlers.py").write_text(HANDLERS)


@contextmanager
def visitors(web: int, mail: int) -> Iterator[list[str]]:
    """Clients that connect again and again. Yields what has gone wrong."""
    done, wrong = threading.Event(), list[str]()

    def visit() -> None:
        while not done.is_set():
            try:
                assert httpx.get(f"http://127.0.0.1:{web}/", timeout=PATIENCE).status_code == 200
            except (httpx.HTTPError, AssertionError) as error:
                wrong.append(f"web: {error!r}")

    def greet() -> None:
        while not done.is_set():
            try:
                with socket.create_connection(("127.0.0.1", mail), timeout=PATIENCE) as connection:
                    assert connection.recv(3) in (b"220", b"421")
            except (OSError, AssertionError) as error:
                wrong.append(f"mail: {error!r}")

    threads = [threading.Thread(target=each) for each in (visit, visit, greet)]
    for each in threads:
        each.start()
    try:
        yield wrong
    finally:
        done.set()
        for each in threads:
            each.join()


def restarted(systemd: Systemd, web: int, mail: int) -> set[str]:
    """Restart it a few times under load. Return the processes that have answered."""
    answered = set()
    with visitors(web, mail) as wrong:
        for _ in range(3):
            answered.add(httpx.get(f"http://127.0.0.1:{web}/", timeout=PATIENCE).text)
            assert systemd.stop() == 0
            systemd.start()
        answered.add(httpx.get(f"http://127.0.0.1:{web}/", timeout=PATIENCE).text)
    assert wrong == [], systemd.said()
    return answered


def test_sockets_of_socket_units_are_kept(tmp_path: Path) -> None:
    """By name and by number; two sockets may have one name."""
    web, other, mail = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
    written(tmp_path, "fd:web", "fd:5")
    systemd = Systemd(tmp_path, [("web", web), ("web", other), ("gateway-mail.socket", mail)])
    try:
        systemd.start()
        ports = [each.getsockname()[1] for each in (web, other, mail)]
        assert len(restarted(systemd, ports[0], ports[2])) == 4
        assert httpx.get(f"http://127.0.0.1:{ports[1]}/").status_code == 200
        assert systemd.stored == []
    finally:
        systemd.close()


def test_sockets_that_the_daemon_has_opened_are_kept(tmp_path: Path) -> None:
    web, mail = free_port(), free_port()
    written(tmp_path, f"127.0.0.1:{web}", f"127.0.0.1:{mail}")
    systemd = Systemd(tmp_path)
    try:
        systemd.start()
        assert _ports(systemd) == {web, mail}
        assert len(restarted(systemd, web, mail)) == 4
        moved = free_port()
        written(tmp_path, f"127.0.0.1:{moved}", f"127.0.0.1:{mail}")
        systemd.stop()
        systemd.start()
        until(lambda: systemd.hears("READY=1") and _ports(systemd) == {moved, mail}, systemd.said)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", web), timeout=PATIENCE)
    finally:
        systemd.close()


def _ports(systemd: Systemd) -> set[int]:
    return {each.getsockname()[1] for _, each in systemd.stored}


def test_a_killed_daemon_is_started_again_with_its_sockets(tmp_path: Path) -> None:
    web, mail = free_port(), free_port()
    written(tmp_path, f"127.0.0.1:{web}", f"127.0.0.1:{mail}")
    systemd = Systemd(tmp_path)
    try:
        systemd.start()
        assert systemd.process is not None
        systemd.process.kill()
        systemd.process.wait(PATIENCE)
        with socket.create_connection(("127.0.0.1", mail), timeout=PATIENCE) as waiting:
            systemd.start()
            assert waiting.recv(3) == b"220"
    finally:
        systemd.close()


async def test_a_request_on_its_way_when_the_restart_begins_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.http.server.IDLE_GRACE", PATIENCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    written(tmp_path, "127.0.0.1:0", "127.0.0.1:0")
    running = RunningGateway(
        build(parse((tmp_path / "gateway.yaml").read_text(), name="gateway.yaml", folder=tmp_path))
    )
    await running.start()
    host, _, port = running.gateway.servers.named("web").address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    web: Any = running.gateway.servers.named("web")
    await waiting.until(lambda: web.service.connections)
    settling = asyncio.create_task(running.settle())
    await waiting.until(lambda: web.service.draining)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    settling.cancel()
    await running.drain()
    await running.shut_down()
    await running.close()


def test_systemd_itself_passes_the_sockets(tmp_path: Path) -> None:
    """It starts the daemon with the first connection, which is not lost."""
    web, mail = free_port(), free_port()
    written(tmp_path, "fd:web", "fd:mail")
    activate = [program("systemd-socket-activate"), "-l", f"127.0.0.1:{web}", "-l", f"127.0.0.1:{mail}"]
    command = [*activate, "--fdname=web:mail", f"--setenv=PYTHONPATH={ROOT}", *RUN]
    with (tmp_path / "said.log").open("w") as said:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)
    try:
        until(lambda: "Listening on" in (tmp_path / "said.log").read_text(), (tmp_path / "said.log").read_text)
        assert httpx.get(f"http://127.0.0.1:{web}/", timeout=PATIENCE).text == str(process.pid)
        with socket.create_connection(("127.0.0.1", mail), timeout=PATIENCE) as connection:
            assert connection.recv(3) == b"220"
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_a_name_that_systemd_has_not_passed(tmp_path: Path) -> None:
    written(tmp_path, "fd:web", "127.0.0.1:0")
    done = subprocess.run(
        [*RUN], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "servers.web: fd:web: no such file descriptor was inherited" in done.stderr
