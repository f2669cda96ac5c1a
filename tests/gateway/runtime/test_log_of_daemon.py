"""The log of a daemon: a file that logrotate rotates under load, and a pipe that nobody reads."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.gateway_process import GatewayProcess
from servers.operated import Run, Start
from servers.ports import free_port
from servers.programs import program
from servers.site import ROOT, unstamped, until
from servers.small_disk import small_disk

HANDLERS = """
import logging

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError  # ASGI's way to say that an application has no lifespan
    logging.getLogger("shop").info("%s %s", scope["path"], "x" * 500)
    if scope["path"] == "/many":
        for number in range(4000):
            logging.getLogger("shop").info("one of many %d", number)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""


def rotation(folder: Path, more: str) -> list[str]:
    """logrotate and its rules for the daemon's log."""
    rules = folder / "logrotate.conf"
    rules.write_text(f"{folder}/gateway.log {{\n{more}}}\n")
    rules.chmod(0o600)
    return [program("logrotate"), "--force", "--state", str(folder / "state"), str(rules)]


def documented_rotation(run: Run) -> list[str]:
    """logrotate, with the rules of docs/logs.md for this daemon."""
    page = (ROOT / "docs" / "logs.md").read_text()
    rules = page.partition("```text\n/var/log/gateway/gateway.log {\n")[2].partition("}\n```")[0]
    command = "systemctl kill --kill-who=main --signal=USR1 gateway"
    assert command in rules
    rules = rules.replace(command, f"kill -USR1 {run.process.pid}").replace(" gateway adm", "")
    return rotation(run.folder, rules)


def requests_in(folder: Path) -> list[int]:
    """The numbers of the requests in all files of the log, in their order."""
    files = {int("0" + re.sub(r"\D", "", each.name)): each for each in folder.glob("gateway.log*")}
    texts = [text_of(files[number]) for number in sorted(files, reverse=True)]
    return [int(found) for text in texts for found in re.findall(r"/request-(\d+) x", text)]


def text_of(file: Path) -> str:
    return gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()


def test_logrotate_as_documented_under_load(start: Start) -> None:
    run = start(handlers=HANDLERS, more="log: {file: gateway.log, max_size: 0}\n")
    run.serves()
    rotate = documented_rotation(run)
    with httpx.Client() as client:
        for number in range(300):
            client.get(f"{run.url}request-{number}")
            if number % 50 == 49:
                subprocess.run(rotate, check=True, timeout=20)
    assert run.ended_by(signal.SIGTERM) == 0
    assert requests_in(run.folder) == list(range(300))
    assert len([*run.folder.glob("gateway.log.*.gz")]) == 5
    assert "SIGUSR1: the file of the log is opened again" in (run.folder / "gateway.log").read_text()
    assert run.err == "", "the log is in the file alone"


def test_copytruncate(start: Start) -> None:
    run = start(handlers=HANDLERS, more="log: {file: gateway.log, max_size: 0}\n")
    run.serves()
    rotate = rotation(run.folder, "  rotate 10\n  copytruncate\n")
    with httpx.Client() as client:
        for number in range(100):
            client.get(f"{run.url}request-{number}")
            if number % 25 == 24:
                written = f"/request-{number} "
                until(lambda seen=written: seen in (run.folder / "gateway.log").read_text(), "it is written")
                subprocess.run(rotate, check=True, timeout=20)
    assert run.ended_by(signal.SIGTERM) == 0
    assert requests_in(run.folder) == list(range(100))
    assert b"\0" not in (run.folder / "gateway.log").read_bytes()


def test_the_gateway_rotates(start: Start) -> None:
    run = start(handlers=HANDLERS, more="log: {file: gateway.log, max_size: 10kB, keep: 50}\n")
    run.serves()
    with httpx.Client() as client:
        for number in range(200):
            client.get(f"{run.url}request-{number}")
    assert run.ended_by(signal.SIGTERM) == 0
    assert requests_in(run.folder) == list(range(200))
    assert all(each.stat().st_size <= 10_000 for each in run.folder.glob("gateway.log*"))


def test_a_full_disk_stops_nothing_and_is_said_once(start: Start, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        run = start(handlers=HANDLERS, more="log: {file: disk/gateway.log}\n")
        run.serves()
        disk.fill()
        for number in range(50):
            assert httpx.get(f"{run.url}request-{number}").text == "done"
        until(lambda: "gateway.log cannot be written: No space left on device" in run.err, lambda: run.err)
        disk.empty()
        assert httpx.get(f"{run.url}request-50").text == "done"
        until(lambda: requests_in(tmp_path / "disk") == list(range(51)), "all of it is written, once and in its order")
        assert run.err.count("\n") == 1
        assert run.ended_by(signal.SIGTERM) == 0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for each in (reading, writing):
        os.close(each)


def test_nobody_reads_standard_error(start: Start, pipe: tuple[int, int]) -> None:
    """The pipe is full after 64 KiB. Requests are answered, and the lines are there when somebody reads again."""
    reading, writing = pipe
    run = start(handlers=HANDLERS, stderr=writing)
    run.serves()
    assert httpx.get(f"{run.url}many").text == "done"
    assert httpx.get(f"{run.url}many").text == "done"
    found = bytearray()
    reader = threading.Thread(target=lambda: iter_until(reading, found, b"stopped: "))
    reader.start()
    assert run.ended_by(signal.SIGTERM) == 0
    reader.join(20)
    numbers = [int(each) for each in re.findall(rb"one of many (\d+)\n", found)]
    assert numbers == [*range(4000)] * 2


def iter_until(reading: int, found: bytearray, end: bytes) -> None:
    while end not in found[-1000:]:
        found += os.read(reading, 65536)


def test_it_ends_although_nobody_reads(start: Start, pipe: tuple[int, int]) -> None:
    run = start(handlers=HANDLERS, stderr=pipe[1])
    run.serves()
    assert httpx.get(f"{run.url}many").text == "done"
    assert run.ended_by(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("no/folder/log", "no file can be made in"),
        (".", "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_a_reason_not_to_start(start: Start, file: str, said: str) -> None:
    run = start(more=f"log: {{file: {file}}}\n")
    assert run.process.wait(20) == 3
    assert run.err.startswith("gateway.yaml:3:13: error: log.file: ")
    assert said in run.err


def test_a_start_that_fails_is_said_on_standard_error_too(start: Start) -> None:
    first = start()
    first.serves()
    run: Run = start(port=first.port, more="log: {file: gateway.log}\n")
    assert run.process.wait(20) == 3
    assert "cannot start: servers.web" in run.err
    assert "cannot start: servers.web" in (run.folder / "gateway.log").read_text()


RELOADED = """
import logging, os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError  # ASGI's way to say that an application has no lifespan
    logging.getLogger("shop").debug("whispered %s", scope["path"])
    logging.getLogger("shop").info("said %s", scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


class Reloaded:
    """A gateway whose file is changed while it runs."""

    def __init__(self, folder: Path, log: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.process = GatewayProcess(folder, "reloaded_handlers", RELOADED, self._config(log))
        self.process.start()
        until(lambda: "try: " in self.process.output(), self.process.output)

    def _config(self, log: str) -> str:
        servers = f"servers: {{web: {{protocol: http, bind: '127.0.0.1:{self.port}', access_log: combined}}}}\n"
        return f"{servers}application: reloaded_handlers.app\nlog: {log}\n"

    def reload(self, log: str, *options: str) -> "subprocess.CompletedProcess[str]":
        (self.folder / "gateway.yaml").write_text(self._config(log))
        command = [sys.executable, "-m", "gateway", "reload", *options]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def get(self, path: str) -> int:
        """Return the number of the process that answers."""
        return int(httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=20).text)

    def lines(self, name: str, end: str) -> list[str]:
        file = self.folder / name
        until(lambda: file.exists() and end in file.read_text(), lambda: f"{end} in {name}: {self.process.output()}")
        return [line for line in unstamped(file.read_text()).splitlines() if "said" in line or "whispered" in line]


@pytest.fixture
def reloaded(tmp_path: Path) -> Iterator[Reloaded]:
    gateway = Reloaded(tmp_path / "reloaded", "{file: one.log}")
    yield gateway
    gateway.process.stop(signal.SIGTERM)


def test_a_reload_changes_the_log_at_once(reloaded: Reloaded) -> None:
    reloaded.get("/1")
    assert reloaded.lines("one.log", "said /1") == ["INFO    said /1"]
    done = reloaded.reload("{file: one.log, levels: {shop: debug}}")
    assert done.returncode == 0, done.stderr
    reloaded.get("/2")
    assert reloaded.lines("one.log", "said /2")[1:] == ["DEBUG   whispered /2", "INFO    said /2"]
    done = reloaded.reload("{file: two.log, format: json, access_file: access.log}")
    assert done.returncode == 0, done.stderr
    reloaded.get("/3")
    [line] = reloaded.lines("two.log", "said /3")
    assert json.loads(line)["message"] == "said /3"
    until(lambda: '"GET /3 HTTP/1.1" 200' in (reloaded.folder / "access.log").read_text(), "the access line is there")
    assert reloaded.reload("{}").returncode == 0
    reloaded.get("/4")
    until(lambda: "INFO    said /4" in reloaded.process.output(), reloaded.process.output)
    assert "said" not in reloaded.process.output().partition("said /4")[0]


def test_a_level_is_changed_while_it_runs(reloaded: Reloaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the control socket, as any client does."""
    [place] = reloaded.folder.glob("*.sock")
    monkeypatch.chdir(reloaded.folder)  # the whole path may be too long for a socket
    asked = {"do": "log_level", "logger": "shop", "level": "debug"}
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(place.name)
        client.sendall(json.dumps(asked).encode() + b"\n")
        answer = json.loads(client.makefile().readline())
    assert answer == {"level": "info", "levels": {"shop": "debug"}, "lost": 0}
    reloaded.get("/1")
    assert reloaded.lines("one.log", "said /1") == ["DEBUG   whispered /1", "INFO    said /1"]


def test_a_file_that_cannot_be_written_changes_nothing(reloaded: Reloaded) -> None:
    done = reloaded.reload("{file: no/folder/log}")
    assert done.returncode != 0
    assert "log.file: no file can be made in" in done.stdout + done.stderr
    reloaded.get("/5")
    reloaded.lines("one.log", "said /5")


def test_an_old_process_and_its_successor_have_one_file(reloaded: Reloaded) -> None:
    first = reloaded.get("/6")
    done = reloaded.reload("{file: one.log}", "--code")
    assert done.returncode == 0, done.stdout + done.stderr
    assert reloaded.get("/7") != first
    assert reloaded.lines("one.log", "said /7") == ["INFO    said /6", "INFO    said /7"]
