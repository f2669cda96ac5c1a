"""The log of a daemon: a file that logrotate rotates under load, and a pipe that nobody reads."""

import gzip
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.operated import Run, Start
from servers.programs import program
from servers.site import ROOT, until

HANDLERS = """
import logging

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
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
    assert "SIGUSR1: the file of the log is opened anew" in (run.folder / "gateway.log").read_text()
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
